/* Several communicators: split, split of split, threads with one each, what children inherit, splits behind a request. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "comm/internal.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Sum and order of world ranks over `comm` are as expected. */
static void check_members(c4_comm *comm, int world_rank, const int *members, int nmembers)
{
    int rank = -1, nranks = -1;
    int32_t all[WORLD_MAX_RANKS], mine = world_rank;
    WORLD_OK(c4_comm_rank(comm, &rank));
    WORLD_OK(c4_comm_size(comm, &nranks));
    if (nranks != nmembers || members[rank] != world_rank) {
        world_fail("world rank %d: is %d of %d", world_rank, rank, nranks);
        return;
    }
    memset(all, -1, sizeof all);
    WORLD_OK(c4_all_gather(&mine, all, 1, C4_INT32, comm, NULL));
    for (int i = 0; i < nmembers; i++)
        WORLD_TRUE(all[i] == members[i]);
    int64_t sum = world_rank, expected = 0;
    for (int i = 0; i < nmembers; i++)
        expected += members[i];
    WORLD_OK(c4_all_reduce(&sum, &sum, 1, C4_INT64, C4_SUM, comm, NULL));
    WORLD_TRUE(sum == expected);
    float *large = malloc(100000 * sizeof *large);
    for (int i = 0; i < 100000; i++)
        large[i] = (float)world_rank;
    WORLD_OK(c4_all_reduce(large, large, 100000, C4_FLOAT32, C4_SUM, comm, NULL));
    WORLD_TRUE(large[0] == (float)expected && large[99999] == (float)expected);
    free(large);
}

/* Expected members of `color` given everybody's colors and keys. */
static int sort_members(const int *colors, const int *keys, int n, int color, int *members)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (colors[i] != color)
            continue;
        int at = count++;
        for (; at > 0 && keys[members[at - 1]] > keys[i]; at--)
            members[at] = members[at - 1];
        members[at] = i;
    }
    return count;
}

static void split_and_check(c4_comm *comm, int rank, int n, const int *colors, const int *keys, c4_comm **child)
{
    int members[WORLD_MAX_RANKS];
    *child = NULL;
    WORLD_OK(c4_comm_split(comm, colors[rank], keys[rank], NULL, NULL, child));
    WORLD_TRUE((*child == NULL) == (colors[rank] < 0));
    if (!*child)
        return;
    int nmembers = sort_members(colors, keys, n, colors[rank], members);
    check_members(*child, rank, members, nmembers);
}

static void split_rank(c4_comm **comm, int rank, void *arg)
{
    uint64_t state = *(uint64_t *)arg;
    int n, colors[WORLD_MAX_RANKS], keys[WORLD_MAX_RANKS], identity[WORLD_MAX_RANKS];
    c4_comm *halves, *reversed, *some, *quarter = NULL;
    c4_comm_size(*comm, &n);
    for (int i = 0; i < n; i++) {
        identity[i] = i;
        colors[i] = i % 2;
        keys[i] = 0;
    }
    split_and_check(*comm, rank, n, colors, keys, &halves);
    for (int i = 0; i < n; i++) {
        colors[i] = 5;
        keys[i] = -i;
    }
    split_and_check(*comm, rank, n, colors, keys, &reversed);
    for (int i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        colors[i] = (int)(state >> 60 & 3) - 1;
        keys[i] = (int)(state >> 40 & 7) - 3;
    }
    split_and_check(*comm, rank, n, colors, keys, &some);
    check_members(*comm, rank, identity, n);
    /* split of a split, after the parent's parent was used again */
    int half_rank, quarter_size;
    WORLD_OK(c4_comm_rank(halves, &half_rank));
    WORLD_OK(c4_comm_split(halves, half_rank / 2, 0, NULL, NULL, &quarter));
    WORLD_OK(c4_comm_size(quarter, &quarter_size));
    int64_t one = 1;
    WORLD_OK(c4_all_reduce(&one, &one, 1, C4_INT64, C4_SUM, quarter, NULL));
    WORLD_TRUE(one == quarter_size);
    /* children outlive their parents, in any order */
    WORLD_OK(c4_comm_destroy(halves));
    WORLD_OK(c4_comm_destroy(*comm));
    *comm = NULL;
    one = 1;
    WORLD_OK(c4_all_reduce(&one, &one, 1, C4_INT64, C4_SUM, reversed, NULL));
    WORLD_TRUE(one == n);
    WORLD_OK(c4_comm_destroy(some));
    WORLD_OK(c4_comm_destroy(quarter));
    WORLD_OK(c4_comm_destroy(reversed));
}

