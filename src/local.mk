# libc4.so: the layers, with only the symbols of libc4.map visible.
lib_LTLIBRARIES += src/libc4.la
src_libc4_la_SOURCES =
src_libc4_la_LIBADD = $(C4_LAYERS) -lm
src_libc4_la_LDFLAGS = $(AM_LDFLAGS) $(C4_NO_UNDEFINED) -version-info $(C4_LIBTOOL_VERSION) \
    -Wl,--version-script=$(top_srcdir)/src/libc4.map
src_libc4_la_DEPENDENCIES = $(C4_LAYERS) src/libc4.map
EXTRA_DIST += src/libc4.map
