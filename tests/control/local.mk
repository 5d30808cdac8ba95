check_PROGRAMS += tests/control/test_control
