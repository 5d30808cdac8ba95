noinst_LTLIBRARIES += src/control/libc4_control.la
src_control_libc4_control_la_LIBADD =
src_control_libc4_control_la_SOURCES =
src_control_libc4_control_la_SOURCES += src/control/control.c src/control/control.h src/control/control_internal.h \
    src/control/control_link.c src/control/control_loop.c src/control/control_process.c src/control/control_repair.c \
    src/control/control_talk.c
src_control_libc4_control_la_SOURCES += src/control/control_options.c src/control/control_options.h
# The protocol, pure: no I/O, no clock, no threads.
src_control_libc4_control_la_SOURCES += src/control/core.c src/control/core.h src/control/core_internal.h \
    src/control/core_agree.c src/control/core_agree_internal.h src/control/core_agree_send.c \
    src/control/core_ask.c src/control/core_death.c src/control/core_leave.c \
    src/control/core_repair.c src/control/core_route.c src/control/core_silence.c
src_control_libc4_control_la_SOURCES += src/control/admin.c src/control/admin.h src/control/admin_answer.c \
    src/control/admin_internal.h src/control/admin_probe.c
