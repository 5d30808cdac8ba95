/* A program that grows: a rank of the first job asks now and then whether ranks wait, and takes them in until there are
 * WANTED. Prints "NRANKS RANK SUM" of the last communicator. */
#include <c4/c4.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, c4_last_error(NULL));
    return 1;
}

static int grow(c4_comm **comm, int *nranks)
{
    int waiting = 0;
    c4_comm *bigger = NULL;
    if (c4_comm_pending(*comm, &waiting) != C4_OK)
        return fail("pending");
    if (!waiting) {
        usleep(5000);
        return 0;
    }
    if (c4_comm_grow(*comm, NULL, *nranks + waiting, -1, NULL, NULL, &bigger) != C4_OK)
        return fail("grow");
    c4_comm_destroy(*comm);
    *comm = bigger;
    *nranks += waiting;
    return 0;
}

int main(int argc, char **argv)
{
    int wanted = argc > 1 ? atoi(argv[1]) : 0, nranks = 0, rank = 0;
    c4_comm *comm;
    if (c4_comm_create_from_env(NULL, NULL, &comm) != C4_OK || c4_comm_size(comm, &nranks) != C4_OK ||
        c4_comm_rank(comm, &rank) != C4_OK)
        return fail("create");
    while (nranks < wanted)
        if (grow(&comm, &nranks))
            return 1;
    int value = rank + 1, sum = 0;
    if (c4_all_reduce(&value, &sum, 1, C4_INT32, C4_SUM, comm, NULL) != C4_OK)
        return fail("all_reduce");
    printf("%d %d %d\n", nranks, rank, sum);
    if (c4_barrier(comm, NULL) != C4_OK)
        return fail("barrier");
    return c4_comm_destroy(comm) == C4_OK ? 0 : fail("destroy");
}
