noinst_LTLIBRARIES += src/schedule/libc4_schedule.la
src_schedule_libc4_schedule_la_LIBADD =
src_schedule_libc4_schedule_la_SOURCES =
