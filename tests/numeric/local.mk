check_PROGRAMS += tests/numeric/test_kernels tests/numeric/test_convert tests/numeric/test_copy tests/host/test_cpu
tests_numeric_test_kernels_SOURCES = tests/numeric/reference.c tests/numeric/reference.h tests/numeric/test_kernels.c
tests_numeric_test_convert_SOURCES = tests/numeric/reference.c tests/numeric/reference.h tests/numeric/test_convert.c
C4_SMOKE += tests/numeric/test_kernels
check_PROGRAMS += tests/numeric/test_bounds

# GB/s of the kernels: make tests/bench/bench-numeric
EXTRA_PROGRAMS += tests/bench/bench-numeric
tests_bench_bench_numeric_SOURCES = tests/bench/bench_numeric.c
tests_bench_bench_numeric_LDADD = src/numeric/libc4_numeric.la src/host/libc4_host.la
