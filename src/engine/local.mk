# Runs schedules: lanes, requests, progress, waiting.
noinst_LTLIBRARIES += src/engine/libc4_engine.la
src_engine_libc4_engine_la_LIBADD =
src_engine_libc4_engine_la_SOURCES = \
    src/engine/answer.c \
    src/engine/call.h src/engine/card.c src/engine/card.h \
    src/engine/edge.c \
    src/engine/engine.c src/engine/engine.h \
    src/engine/express.c src/engine/express.h \
    src/engine/internal.h \
    src/engine/lane.c src/engine/left.c \
    src/engine/mismatch.c \
    src/engine/operation.c \
    src/engine/program.c \
    src/engine/step.c \
    src/engine/stuck.c src/engine/stuck.h src/engine/stuck_internal.h \
    src/engine/trace.c \
    src/engine/view.c src/engine/view.h \
    src/engine/vote.c \
    src/engine/wait.c
