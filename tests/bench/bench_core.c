/* Measuring core, one binary per library. A rank connects to the driver's socket, then sleeps in read() between
 * commands, so that any number of libraries can stay launched and be measured in turn without disturbing each other.
 *
 *   driver -> rank   run COLLECTIVE BYTES WARMUP ITERATIONS BUDGET_MS TOUCH
 *   rank -> driver   hello SET RANK NRANKS; done WRONG N ns1 ns2 ... (negative: preempted); unsupported; error
 *
 * One iteration: write the whole send buffer, the library's own barrier (it drains the progress of the previous
 * operation), the common start line, the timed call, read and check the whole result. BYTES is the size of the larger
 * buffer as in nccl-tests; it is rounded up to one element per rank. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* gcc's -O2 leaves the loops over buffers scalar; clang's does not */
#endif

#include "tests/bench/bench_core.h"
#include "tests/bench/bench_sync.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFER_ALIGNMENT 4096

struct bench_state {
    struct bench_sync sync;
    FILE *in;
    FILE *out;
    int rank;
    int nranks;
    float *send;
    float *recv;
    size_t buffer_bytes;
    volatile uint64_t sink;
};

struct bench_cell {
    char collective[32];
    size_t count; /* as the adapter takes it */
    size_t send_count;
    size_t recv_count;
    unsigned warmup;
    unsigned iterations;
    unsigned budget_ms;
    int touch;
};

static int buffer_alloc(size_t bytes, float **buffer)
{
    void *memory = NULL;
    int failed = bench_peer.buffer_alloc != NULL ? bench_peer.buffer_alloc(bytes, &memory)
                                                 : posix_memalign(&memory, BUFFER_ALIGNMENT, bytes);
    if (failed != 0) {
        fprintf(stderr, "bench-%s: cannot allocate %zu bytes\n", bench_peer.name, bytes);
        return -1;
    }
    memset(memory, 0, bytes);
    *buffer = memory;
    return 0;
}

static void buffer_free(float *buffer)
{
    if (buffer != NULL && bench_peer.buffer_free != NULL) {
        bench_peer.buffer_free(buffer);
    } else {
        free(buffer);
    }
}

static int buffers_reserve(struct bench_state *state, size_t bytes)
{
    if (bytes <= state->buffer_bytes) {
        return 0;
    }
    buffer_free(state->send);
    buffer_free(state->recv);
    state->send = state->recv = NULL;
    state->buffer_bytes = 0;
    if (buffer_alloc(bytes, &state->send) != 0 || buffer_alloc(bytes, &state->recv) != 0) {
        return -1;
    }
    state->buffer_bytes = bytes;
    return 0;
}

/* Small integers, so that sums of up to 2^15 ranks are exact in float. The element part changes with i, and not with
 * a period of any block size, so that a block in the wrong place shows. */
static inline float pattern_element(uint32_t i)
{
    return (float)(int)((i ^ (i >> 7) ^ (i >> 14) ^ (i >> 21)) & 127u);
}

static inline float pattern_rank(int rank, unsigned iteration)
{
    return (float)((5 * rank + 3 * (int)(iteration & 0xffffu)) & 15);
}

static void pattern_write(float *buffer, size_t count, int rank, unsigned iteration)
{
    float base = pattern_rank(rank, iteration);
    for (size_t i = 0; i < count; i++) {
        buffer[i] = base + pattern_element((uint32_t)i);
    }
}

/* Number of elements of buffer[count] that differ from base + scale * element(first + i). */
static uint64_t pattern_check(const float *buffer, size_t count, size_t first, float base, float scale)
{
    uint32_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        wrong += buffer[i] != base + scale * pattern_element((uint32_t)(first + i));
    }
    return wrong;
}

static int in_place(const struct bench_cell *cell)
{
    unsigned needed = strcmp(cell->collective, "all_reduce") == 0       ? BENCH_ALL_REDUCE_IN_PLACE
                      : strcmp(cell->collective, "reduce_scatter") == 0 ? BENCH_REDUCE_SCATTER_IN_PLACE
                                                                        : 0;
    return strcmp(cell->collective, "broadcast") == 0 || (bench_peer.flags & needed) != 0;
}

static void input_write(struct bench_state *state, const struct bench_cell *cell, unsigned iteration)
{
    if (strcmp(cell->collective, "broadcast") == 0 && state->rank != 0) {
        return;
    }
    pattern_write(in_place(cell) ? state->recv : state->send, cell->send_count, state->rank, iteration);
}

