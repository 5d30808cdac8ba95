# libc4 knows the options, whether there is a module or not.
transports_libc4_transports_la_SOURCES += transports/verbs/options.c transports/verbs/verbs.h

if C4_HAVE_VERBS
noinst_LTLIBRARIES += transports/verbs/libc4_transport_verbs.la
transports_verbs_libc4_transport_verbs_la_CPPFLAGS = $(AM_CPPFLAGS) $(C4_VERBS_CFLAGS)
transports_verbs_libc4_transport_verbs_la_SOURCES = \
    transports/verbs/calls.c transports/verbs/calls.h \
    transports/verbs/channel.c transports/verbs/channel.h \
    transports/verbs/completion.c transports/verbs/completion.h \
    transports/verbs/device.c transports/verbs/device.h \
    transports/verbs/internal.h \
    transports/verbs/link.c transports/verbs/link.h \
    transports/verbs/memory.c transports/verbs/memory.h \
    transports/verbs/mlx5.c transports/verbs/mlx5.h \
    transports/verbs/module.c \
    transports/verbs/pair.c transports/verbs/pair.h \
    transports/verbs/path.c transports/verbs/path.h \
    transports/verbs/ports.c transports/verbs/ports.h \
    transports/verbs/progress.c transports/verbs/progress.h \
    transports/verbs/rail.c transports/verbs/rail.h \
    transports/verbs/receives.c transports/verbs/receives.h \
    transports/verbs/rx.c transports/verbs/rx.h \
    transports/verbs/slot.c transports/verbs/slot.h \
    transports/verbs/tx.c transports/verbs/tx.h \
    transports/verbs/verbs.h \
    transports/verbs/wire.c transports/verbs/wire.h

pkglib_LTLIBRARIES += transports/verbs/libc4_verbs.la
transports_verbs_libc4_verbs_la_SOURCES =
transports_verbs_libc4_verbs_la_LDFLAGS = $(AM_LDFLAGS) $(C4_NO_UNDEFINED) -module -avoid-version -shared \
    -export-symbols-regex '^c4_verbs_ops$$'
transports_verbs_libc4_verbs_la_LIBADD = \
    transports/verbs/libc4_transport_verbs.la \
    transports/link/libc4_transport_link.la \
    transports/libc4_transport_stubs.la \
    src/wire/libc4_wire.la src/host/libc4_host.la src/base/libc4_base.la \
    $(C4_VERBS_LIBS)
endif
