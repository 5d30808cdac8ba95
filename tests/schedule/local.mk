check_PROGRAMS += tests/schedule/test_choose tests/schedule/test_execute tests/schedule/test_mutants \
    tests/schedule/test_prove
tests_schedule_test_choose_SOURCES = tests/schedule/test_choose.c tests/schedule/cases.c tests/schedule/cases.h
tests_schedule_test_execute_SOURCES = tests/schedule/test_execute.c tests/schedule/executor.c \
    tests/schedule/executor.h tests/schedule/cases.c tests/schedule/cases.h
tests_schedule_test_mutants_SOURCES = tests/schedule/test_mutants.c tests/schedule/cases.c tests/schedule/cases.h
tests_schedule_test_prove_SOURCES = tests/schedule/test_prove.c tests/schedule/cases.c tests/schedule/cases.h
C4_LONG_TESTS += tests/schedule/long_proofs.sh
EXTRA_DIST += tests/schedule/long_proofs.sh
