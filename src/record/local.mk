noinst_LTLIBRARIES += src/record/libc4_record.la
src_record_libc4_record_la_LIBADD =
src_record_libc4_record_la_SOURCES =
