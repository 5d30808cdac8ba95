# Tests that need an RDMA device. Not part of `make check`: `make check-rdma` runs them on this machine's devices, else in a
# guest under emulation. A folder adds to
#   C4_RDMA_TESTS         programs (built by check-rdma; in check_PROGRAMS too if they also make sense without a device) and
#                         bash scripts, both run where the devices are. PROGRAM:CASE,CASE are cases of a program that
#                         `make check` runs over tcp, run over verbs
#   C4_RDMA_LONG_TESTS    the same, for check-rdma-long alone
#   C4_RDMA_GUEST_TESTS   bash scripts that start guests of their own with tests/rigs/rdma-guest
#   C4_RDMA_GUEST_NEEDS   what these run, to be built
# One alone:  make check-rdma C4_RDMA_TESTS=tests/rdma/test_devices.sh C4_RDMA_GUEST_TESTS=
EXTRA_DIST += tests/rdma/run.sh tests/rdma/cases.sh tests/rdma/test_devices.sh tests/rdma/test_link.sh
C4_RDMA_TESTS += tests/rdma/test_devices.sh
C4_RDMA_LONG_TESTS += tests/transports/shm/test_shm_conformance$(EXEEXT) tests/transports/tcp/test_tcp_conformance$(EXEEXT)
C4_RDMA_GUEST_TESTS += tests/rdma/test_link.sh

if C4_HAVE_VERBS
EXTRA_DIST += tests/rdma/test_c4perf.sh tests/rdma/test_rails.sh tests/rdma/test_two_guests.sh
C4_RDMA_GUEST_TESTS += tests/rdma/test_rails.sh tests/rdma/test_two_guests.sh
C4_RDMA_TESTS += tests/rdma/test_c4perf.sh \
    tests/collectives/test_matrix$(EXEEXT):tcp \
    tests/collectives/test_failures$(EXEEXT):abort,concurrent_use \
    tests/comm/test_abort$(EXEEXT):tcp \
    tests/comm/test_bad_days$(EXEEXT):lost_socket \
    tests/comm/test_fork$(EXEEXT):exec,killed_parent \
    tests/comm/test_grow$(EXEEXT):tcp \
    tests/comm/test_killed$(EXEEXT):kill_tcp \
    tests/comm/test_shrink$(EXEEXT):deaths
C4_RDMA_LONG_TESTS += \
    tests/collectives/test_matrix$(EXEEXT):every_op,large,algorithms,options \
    tests/collectives/test_mismatch$(EXEEXT): \
    tests/collectives/test_requests$(EXEEXT):early_leaver \
    tests/collectives/test_split$(EXEEXT):split,two_jobs \
    tests/comm/test_agree$(EXEEXT):all_live,after_a_death \
    tests/comm/test_shrink$(EXEEXT):beside_ending_calls,excluded,waves
endif

rdma-programs: $(foreach test,$(filter-out %.sh,$(C4_RDMA_TESTS) $(C4_RDMA_LONG_TESTS)),$(firstword $(subst :, ,$(test)))) \
    $(C4_RDMA_GUEST_NEEDS)

# The programs after `all`, not beside it: it builds what they link in a make of its own.
check-rdma check-rdma-long: all
	@$(MAKE) $(AM_MAKEFLAGS) -s rdma-programs
	@C4_TEST_SOURCE_ROOT='$(abs_top_srcdir)' C4_TEST_BUILD_ROOT='$(abs_top_builddir)' \
	    C4_RDMA_TESTS='$(C4_RDMA_TESTS) $(if $(filter %-long,$@),$(C4_RDMA_LONG_TESTS))' \
	    C4_RDMA_GUEST_TESTS='$(C4_RDMA_GUEST_TESTS)' \
	    bash $(top_srcdir)/tests/rdma/run.sh $(if $(filter %-long,$@),long,short)
rdma-clean:
	rm -rf tests/rdma/results
mostlyclean-local: rdma-clean
.PHONY: rdma-clean check-rdma check-rdma-long rdma-programs
