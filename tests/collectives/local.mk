c4_collectives_sources = \
    tests/collectives/world.c tests/collectives/world.h \
    tests/collectives/pattern.c tests/collectives/pattern.h \
    tests/collectives/call_case.c tests/collectives/call_case.h tests/collectives/case_runner.c \
    tests/numeric/reference.c tests/numeric/reference.h

check_PROGRAMS += tests/collectives/test_matrix
tests_collectives_test_matrix_SOURCES = tests/collectives/test_matrix.c $(c4_collectives_sources)
check_PROGRAMS += tests/collectives/test_failures tests/collectives/test_requests tests/collectives/test_split
check_PROGRAMS += tests/collectives/test_leaving
tests_collectives_test_leaving_SOURCES = tests/collectives/test_leaving.c $(c4_collectives_sources)
tests_collectives_test_requests_SOURCES = tests/collectives/test_requests.c $(c4_collectives_sources)
tests_collectives_test_failures_SOURCES = tests/collectives/test_failures.c $(c4_collectives_sources)
tests_collectives_test_split_SOURCES = tests/collectives/test_split.c $(c4_collectives_sources)
C4_SMOKE += tests/collectives/test_requests
check_PROGRAMS += tests/collectives/test_bits
tests_collectives_test_bits_SOURCES = tests/collectives/test_bits.c $(c4_collectives_sources)

EXTRA_PROGRAMS += tests/collectives/test_huge
tests_collectives_test_huge_SOURCES = tests/collectives/test_huge.c $(c4_collectives_sources)
EXTRA_DIST += tests/collectives/test_long.sh
C4_LONG_TESTS += tests/collectives/test_long.sh
check_PROGRAMS += tests/collectives/test_mismatch
tests_collectives_test_mismatch_SOURCES = tests/collectives/test_mismatch.c $(c4_collectives_sources)
check_PROGRAMS += tests/collectives/test_split_options
tests_collectives_test_split_options_SOURCES = tests/collectives/test_split_options.c $(c4_collectives_sources)
