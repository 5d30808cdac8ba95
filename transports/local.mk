noinst_LTLIBRARIES += transports/libc4_transports.la
transports_libc4_transports_la_SOURCES = transports/stubs.c transports/stubs.h
