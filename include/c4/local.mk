pkginclude_HEADERS += include/c4/c4.h
