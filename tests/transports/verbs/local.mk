# With the transport linked in, and not by way of the module: what fails here fails in it.
if C4_HAVE_VERBS
C4_VERBS_LDADD = transports/verbs/libc4_transport_verbs.la tests/conformance/libconformance.la $(LDADD) $(C4_VERBS_LIBS)

# It needs a device: make check-rdma.
EXTRA_PROGRAMS += tests/transports/verbs/test_verbs_conformance
C4_RDMA_TESTS += tests/transports/verbs/test_verbs_conformance
tests_transports_verbs_test_verbs_conformance_LDADD = $(C4_VERBS_LDADD)

check_PROGRAMS += tests/transports/verbs/test_ports
tests_transports_verbs_test_ports_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_ports_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_wire
tests_transports_verbs_test_wire_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_wire_LDADD = $(C4_VERBS_LDADD)

# With a stand-in for the device.
c4_verbs_standin = tests/transports/verbs/standin.c tests/transports/verbs/standin.h \
    tests/transports/verbs/standin_control.c tests/transports/verbs/standin_internal.h \
    tests/transports/verbs/standin_queues.c
check_PROGRAMS += tests/transports/verbs/test_standin_conformance
tests_transports_verbs_test_standin_conformance_SOURCES = \
    tests/transports/verbs/test_standin_conformance.c $(c4_verbs_standin)
tests_transports_verbs_test_standin_conformance_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_standin_conformance_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_own_receives_conformance
tests_transports_verbs_test_own_receives_conformance_SOURCES = \
    tests/transports/verbs/test_own_receives_conformance.c $(c4_verbs_standin)
tests_transports_verbs_test_own_receives_conformance_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_own_receives_conformance_LDADD = $(C4_VERBS_LDADD)
c4_verbs_rig = tests/transports/verbs/rig.c tests/transports/verbs/rig.h $(c4_verbs_standin)
check_PROGRAMS += tests/transports/verbs/test_failures
tests_transports_verbs_test_failures_SOURCES = tests/transports/verbs/test_failures.c $(c4_verbs_rig)
tests_transports_verbs_test_failures_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_failures_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_links
tests_transports_verbs_test_links_SOURCES = tests/transports/verbs/test_links.c $(c4_verbs_rig)
tests_transports_verbs_test_links_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_links_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_lost_frames
tests_transports_verbs_test_lost_frames_SOURCES = tests/transports/verbs/test_lost_frames.c $(c4_verbs_rig)
tests_transports_verbs_test_lost_frames_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_lost_frames_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_device
tests_transports_verbs_test_device_SOURCES = tests/transports/verbs/test_device.c $(c4_verbs_rig)
tests_transports_verbs_test_device_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_device_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_path
tests_transports_verbs_test_path_SOURCES = tests/transports/verbs/test_path.c $(c4_verbs_rig)
tests_transports_verbs_test_path_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_path_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_receives
tests_transports_verbs_test_receives_SOURCES = tests/transports/verbs/test_receives.c $(c4_verbs_rig)
tests_transports_verbs_test_receives_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_receives_LDADD = $(C4_VERBS_LDADD)
check_PROGRAMS += tests/transports/verbs/test_rails
tests_transports_verbs_test_rails_SOURCES = tests/transports/verbs/test_rails.c $(c4_verbs_rig)
tests_transports_verbs_test_rails_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_test_rails_LDADD = $(C4_VERBS_LDADD)
EXTRA_PROGRAMS += tests/transports/verbs/verbs_cost
check_DATA += tests/transports/verbs/verbs_cost$(EXEEXT)
tests_transports_verbs_verbs_cost_SOURCES = tests/transports/verbs/verbs_cost.c $(c4_verbs_rig)
tests_transports_verbs_verbs_cost_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_transports_verbs_verbs_cost_LDADD = $(C4_VERBS_LDADD)
dist_check_SCRIPTS += tests/transports/verbs/test_verbs_cost.sh

C4_FUZZ_TARGETS += tests/fuzz/fuzz_verbs_message
tests_fuzz_fuzz_verbs_message_CFLAGS = $(AM_CFLAGS) $(C4_VERBS_CFLAGS)
tests_fuzz_fuzz_verbs_message_LDADD = $(C4_FUZZ_MAIN) transports/verbs/libc4_transport_verbs.la $(LDADD) $(C4_VERBS_LIBS)
tests_fuzz_fuzz_verbs_message_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
endif
EXTRA_DIST += tests/fuzz/corpus/fuzz_verbs_message
