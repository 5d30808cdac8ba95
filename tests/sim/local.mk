# The library's engine and control core in simulated time: many seeded faults in one process.
check_PROGRAMS += tests/sim/test_sim
tests_sim_test_sim_SOURCES = tests/sim/clock.c tests/sim/clock.h tests/sim/faults.c tests/sim/memory.c tests/sim/memory.h \
    tests/sim/net.c tests/sim/net.h tests/sim/node.c tests/sim/script.c tests/sim/script.h tests/sim/shell.c \
    tests/sim/sim.c tests/sim/sim.h tests/sim/test_sim.c tests/sim/wire.c tests/sim/wire.h
tests_sim_test_sim_LDFLAGS = -Wl,--wrap=clock_gettime,--wrap=malloc,--wrap=calloc,--wrap=realloc
C4_LONG_TESTS += tests/sim/long.sh
EXTRA_DIST += tests/sim/long.sh
