/* What starting a job costs a rank: `make bench-start` runs this for C4 (START_C4) and, compiled by its wrapper, for each MPI.
 *
 * One line per rank: "start", rank, result right (1/0), when the first result was there (CLOCK_MONOTONIC, microseconds),
 * milliseconds of set-up and of the first all-reduce, and by how much the two have grown this rank's own memory
 * (Anonymous: Private_Dirty has shared memory in it that nobody else has looked at yet) and its share of shared memory
 * (Pss_Shmem), KiB. All ranks stay until all have printed. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#ifdef START_C4
#include <c4/c4.h>
static c4_comm *comm;

static int library_init(int *rank, int *nranks)
{
    return c4_comm_create_from_env(NULL, NULL, &comm) != C4_OK || c4_comm_rank(comm, rank) != C4_OK ||
           c4_comm_size(comm, nranks) != C4_OK;
}

static int library_sum(const int64_t *send, int64_t *recv)
{
    return c4_all_reduce(send, recv, 1, C4_INT64, C4_SUM, comm, NULL) != C4_OK;
}

static int library_end(void)
{
    return c4_barrier(comm, NULL) != C4_OK || c4_comm_destroy(comm) != C4_OK;
}
#else
#include <mpi.h>

static int library_init(int *rank, int *nranks)
{
    return MPI_Init(NULL, NULL) != MPI_SUCCESS || MPI_Comm_rank(MPI_COMM_WORLD, rank) != MPI_SUCCESS ||
           MPI_Comm_size(MPI_COMM_WORLD, nranks) != MPI_SUCCESS;
}

static int library_sum(const int64_t *send, int64_t *recv)
{
    return MPI_Allreduce(send, recv, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD) != MPI_SUCCESS;
}

static int library_end(void)
{
    return MPI_Barrier(MPI_COMM_WORLD) != MPI_SUCCESS || MPI_Finalize() != MPI_SUCCESS;
}
#endif

typedef struct memory {
    long own_kib, shared_kib;
} memory;

static void memory_read(memory *now)
{
    char line[256];
    *now = (memory){0, 0};
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "Anonymous: %ld kB", &now->own_kib);
        sscanf(line, "Pss_Shmem: %ld kB", &now->shared_kib);
    }
    if (file)
        fclose(file);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int main(void)
{
    memory before, after;
    int rank, nranks;
    memory_read(&before); /* twice: the stream's own buffers are there before it counts */
    memory_read(&before);
    int64_t start = now_us();
    if (library_init(&rank, &nranks) != 0)
        return 1;
    int64_t ready = now_us();
    int64_t send = rank + 1, recv = 0;
    if (library_sum(&send, &recv) != 0)
        return 1;
    int64_t done = now_us();
    memory_read(&after);
    printf("start %d %d %lld %.3f %.3f %ld %ld\n", rank, recv == (int64_t)nranks * (nranks + 1) / 2, (long long)done,
           (double)(ready - start) / 1e3, (double)(done - ready) / 1e3, after.own_kib - before.own_kib,
           after.shared_kib - before.shared_kib);
    fflush(stdout);
    return library_end();
}
