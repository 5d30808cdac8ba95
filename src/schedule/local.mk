noinst_LTLIBRARIES += src/schedule/libc4_schedule.la
src_schedule_libc4_schedule_la_LIBADD =
src_schedule_libc4_schedule_la_SOURCES = \
    src/schedule/algorithms.c \
    src/schedule/algorithms.h \
    src/schedule/blocks.h \
    src/schedule/bruck.c \
    src/schedule/builder.c \
    src/schedule/builder.h \
    src/schedule/builders.h \
    src/schedule/choose.c \
    src/schedule/cost.c \
    src/schedule/cost.h \
    src/schedule/direct.c \
    src/schedule/duplex.c \
    src/schedule/flows.c \
    src/schedule/hierarchical.c \
    src/schedule/kinds.c \
    src/schedule/kinds.h \
    src/schedule/mapped.c \
    src/schedule/pack.c \
    src/schedule/pairwise.c \
    src/schedule/prove.c \
    src/schedule/prove.h \
    src/schedule/prove_internal.h \
    src/schedule/prove_memory.c \
    src/schedule/prove_outputs.c \
    src/schedule/prove_run.c \
    src/schedule/prove_tree.c \
    src/schedule/rhd.c \
    src/schedule/ring.c \
    src/schedule/rsag.c \
    src/schedule/schedule.c \
    src/schedule/schedule.h \
    src/schedule/tree.c \
    src/schedule/tree.h \
    src/schedule/tuning.c
