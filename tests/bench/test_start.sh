#!/bin/bash
# What `make bench-start` makes of its runs.
command -v python3 > /dev/null || { echo "no python3: apt-get install python3"; exit 77; }
cd "$C4_TEST_SOURCE_ROOT/tests/bench" && PYTHONDONTWRITEBYTECODE=1 python3 test_start.py
