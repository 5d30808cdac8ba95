# Real faults. Not part of `make check`: `make check-chaos` is the short form (CI), check-long runs the long one.
EXTRA_PROGRAMS += tests/chaos/chaos
tests_chaos_chaos_SOURCES = tests/chaos/chaos.h tests/chaos/job.c tests/chaos/judge.c tests/chaos/main.c \
    tests/chaos/plan.c tests/chaos/rank.c tests/chaos/sockets.c tests/chaos/spaces.c tests/chaos/table.c \
    tests/chaos/time.c tests/chaos/work.c tests/chaos/work.h tests/collectives/pattern.c tests/collectives/pattern.h \
    tests/numeric/reference.c tests/numeric/reference.h
c4_chaos_programs = tests/chaos/chaos

EXTRA_DIST += tests/chaos/run.sh tests/chaos/test_long.sh
C4_LONG_TESTS += tests/chaos/test_long.sh

chaos-programs: $(c4_chaos_programs)

check-chaos: all chaos-programs
	@C4_TEST_SOURCE_ROOT='$(abs_top_srcdir)' C4_TEST_BUILD_ROOT='$(abs_top_builddir)' \
	    bash $(top_srcdir)/tests/chaos/run.sh short
.PHONY: check-chaos chaos-programs

EXTRA_PROGRAMS += tests/chaos/test_communicators tests/chaos/test_allocation
tests_chaos_test_communicators_SOURCES = tests/chaos/test_communicators.c tests/chaos/usage.c tests/chaos/usage.h \
    $(c4_collectives_sources)
tests_chaos_test_allocation_SOURCES = tests/chaos/test_allocation.c tests/chaos/alloc_fault.c tests/chaos/alloc_fault.h \
    $(c4_collectives_sources)
c4_chaos_programs += tests/chaos/test_communicators tests/chaos/test_allocation

EXTRA_PROGRAMS += tests/chaos/test_strangers
tests_chaos_test_strangers_SOURCES = tests/chaos/test_strangers.c tests/chaos/chaos.h tests/chaos/work.h tests/chaos/rounds.c \
    tests/chaos/rounds.h tests/chaos/sockets.c tests/chaos/time.c $(c4_collectives_sources)
c4_chaos_programs += tests/chaos/test_strangers

EXTRA_PROGRAMS += tests/chaos/test_soak
tests_chaos_test_soak_SOURCES = tests/chaos/test_soak.c tests/chaos/chaos.h tests/chaos/time.c tests/chaos/usage.c \
    tests/chaos/usage.h tests/chaos/work.c tests/chaos/work.h $(c4_collectives_sources)
c4_chaos_programs += tests/chaos/test_soak

EXTRA_PROGRAMS += tests/chaos/test_intruders
tests_chaos_test_intruders_SOURCES = tests/chaos/test_intruders.c tests/chaos/chaos.h tests/chaos/work.h tests/chaos/rounds.c \
    tests/chaos/rounds.h tests/chaos/time.c $(c4_collectives_sources)
c4_chaos_programs += tests/chaos/test_intruders
