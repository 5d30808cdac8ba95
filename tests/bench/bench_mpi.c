/* Open MPI and MPICH: one source, compiled by each one's compiler wrapper. */
#include "tests/bench/bench_core.h"

#include <mpi.h>
#include <stdio.h>

#ifndef BENCH_NAME
#define BENCH_NAME "mpi"
#endif

static int mpi_check(int code, const char *call)
{
    if (code != MPI_SUCCESS) {
        fprintf(stderr, "bench-" BENCH_NAME ": %s returned %d\n", call, code);
    }
    return code != MPI_SUCCESS;
}

static int mpi_init(int *argc, char ***argv, int *rank, int *nranks)
{
    if (mpi_check(MPI_Init(argc, argv), "MPI_Init") != 0) {
        return -1;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    return mpi_check(MPI_Comm_rank(MPI_COMM_WORLD, rank), "MPI_Comm_rank") != 0 ||
           mpi_check(MPI_Comm_size(MPI_COMM_WORLD, nranks), "MPI_Comm_size") != 0;
}

static int mpi_all_reduce(const float *send, float *recv, size_t count)
{
    return mpi_check(MPI_Allreduce(send, recv, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD), "MPI_Allreduce");
}

static int mpi_reduce_scatter(const float *send, float *recv, size_t count)
{
    return mpi_check(MPI_Reduce_scatter_block(send, recv, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD),
                     "MPI_Reduce_scatter_block");
}

static int mpi_all_gather(const float *send, float *recv, size_t count)
{
    return mpi_check(MPI_Allgather(send, (int)count, MPI_FLOAT, recv, (int)count, MPI_FLOAT, MPI_COMM_WORLD),
                     "MPI_Allgather");
}

static int mpi_broadcast(float *buffer, size_t count)
{
    return mpi_check(MPI_Bcast(buffer, (int)count, MPI_FLOAT, 0, MPI_COMM_WORLD), "MPI_Bcast");
}

static int mpi_all_to_all(const float *send, float *recv, size_t count)
{
    return mpi_check(MPI_Alltoall(send, (int)count, MPI_FLOAT, recv, (int)count, MPI_FLOAT, MPI_COMM_WORLD),
                     "MPI_Alltoall");
}

static int mpi_barrier(void)
{
    return mpi_check(MPI_Barrier(MPI_COMM_WORLD), "MPI_Barrier");
}

static void mpi_fini(void)
{
    MPI_Finalize();
}

const struct bench_peer bench_peer = {
    .name = BENCH_NAME,
    .init = mpi_init,
    .all_reduce = mpi_all_reduce,
    .reduce_scatter = mpi_reduce_scatter,
    .all_gather = mpi_all_gather,
    .broadcast = mpi_broadcast,
    .all_to_all = mpi_all_to_all,
    .barrier = mpi_barrier,
    .fini = mpi_fini,
};
