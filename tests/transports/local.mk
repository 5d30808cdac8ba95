check_PROGRAMS += tests/transports/test_modules

check_PROGRAMS += tests/transports/hook/test_hook
tests_transports_hook_test_hook_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/transports/hook/test_hook_conformance
tests_transports_hook_test_hook_conformance_LDADD = tests/conformance/libconformance.la $(LDADD)

check_PROGRAMS += tests/transports/loop/test_loop_conformance
tests_transports_loop_test_loop_conformance_LDADD = tests/conformance/libconformance.la $(LDADD)

check_PROGRAMS += tests/transports/shm/test_shm_conformance
tests_transports_shm_test_shm_conformance_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/transports/shm/test_shm_rings
c4_shm_rings = tests/transports/shm/rig.c tests/transports/shm/rig.h tests/transports/shm/rings.c tests/transports/shm/rings.h
tests_transports_shm_test_shm_rings_SOURCES = tests/transports/shm/test_shm_rings.c $(c4_shm_rings)
check_PROGRAMS += tests/transports/shm/test_shm_distance
tests_transports_shm_test_shm_distance_SOURCES = tests/transports/shm/test_shm_distance.c $(c4_shm_rings)
check_PROGRAMS += tests/transports/shm/test_shm_memory
tests_transports_shm_test_shm_memory_SOURCES = \
    tests/transports/shm/rig.c tests/transports/shm/rig.h tests/transports/shm/test_shm_memory.c
check_PROGRAMS += tests/transports/shm/test_shm_module
tests_transports_shm_test_shm_module_SOURCES = \
    tests/transports/shm/rig.c tests/transports/shm/rig.h tests/transports/shm/test_shm_module.c
check_PROGRAMS += tests/transports/shm/test_shm_segment
tests_transports_shm_test_shm_segment_SOURCES = \
    tests/transports/shm/rig.c tests/transports/shm/rig.h tests/transports/shm/test_shm_segment.c

# Not a test: `make tests/transports/shm/bench_shm`, then run it on an idle machine with two cores.
EXTRA_PROGRAMS += tests/transports/shm/bench_shm
tests_transports_shm_bench_shm_SOURCES = \
    tests/transports/shm/rig.c tests/transports/shm/rig.h tests/transports/shm/bench_shm.c

check_PROGRAMS += tests/transports/link/test_channel
check_PROGRAMS += tests/transports/link/test_link
tests_transports_link_test_link_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/transports/link/test_reach
tests_transports_link_test_reach_SOURCES = tests/transports/link/test_reach.c tests/transports/tcp/pair.h
tests_transports_link_test_reach_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/transports/link/test_strangers
tests_transports_link_test_strangers_SOURCES = tests/transports/link/test_strangers.c tests/transports/tcp/pair.h
tests_transports_link_test_strangers_LDADD = tests/conformance/libconformance.la $(LDADD)

check_PROGRAMS += tests/host/test_netif
check_PROGRAMS += tests/transports/tcp/test_tcp
tests_transports_tcp_test_tcp_SOURCES = tests/transports/tcp/test_tcp.c tests/transports/tcp/pair.h
tests_transports_tcp_test_tcp_LDADD = tests/conformance/libconformance.la $(LDADD)
# It counts the system calls of the data path.
tests_transports_tcp_test_tcp_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=send,--wrap=sendmsg,--wrap=recv,--wrap=readv
check_PROGRAMS += tests/transports/tcp/test_tcp_refusals
tests_transports_tcp_test_tcp_refusals_SOURCES = tests/transports/tcp/test_tcp_refusals.c tests/transports/tcp/pair.h
tests_transports_tcp_test_tcp_refusals_LDADD = tests/conformance/libconformance.la $(LDADD)
check_PROGRAMS += tests/transports/tcp/test_tcp_conformance
tests_transports_tcp_test_tcp_conformance_LDADD = tests/conformance/libconformance.la $(LDADD)
if C4_HAVE_OPENSSL
check_PROGRAMS += tests/transports/tcp/test_tcp_tls
tests_transports_tcp_test_tcp_tls_SOURCES = tests/transports/tcp/test_tcp_tls.c tests/transports/tcp/pair.h
tests_transports_tcp_test_tcp_tls_LDADD = tests/conformance/libconformance.la $(LDADD)
# It hides libssl.
tests_transports_tcp_test_tcp_tls_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=dlopen
check_PROGRAMS += tests/transports/tcp/test_tcp_tls_conformance
tests_transports_tcp_test_tcp_tls_conformance_LDADD = tests/conformance/libconformance.la $(LDADD)
endif

# Not a test: `make tests/transports/tcp/bench_tcp`, then run it on an idle machine.
EXTRA_PROGRAMS += tests/transports/tcp/bench_tcp
tests_transports_tcp_bench_tcp_LDADD = tests/conformance/libconformance.la $(LDADD)

C4_FUZZ_TARGETS += tests/fuzz/fuzz_tcp_frame
tests_fuzz_fuzz_tcp_frame_LDADD = $(C4_FUZZ_MAIN) $(LDADD)
tests_fuzz_fuzz_tcp_frame_LDFLAGS = $(AM_LDFLAGS) $(C4_FUZZ_LDFLAGS)
EXTRA_DIST += tests/fuzz/corpus/fuzz_tcp_frame

C4_SMOKE += tests/transports/loop/test_loop_conformance tests/transports/tcp/test_tcp_conformance
