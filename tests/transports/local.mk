check_PROGRAMS += tests/transports/loop/test_loop_conformance
tests_transports_loop_test_loop_conformance_LDADD = tests/conformance/libconformance.la $(LDADD)

check_PROGRAMS += tests/transports/tcp/test_tcp_conformance
tests_transports_tcp_test_tcp_conformance_LDADD = tests/conformance/libconformance.la $(LDADD)
EXTRA_PROGRAMS += tests/transports/tcp/bench_tcp
tests_transports_tcp_bench_tcp_LDADD = tests/conformance/libconformance.la $(LDADD)
C4_SMOKE += tests/transports/loop/test_loop_conformance tests/transports/tcp/test_tcp_conformance
