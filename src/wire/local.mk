noinst_LTLIBRARIES += src/wire/libc4_wire.la
src_wire_libc4_wire_la_LIBADD =
src_wire_libc4_wire_la_SOURCES =
