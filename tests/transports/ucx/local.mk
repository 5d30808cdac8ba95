# With UCX linked in, and not by way of the module: what fails here fails in the transport.
if C4_HAVE_UCX
C4_UCX_LDADD = transports/ucx/libc4_transport_ucx.la tests/conformance/libconformance.la $(LDADD) $(C4_UCX_LIBS)
check_PROGRAMS += tests/transports/ucx/test_ucx_conformance
tests_transports_ucx_test_ucx_conformance_LDADD = $(C4_UCX_LDADD)
check_PROGRAMS += tests/transports/ucx/test_ucx_links
tests_transports_ucx_test_ucx_links_CFLAGS = $(AM_CFLAGS) $(C4_UCX_CFLAGS)
tests_transports_ucx_test_ucx_links_LDADD = $(C4_UCX_LDADD)
endif
