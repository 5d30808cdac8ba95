noinst_LTLIBRARIES += src/wire/libc4_wire.la
src_wire_libc4_wire_la_LIBADD =
src_wire_libc4_wire_la_SOURCES =
src_wire_libc4_wire_la_SOURCES += src/wire/bytes.h src/wire/frame.h src/wire/handshake.c src/wire/handshake.h src/wire/hmac.c \
    src/wire/hmac.h
src_wire_libc4_wire_la_SOURCES += src/wire/control_message.c src/wire/control_message.h src/wire/net_address.c \
    src/wire/net_address.h src/wire/unique_id.c src/wire/unique_id.h
src_wire_libc4_wire_la_SOURCES += src/wire/rank_card.c src/wire/rank_card.h
src_wire_libc4_wire_la_SOURCES += src/wire/cost_card.c src/wire/cost_card.h
src_wire_libc4_wire_la_SOURCES += src/wire/call_card.c src/wire/call_card.h
src_wire_libc4_wire_la_SOURCES += src/wire/control_overlay.c src/wire/control_overlay.h
src_wire_libc4_wire_la_SOURCES += src/wire/address_table.c src/wire/address_table.h
src_wire_libc4_wire_la_SOURCES += src/wire/option_card.c src/wire/option_card.h
src_wire_libc4_wire_la_SOURCES += src/wire/admin_request.c src/wire/admin_request.h
