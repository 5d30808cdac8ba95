/* What c4perf can measure, as a table: shapes, places, bandwidth factors and the call itself. */
#ifndef C4_TOOLS_C4PERF_COLLECTIVE_H
#define C4_TOOLS_C4PERF_COLLECTIVE_H

#include <c4/c4.h>
#include <stdbool.h>

#define C4PERF_NCOLLECTIVES 10

/* One call on one rank. `send` and `recv` are what the public function takes. */
typedef struct c4perf_call {
    c4_comm *comm;
    int rank, nranks;
    const void *send;
    void *recv;
    size_t count;
    c4_dtype dtype;
    c4_op op;
    int root;
} c4perf_call;

typedef struct c4perf_collective {
    const char *name;
    bool send_per_rank;               /* send holds one block of `count` per rank, else one block */
    bool recv_per_rank;               /* the same for recv */
    bool reduces;                     /* has an op */
    bool rooted;                      /* has a root */
    bool send_root_only;              /* only the root's input is read */
    bool recv_root_only;              /* only the root has a result */
    bool in_place;                    /* has an in-place form */
    bool has_data;                    /* false: barrier */
    double (*bus_factor)(int nranks); /* busbw = algbw * factor, as nccl-tests define it */
    c4_status (*call)(const c4perf_call *call);
} c4perf_collective;

extern const c4perf_collective c4perf_collectives[C4PERF_NCOLLECTIVES];

/* NULL when unknown. */
const c4perf_collective *c4perf_collective_find(const char *name);

/* Bytes as nccl-tests count them: of the larger of the two buffers. */
size_t c4perf_collective_bytes(const c4perf_collective *collective, size_t count, size_t element_bytes, int nranks);

/* The count whose bytes come closest to `bytes` from below, but at least one element unless bytes is 0. */
size_t c4perf_collective_count(const c4perf_collective *collective, size_t bytes, size_t element_bytes, int nranks);

/* Where one block of a result comes from: element i of block `block` is element first + i of rank `source`, or, with
 * source < 0, the op over all ranks of their element first + i. */
typedef struct c4perf_origin {
    int source;
    size_t first;
} c4perf_origin;

/* Blocks of `count` elements in this rank's result; 0 when it has none. */
int c4perf_collective_blocks(const c4perf_collective *collective, const c4perf_call *call);
c4perf_origin c4perf_collective_origin(const c4perf_collective *collective, const c4perf_call *call, int block);

/* In place: the block of the shared buffer that `send` and `recv` point to (the other one starts at block 0). */
int c4perf_collective_send_block(const c4perf_collective *collective, const c4perf_call *call);
int c4perf_collective_recv_block(const c4perf_collective *collective, const c4perf_call *call);

#endif
