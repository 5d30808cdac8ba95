check_PROGRAMS += tests/wire/test_handshake
C4_SMOKE += tests/wire/test_handshake
