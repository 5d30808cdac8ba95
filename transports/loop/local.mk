noinst_LTLIBRARIES += transports/loop/libc4_transport_loop.la
transports_loop_libc4_transport_loop_la_SOURCES = \
    transports/loop/loop.c transports/loop/loop.h \
    transports/loop/pipe.c transports/loop/pipe.h
