pkginclude_HEADERS += include/c4/c4.h include/c4/record.h include/c4/transport.h
