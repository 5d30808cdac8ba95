# Runs schedules: lanes, requests, progress, waiting.
noinst_LTLIBRARIES += src/engine/libc4_engine.la
src_engine_libc4_engine_la_LIBADD =
src_engine_libc4_engine_la_SOURCES = \
    src/engine/call.h \
    src/engine/edge.c \
    src/engine/engine.c src/engine/engine.h \
    src/engine/express.c src/engine/express.h \
    src/engine/internal.h \
    src/engine/lane.c src/engine/left.c \
    src/engine/operation.c \
    src/engine/program.c \
    src/engine/step.c \
    src/engine/trace.c \
    src/engine/vote.c \
    src/engine/wait.c
