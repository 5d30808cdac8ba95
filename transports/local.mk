noinst_LTLIBRARIES += transports/libc4_transports.la
transports_libc4_transports_la_SOURCES = \
    transports/builtin.c transports/builtin.h \
    transports/modules.c transports/modules.h \
    transports/hook/hook.c transports/hook/hook.h \
    transports/hook/rules.c transports/hook/rules.h

# Below the transports in C4_LAYERS: stubs for their tables, and what their channels share.
noinst_LTLIBRARIES += transports/libc4_transport_stubs.la
transports_libc4_transport_stubs_la_SOURCES = \
    transports/posts.c transports/posts.h \
    transports/stubs.c transports/stubs.h
