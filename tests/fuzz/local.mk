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

# Parsers of several layers, small ones together.
C4_FUZZ_TARGETS += tests/fuzz/fuzz_bootstrap
tests_fuzz_fuzz_bootstrap_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_bootstrap_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_bootstrap

C4_FUZZ_TARGETS += tests/fuzz/fuzz_cards
tests_fuzz_fuzz_cards_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_cards_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_cards

C4_FUZZ_TARGETS += tests/fuzz/fuzz_file_store
tests_fuzz_fuzz_file_store_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_file_store_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_file_store

C4_FUZZ_TARGETS += tests/fuzz/fuzz_shm
tests_fuzz_fuzz_shm_LDADD = $(C4_FUZZ_MAIN) tests/conformance/libconformance.la $(LDADD)
tests_fuzz_fuzz_shm_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_shm

C4_FUZZ_TARGETS += tests/fuzz/fuzz_text
tests_fuzz_fuzz_text_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_text_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_text

C4_FUZZ_TARGETS += tests/fuzz/fuzz_admin
tests_fuzz_fuzz_admin_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_admin_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_admin
