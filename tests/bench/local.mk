# tests/bench: `make bench` compares C4 with the peers that configure found. Nothing of it is built by `make all`.
#   make bench-start                                        starting jobs of 2 to 512 ranks
#   make bench BENCH=quick                                  a few minutes
#   make bench BENCH_FLAGS='--conditions tcp-2 --json out.json --markdown table.md'      see bench.py --help

bench_core_sources = tests/bench/bench_core.c tests/bench/bench_core.h tests/bench/bench_sync.c \
    tests/bench/bench_sync.h
bench_programs = tests/bench/bench-limits tests/bench/bench-c4

EXTRA_PROGRAMS += tests/bench/bench-limits tests/bench/bench-c4
tests_bench_bench_limits_SOURCES = tests/bench/bench_limits.c tests/bench/bench_limits.h \
    tests/bench/bench_limits_stream.c tests/bench/bench_limits_tcp.c tests/bench/bench_sync.c \
    tests/bench/bench_sync.h
tests_bench_bench_limits_LDADD =
tests_bench_bench_c4_SOURCES = $(bench_core_sources) tests/bench/bench_c4.c
tests_bench_bench_c4_LDADD = src/libc4.la

# Not a comparison with others: the recorder on against off. On its own: tools/c4run/c4run -n 2 tests/bench/bench-recorder
bench_programs += tests/bench/bench-recorder
EXTRA_PROGRAMS += tests/bench/bench-recorder
tests_bench_bench_recorder_SOURCES = tests/bench/bench_recorder.c
tests_bench_bench_recorder_LDADD = src/libc4.la -lm

if C4_HAVE_GLOO
bench_programs += tests/bench/bench-gloo
EXTRA_PROGRAMS += tests/bench/bench-gloo
endif
tests_bench_bench_gloo_SOURCES = $(bench_core_sources) tests/bench/bench_gloo.cc
tests_bench_bench_gloo_CPPFLAGS = $(AM_CPPFLAGS) $(C4_GLOO_CFLAGS)
# gloo's headers are not written for our warnings.
tests_bench_bench_gloo_CXXFLAGS = -std=c++14 -w
tests_bench_bench_gloo_LDADD = $(C4_GLOO_LIBS)

if C4_HAVE_UCC
bench_programs += tests/bench/bench-ucc
EXTRA_PROGRAMS += tests/bench/bench-ucc
endif
tests_bench_bench_ucc_SOURCES = $(bench_core_sources) tests/bench/bench_ucc.c
tests_bench_bench_ucc_CPPFLAGS = $(AM_CPPFLAGS) $(C4_UCC_CFLAGS)
tests_bench_bench_ucc_LDADD = $(C4_UCC_LIBS)

# Each MPI has a compiler wrapper of its own, which automake's compilation rules know nothing about.
bench_mpi_inputs = tests/bench/bench_core.c tests/bench/bench_sync.c tests/bench/bench_mpi.c
bench_mpi_headers = tests/bench/bench_core.h tests/bench/bench_sync.h
bench_mpi_flags = -std=gnu11 -D_GNU_SOURCE -O2 -g -I$(top_srcdir)
EXTRA_DIST += tests/bench/bench_mpi.c

tests/bench/bench-openmpi: $(bench_mpi_inputs) $(bench_mpi_headers)
	$(AM_V_CC)$(c4_mpi_cc) $(bench_mpi_flags) -DBENCH_NAME='"openmpi"' -o $@ \
	    $(addprefix $(top_srcdir)/,$(bench_mpi_inputs))

tests/bench/bench-mpich: $(bench_mpi_inputs) $(bench_mpi_headers)
	$(AM_V_CC)$(c4_mpich_cc) $(bench_mpi_flags) -DBENCH_NAME='"mpich"' -o $@ \
	    $(addprefix $(top_srcdir)/,$(bench_mpi_inputs))

if C4_HAVE_MPI
bench_programs += tests/bench/bench-openmpi
endif
if C4_HAVE_MPICH
bench_programs += tests/bench/bench-mpich
endif
CLEANFILES += tests/bench/bench-openmpi tests/bench/bench-mpich

