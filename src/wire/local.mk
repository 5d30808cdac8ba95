noinst_LTLIBRARIES += src/wire/libc4_wire.la
src_wire_libc4_wire_la_LIBADD =
src_wire_libc4_wire_la_SOURCES =
src_wire_libc4_wire_la_SOURCES += src/wire/bytes.h src/wire/handshake.c src/wire/handshake.h src/wire/hmac.c \
    src/wire/hmac.h
