EXTRA_DIST += tools/demo.sh
