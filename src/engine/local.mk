noinst_LTLIBRARIES += src/engine/libc4_engine.la
src_engine_libc4_engine_la_LIBADD =
src_engine_libc4_engine_la_SOURCES =
