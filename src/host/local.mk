noinst_LTLIBRARIES += src/host/libc4_host.la
src_host_libc4_host_la_LIBADD =
src_host_libc4_host_la_SOURCES =
src_host_libc4_host_la_SOURCES += src/host/cpu.c src/host/cpu.h
src_host_libc4_host_la_SOURCES += src/host/topology.c src/host/topology.h src/host/topology_hwloc.c \
    src/host/topology_internal.h src/host/topology_sysfs.c
src_host_libc4_host_la_SOURCES += src/host/limits.c src/host/limits.h src/host/nic.c src/host/nic.h
src_host_libc4_host_la_SOURCES += src/host/netif.c src/host/netif.h src/host/resolve.c src/host/resolve.h
src_host_libc4_host_la_SOURCES += src/host/rdma.c src/host/rdma.h
check_PROGRAMS += tests/host/test_rdma tests/host/test_segment tests/host/test_topology
src_host_libc4_host_la_SOURCES += src/host/key.c src/host/key.h src/host/segment.c src/host/segment.h
