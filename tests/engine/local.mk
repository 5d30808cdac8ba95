# src/engine alone: engines over loop, without communicators.
c4_engine_world = tests/engine/world.c tests/engine/world.h
check_PROGRAMS += tests/engine/test_operations
tests_engine_test_operations_SOURCES = tests/engine/test_operations.c $(c4_engine_world)
tests_engine_test_operations_LDADD = tests/conformance/libconformance.la $(LDADD)
C4_SMOKE += tests/engine/test_operations
check_PROGRAMS += tests/engine/test_programs
tests_engine_test_programs_SOURCES = tests/engine/test_programs.c $(c4_engine_world)
tests_engine_test_programs_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/engine/test_vote
tests_engine_test_vote_SOURCES = tests/engine/test_vote.c $(c4_engine_world)
tests_engine_test_vote_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/engine/test_express
tests_engine_test_express_SOURCES = tests/engine/test_express.c $(c4_engine_world)
tests_engine_test_express_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/engine/test_stuck
tests_engine_test_stuck_SOURCES = tests/engine/test_stuck.c $(c4_engine_world)
tests_engine_test_stuck_LDADD = tests/conformance/libconformance.la $(LDADD)
