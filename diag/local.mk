# Readers, detectors, plans. Never part of libc4; tools and tests link it.
noinst_LTLIBRARIES += diag/libc4_diag.la
diag_libc4_diag_la_SOURCES = \
    diag/sources/record_reader.c diag/sources/record_reader.h \
    diag/sources/standing.c diag/sources/standing.h
