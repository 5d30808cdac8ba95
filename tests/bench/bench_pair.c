/* Two ranks and one wire: `make bench-rdma` runs this for C4 (PAIR_C4) and, compiled by its wrapper, for Open MPI, beside the tools
 * of perftest, whose figures it measures in the same way.
 *
 *   bench-pair latency|stream|all_reduce BYTES ROUNDS
 *
 * latency: half a round trip of one message each way, median in us. stream: rank 0 sends WINDOW messages at once, which
 * rank 1 answers with an empty one: MB/s, median of the windows. all_reduce: bytes by time, median, MB/s. Rank 0 prints
 * "pair MODE BYTES VALUE". MB are 2^20 bytes, as perftest's. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WINDOW 16
#define WARMUP 5
#define OTHER  (1 - rank)

static int rank;

#ifdef PAIR_C4
#include <c4/c4.h>
static c4_comm *comm;

static int library_init(int *nranks)
{
    return c4_comm_create_from_env(NULL, NULL, &comm) != C4_OK || c4_comm_rank(comm, &rank) != C4_OK ||
           c4_comm_size(comm, nranks) != C4_OK;
}

/* As both libraries tell those who want speed: memory that the device knows. */
static void *memory_alloc(size_t bytes)
{
    void *memory = NULL;
    return c4_mem_alloc(bytes, &memory) == C4_OK ? memory : NULL;
}

static void memory_free(void *memory)
{
    c4_mem_free(memory);
}

static int send_one(const void *data, size_t bytes)
{
    return c4_send(data, bytes, C4_UINT8, OTHER, comm, NULL) != C4_OK;
}

static int recv_one(void *data, size_t bytes)
{
    return c4_recv(data, bytes, C4_UINT8, OTHER, comm, NULL) != C4_OK;
}

static int send_all(const void *data, size_t bytes, int messages)
{
    int failed = c4_group_start() != C4_OK;
    for (int i = 0; i < messages; i++)
        failed |= c4_send(data, bytes, C4_UINT8, OTHER, comm, NULL) != C4_OK;
    return (c4_group_end() != C4_OK) | failed;
}

static int recv_all(void *data, size_t bytes, int messages)
{
    int failed = c4_group_start() != C4_OK;
    for (int i = 0; i < messages; i++)
        failed |= c4_recv(data, bytes, C4_UINT8, OTHER, comm, NULL) != C4_OK;
    return (c4_group_end() != C4_OK) | failed;
}

static int sum(const float *send, float *recv, size_t count)
{
    return c4_all_reduce(send, recv, count, C4_FLOAT32, C4_SUM, comm, NULL) != C4_OK;
}

static int library_end(void)
{
    return c4_barrier(comm, NULL) != C4_OK || c4_comm_destroy(comm) != C4_OK;
}
#else
#include <mpi.h>

static int library_init(int *nranks)
{
    return MPI_Init(NULL, NULL) != MPI_SUCCESS || MPI_Comm_rank(MPI_COMM_WORLD, &rank) != MPI_SUCCESS ||
           MPI_Comm_size(MPI_COMM_WORLD, nranks) != MPI_SUCCESS;
}

static void *memory_alloc(size_t bytes)
{
    void *memory = NULL;
    return MPI_Alloc_mem((MPI_Aint)bytes, MPI_INFO_NULL, &memory) == MPI_SUCCESS ? memset(memory, 0, bytes) : NULL;
}

static void memory_free(void *memory)
{
    MPI_Free_mem(memory);
}

static int send_one(const void *data, size_t bytes)
{
    return MPI_Send(data, (int)bytes, MPI_BYTE, OTHER, 0, MPI_COMM_WORLD) != MPI_SUCCESS;
}

static int recv_one(void *data, size_t bytes)
{
    return MPI_Recv(data, (int)bytes, MPI_BYTE, OTHER, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE) != MPI_SUCCESS;
}

static int send_all(const void *data, size_t bytes, int messages)
{
    MPI_Request requests[WINDOW];
    for (int i = 0; i < messages; i++)
        MPI_Isend(data, (int)bytes, MPI_BYTE, OTHER, 0, MPI_COMM_WORLD, &requests[i]);
    return MPI_Waitall(messages, requests, MPI_STATUSES_IGNORE) != MPI_SUCCESS;
}

