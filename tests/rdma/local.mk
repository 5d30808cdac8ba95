# Tests that need an RDMA device. Not part of `make check`: `make check-rdma` runs them on this machine's devices, else in a
# guest under emulation. A folder adds to
#   C4_RDMA_TESTS         programs (built by check-rdma; in check_PROGRAMS too if they also make sense without a device) and
#                         bash scripts, both run where the devices are
#   C4_RDMA_GUEST_TESTS   bash scripts that start guests of their own with tests/rigs/rdma-guest
# One alone:  make check-rdma C4_RDMA_TESTS=tests/rdma/test_devices.sh C4_RDMA_GUEST_TESTS=
EXTRA_DIST += tests/rdma/run.sh tests/rdma/cases.sh tests/rdma/test_devices.sh tests/rdma/test_link.sh
C4_RDMA_TESTS += tests/rdma/test_devices.sh \
    tests/transports/shm/test_shm_conformance$(EXEEXT) \
    tests/transports/tcp/test_tcp_conformance$(EXEEXT)
C4_RDMA_GUEST_TESTS += tests/rdma/test_link.sh

rdma-programs: $(filter-out %.sh,$(C4_RDMA_TESTS))

# The programs after `all`, not beside it: it builds what they link in a make of its own.
check-rdma check-rdma-long: all
	@$(MAKE) $(AM_MAKEFLAGS) -s rdma-programs
	@C4_TEST_SOURCE_ROOT='$(abs_top_srcdir)' C4_TEST_BUILD_ROOT='$(abs_top_builddir)' C4_RDMA_TESTS='$(C4_RDMA_TESTS)' \
	    C4_RDMA_GUEST_TESTS='$(C4_RDMA_GUEST_TESTS)' \
	    bash $(top_srcdir)/tests/rdma/run.sh $(if $(filter %-long,$@),long,short)
rdma-clean:
	rm -rf tests/rdma/results
mostlyclean-local: rdma-clean
.PHONY: rdma-clean check-rdma check-rdma-long rdma-programs
