check_PROGRAMS += tests/numeric/test_kernels
tests_numeric_test_kernels_SOURCES = tests/numeric/reference.c tests/numeric/reference.h tests/numeric/test_kernels.c
C4_SMOKE += tests/numeric/test_kernels
