check_PROGRAMS += tests/numeric/test_kernels tests/numeric/test_convert tests/numeric/test_copy tests/host/test_cpu
tests_numeric_test_kernels_SOURCES = tests/numeric/reference.c tests/numeric/reference.h tests/numeric/test_kernels.c
tests_numeric_test_convert_SOURCES = tests/numeric/reference.c tests/numeric/reference.h tests/numeric/test_convert.c
C4_SMOKE += tests/numeric/test_kernels
check_PROGRAMS += tests/numeric/test_bounds
