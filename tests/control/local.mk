check_PROGRAMS += tests/control/test_control

check_PROGRAMS += tests/control/test_core
tests_control_test_core_SOURCES = tests/control/test_core.c tests/control/simnet.c tests/control/simnet.h
