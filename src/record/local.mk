# The flight recorder, writer side.
noinst_LTLIBRARIES += src/record/libc4_record.la
src_record_libc4_record_la_LIBADD =
src_record_libc4_record_la_SOURCES = \
    src/record/clean.c src/record/clean.h \
    src/record/internal.h \
    src/record/options.c \
    src/record/place.c src/record/place.h \
    src/record/recorder.c src/record/recorder.h \
    src/record/sockets.c src/record/sockets.h \
    src/record/writer.c
