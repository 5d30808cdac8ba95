noinst_LTLIBRARIES += src/numeric/libc4_numeric.la
src_numeric_libc4_numeric_la_LIBADD =
src_numeric_libc4_numeric_la_SOURCES =
src_numeric_libc4_numeric_la_SOURCES += src/numeric/convert.h src/numeric/copy.c src/numeric/names.c \
    src/numeric/numeric.c \
    src/numeric/numeric.h src/numeric/numeric_avx2.c src/numeric/numeric_avx512.c src/numeric/numeric_scalar.c \
    src/numeric/tables.h src/numeric/vector_kernels.h