static void test_split(void)
{
    static const char *const transports[] = {"C4_TRANSPORTS=shm", "C4_TRANSPORTS=tcp", "C4_TRANSPORTS=loop"};
    static const int nranks[] = {1, 2, 3, 6};
    uint64_t seed = c4test_rand();
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < 4; i++)
            world_run(&(world_spec){.nranks = nranks[i], .threads = t == 2, .options = transports[t]}, split_rank,
                      &seed);
}

/* ---- several threads, each with a communicator of its own ---- */

#define NTHREADS 3

typedef struct own_thread {
    c4_comm *comm;
    int index;
    pthread_t thread;
} own_thread;

static void *own_main(void *arg)
{
    own_thread *t = arg;
    int n;
    c4_comm_size(t->comm, &n);
    for (int i = 0; i < 300; i++) {
        int64_t value = t->index + i;
        WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT64, C4_SUM, t->comm, NULL));
        if (value != (int64_t)n * (t->index + i)) {
            world_fail("thread %d round %d: %lld", t->index, i, (long long)value);
            break;
        }
    }
    return NULL;
}

static void threads_rank(c4_comm **comm, int rank, void *arg)
{
    own_thread threads[NTHREADS];
    (void)rank;
    (void)arg;
    for (int i = 0; i < NTHREADS; i++) {
        threads[i] = (own_thread){.index = i};
        WORLD_OK(c4_comm_split(*comm, 0, 0, NULL, NULL, &threads[i].comm));
    }
    for (int i = 0; i < NTHREADS; i++)
        WORLD_TRUE(pthread_create(&threads[i].thread, NULL, own_main, &threads[i]) == 0);
    for (int i = 0; i < NTHREADS; i++) {
        pthread_join(threads[i].thread, NULL);
        WORLD_OK(c4_comm_destroy(threads[i].comm));
    }
}

static void test_threads(void)
{
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, threads_rank, NULL);
    world_run(&(world_spec){.nranks = 3, .options = "C4_TRANSPORTS=tcp"}, threads_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm C4_PROGRESS=thread"}, threads_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .threads = true, .options = "C4_TRANSPORTS=loop"}, threads_rank, NULL);
}

/* Two jobs in one process. */
static void two_jobs_rank(c4_comm **comm, int rank, void *arg)
{
    c4_unique_id id;
    c4_comm *second = NULL;
    int64_t value = 1;
    (void)arg;
    if (rank == 0)
        WORLD_OK(c4_unique_id_create(&id));
    WORLD_OK(c4_broadcast(&id, &id, sizeof id, C4_UINT8, 0, *comm, NULL));
    WORLD_OK(c4_comm_create(&id, 2, rank, NULL, NULL, &second));
    for (int i = 0; second && i < 10; i++) {
        value = 1;
        WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT64, C4_SUM, i % 2 ? second : *comm, NULL));
        WORLD_TRUE(value == 2);
    }
    WORLD_OK(c4_comm_destroy(second));
    value = 1;
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT64, C4_SUM, *comm, NULL));
    WORLD_TRUE(value == 2);
}

static void test_two_jobs(void)
{
    world_run(&(world_spec){.nranks = 2}, two_jobs_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, two_jobs_rank, NULL);
}

/* Creation behind a request. */
static void request_rank(const c4_unique_id *id, int rank, void *arg)
{
    c4_comm *comm = NULL;
    c4_request *request = NULL;
    int64_t value = 1;
    const world_spec *spec = arg;
    WORLD_OK(c4_comm_create(id, spec->nranks, rank, NULL, &request, &comm));
    WORLD_TRUE(comm != NULL && request != NULL);
    c4_status status = C4_IN_PROGRESS;
    while (rank % 2 && (status = c4_test(&request)) == C4_IN_PROGRESS)
        ;
    WORLD_OK(rank % 2 ? status : c4_wait(&request));
    WORLD_TRUE(request == NULL);
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT64, C4_SUM, comm, NULL));
    WORLD_TRUE(value == spec->nranks);
    WORLD_OK(c4_comm_destroy(comm));
}

