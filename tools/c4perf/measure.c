#include "tools/c4perf/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "tools/c4perf/pattern.h"

#define BUFFER_ALIGNMENT 4096

c4_status c4perf_complain(const c4perf_bench *bench, c4_status status, const char *call)
{
    if (status != C4_OK) {
        fprintf(stderr, "c4perf: rank %d: %s: %s: %s\n", bench->rank, call, c4_status_name(status),
                c4_last_error(bench->comm));
    }
    return status;
}

static c4_status buffer_alloc(size_t bytes, bool mapped, void **buffer)
{
    if (mapped) {
        return c4_mem_alloc(bytes, buffer);
    }
    if (posix_memalign(buffer, BUFFER_ALIGNMENT, bytes) != 0) {
        *buffer = NULL;
        return C4_ERR_MEMORY;
    }
    memset(*buffer, 0, bytes);
    return C4_OK;
}

static void buffer_free(void *buffer, bool mapped)
{
    if (mapped && buffer != NULL) {
        c4_mem_free(buffer);
    } else {
        free(buffer);
    }
}

void c4perf_buffers_fini(c4perf_buffers *buffers)
{
    buffer_free(buffers->send, buffers->mapped);
    buffer_free(buffers->recv, buffers->mapped);
    buffers->send = buffers->recv = NULL;
    buffers->bytes = 0;
}

static c4_status buffers_reserve(c4perf_bench *bench, size_t bytes)
{
    c4perf_buffers *buffers = &bench->buffers;
    if (bytes == 0) {
        bytes = 1;
    }
    if (bytes <= buffers->bytes) {
        return C4_OK;
    }
    c4perf_buffers_fini(buffers);
    c4_status status = buffer_alloc(bytes, buffers->mapped, &buffers->send);
    if (status == C4_OK) {
        status = buffer_alloc(bytes, buffers->mapped, &buffers->recv);
    }
    if (status == C4_OK) {
        buffers->bytes = bytes;
    }
    return c4perf_complain(bench, status, "allocating buffers");
}

static void call_make(const c4perf_bench *bench, const c4perf_cell *cell, c4perf_call *call)
{
    size_t block_bytes = cell->count * c4_dtype_size(cell->dtype);
    *call = (c4perf_call){.comm = bench->comm,
                          .rank = bench->rank,
                          .nranks = bench->nranks,
                          .send = bench->buffers.send,
                          .recv = bench->buffers.recv,
                          .count = cell->count,
                          .dtype = cell->dtype,
                          .op = cell->op,
                          .root = cell->root};
    bool root = bench->rank == cell->root;
    /* The other ranks of a gather or scatter have one buffer each: there is nothing that could be in place. */
    bool lone_block =
        cell->collective->rooted && !root && (cell->collective->send_per_rank || cell->collective->recv_per_rank);
    if (cell->in_place && !lone_block) {
        unsigned char *base = bench->buffers.recv;
        call->send = base + (size_t)c4perf_collective_send_block(cell->collective, call) * block_bytes;
        call->recv = base + (size_t)c4perf_collective_recv_block(cell->collective, call) * block_bytes;
    }
}

static c4perf_pattern pattern_make(const c4perf_bench *bench, const c4perf_cell *cell, unsigned iteration)
{
    return (c4perf_pattern){.dtype = cell->dtype,
                            .op = cell->op,
                            .reduces = cell->collective->reduces,
                            .nranks = bench->nranks,
                            .iteration = iteration};
}

static void input_write(const c4perf_bench *bench, const c4perf_cell *cell, const c4perf_call *call, unsigned iteration)
{
    const c4perf_collective *collective = cell->collective;
    c4perf_pattern pattern = pattern_make(bench, cell, iteration);
    size_t blocks = collective->send_per_rank ? (size_t)bench->nranks : 1;
    if (collective->has_data && !(collective->send_root_only && bench->rank != cell->root)) {
        c4perf_pattern_write(&pattern, bench->rank, 0, (void *)call->send, cell->count * blocks);
    }
}

static uint64_t result_check(const c4perf_bench *bench, const c4perf_cell *cell, const c4perf_call *call,
                             unsigned iteration)
{
    c4perf_pattern pattern = pattern_make(bench, cell, iteration);
    size_t block_bytes = cell->count * c4_dtype_size(cell->dtype);
    int blocks = c4perf_collective_blocks(cell->collective, call);
    uint64_t wrong = 0;
    for (int block = 0; block < blocks; block++) {
        c4perf_origin origin = c4perf_collective_origin(cell->collective, call, block);
        wrong += c4perf_pattern_check(&pattern, origin.source, origin.first,
                                      (const unsigned char *)call->recv + (size_t)block * block_bytes, cell->count);
    }
    return wrong;
}

