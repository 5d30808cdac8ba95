noinst_LTLIBRARIES += src/base/libc4_base.la
src_base_libc4_base_la_LIBADD =
src_base_libc4_base_la_SOURCES =
src_base_libc4_base_la_SOURCES += src/base/base_options.c src/base/base_options.h src/base/clock.c src/base/clock.h src/base/copy.h \
    src/base/export.h src/base/fork_lock.c src/base/fork_lock.h src/base/hash.h src/base/json.c src/base/json.h src/base/likely.h src/base/log.c src/base/log.h src/base/options.c src/base/options.h \
    src/base/options_file.c src/base/options_internal.h src/base/options_parse.c src/base/options_read.c \
    src/base/options_value.c src/base/proc_stat.c src/base/proc_stat.h src/base/rng.c src/base/rng.h src/base/status.c src/base/status.h