/* One rank never comes: the others abort the creation and go on. */
static void abort_setup_rank(const c4_unique_id *id, int rank, void *arg)
{
    c4_comm *comm = NULL;
    c4_request *request = NULL;
    const world_spec *spec = arg;
    if (rank == spec->nranks - 1)
        return;
    WORLD_OK(c4_comm_create(id, spec->nranks, rank, NULL, &request, &comm));
    WORLD_STATUS(c4_test(&request), C4_IN_PROGRESS);
    double start = now_s();
    WORLD_OK(c4_comm_abort(comm));
    WORLD_TRUE(now_s() - start < 1.0);
    WORLD_TRUE(c4_wait(&request) < 0);
    WORLD_TRUE(now_s() - start < 2.0);
    WORLD_OK(c4_comm_destroy(comm));
}

static void test_create_request(void)
{
    world_spec spec = {.nranks = 3};
    world_run_raw(&spec, request_rank, &spec);
    world_run_raw(&spec, abort_setup_rank, &spec);
}

/* ---- what a child has from its parent ---- */

static void inherit_rank(c4_comm **comm, int rank, void *arg)
{
    c4_comm *child = NULL, *grandchild = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_CHUNK_BYTES=8192 C4_ALGO=ring"};
    (void)rank;
    (void)arg;
    WORLD_OK(c4_comm_split(*comm, 0, 0, NULL, NULL, &child));
    WORLD_TRUE(c4_option_int(child->options, "C4_CHUNK_BYTES") == 4096);
    WORLD_TRUE(strcmp(c4_option_string(child->options, "C4_TRANSPORTS"), "tcp") == 0);
    WORLD_OK(c4_comm_split(child, 0, 0, &config, NULL, &grandchild));
    WORLD_TRUE(c4_option_int(grandchild->options, "C4_CHUNK_BYTES") == 8192);
    WORLD_TRUE(strcmp(c4_option_string(grandchild->options, "C4_ALGO"), "ring") == 0);
    WORLD_TRUE(strcmp(c4_option_string(grandchild->options, "C4_TRANSPORTS"), "tcp") == 0);
    WORLD_OK(c4_comm_destroy(child));
    WORLD_OK(c4_comm_destroy(grandchild));
}

static void test_inherit(void)
{
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp C4_CHUNK_BYTES=4096"}, inherit_rank, NULL);
}

/* ---- a split behind a request ---- */

static void split_request_rank(c4_comm **comm, int rank, void *arg)
{
    static const int members[] = {2, 0};
    int *pipes = arg, value;
    char byte;
    c4_comm *child = NULL;
    c4_request *request = NULL;
    if (rank == 2) /* not before rank 0 has returned from its call */
        WORLD_TRUE(read(pipes[0], &byte, 1) == 1);
    WORLD_OK(c4_comm_split(*comm, rank == 1 ? -1 : 0, -rank, NULL, &request, &child));
    WORLD_TRUE(request != NULL && (child == NULL) == (rank == 1));
    if (rank == 0) {
        WORLD_STATUS(c4_test(&request), C4_IN_PROGRESS);
        WORLD_STATUS(c4_comm_status(child), C4_IN_PROGRESS);
        WORLD_STATUS(c4_comm_rank(child, &value), C4_ERR_ARGUMENT);
        WORLD_STATUS(c4_barrier(child, NULL), C4_ERR_ARGUMENT);
        WORLD_STATUS(c4_comm_destroy(*comm), C4_ERR_CONCURRENT_USE);
        WORLD_STATUS(c4_barrier(*comm, NULL), C4_ERR_CONCURRENT_USE);
        WORLD_TRUE(write(pipes[1], "x", 1) == 1);
    }
    WORLD_OK(c4_wait(&request));
    WORLD_TRUE(request == NULL);
    WORLD_OK(c4_barrier(*comm, NULL));
    if (child)
        check_members(child, rank, members, 2);
    WORLD_OK(c4_comm_destroy(child));
}

