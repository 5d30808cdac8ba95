/* A rank of a job that some launcher has started: joins by c4_comm_create_from_env and adds the ranks up, twice with a
 * communicator each; then prints "rank R of N: SUM SUM". What fails is printed, and the exit status is 1.
 *
 * Compiled with -DWITH_MPI the same in an MPI program: before MPI_Init, or with an argument after it. */
#include <c4/c4.h>
#include <stdint.h>
#include <stdio.h>
#ifdef WITH_MPI
#include <mpi.h>
#endif

static int fail(const c4_comm *comm, c4_status status)
{
    printf("failed: %s: %s\n", c4_status_name(status), c4_last_error(comm));
    return 1;
}

static int add_up(int *rank, int *nranks, int64_t *sum)
{
    c4_comm *comm = NULL;
    c4_status status = c4_comm_create_from_env(NULL, NULL, &comm);
    if (status < 0)
        return fail(NULL, status);
    c4_comm_rank(comm, rank);
    c4_comm_size(comm, nranks);
    int64_t mine = *rank + 1;
    status = c4_all_reduce(&mine, sum, 1, C4_INT64, C4_SUM, comm, NULL);
    int failed = status < 0 ? fail(comm, status) : 0;
    c4_comm_destroy(comm);
    return failed;
}

int main(int argc, char **argv)
{
    int rank = -1, nranks = -1;
    int64_t first = 0, second = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    (void)argv;
#ifdef WITH_MPI
    if (argc > 1)
        MPI_Init(&argc, &argv);
#else
    (void)argc;
#endif
    if (add_up(&rank, &nranks, &first) || add_up(&rank, &nranks, &second))
        return 1;
#ifdef WITH_MPI
    int initialized = 0, mine = rank + 1, sum = 0;
    MPI_Initialized(&initialized);
    if (!initialized)
        MPI_Init(&argc, &argv);
    MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    second = sum == first ? second : -1;
    MPI_Finalize();
#endif
    printf("rank %d of %d: %lld %lld\n", rank, nranks, (long long)first, (long long)second);
    return 0;
}
