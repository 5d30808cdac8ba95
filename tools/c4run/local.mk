# tools/c4run: starts the ranks of a job. Needs the lower layers only, not libc4.
bin_PROGRAMS += tools/c4run/c4run
tools_c4run_c4run_SOURCES = \
    tools/c4run/binding.c tools/c4run/binding.h \
    tools/c4run/guard.c tools/c4run/guard.h \
    tools/c4run/hosts.c tools/c4run/hosts.h \
    tools/c4run/job.h \
    tools/c4run/join.c tools/c4run/join.h \
    tools/c4run/main.c \
    tools/c4run/options.c tools/c4run/options.h \
    tools/c4run/orders.c \
    tools/c4run/output.c tools/c4run/output.h \
    tools/c4run/records.c tools/c4run/records.h \
    tools/c4run/rendezvous.c tools/c4run/rendezvous.h \
    tools/c4run/report.c tools/c4run/report.h \
    tools/c4run/spawn.c tools/c4run/spawn.h \
    tools/c4run/supervise.c tools/c4run/supervise.h \
    tools/c4run/waiting.c tools/c4run/waiting.h
tools_c4run_c4run_LDADD = diag/libc4_diag.la src/record/libc4_record.la src/schedule/libc4_schedule.la src/wire/libc4_wire.la \
    src/numeric/libc4_numeric.la src/host/libc4_host.la src/base/libc4_base.la -lm
dist_man_MANS += tools/man/c4run.1

c4run_job = tests/tools/test_c4run_job.c tests/tools/test_c4run_job.h tests/tools/test_c4train_text.c
check_PROGRAMS += tests/tools/test_c4run tests/tools/test_c4run_hosts tests/tools/test_c4run_waiting
tests_tools_test_c4run_SOURCES = tests/tools/test_c4run.c $(c4run_job)
tests_tools_test_c4run_waiting_SOURCES = tests/tools/test_c4run_waiting.c $(c4run_job)
tests_tools_test_c4run_hosts_SOURCES = tests/tools/test_c4run_hosts.c $(c4run_job)
EXTRA_PROGRAMS += tests/tools/waiting_ranks
check_DATA += tests/tools/waiting_ranks$(EXEEXT)
tests_tools_waiting_ranks_LDADD = diag/libc4_diag.la $(LDADD)
C4_SMOKE += tests/tools/test_c4run
