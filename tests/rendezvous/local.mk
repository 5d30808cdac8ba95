check_PROGRAMS += tests/rendezvous/test_bootstrap tests/rendezvous/test_launcher tests/rendezvous/test_listener