static uint64_t result_check(const struct bench_state *state, const struct bench_cell *cell, unsigned iteration)
{
    const float *recv = state->recv;
    size_t count = cell->count;
    float sum = 0.0f;
    uint64_t wrong = 0;
    for (int rank = 0; rank < state->nranks; rank++) {
        sum += pattern_rank(rank, iteration);
    }
    if (strcmp(cell->collective, "all_reduce") == 0) {
        return pattern_check(recv, count, 0, sum, (float)state->nranks);
    }
    if (strcmp(cell->collective, "reduce_scatter") == 0) {
        return pattern_check(recv, count, (size_t)state->rank * count, sum, (float)state->nranks);
    }
    if (strcmp(cell->collective, "broadcast") == 0) {
        return pattern_check(recv, count, 0, pattern_rank(0, iteration), 1.0f);
    }
    size_t first = strcmp(cell->collective, "all_to_all") == 0 ? (size_t)state->rank * count : 0;
    for (int rank = 0; rank < state->nranks && cell->recv_count != 0; rank++) {
        wrong += pattern_check(recv + (size_t)rank * count, count, first, pattern_rank(rank, iteration), 1.0f);
    }
    return wrong;
}

static int cell_call(const struct bench_state *state, const struct bench_cell *cell)
{
    const char *name = cell->collective;
    const float *send = in_place(cell) ? state->recv : state->send;
    if (strcmp(name, "all_reduce") == 0) {
        return bench_peer.all_reduce(send, state->recv, cell->count);
    }
    if (strcmp(name, "reduce_scatter") == 0) {
        return bench_peer.reduce_scatter(send, state->recv, cell->count);
    }
    if (strcmp(name, "all_gather") == 0) {
        return bench_peer.all_gather(send, state->recv, cell->count);
    }
    if (strcmp(name, "broadcast") == 0) {
        return bench_peer.broadcast(state->recv, cell->count);
    }
    if (strcmp(name, "all_to_all") == 0) {
        return bench_peer.all_to_all(send, state->recv, cell->count);
    }
    return bench_peer.barrier();
}

/* 0, 1 when the library has no such collective, -1 when the command is nonsense. */
static int cell_shape(const struct bench_state *state, struct bench_cell *cell, size_t bytes)
{
    const struct {
        const char *name;
        int supported;
        int send_blocks; /* 0: the buffer is one block; 1: one per rank */
        int recv_blocks;
    } shapes[] = {
        {"all_reduce", bench_peer.all_reduce != NULL, 0, 0},
        {"reduce_scatter", bench_peer.reduce_scatter != NULL, 1, 0},
        {"all_gather", bench_peer.all_gather != NULL, 0, 1},
        {"broadcast", bench_peer.broadcast != NULL, 0, 0},
        {"all_to_all", bench_peer.all_to_all != NULL, 1, 1},
        {"barrier", bench_peer.barrier != NULL, 0, 0},
    };
    size_t nranks = (size_t)state->nranks;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(shapes[i].name, cell->collective) != 0) {
            continue;
        }
        size_t elements = bytes / sizeof(float);
        int blocked = shapes[i].send_blocks != 0 || shapes[i].recv_blocks != 0;
        cell->count = blocked ? elements / nranks : elements;
        if (cell->count == 0 && strcmp(cell->collective, "barrier") != 0) {
            cell->count = 1;
        }
        cell->send_count = cell->count * (shapes[i].send_blocks != 0 ? nranks : 1);
        cell->recv_count = cell->count * (shapes[i].recv_blocks != 0 ? nranks : 1);
        return shapes[i].supported ? 0 : 1;
    }
    return -1;
}

