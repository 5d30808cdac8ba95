# A fuzz target defines LLVMFuzzerTestOneInput in tests/fuzz/fuzz_x.c. Four lines each:
#     C4_FUZZ_TARGETS += tests/fuzz/fuzz_x
#     tests_fuzz_fuzz_x_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
#     tests_fuzz_fuzz_x_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
#     EXTRA_DIST += tests/fuzz/corpus/fuzz_x          (a directory of sample inputs, one a file)
# With --enable-fuzzers libFuzzer runs them (`make fuzzers`); without, `make check` runs them through fuzz_main.c.
if C4_FUZZERS
C4_FUZZ_MAIN =
EXTRA_PROGRAMS += $(C4_FUZZ_TARGETS)
else
C4_FUZZ_MAIN = tests/fuzz/libfuzzmain.la
check_LTLIBRARIES += tests/fuzz/libfuzzmain.la
tests_fuzz_libfuzzmain_la_SOURCES = tests/fuzz/fuzz_main.c
check_PROGRAMS += $(C4_FUZZ_TARGETS)
endif
