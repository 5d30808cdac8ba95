/* UCC. It brings no bootstrap, so addresses are exchanged through files in BENCH_STORE: one per rank and round. */
#include "tests/bench/bench_core.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucc/api/ucc.h>
#include <unistd.h>

#define PATH_BYTES         512
#define POLLS_BEFORE_YIELD 100

struct exchange {
    char *recv;
    size_t bytes;
    unsigned round;
};

static struct {
    ucc_lib_h lib;
    ucc_context_h context;
    ucc_team_h team;
    const char *store;
    int rank;
    int nranks;
    unsigned rounds;
} world;

static int ucc_check(ucc_status_t status, const char *call)
{
    if (status != UCC_OK) {
        fprintf(stderr, "bench-ucc: %s: %s\n", call, ucc_status_string(status));
    }
    return status != UCC_OK;
}

static void exchange_path(char *path, const char *prefix, unsigned round, int rank)
{
    snprintf(path, PATH_BYTES, "%s/%s%u.%d", world.store, prefix, round, rank);
}

/* The file appears whole: it is written under another name and renamed. */
static ucc_status_t exchange_start(void *send, void *recv, size_t bytes, void *info, void **request)
{
    char partial[PATH_BYTES];
    char path[PATH_BYTES];
    struct exchange *exchange = malloc(sizeof *exchange);
    (void)info;
    if (exchange == NULL) {
        return UCC_ERR_NO_MEMORY;
    }
    *exchange = (struct exchange){.recv = recv, .bytes = bytes, .round = world.rounds++};
    exchange_path(partial, "partial-", exchange->round, world.rank);
    exchange_path(path, "", exchange->round, world.rank);
    FILE *file = fopen(partial, "wb");
    int failed = file == NULL || fwrite(send, 1, bytes, file) != bytes;
    failed |= file != NULL && fclose(file) != 0;
    if (failed || rename(partial, path) != 0) {
        free(exchange);
        return UCC_ERR_NO_MESSAGE;
    }
    *request = exchange;
    return UCC_OK;
}

static ucc_status_t exchange_test(void *request)
{
    struct exchange *exchange = request;
    for (int rank = 0; rank < world.nranks; rank++) {
        char path[PATH_BYTES];
        exchange_path(path, "", exchange->round, rank);
        FILE *file = fopen(path, "rb");
        if (file == NULL) {
            sched_yield();
            return UCC_INPROGRESS;
        }
        size_t got = fread(exchange->recv + (size_t)rank * exchange->bytes, 1, exchange->bytes, file);
        fclose(file);
        if (got != exchange->bytes) {
            return UCC_ERR_NO_MESSAGE;
        }
    }
    return UCC_OK;
}

static ucc_status_t exchange_free(void *request)
{
    free(request);
    return UCC_OK;
}

static ucc_oob_coll_t exchange_table(void)
{
    return (ucc_oob_coll_t){.allgather = exchange_start,
                            .req_test = exchange_test,
                            .req_free = exchange_free,
                            .n_oob_eps = (uint32_t)world.nranks,
                            .oob_ep = (uint32_t)world.rank};
}

static int context_create(void)
{
    ucc_context_params_t params = {.mask = UCC_CONTEXT_PARAM_FIELD_OOB, .oob = exchange_table()};
    ucc_context_config_h config;
    if (ucc_check(ucc_context_config_read(world.lib, NULL, &config), "ucc_context_config_read") != 0) {
        return -1;
    }
    int failed = ucc_check(ucc_context_create(world.lib, &params, config, &world.context), "ucc_context_create");
    ucc_context_config_release(config);
    return failed;
}

static int team_create(void)
{
    ucc_team_params_t params = {.mask =
                                    UCC_TEAM_PARAM_FIELD_EP | UCC_TEAM_PARAM_FIELD_EP_RANGE | UCC_TEAM_PARAM_FIELD_OOB,
                                .ep = (uint64_t)world.rank,
                                .ep_range = UCC_COLLECTIVE_EP_RANGE_CONTIG,
                                .oob = exchange_table()};
    ucc_status_t status;
    if (ucc_check(ucc_team_create_post(&world.context, 1, &params, &world.team), "ucc_team_create_post") != 0) {
        return -1;
    }
    while ((status = ucc_team_create_test(world.team)) == UCC_INPROGRESS) {
        ucc_context_progress(world.context);
    }
    return ucc_check(status, "ucc_team_create_test");
}

