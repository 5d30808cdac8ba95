/* C4 through its public interface. BENCH_MAPPED=1: buffers from c4_mem_alloc. */
#include "tests/bench/bench_core.h"

#include <c4/c4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static c4_comm *world;
static int mapped;

static int peer_check(c4_status status, const char *call)
{
    if (status != C4_OK) {
        fprintf(stderr, "bench-c4: %s: %s: %s\n", call, c4_status_name(status), c4_last_error(world));
    }
    return status != C4_OK;
}

static int peer_init(int *argc, char ***argv, int *rank, int *nranks)
{
    const char *buffers = getenv("BENCH_MAPPED");
    (void)argc;
    (void)argv;
    mapped = buffers != NULL && strcmp(buffers, "1") == 0;
    return peer_check(c4_comm_create_from_env(NULL, NULL, &world), "c4_comm_create_from_env") != 0 ||
           peer_check(c4_comm_rank(world, rank), "c4_comm_rank") != 0 ||
           peer_check(c4_comm_size(world, nranks), "c4_comm_size") != 0;
}

static int peer_all_reduce(const float *send, float *recv, size_t count)
{
    return peer_check(c4_all_reduce(send, recv, count, C4_FLOAT32, C4_SUM, world, NULL), "c4_all_reduce");
}

static int peer_reduce_scatter(const float *send, float *recv, size_t count)
{
    return peer_check(c4_reduce_scatter(send, recv, count, C4_FLOAT32, C4_SUM, world, NULL), "c4_reduce_scatter");
}

static int peer_all_gather(const float *send, float *recv, size_t count)
{
    return peer_check(c4_all_gather(send, recv, count, C4_FLOAT32, world, NULL), "c4_all_gather");
}

static int peer_broadcast(float *buffer, size_t count)
{
    return peer_check(c4_broadcast(buffer, buffer, count, C4_FLOAT32, 0, world, NULL), "c4_broadcast");
}

static int peer_all_to_all(const float *send, float *recv, size_t count)
{
    return peer_check(c4_all_to_all(send, recv, count, C4_FLOAT32, world, NULL), "c4_all_to_all");
}

static int peer_barrier(void)
{
    return peer_check(c4_barrier(world, NULL), "c4_barrier");
}

static int peer_buffer_alloc(size_t bytes, void **memory)
{
    return mapped ? peer_check(c4_mem_alloc(bytes, memory), "c4_mem_alloc") : posix_memalign(memory, 4096, bytes);
}

static void peer_buffer_free(void *memory)
{
    if (mapped) {
        peer_check(c4_mem_free(memory), "c4_mem_free");
    } else {
        free(memory);
    }
}

static void peer_fini(void)
{
    peer_check(c4_comm_destroy(world), "c4_comm_destroy");
}

const struct bench_peer bench_peer = {
    .name = "c4",
    .init = peer_init,
    .all_reduce = peer_all_reduce,
    .reduce_scatter = peer_reduce_scatter,
    .all_gather = peer_all_gather,
    .broadcast = peer_broadcast,
    .all_to_all = peer_all_to_all,
    .barrier = peer_barrier,
    .buffer_alloc = peer_buffer_alloc,
    .buffer_free = peer_buffer_free,
    .fini = peer_fini,
};