static int recv_all(void *data, size_t bytes, int messages)
{
    MPI_Request requests[WINDOW];
    for (int i = 0; i < messages; i++)
        MPI_Irecv(data, (int)bytes, MPI_BYTE, OTHER, 0, MPI_COMM_WORLD, &requests[i]);
    return MPI_Waitall(messages, requests, MPI_STATUSES_IGNORE) != MPI_SUCCESS;
}

static int sum(const float *send, float *recv, size_t count)
{
    return MPI_Allreduce(send, recv, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD) != MPI_SUCCESS;
}

static int library_end(void)
{
    return MPI_Barrier(MPI_COMM_WORLD) != MPI_SUCCESS || MPI_Finalize() != MPI_SUCCESS;
}
#endif

typedef struct pair_cell {
    size_t bytes;
    char *send;
    char *recv;
} pair_cell;

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int round_latency(const pair_cell *cell)
{
    if (rank == 0)
        return send_one(cell->send, cell->bytes) | recv_one(cell->recv, cell->bytes);
    return recv_one(cell->recv, cell->bytes) | send_one(cell->send, cell->bytes);
}

static int round_stream(const pair_cell *cell)
{
    if (rank == 0)
        return send_all(cell->send, cell->bytes, WINDOW) | recv_one(cell->recv, 1);
    return recv_all(cell->recv, cell->bytes, WINDOW) | send_one(cell->send, 1);
}

static int round_all_reduce(const pair_cell *cell)
{
    return sum((const float *)(const void *)cell->send, (float *)(void *)cell->recv, cell->bytes / sizeof(float));
}

static const struct mode {
    const char *name;
    int (*round)(const pair_cell *cell);
    double messages; /* of a round; 0: the figure is a time, half a round's */
} modes[] = {{"latency", round_latency, 0}, {"stream", round_stream, WINDOW}, {"all_reduce", round_all_reduce, 1}};

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int measure(const struct mode *mode, const pair_cell *cell, int rounds, double *us)
{
    for (int i = -WARMUP; i < rounds; i++) {
        double start = now_us();
        if (mode->round(cell) != 0) {
            fprintf(stderr, "bench-pair: rank %d: %s of %zu bytes failed\n", rank, mode->name, cell->bytes);
            return 1;
        }
        if (i >= 0)
            us[i] = now_us() - start;
    }
    qsort(us, (size_t)rounds, sizeof *us, by_value);
    return 0;
}

int main(int argc, char **argv)
{
    const struct mode *mode = NULL;
    for (size_t i = 0; argc == 4 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(argv[1], modes[i].name) == 0)
            mode = &modes[i];
    long bytes = mode ? atol(argv[2]) : 0, rounds = mode ? atol(argv[3]) : 0;
    if (bytes < 4 || bytes > 1 << 30 || rounds < 1 || rounds > 1000000) {
        fprintf(stderr, "Usage: bench-pair latency|stream|all_reduce BYTES ROUNDS\n");
        return 2;
    }
    double *us = calloc((size_t)rounds, sizeof *us);
    int nranks = 0;
    if (!us || library_init(&nranks) != 0)
        return 1;
    if (nranks != 2) {
        fprintf(stderr, "bench-pair: for 2 ranks, not %d\n", nranks);
        return 2;
    }
    pair_cell cell = {(size_t)bytes, memory_alloc((size_t)bytes), memory_alloc((size_t)bytes)};
    if (!cell.send || !cell.recv)
        return 1;
    if (measure(mode, &cell, (int)rounds, us) != 0)
        return 1;
    double median = us[rounds / 2];
    if (rank == 0)
        printf("pair %s %ld %.3f\n", mode->name, bytes,
               mode->messages > 0 ? mode->messages * (double)bytes / median * 1e6 / (1 << 20) : median / 2);
    fflush(stdout);
    free(us);
    memory_free(cell.recv);
    memory_free(cell.send);
    return library_end();
}
