check_PROGRAMS += tests/schedule/test_prove
tests_schedule_test_prove_SOURCES = tests/schedule/test_prove.c tests/schedule/cases.c tests/schedule/cases.h
