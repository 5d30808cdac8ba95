# tools/c4info: shows options, the machine, transports and algorithms.
bin_PROGRAMS += tools/c4info/c4info
c4_info_doctor = tools/c4info/checks_memory.c tools/c4info/checks_network.c tools/c4info/checks_system.c \
    tools/c4info/clean.c tools/c4info/clean.h tools/c4info/doctor.c tools/c4info/doctor.h tools/c4info/facts_job.c \
    tools/c4info/facts_system.c tools/c4info/firewall.c tools/c4info/firewall.h tools/c4info/machine.c \
    tools/c4info/peers.c tools/c4info/reach.c tools/c4info/reach.h tools/c4info/table.c tools/c4info/table.h
c4_info_json = tools/c4info/job.c tools/c4info/job.h tools/c4info/job_text.c tools/c4info/jobs.c tools/c4info/json.c \
    tools/c4info/json.h
tools_c4info_c4info_SOURCES = $(c4_info_doctor) \
    tools/c4info/c4info.h \
    tools/c4info/admin.c tools/c4info/admin.h \
    tools/c4info/main.c \
    tools/c4info/text.c
tools_c4info_c4info_LDADD = src/libc4.la src/record/libc4_record.la src/schedule/libc4_schedule.la \
    src/wire/libc4_wire.la src/host/libc4_host.la src/base/libc4_base.la
if C4_HAVE_CJSON
tools_c4info_c4info_SOURCES += $(c4_info_json)
tools_c4info_c4info_LDADD += $(C4_CJSON_LIBS)
else
EXTRA_DIST += $(c4_info_json)
endif
dist_man_MANS += tools/man/c4info.1

if C4_HAVE_CJSON
check_PROGRAMS += tests/tools/test_c4info
tests_tools_test_c4info_SOURCES = tests/tools/test_c4info.c tests/tools/test_c4train_text.c
tests_tools_test_c4info_LDADD = $(LDADD) $(C4_CJSON_LIBS)
check_PROGRAMS += tests/tools/test_c4info_job
tests_tools_test_c4info_job_SOURCES = tests/tools/test_c4info_job.c $(c4run_job)
tests_tools_test_c4info_job_LDADD = $(LDADD) $(C4_CJSON_LIBS)
endif

check_PROGRAMS += tests/tools/test_c4info_checks tests/tools/test_c4info_facts tests/tools/test_c4info_reach
tests_tools_test_c4info_checks_SOURCES = tests/tools/test_c4info_checks.c tests/tools/c4info_machine.c \
    tests/tools/c4info_machine.h $(c4_info_doctor)
tests_tools_test_c4info_facts_SOURCES = tests/tools/test_c4info_facts.c tests/tools/test_c4train_text.c $(c4_info_doctor)
tests_tools_test_c4info_reach_SOURCES = tests/tools/test_c4info_reach.c tests/tools/test_c4train_text.c $(c4_info_doctor)
