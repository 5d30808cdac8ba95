noinst_LTLIBRARIES += transports/tcp/libc4_transport_tcp.la
transports_tcp_libc4_transport_tcp_la_SOURCES = \
    transports/tcp/attempt.c transports/tcp/attempt.h \
    transports/tcp/channel.c transports/tcp/channel.h \
    transports/tcp/deliver.c transports/tcp/deliver.h \
    transports/tcp/frame.c transports/tcp/frame.h \
    transports/tcp/internal.h \
    transports/tcp/link.c transports/tcp/link.h \
    transports/tcp/module.c \
    transports/tcp/options.c \
    transports/tcp/pool.c transports/tcp/pool.h \
    transports/tcp/progress.c transports/tcp/progress.h \
    transports/tcp/reach.c transports/tcp/reach.h \
    transports/tcp/rx.c transports/tcp/rx.h \
    transports/tcp/greeting.c transports/tcp/greeting.h \
    transports/tcp/socket.c transports/tcp/socket.h \
    transports/tcp/stream.h \
    transports/tcp/strangers.c transports/tcp/strangers.h \
    transports/tcp/tcp.h \
    transports/tcp/tls.h \
    transports/tcp/tx.c transports/tcp/tx.h
if C4_HAVE_OPENSSL
transports_tcp_libc4_transport_tcp_la_SOURCES += \
    transports/tcp/tls.c transports/tcp/tls_library.c transports/tcp/tls_library.h
else
transports_tcp_libc4_transport_tcp_la_SOURCES += transports/tcp/tls_none.c
endif
