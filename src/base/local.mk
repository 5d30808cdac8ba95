noinst_LTLIBRARIES += src/base/libc4_base.la
src_base_libc4_base_la_LIBADD =
src_base_libc4_base_la_SOURCES =