# Starting jobs of many ranks.
start_programs = tests/bench/bench-start-c4
EXTRA_PROGRAMS += tests/bench/bench-start-c4
tests_bench_bench_start_c4_SOURCES = tests/bench/bench_start.c
tests_bench_bench_start_c4_CPPFLAGS = $(AM_CPPFLAGS) -DSTART_C4
# Not behind a shell script of libtool, whose start would count.
tests_bench_bench_start_c4_LDFLAGS = $(AM_LDFLAGS) -no-install
tests_bench_bench_start_c4_LDADD = src/libc4.la

tests/bench/bench-start-openmpi: tests/bench/bench_start.c
	$(AM_V_CC)$(c4_mpi_cc) $(bench_mpi_flags) -o $@ $(top_srcdir)/tests/bench/bench_start.c

tests/bench/bench-start-mpich: tests/bench/bench_start.c
	$(AM_V_CC)$(c4_mpich_cc) $(bench_mpi_flags) -o $@ $(top_srcdir)/tests/bench/bench_start.c

if C4_HAVE_MPI
start_programs += tests/bench/bench-start-openmpi
endif
if C4_HAVE_MPICH
start_programs += tests/bench/bench-start-mpich
endif
CLEANFILES += tests/bench/bench-start-openmpi tests/bench/bench-start-mpich

EXTRA_DIST += tests/bench/start.py tests/bench/start_plot.py tests/bench/test_start.py tests/bench/start.svg
dist_check_SCRIPTS += tests/bench/test_start.sh
EXTRA_DIST += tests/bench/bench.py tests/bench/bench_peers.py tests/bench/bench_report.py tests/bench/bench_sets.py \
    tests/bench/bench_targets.py tests/bench/test_bench_report.py
dist_check_SCRIPTS += tests/bench/test_bench_report.sh

bench-programs: $(bench_programs)

bench: all $(bench_programs)
	PYTHONDONTWRITEBYTECODE=1 python3 $(top_srcdir)/tests/bench/bench.py --build tests/bench \
	    --c4run tools/c4run/c4run --openmpi-run '$(c4_mpi_run)' --mpich-run '$(c4_mpich_run)' $(BENCH_FLAGS)
	tools/c4run/c4run -n 2 tests/bench/bench-recorder

# In 6 minutes at most. START_FLAGS='--svg start.svg --json start.json': see start.py --help
# The programs after `all`, not beside it: it builds what they link in a make of its own.
bench-start: all
	@$(MAKE) $(AM_MAKEFLAGS) -s $(start_programs)
	PYTHONDONTWRITEBYTECODE=1 python3 $(top_srcdir)/tests/bench/start.py --build tests/bench \
	    --c4run tools/c4run/c4run --openmpi-run '$(c4_mpi_run)' --mpich-run '$(c4_mpich_run)' $(START_FLAGS)

bench-recorder: all tests/bench/bench-recorder
	tools/c4run/c4run -n 2 tests/bench/bench-recorder

.PHONY: bench bench-programs bench-recorder bench-start

# RDMA: C4 beside perftest, ucx_perftest and Open MPI over UCX, on this machine's devices or in a guest (tests/rigs/rdma-guest).
# BENCH_RDMA_FLAGS='--repeat 5 --json FILE': see rdma.py --help
rdma_bench_programs = tests/bench/bench-pair-c4
EXTRA_PROGRAMS += tests/bench/bench-pair-c4
tests_bench_bench_pair_c4_SOURCES = tests/bench/bench_pair.c
tests_bench_bench_pair_c4_CPPFLAGS = $(AM_CPPFLAGS) -DPAIR_C4
tests_bench_bench_pair_c4_LDFLAGS = $(AM_LDFLAGS) -no-install
tests_bench_bench_pair_c4_LDADD = src/libc4.la

tests/bench/bench-pair-openmpi: tests/bench/bench_pair.c
	$(AM_V_CC)$(c4_mpi_cc) $(bench_mpi_flags) -o $@ $(top_srcdir)/tests/bench/bench_pair.c

if C4_HAVE_MPI
rdma_bench_programs += tests/bench/bench-pair-openmpi
endif
CLEANFILES += tests/bench/bench-pair-openmpi
EXTRA_DIST += tests/bench/rdma.py

bench-rdma: all
	@$(MAKE) $(AM_MAKEFLAGS) -s $(rdma_bench_programs)
	PYTHONDONTWRITEBYTECODE=1 python3 $(top_srcdir)/tests/bench/rdma.py --build . --openmpi-run '$(c4_mpi_run)' $(BENCH_RDMA_FLAGS)
.PHONY: bench-rdma
