noinst_LTLIBRARIES += transports/link/libc4_transport_link.la
transports_link_libc4_transport_link_la_SOURCES = \
    transports/link/attempt.c transports/link/attempt.h \
    transports/link/channel.c transports/link/channel.h \
    transports/link/contact.c transports/link/contact.h \
    transports/link/greeting.c transports/link/greeting.h \
    transports/link/hub.c \
    transports/link/internal.h \
    transports/link/link.c transports/link/link.h \
    transports/link/listen.c transports/link/listen.h \
    transports/link/options.c \
    transports/link/pool.c transports/link/pool.h \
    transports/link/progress.c \
    transports/link/reach.c transports/link/reach.h \
    transports/link/socket.c transports/link/socket.h \
    transports/link/stream.h \
    transports/link/strangers.c transports/link/strangers.h \
    transports/link/tls.h
if C4_HAVE_OPENSSL
transports_link_libc4_transport_link_la_SOURCES += \
    transports/link/tls.c transports/link/tls_library.c transports/link/tls_library.h
else
transports_link_libc4_transport_link_la_SOURCES += transports/link/tls_none.c
endif
