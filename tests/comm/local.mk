check_PROGRAMS += tests/comm/test_bad_days
tests_comm_test_bad_days_SOURCES = tests/comm/test_bad_days.c tests/comm/bad_days.c tests/comm/bad_days.h \
    $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_default_transports
tests_comm_test_default_transports_SOURCES = tests/comm/test_default_transports.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_killed
tests_comm_test_killed_SOURCES = tests/comm/test_killed.c tests/comm/bad_days.c tests/comm/bad_days.h \
    $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_declared
check_PROGRAMS += tests/comm/test_arguments
tests_comm_test_arguments_SOURCES = tests/comm/test_arguments.c $(c4_collectives_sources)
C4_SMOKE += tests/comm/test_arguments
check_PROGRAMS += tests/comm/test_fork
tests_comm_test_fork_SOURCES = tests/comm/test_fork.c $(c4_collectives_sources)

EXTRA_PROGRAMS += tests/comm/many_ranks
check_DATA += tests/comm/many_ranks$(EXEEXT)
dist_check_SCRIPTS += tests/comm/test_many_ranks.sh

check_PROGRAMS += tests/comm/test_grow
tests_comm_test_grow_SOURCES = tests/comm/test_grow.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_join
tests_comm_test_join_SOURCES = tests/comm/test_join.c $(c4run_job)
EXTRA_PROGRAMS += tests/comm/joining_ranks
check_DATA += tests/comm/joining_ranks$(EXEEXT)

check_PROGRAMS += tests/comm/test_shrink
tests_comm_test_shrink_SOURCES = tests/comm/test_shrink.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_revived
tests_comm_test_revived_SOURCES = tests/comm/test_revived.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_abort
tests_comm_test_abort_SOURCES = tests/comm/test_abort.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_interfaces
tests_comm_test_interfaces_SOURCES = tests/comm/test_interfaces.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_meet_file
tests_comm_test_meet_file_SOURCES = tests/comm/test_meet_file.c
check_PROGRAMS += tests/comm/test_statuses
tests_comm_test_statuses_SOURCES = tests/comm/test_statuses.c tests/comm/statuses.h tests/comm/provoke_alone.c \
    tests/comm/provoke_ranks.c
check_PROGRAMS += tests/comm/test_agree
tests_comm_test_agree_SOURCES = tests/comm/test_agree.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_port
tests_comm_test_port_SOURCES = tests/comm/test_port.c $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_admin
tests_comm_test_admin_SOURCES = tests/comm/test_admin.c $(c4_admin_client) $(c4_collectives_sources)
check_PROGRAMS += tests/comm/test_require
tests_comm_test_require_SOURCES = tests/comm/test_require.c $(c4_collectives_sources)
if C4_HAVE_UCX
check_PROGRAMS += tests/comm/test_ucx
tests_comm_test_ucx_SOURCES = tests/comm/test_ucx.c tests/chaos/usage.c tests/chaos/usage.h $(c4_collectives_sources)
endif
if C4_HAVE_VERBS
EXTRA_PROGRAMS += tests/comm/test_verbs
tests_comm_test_verbs_SOURCES = tests/comm/test_verbs.c tests/chaos/usage.c tests/chaos/usage.h $(c4_collectives_sources)
C4_RDMA_TESTS += tests/comm/test_verbs$(EXEEXT)
EXTRA_PROGRAMS += tests/comm/test_rails
C4_RDMA_GUEST_NEEDS += tests/comm/test_rails$(EXEEXT)
tests_comm_test_rails_SOURCES = tests/comm/test_rails.c $(c4_collectives_sources)
endif
