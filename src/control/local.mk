noinst_LTLIBRARIES += src/control/libc4_control.la
src_control_libc4_control_la_LIBADD =
src_control_libc4_control_la_SOURCES =
