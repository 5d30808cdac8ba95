# tools/c4perf: times and verifies collectives.
bin_PROGRAMS += tools/c4perf/c4perf
tools_c4perf_c4perf_SOURCES = \
    tools/c4perf/collective.c tools/c4perf/collective.h \
    tools/c4perf/layout.c tools/c4perf/layout.h \
    tools/c4perf/main.c \
    tools/c4perf/measure.c tools/c4perf/measure.h \
    tools/c4perf/options.c tools/c4perf/options.h \
    tools/c4perf/pattern.c tools/c4perf/pattern.h \
    tools/c4perf/report.c tools/c4perf/report.h \
    tools/c4perf/tune.c tools/c4perf/tune.h
tools_c4perf_c4perf_LDADD = src/libc4.la $(C4_TOOL_LIBS) -lm
dist_man_MANS += tools/man/c4perf.1

check_PROGRAMS += tests/tools/test_c4perf_pattern
tests_tools_test_c4perf_pattern_SOURCES = tests/tools/test_c4perf_pattern.c tools/c4perf/pattern.c
dist_check_SCRIPTS += tests/tools/test_c4perf.sh
