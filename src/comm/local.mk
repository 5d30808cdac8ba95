noinst_LTLIBRARIES += src/comm/libc4_comm.la
src_comm_libc4_comm_la_LIBADD =
src_comm_libc4_comm_la_SOURCES =
