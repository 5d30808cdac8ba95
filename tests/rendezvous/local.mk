check_PROGRAMS += tests/rendezvous/test_bootstrap tests/rendezvous/test_launcher tests/rendezvous/test_listener
EXTRA_PROGRAMS += tests/rendezvous/launched
check_DATA += tests/rendezvous/launched$(EXEEXT)
dist_check_SCRIPTS += tests/rendezvous/test_launch.sh
check_PROGRAMS += tests/rendezvous/test_links tests/rendezvous/test_file_store \
    tests/rendezvous/test_port
