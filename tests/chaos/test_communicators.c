/* Many communicators, created and destroyed: nothing grows. C4_TEST_COMMUNICATORS=N says how many (300). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/chaos/usage.h"
#include "tests/collectives/world.h"

enum { WARM_UP = 60, FEW = 300, SLACK_BYTES = 64 * 1024, BYTES_PER_COMMUNICATOR = 8 };

static int how_many(void)
{
    const char *text = getenv("C4_TEST_COMMUNICATORS");
    return text ? atoi(text) : c4test_samples(FEW);
}

static void compare(int rank, const chaos_usage *before, const chaos_usage *after, int count)
{
    char text[320];
    chaos_usage may = {.maps = 4, .private_kib = 1024, .shared_kib = 1024};
    may.heap_bytes = SLACK_BYTES + (size_t)count * BYTES_PER_COMMUNICATOR;
    if (chaos_usage_has_grown(before, after, &may, text, sizeof text))
        world_fail("rank %d after %d communicators: %s", rank, count, text);
}

static void use(c4_comm *comm, int nranks)
{
    int32_t value = 3;
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT32, C4_SUM, comm, NULL));
    WORLD_TRUE(value == 3 * nranks);
}

/* ---- children of one communicator ---- */

static void split_rank(c4_comm **comm, int rank, void *arg)
{
    chaos_usage before = {0};
    int count = how_many(), nranks = *(const int *)arg;
    for (int i = 0; i < WARM_UP + count && world_failures() == 0; i++) {
        c4_comm *child = NULL;
        if (i == WARM_UP)
            before = chaos_usage_measure();
        WORLD_OK(c4_comm_split(*comm, i % 3 == 0 ? rank : 0, rank, NULL, NULL, &child));
        use(child, i % 3 == 0 ? 1 : nranks);
        WORLD_OK(c4_comm_destroy(child));
    }
    chaos_usage after = chaos_usage_measure();
    compare(rank, &before, &after, count);
}

static void test_split(void)
{
    for (int nranks = 2; nranks <= 3; nranks++)
        world_run(&(world_spec){.nranks = nranks, .deadline_s = 900}, split_rank, &nranks);
}

/* ---- each with a unique id of its own ---- */

typedef struct unique {
    const char *options;
    int pipe[2];
} unique;

static void unique_rank(int rank, void *arg)
{
    const unique *u = arg;
    chaos_usage before = {0};
    int count = how_many();
    c4_comm_config config = {.struct_size = sizeof config, .options = u->options, .timeout_ms = 20000};
    for (int i = 0; i < WARM_UP + count && world_failures() == 0; i++) {
        c4_unique_id id;
        c4_comm *comm = NULL;
        if (i == WARM_UP)
            before = chaos_usage_measure();
        if (rank == 0) {
            WORLD_OK(c4_unique_id_create(&id));
            WORLD_TRUE(write(u->pipe[1], &id, sizeof id) == (ssize_t)sizeof id);
        } else {
            WORLD_TRUE(read(u->pipe[0], &id, sizeof id) == (ssize_t)sizeof id);
        }
        WORLD_OK(c4_comm_create(&id, 2, rank, &config, NULL, &comm));
        if (comm)
            use(comm, 2);
        WORLD_OK(c4_comm_destroy(comm));
    }
    chaos_usage after = chaos_usage_measure();
    compare(rank, &before, &after, count);
    C4TEST_INT(world_failures(), 0);
}

static void run_unique(const char *options)
{
    unique u = {.options = options};
    int entries = c4test_count_entries(c4test_dir());
    setenv("C4_LOG", "error", 0);
    C4TEST_INT_FATAL(pipe(u.pipe), 0);
    c4test_ranks(2, unique_rank, &u, 900);
    close(u.pipe[0]);
    close(u.pipe[1]);
    C4TEST_INT(c4test_count_entries(c4test_dir()), entries);
}

static void test_unique_shm(void)
{
    run_unique("C4_TRANSPORTS=shm");
}

static void test_unique_file(void)
{
    run_unique("C4_TRANSPORTS=shm C4_SHM_BACKEND=file");
}

static void test_unique_tcp(void)
{
    run_unique("C4_TRANSPORTS=tcp");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(split, 2000), C4TEST_DEADLINE(unique_shm, 1000),
                                        C4TEST_DEADLINE(unique_file, 1000), C4TEST_DEADLINE(unique_tcp, 1000),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
