/* What one library under comparison provides to the measuring core. Each adapter (bench_mpi.c, bench_gloo.cc,
 * bench_ucc.c, bench_c4.c) defines `bench_peer`; everything that touches a clock is in bench_core.c and is the same
 * object code for all of them.
 *
 * Data is float, operations are sums, roots are rank 0. `count` is in elements:
 *   all_reduce      send[count], recv[count]
 *   reduce_scatter  send[n * count], recv[count]
 *   all_gather      send[count], recv[n * count]
 *   broadcast       buffer[count], in place as in MPI
 *   all_to_all      send[n * count], recv[n * count]
 * Calls block and return 0, or anything else after an error, which they describe on stderr. A NULL slot means that
 * the library has no such collective. */
#ifndef C4_TESTS_BENCH_CORE_H
#define C4_TESTS_BENCH_CORE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* These collectives reduce inside the send buffer: the core passes send == recv. */
#define BENCH_ALL_REDUCE_IN_PLACE     1
#define BENCH_REDUCE_SCATTER_IN_PLACE 2

struct bench_peer {
    const char *name;
    int (*init)(int *argc, char ***argv, int *rank, int *nranks);
    int (*all_reduce)(const float *send, float *recv, size_t count);
    int (*reduce_scatter)(const float *send, float *recv, size_t count);
    int (*all_gather)(const float *send, float *recv, size_t count);
    int (*broadcast)(float *buffer, size_t count);
    int (*all_to_all)(const float *send, float *recv, size_t count);
    int (*barrier)(void);
    /* Both NULL: ordinary page-aligned memory. */
    int (*buffer_alloc)(size_t bytes, void **memory);
    void (*buffer_free)(void *memory);
    void (*fini)(void);
    unsigned flags;
};

extern const struct bench_peer bench_peer;

#ifdef __cplusplus
}
#endif
#endif
