c4_collectives_sources = \
    tests/collectives/world.c tests/collectives/world.h \
    tests/collectives/pattern.c tests/collectives/pattern.h \
    tests/collectives/call_case.c tests/collectives/call_case.h tests/collectives/case_runner.c \
    tests/numeric/reference.c tests/numeric/reference.h

check_PROGRAMS += tests/collectives/test_matrix
tests_collectives_test_matrix_SOURCES = tests/collectives/test_matrix.c $(c4_collectives_sources)