/* -c 0 still reads the result: the next call must not find its lines untouched. */
static void result_read(const c4perf_cell *cell, const c4perf_call *call)
{
    size_t bytes = cell->count * c4_dtype_size(cell->dtype) * (size_t)c4perf_collective_blocks(cell->collective, call);
    const volatile unsigned char *recv = call->recv;
    for (size_t i = 0; i < bytes; i += 64) {
        (void)recv[i];
    }
}

static int iterations_of(const c4perf_options *options, size_t bytes)
{
    if (options->iterations != 0) {
        return options->iterations;
    }
    return bytes <= 4 << 10 ? 1000 : bytes <= 64 << 10 ? 200 : bytes <= 1 << 20 ? 50 : 20;
}

/* One call between a barrier and the check. */
static c4_status iteration_run(c4perf_bench *bench, const c4perf_cell *cell, const c4perf_call *call,
                               unsigned iteration, bool touch, double *time_ns)
{
    if (touch) {
        input_write(bench, cell, call, iteration);
    }
    C4_TRY(c4perf_complain(bench, c4_barrier(bench->comm, NULL), "c4_barrier"));
    uint64_t begin = c4_now_ns();
    c4_status status = cell->collective->call(call);
    uint64_t end = c4_now_ns();
    C4_TRY(c4perf_complain(bench, status, cell->collective->name));
    *time_ns = (double)(end - begin);
    if (touch && bench->options->check) {
        bench->wrong_here += result_check(bench, cell, call, iteration);
    } else if (touch) {
        result_read(cell, call);
    }
    return C4_OK;
}

/* times_ns[iterations] of this rank. */
static c4_status iterations_run(c4perf_bench *bench, const c4perf_cell *cell, int iterations, double *times_ns)
{
    const c4perf_options *options = bench->options;
    c4perf_call call;
    double ignored = 0.0;
    call_make(bench, cell, &call);
    if (!options->touch) {
        input_write(bench, cell, &call, 0);
    }
    for (int i = 0; i < options->warmup + iterations; i++) {
        double *time_ns = i < options->warmup ? &ignored : &times_ns[i - options->warmup];
        C4_TRY(iteration_run(bench, cell, &call, (unsigned)i, options->touch, time_ns));
    }
    if (!options->touch && options->check) {
        C4_TRY(iteration_run(bench, cell, &call, (unsigned)(options->warmup + iterations), true, &ignored));
    }
    return C4_OK;
}

static int double_compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static void result_fill(const c4perf_bench *bench, const c4perf_cell *cell, double *times_ns, int iterations,
                        c4perf_result *result)
{
    qsort(times_ns, (size_t)iterations, sizeof *times_ns, double_compare);
    size_t bytes = c4perf_collective_bytes(cell->collective, cell->count, c4_dtype_size(cell->dtype), bench->nranks);
    result->median_us = times_ns[iterations / 2] / 1e3;
    result->p99_us = times_ns[(int)((double)(iterations - 1) * 0.99 + 0.5)] / 1e3;
    result->algorithm_gbs = result->median_us > 0.0 ? (double)bytes / (result->median_us * 1e3) : 0.0;
    result->bus_gbs = result->algorithm_gbs * cell->collective->bus_factor(bench->nranks);
}

c4_status c4perf_measure(c4perf_bench *bench, const c4perf_cell *cell, c4perf_result *result)
{
    size_t bytes = c4perf_collective_bytes(cell->collective, cell->count, c4_dtype_size(cell->dtype), bench->nranks);
    int iterations = iterations_of(bench->options, bytes);
    uint64_t wrong_before = bench->wrong_here;
    c4_status status = C4_OK;
    *result = (c4perf_result){.algorithm = "none"};
    double *times_ns = calloc((size_t)iterations, 2 * sizeof *times_ns);
    if (times_ns == NULL) {
        return c4perf_complain(bench, C4_ERR_MEMORY, "allocating times");
    }
    double *slowest_ns = times_ns + iterations;
    /* send_recv has none: then the word stays. */
    c4_info_comm_algorithm(bench->comm, cell->collective->name, bytes, &result->algorithm);
    C4_TRY_GOTO(buffers_reserve(bench, bytes), out);
    C4_TRY_GOTO(iterations_run(bench, cell, iterations, times_ns), out);
    status = c4_all_reduce(times_ns, slowest_ns, (size_t)iterations, C4_FLOAT64, C4_MAX, bench->world, NULL);
    C4_TRY_GOTO(c4perf_complain(bench, status, "exchanging times"), out);
    uint64_t wrong = bench->wrong_here - wrong_before;
    status = c4_all_reduce(&wrong, &result->wrong, 1, C4_UINT64, C4_SUM, bench->world, NULL);
    C4_TRY_GOTO(c4perf_complain(bench, status, "exchanging #wrong"), out);
    result_fill(bench, cell, slowest_ns, iterations, result);
out:
    free(times_ns);
    return status;
}