/* Aborting the child during its set-up fails it on every rank; the parent goes on. */
static void split_abort_rank(c4_comm **comm, int rank, void *arg)
{
    int *pipes = arg;
    char byte;
    c4_comm *child = NULL;
    c4_request *request = NULL;
    if (rank == 1)
        WORLD_TRUE(read(pipes[0], &byte, 1) == 1);
    WORLD_OK(c4_comm_split(*comm, 0, 0, NULL, &request, &child));
    if (rank == 0) {
        WORLD_OK(c4_comm_abort(child));
        WORLD_STATUS(c4_comm_destroy(child), C4_ERR_ARGUMENT);
        WORLD_TRUE(write(pipes[1], "x", 1) == 1);
    }
    WORLD_STATUS(c4_wait(&request), rank == 0 ? C4_ERR_ABORTED : C4_ERR_PEER_ERROR);
    WORLD_TRUE(strstr(c4_last_error(NULL), "abort") != NULL && strstr(c4_last_error(child), "abort") != NULL);
    WORLD_OK(c4_comm_destroy(child));
    WORLD_OK(c4_barrier(*comm, NULL));
}

/* Nobody else comes: aborting the parent ends it. */
static void split_alone_rank(c4_comm **comm, int rank, void *arg)
{
    c4_comm *child = NULL;
    c4_request *request = NULL;
    (void)arg;
    if (rank == 0) {
        WORLD_OK(c4_comm_split(*comm, 0, 0, NULL, &request, &child));
        WORLD_OK(c4_comm_abort(*comm));
        WORLD_STATUS(c4_wait(&request), C4_ERR_ABORTED);
        WORLD_OK(c4_comm_destroy(child));
    }
}

/* Rank 1's options are wrong, which it knows before its set-up thread runs: the reason is there all the same, at the end. */
static void split_early_failure_rank(c4_comm **comm, int rank, void *arg)
{
    const int *color = arg; /* of rank 2 */
    int value;
    c4_comm *child = NULL;
    c4_request *request = NULL;
    c4_comm_config config = {.struct_size = sizeof config};
    if (rank == 1)
        config.options = "C4_PROGRESS=yesterday";
    bool member = rank != 2 || *color == 0;
    WORLD_OK(c4_comm_split(*comm, rank == 2 ? *color : 0, 0, &config, &request, &child));
    WORLD_TRUE((child != NULL) == (member || *color > 0));
    WORLD_STATUS(c4_comm_rank(NULL, &value), C4_ERR_NULL); /* this thread's last error is another one now */
    c4_status status = c4_wait(&request);
    if (member) {
        const char *reason = rank == 1 ? "yesterday" : "rank 1";
        WORLD_TRUE(status == (rank == 1 ? C4_ERR_OPTION : C4_ERR_PEER_ERROR));
        WORLD_TRUE(c4_comm_status(child) == status);
        WORLD_TRUE(strstr(c4_last_error(NULL), reason) != NULL && strstr(c4_last_error(child), reason) != NULL);
        WORLD_TRUE(strstr(c4_last_error(NULL), "yesterday") != NULL); /* also on those that only heard of it */
    } else {
        WORLD_TRUE(status == C4_OK);
    }
    WORLD_TRUE(request == NULL);
    WORLD_OK(c4_comm_destroy(child));
    int64_t one = 1; /* the parent goes on */
    WORLD_OK(c4_all_reduce(&one, &one, 1, C4_INT64, C4_SUM, *comm, NULL));
    WORLD_TRUE(one == 3);
}

static void test_split_request(void)
{
    static const char *const options[] = {"C4_TRANSPORTS=shm", "C4_TRANSPORTS=tcp",
                                          "C4_TRANSPORTS=shm C4_PROGRESS=thread"};
    int pipes[2];
    setenv("C4_LOG", "none", 1);
    C4TEST_INT_FATAL(pipe(pipes), 0);
    for (int i = 0; i < 3; i++) {
        world_run(&(world_spec){.nranks = 3, .options = options[i]}, split_request_rank, pipes);
        world_run(&(world_spec){.nranks = 2, .options = options[i]}, split_abort_rank, pipes);
        world_run(&(world_spec){.nranks = 2, .options = options[i]}, split_alone_rank, NULL);
        for (int color = -1; color < 2; color++)
            world_run(&(world_spec){.nranks = 3, .options = options[i]}, split_early_failure_rank, &color);
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(split, 60),
                                        C4TEST_DEADLINE(threads, 60),
                                        C4TEST(two_jobs),
                                        C4TEST_DEADLINE(create_request, 30),
                                        C4TEST(inherit),
                                        C4TEST_DEADLINE(split_request, 40),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
