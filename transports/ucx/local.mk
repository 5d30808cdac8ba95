# An archive, for tests that want to see inside, and the module made of it: lib/c4/libc4_ucx.so. The module has its own copy
# of the layers below, since libc4 exports nothing but its public calls.
if C4_HAVE_UCX
noinst_LTLIBRARIES += transports/ucx/libc4_transport_ucx.la
transports_ucx_libc4_transport_ucx_la_SOURCES = \
    transports/ucx/channel.c transports/ucx/channel.h \
    transports/ucx/greeting.c transports/ucx/greeting.h \
    transports/ucx/internal.h \
    transports/ucx/link.c transports/ucx/link.h \
    transports/ucx/module.c \
    transports/ucx/progress.c transports/ucx/progress.h \
    transports/ucx/receive.c transports/ucx/receive.h \
    transports/ucx/send.c transports/ucx/send.h \
    transports/ucx/ucx.h \
    transports/ucx/wire.c transports/ucx/wire.h
transports_ucx_libc4_transport_ucx_la_CFLAGS = $(AM_CFLAGS) $(C4_UCX_CFLAGS)

pkglib_LTLIBRARIES += transports/ucx/libc4_ucx.la
transports_ucx_libc4_ucx_la_SOURCES =
transports_ucx_libc4_ucx_la_LIBADD = transports/ucx/libc4_transport_ucx.la transports/libc4_transport_stubs.la \
    src/wire/libc4_wire.la src/base/libc4_base.la $(C4_UCX_LIBS)
transports_ucx_libc4_ucx_la_LDFLAGS = $(AM_LDFLAGS) $(C4_NO_UNDEFINED) -module -avoid-version -shared \
    -export-symbols-regex '^c4_ucx_ops$$'
endif
