# tools/c4info: shows options, the machine, transports and algorithms.
bin_PROGRAMS += tools/c4info/c4info
tools_c4info_c4info_SOURCES = \
    tools/c4info/c4info.h \
    tools/c4info/machine.c \
    tools/c4info/main.c \
    tools/c4info/table.c tools/c4info/table.h \
    tools/c4info/text.c
tools_c4info_c4info_LDADD = src/libc4.la src/schedule/libc4_schedule.la src/host/libc4_host.la src/base/libc4_base.la
if C4_HAVE_CJSON
tools_c4info_c4info_SOURCES += tools/c4info/json.c
tools_c4info_c4info_LDADD += $(C4_CJSON_LIBS)
else
EXTRA_DIST += tools/c4info/json.c
endif
dist_man_MANS += tools/man/c4info.1

if C4_HAVE_CJSON
check_PROGRAMS += tests/tools/test_c4info
tests_tools_test_c4info_SOURCES = tests/tools/test_c4info.c tests/tools/test_c4train_text.c
tests_tools_test_c4info_LDADD = $(LDADD) $(C4_CJSON_LIBS)
endif
