noinst_LTLIBRARIES += transports/shm/libc4_transport_shm.la
transports_shm_libc4_transport_shm_la_SOURCES =