/* Times that this thread lost its core to something else. */
static long preemptions(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/* One iteration; *time_ns is negative when this rank was preempted during the timed call. 0, or -1: the call failed. */
static int iteration_run(struct bench_state *state, const struct bench_cell *cell, unsigned iteration, double *time_ns,
                         uint64_t *wrong)
{
    if (cell->touch) {
        input_write(state, cell, iteration);
    }
    if (bench_peer.barrier() != 0) {
        return -1;
    }
    long preempted = preemptions();
    uint64_t begin = bench_sync_start(&state->sync);
    int failed = cell_call(state, cell);
    uint64_t end = bench_ticks();
    if (failed != 0) {
        return -1;
    }
    *time_ns = (double)(end - begin) * state->sync.ns_per_tick * (preemptions() == preempted ? 1.0 : -1.0);
    if (cell->touch && cell->count != 0) {
        *wrong += result_check(state, cell, iteration);
    }
    return 0;
}

/* Runs warm-up and iterations until the count or rank 0's budget is used up. Number measured, or -1. */
static int cell_run(struct bench_state *state, const struct bench_cell *cell, double *times_ns, uint64_t *wrong)
{
    unsigned done = 0;
    double budget_ns = 1e6 * (double)cell->budget_ms;
    uint64_t begin = bench_ticks();
    bench_sync_set_stop(&state->sync, 0);
    bench_sync_start(&state->sync);
    for (unsigned i = 0; i < cell->warmup + cell->iterations; i++) {
        double time_ns;
        if (iteration_run(state, cell, i, &time_ns, wrong) != 0) {
            return -1;
        }
        if (i >= cell->warmup) {
            times_ns[done++] = time_ns;
        }
        if (state->rank == 0 && done > 0) {
            bench_sync_set_stop(&state->sync, (double)(bench_ticks() - begin) * state->sync.ns_per_tick > budget_ns);
        }
        bench_sync_start(&state->sync);
        if (bench_sync_stop(&state->sync)) {
            break;
        }
    }
    return (int)done;
}

static int command_run(struct bench_state *state, const char *line)
{
    struct bench_cell cell = {0};
    size_t bytes = 0;
    uint64_t wrong = 0;
    if (sscanf(line, "run %31s %zu %u %u %u %d", cell.collective, &bytes, &cell.warmup, &cell.iterations,
               &cell.budget_ms, &cell.touch) != 6 ||
        cell.iterations == 0) {
        return -1;
    }
    int shaped = cell_shape(state, &cell, bytes);
    if (shaped != 0) {
        fputs(shaped > 0 ? "unsupported\n" : "error unknown collective\n", state->out);
        return 0;
    }
    size_t larger = cell.send_count > cell.recv_count ? cell.send_count : cell.recv_count;
    double *times_ns = malloc(cell.iterations * sizeof *times_ns);
    if (times_ns == NULL || buffers_reserve(state, larger * sizeof(float)) != 0) {
        free(times_ns);
        return -1;
    }
    if (!cell.touch) {
        input_write(state, &cell, 0);
    }
    int done = cell_run(state, &cell, times_ns, &wrong);
    if (done < 0) {
        fputs("error the call failed\n", state->out);
    } else {
        fprintf(state->out, "done %" PRIu64 " %d", wrong, done);
        for (int i = 0; i < done; i++) {
            fprintf(state->out, " %.0f", times_ns[i]);
        }
        fputc('\n', state->out);
    }
    free(times_ns);
    return 0;
}

static int driver_connect(struct bench_state *state, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || strlen(path) >= sizeof address.sun_path) {
        errno = EINVAL;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        return -1;
    }
    state->in = fdopen(fd, "r");
    state->out = fdopen(dup(fd), "w");
    return state->in != NULL && state->out != NULL ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct bench_state state = {0};
    char line[256];
    const char *set = getenv("BENCH_SET");
    const char *sync_path = getenv("BENCH_SYNC");
    if (set == NULL || sync_path == NULL) {
        fprintf(stderr, "bench-%s: started by tests/bench/bench.py, not by hand (`make bench`)\n", bench_peer.name);
        return 2;
    }
    if (bench_peer.init(&argc, &argv, &state.rank, &state.nranks) != 0 || bench_pin(state.rank) != 0) {
        fprintf(stderr, "bench-%s: set-up failed\n", bench_peer.name);
        return 1;
    }
    if (bench_sync_open(&state.sync, sync_path, state.nranks) != 0 ||
        driver_connect(&state, getenv("BENCH_SOCKET")) != 0) {
        fprintf(stderr, "bench-%s: no driver: %s\n", bench_peer.name, strerror(errno));
        return 1;
    }
    fprintf(state.out, "hello %s %d %d\n", set, state.rank, state.nranks);
    fflush(state.out);
    while (fgets(line, sizeof line, state.in) != NULL && strncmp(line, "quit", 4) != 0) {
        if (command_run(&state, line) != 0) {
            fputs("error bad command or no memory\n", state.out);
        }
        fflush(state.out);
    }
    bench_peer.fini();
    return 0;
}
