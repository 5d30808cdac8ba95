check_PROGRAMS += tests/wire/test_handshake tests/wire/test_messages
C4_SMOKE += tests/wire/test_handshake tests/wire/test_messages

C4_FUZZ_TARGETS += tests/fuzz/fuzz_handshake
tests_fuzz_fuzz_handshake_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_handshake_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_handshake

C4_FUZZ_TARGETS += tests/fuzz/fuzz_control
tests_fuzz_fuzz_control_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_control_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_control

check_PROGRAMS += tests/wire/test_call_card

check_PROGRAMS += tests/wire/test_admin_request
