noinst_LTLIBRARIES += src/control/libc4_control.la
src_control_libc4_control_la_LIBADD =
src_control_libc4_control_la_SOURCES =
src_control_libc4_control_la_SOURCES += src/control/control.c src/control/control.h src/control/control_internal.h \
    src/control/control_link.c src/control/control_loop.c src/control/control_process.c \
    src/control/control_talk.c