static int peer_init(int *argc, char ***argv, int *rank, int *nranks)
{
    ucc_lib_params_t params = {.mask = UCC_LIB_PARAM_FIELD_THREAD_MODE, .thread_mode = UCC_THREAD_SINGLE};
    const char *rank_text = getenv("BENCH_RANK");
    const char *nranks_text = getenv("BENCH_NRANKS");
    ucc_lib_config_h config;
    (void)argc;
    (void)argv;
    world.store = getenv("BENCH_STORE");
    if (rank_text == NULL || nranks_text == NULL || world.store == NULL) {
        return -1;
    }
    world.rank = *rank = atoi(rank_text);
    world.nranks = *nranks = atoi(nranks_text);
    if (ucc_check(ucc_lib_config_read(NULL, NULL, &config), "ucc_lib_config_read") != 0) {
        return -1;
    }
    int failed = ucc_check(ucc_init(&params, config, &world.lib), "ucc_init");
    ucc_lib_config_release(config);
    return failed != 0 || context_create() != 0 || team_create() != 0;
}

static int collective_run(ucc_coll_args_t *arguments, const char *name)
{
    ucc_coll_req_h request;
    ucc_status_t status;
    unsigned polls = 0;
    if (ucc_check(ucc_collective_init(arguments, &request, world.team), name) != 0) {
        return -1;
    }
    if (ucc_check(ucc_collective_post(request), name) != 0) {
        return -1;
    }
    while ((status = ucc_collective_test(request)) == UCC_INPROGRESS) {
        ucc_context_progress(world.context);
        if (world.nranks > 2 && ++polls > POLLS_BEFORE_YIELD) {
            sched_yield();
        }
    }
    ucc_collective_finalize(request);
    return ucc_check(status, name);
}

static ucc_coll_buffer_info_t buffer_info(const float *buffer, size_t count)
{
    return (ucc_coll_buffer_info_t){
        .buffer = (void *)buffer, .count = count, .datatype = UCC_DT_FLOAT32, .mem_type = UCC_MEMORY_TYPE_HOST};
}

static int transfer(ucc_coll_type_t type, const char *name, const float *send, size_t send_count, float *recv,
                    size_t recv_count)
{
    ucc_coll_args_t arguments = {.coll_type = type,
                                 .src.info = buffer_info(send, send_count),
                                 .dst.info = buffer_info(recv, recv_count),
                                 .op = UCC_OP_SUM};
    return collective_run(&arguments, name);
}

static int peer_all_reduce(const float *send, float *recv, size_t count)
{
    return transfer(UCC_COLL_TYPE_ALLREDUCE, "allreduce", send, count, recv, count);
}

static int peer_reduce_scatter(const float *send, float *recv, size_t count)
{
    return transfer(UCC_COLL_TYPE_REDUCE_SCATTER, "reduce_scatter", send, count * (size_t)world.nranks, recv, count);
}

static int peer_all_gather(const float *send, float *recv, size_t count)
{
    return transfer(UCC_COLL_TYPE_ALLGATHER, "allgather", send, count, recv, count * (size_t)world.nranks);
}

static int peer_broadcast(float *buffer, size_t count)
{
    return transfer(UCC_COLL_TYPE_BCAST, "bcast", buffer, count, NULL, 0);
}

static int peer_all_to_all(const float *send, float *recv, size_t count)
{
    size_t total = count * (size_t)world.nranks;
    return transfer(UCC_COLL_TYPE_ALLTOALL, "alltoall", send, total, recv, total);
}

static int peer_barrier(void)
{
    ucc_coll_args_t arguments = {.coll_type = UCC_COLL_TYPE_BARRIER};
    return collective_run(&arguments, "barrier");
}

static void peer_fini(void)
{
    ucc_status_t status;
    while ((status = ucc_team_destroy(world.team)) == UCC_INPROGRESS) {
        ucc_context_progress(world.context);
    }
    ucc_check(status, "ucc_team_destroy");
    ucc_context_destroy(world.context);
    ucc_finalize(world.lib);
}

const struct bench_peer bench_peer = {
    .name = "ucc",
    .init = peer_init,
    .all_reduce = peer_all_reduce,
    .reduce_scatter = peer_reduce_scatter,
    .all_gather = peer_all_gather,
    .broadcast = peer_broadcast,
    .all_to_all = peer_all_to_all,
    .barrier = peer_barrier,
    .fini = peer_fini,
};
