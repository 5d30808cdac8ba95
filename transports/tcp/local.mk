noinst_LTLIBRARIES += transports/tcp/libc4_transport_tcp.la
transports_tcp_libc4_transport_tcp_la_SOURCES = \
    transports/tcp/deliver.c transports/tcp/deliver.h \
    transports/tcp/frame.c transports/tcp/frame.h \
    transports/tcp/internal.h \
    transports/tcp/link.c transports/tcp/link.h \
    transports/tcp/module.c \
    transports/tcp/options.c \
    transports/tcp/rx.c transports/tcp/rx.h \
    transports/tcp/tcp.h \
    transports/tcp/tx.c transports/tcp/tx.h
