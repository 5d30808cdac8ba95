noinst_LTLIBRARIES += src/numeric/libc4_numeric.la
src_numeric_libc4_numeric_la_LIBADD =
src_numeric_libc4_numeric_la_SOURCES =
