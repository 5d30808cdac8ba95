noinst_LTLIBRARIES += transports/tcp/libc4_transport_tcp.la
transports_tcp_libc4_transport_tcp_la_SOURCES =
