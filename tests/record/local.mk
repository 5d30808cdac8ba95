check_PROGRAMS += tests/record/test_record
tests_record_test_record_SOURCES = tests/record/test_record.c $(c4_collectives_sources)
tests_record_test_record_LDADD = diag/libc4_diag.la $(LDADD)
C4_SMOKE += tests/record/test_record
check_PROGRAMS += tests/record/test_place
C4_SMOKE += tests/record/test_place

EXTRA_PROGRAMS += tests/record/recorder_cost
check_DATA += tests/record/recorder_cost$(EXEEXT)
dist_check_SCRIPTS += tests/record/test_recorder_cost.sh

C4_FUZZ_TARGETS += tests/fuzz/fuzz_record
tests_fuzz_fuzz_record_LDADD = $(C4_FUZZ_MAIN) diag/libc4_diag.la $(LDADD)
tests_fuzz_fuzz_record_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_record

check_PROGRAMS += tests/record/test_sockets
