check_PROGRAMS += tests/comm/test_bad_days
tests_comm_test_bad_days_SOURCES = tests/comm/test_bad_days.c $(c4_collectives_sources)
