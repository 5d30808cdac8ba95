/* Requests that overlap and complete in any order, groups, sends and receives. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/internal.h"
#include "tests/c4test.h"
#include "tests/collectives/pattern.h"
#include "tests/collectives/world.h"

static void over_transports(int nranks, world_fn fn, void *arg)
{
    static const char *const options[] = {"C4_TRANSPORTS=shm", "C4_TRANSPORTS=tcp", "C4_TRANSPORTS=loop",
                                          "C4_TRANSPORTS=shm C4_PROGRESS=thread",
                                          "C4_TRANSPORTS=tcp C4_PROGRESS=thread"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        world_spec spec = {.nranks = nranks, .threads = i == 2, .options = options[i]};
        world_run(&spec, fn, arg);
    }
}

/* ---- many at once ---- */

#define NREQUESTS 48

static void shuffle(int *order, int n, uint64_t *state)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(pattern_random(state) % (unsigned)(i + 1)), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

static size_t request_count(int i)
{
    static const size_t counts[] = {1, 0, 17, 1000, 5000, 70000};
    return counts[i % 6];
}

/* Value of rank `rank` in call `i`; sums over ranks stay exact. */
static float request_value(int i, int rank, size_t at)
{
    return (float)(i + rank * 3 + (int)(at % 101));
}

static void start_request(c4_comm *comm, int i, float *buffer, c4_request **request)
{
    size_t count = request_count(i);
    if (i % 3 == 2)
        WORLD_OK(c4_broadcast(buffer, buffer, count, C4_FLOAT32, 0, comm, request));
    else
        WORLD_OK(c4_all_reduce(buffer, buffer, count, C4_FLOAT32, C4_SUM, comm, request));
}

static void check_request(int i, int nranks, const float *buffer)
{
    for (size_t at = 0; at < request_count(i); at++) {
        float expected = 0;
        for (int r = 0; r < nranks; r++)
            expected += request_value(i, r, at);
        if (i % 3 == 2)
            expected = request_value(i, 0, at);
        if (buffer[at] != expected) {
            world_fail("request %d element %zu: %g, expected %g", i, at, (double)buffer[at], (double)expected);
            return;
        }
    }
}

static void overlap_rank(c4_comm **comm, int rank, void *arg)
{
    uint64_t state = *(uint64_t *)arg + (unsigned)rank;
    int nranks, order[NREQUESTS];
    float *buffers[NREQUESTS];
    c4_request *requests[NREQUESTS];
    c4_comm_size(*comm, &nranks);
    for (int i = 0; i < NREQUESTS; i++) {
        buffers[i] = malloc(request_count(i) * sizeof(float) + 1);
        for (size_t at = 0; at < request_count(i); at++)
            buffers[i][at] = request_value(i, rank, at);
        requests[i] = NULL;
    }
    for (int i = 0; i < NREQUESTS; i++)
        start_request(*comm, i, buffers[i], &requests[i]);
    shuffle(order, NREQUESTS, &state);
    for (int k = 0; k < NREQUESTS; k++) {
        int i = order[k];
        c4_status status = C4_IN_PROGRESS;
        while (k % 2 && (status = c4_test(&requests[i])) == C4_IN_PROGRESS)
            ;
        WORLD_OK(k % 2 ? status : c4_wait(&requests[i]));
        WORLD_TRUE(requests[i] == NULL);
        check_request(i, nranks, buffers[i]);
        free(buffers[i]);
    }
}

static void test_overlap(void)
{
    uint64_t seed = c4test_rand();
    over_transports(2, overlap_rank, &seed);
    over_transports(4, overlap_rank, &seed);
}

/* ---- destroy while requests are outstanding: it waits for them ---- */

static void destroy_rank(c4_comm **comm, int rank, void *arg)
{
    enum { N = 6, COUNT = 50000 };
    int nranks;
    float *buffers[N];
    c4_request *requests[N];
    (void)arg;
    c4_comm_size(*comm, &nranks);
    for (int i = 0; i < N; i++) {
        buffers[i] = malloc(COUNT * sizeof(float));
        for (size_t at = 0; at < COUNT; at++)
            buffers[i][at] = (float)(rank + i);
        WORLD_OK(c4_all_reduce(buffers[i], buffers[i], COUNT, C4_FLOAT32, C4_SUM, *comm, &requests[i]));
    }
    WORLD_OK(c4_comm_destroy(*comm));
    *comm = NULL;
    for (int i = 0; i < N; i++) {
        int sum = nranks * (nranks - 1) / 2 + nranks * i;
        float expected = (float)sum;
        WORLD_TRUE(buffers[i][0] == expected && buffers[i][COUNT - 1] == expected);
        WORLD_OK(i % 2 ? c4_wait(&requests[i]) : c4_test(&requests[i]));
        WORLD_TRUE(requests[i] == NULL);
        free(buffers[i]);
    }
}

static void test_destroy_outstanding(void)
{
    over_transports(3, destroy_rank, NULL);
}

/* ---- groups ---- */

static void send_value(int32_t *buffer, size_t count, int from, int to)
{
    for (size_t i = 0; i < count; i++)
        buffer[i] = (int32_t)(from * 1000003 + to * 1009 + (int)i);
}

static void check_value(const int32_t *buffer, size_t count, int from, int to, const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (buffer[i] != (int32_t)(from * 1000003 + to * 1009 + (int)i)) {
            world_fail("%s: %zu elements from %d to %d: wrong at %zu", what, count, from, to, i);
            return;
        }
}

/* All pairs at once, self included, in one group, twice nested. */
static void all_pairs(c4_comm *comm, int rank, int nranks, size_t count)
{
    int32_t *out = malloc(((size_t)nranks * count + 1) * sizeof *out),
            *in = calloc((size_t)nranks * count + 1, sizeof *in);
    WORLD_OK(c4_group_start());
    for (int p = 0; p < nranks; p++) {
        int peer = (rank + p) % nranks;
        send_value(out + (size_t)peer * count, count, rank, peer);
        WORLD_OK(c4_group_start());
        WORLD_OK(c4_send(out + (size_t)peer * count, count, C4_INT32, peer, comm, NULL));
        WORLD_OK(c4_recv(in + (size_t)peer * count, count, C4_INT32, peer, comm, NULL));
        WORLD_OK(c4_group_end());
    }
    WORLD_OK(c4_group_end());
    for (int p = 0; p < nranks; p++)
        check_value(in + (size_t)p * count, count, p, rank, "all pairs");
    free(out);
    free(in);
}

static void ring(c4_comm *comm, int rank, int nranks, size_t count)
{
    int next = (rank + 1) % nranks, before = (rank + nranks - 1) % nranks;
    int32_t *out = malloc((count + 1) * sizeof *out), *in = calloc(count + 1, sizeof *in);
    send_value(out, count, rank, next);
    WORLD_OK(c4_group_start());
    WORLD_OK(c4_send(out, count, C4_INT32, next, comm, NULL));
    WORLD_OK(c4_recv(in, count, C4_INT32, before, comm, NULL));
    WORLD_OK(c4_group_end());
    check_value(in, count, before, rank, "ring");
    free(out);
    free(in);
}

/* Several messages on one pair match in call order, whatever the order of completion. */
static void in_order(c4_comm *comm, int rank, int nranks)
{
    enum { N = 20 };
    int32_t values[N];
    c4_request *requests[N];
    if (rank > 1 || nranks < 2)
        return;
    for (int i = 0; i < N; i++) {
        values[i] = rank == 0 ? i * 7 : -1;
        WORLD_OK(rank == 0 ? c4_send(&values[i], 1, C4_INT32, 1, comm, &requests[i])
                           : c4_recv(&values[i], 1, C4_INT32, 0, comm, &requests[i]));
    }
    for (int i = N - 1; i >= 0; i--)
        WORLD_OK(c4_wait(&requests[i]));
    for (int i = 0; i < N; i++)
        WORLD_TRUE(values[i] == i * 7);
}

static void p2p_rank(c4_comm **comm, int rank, void *arg)
{
    static const size_t counts[] = {0, 1, 3, 1000, 16384, 700001};
    int nranks;
    (void)arg;
    c4_comm_size(*comm, &nranks);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        ring(*comm, rank, nranks, counts[i]);
        all_pairs(*comm, rank, nranks, counts[i] / 4);
    }
    in_order(*comm, rank, nranks);
}

static void test_send_recv(void)
{
    over_transports(1, p2p_rank, NULL);
    over_transports(2, p2p_rank, NULL);
    over_transports(3, p2p_rank, NULL);
    over_transports(5, p2p_rank, NULL);
}

/* To oneself, blocking: completes when the other half was posted before, else is refused; small or large. */
static void self_rank(c4_comm **comm, int rank, void *arg)
{
    static const size_t counts[] = {1, 300000};
    (void)arg;
    for (int i = 0; i < 2; i++) {
        int32_t *out = malloc(counts[i] * sizeof *out), *in = calloc(counts[i], sizeof *in);
        c4_request *request = NULL;
        send_value(out, counts[i], i, rank);
        for (int round = 0; round < 3; round++) {
            WORLD_OK(c4_barrier(*comm, NULL)); /* must not be what the second refused call repeats */
            WORLD_STATUS(c4_send(out, counts[i], C4_INT32, rank, *comm, NULL), C4_ERR_ARGUMENT);
            WORLD_STATUS(c4_send(out, counts[i], C4_INT32, rank, *comm, NULL), C4_ERR_ARGUMENT);
            WORLD_TRUE(strstr(c4_last_error(*comm), "post the receive first") != NULL);
            WORLD_STATUS(c4_recv(in, counts[i], C4_INT32, rank, *comm, NULL), C4_ERR_ARGUMENT);
            WORLD_TRUE(strstr(c4_last_error(*comm), "post the send first") != NULL);
            memset(in, 0, counts[i] * sizeof *in);
            WORLD_OK(c4_recv(in, counts[i], C4_INT32, rank, *comm, &request));
            WORLD_OK(c4_send(out, counts[i], C4_INT32, rank, *comm, NULL));
            WORLD_OK(c4_wait(&request));
            check_value(in, counts[i], i, rank, "to oneself");
            memset(in, 0, counts[i] * sizeof *in);
            WORLD_OK(c4_send(out, counts[i], C4_INT32, rank, *comm, &request));
            WORLD_OK(c4_recv(in, counts[i], C4_INT32, rank, *comm, NULL));
            check_value(in, counts[i], i, rank, "from oneself");
            WORLD_OK(c4_wait(&request));
            WORLD_OK(c4_group_start());
            WORLD_OK(c4_send(out, counts[i], C4_INT32, rank, *comm, NULL));
            WORLD_OK(c4_recv(in, counts[i], C4_INT32, rank, *comm, NULL));
            WORLD_OK(c4_group_end());
        }
        free(out);
        free(in);
    }
    WORLD_OK(c4_barrier(*comm, NULL));
}

static void test_self(void)
{
    setenv("C4_LOG", "none", 1);
    over_transports(1, self_rank, NULL);
    over_transports(2, self_rank, NULL);
}

/* Collectives of two communicators and requests in one group, started in opposite order on odd ranks. */
static void two_comms_rank(c4_comm **comm, int rank, void *arg)
{
    c4_comm *second = NULL;
    int nranks;
    (void)arg;
    c4_comm_size(*comm, &nranks);
    WORLD_OK(c4_comm_split(*comm, 0, -rank, NULL, NULL, &second));
    for (int round = 0; second && round < 20; round++) {
        int64_t a = rank + round, b = 10 * rank + round, c = 100 * rank;
        c4_request *request = NULL;
        WORLD_OK(c4_group_start());
        if (rank % 2 == 0)
            WORLD_OK(c4_all_reduce(&a, &a, 1, C4_INT64, C4_SUM, *comm, NULL));
        WORLD_OK(c4_all_reduce(&b, &b, 1, C4_INT64, C4_MAX, second, NULL));
        if (rank % 2 == 1)
            WORLD_OK(c4_all_reduce(&a, &a, 1, C4_INT64, C4_SUM, *comm, NULL));
        WORLD_OK(c4_all_reduce(&c, &c, 1, C4_INT64, C4_SUM, second, &request));
        WORLD_STATUS(c4_wait(&request), C4_ERR_GROUP);
        WORLD_OK(c4_group_end());
        WORLD_OK(c4_wait(&request));
        WORLD_TRUE(a == nranks * (nranks - 1) / 2 + nranks * round);
        WORLD_TRUE(b == 10 * (nranks - 1) + round);
        WORLD_TRUE(c == 100 * nranks * (nranks - 1) / 2);
    }
    WORLD_OK(c4_comm_destroy(second));
}

static void test_group_two_comms(void)
{
    over_transports(2, two_comms_rank, NULL);
    over_transports(4, two_comms_rank, NULL);
}

/* ---- a group of which one communicator is in use by another thread ---- */

typedef struct occupant {
    c4_comm *comm;
    atomic_int done;
    int32_t value;
} occupant;

static void *occupy_main(void *arg)
{
    occupant *o = arg;
    WORLD_OK(c4_recv(&o->value, 1, C4_INT32, 1, o->comm, NULL));
    atomic_store(&o->done, 1);
    return NULL;
}

/* Rank 0's group has calls on two communicators, the second of which another thread occupies when the group ends. */
static void occupied_group(c4_comm *free_comm, c4_comm *busy_comm, float *data, size_t count, int *pipes)
{
    occupant o = {.comm = busy_comm};
    pthread_t thread;
    c4_request *request = NULL;
    int64_t refused = 77;
    WORLD_OK(c4_group_start());
    WORLD_OK(c4_all_reduce(&refused, &refused, 1, C4_INT64, C4_SUM, busy_comm, NULL));
    WORLD_OK(c4_all_reduce(data, data, count, C4_FLOAT32, C4_SUM, free_comm, NULL));
    WORLD_OK(c4_all_reduce(&refused, &refused, 1, C4_INT64, C4_SUM, busy_comm, &request));
    WORLD_TRUE(pthread_create(&thread, NULL, occupy_main, &o) == 0);
    while (!atomic_load(&busy_comm->busy))
        sched_yield();
    WORLD_STATUS(c4_group_end(), C4_ERR_CONCURRENT_USE);
    WORLD_TRUE(strstr(c4_last_error(NULL), "another thread") != NULL);
    WORLD_TRUE(!atomic_load(&o.done) && refused == 77);
    WORLD_TRUE(data[0] == 3 && data[count - 1] == 3); /* what could be started is complete */
    WORLD_TRUE(write(pipes[1], "x", 1) == 1);
    pthread_join(thread, NULL);
    WORLD_TRUE(o.value == 5);
    WORLD_STATUS(c4_wait(&request), C4_ERR_CONCURRENT_USE);
    WORLD_TRUE(request == NULL);
}

static void group_occupied_rank(c4_comm **comm, int rank, void *arg)
{
    enum { COUNT = 200000 };
    int *pipes = arg;
    c4_comm *second = NULL;
    float *data = malloc(COUNT * sizeof *data);
    int32_t five = 5;
    char byte;
    WORLD_OK(c4_comm_split(*comm, 0, 0, NULL, NULL, &second));
    for (int i = 0; i < COUNT; i++)
        data[i] = (float)(rank + 1);
    if (rank == 0) {
        occupied_group(*comm, second, data, COUNT, pipes);
    } else {
        WORLD_OK(c4_all_reduce(data, data, COUNT, C4_FLOAT32, C4_SUM, *comm, NULL));
        WORLD_TRUE(read(pipes[0], &byte, 1) == 1);
        WORLD_OK(c4_send(&five, 1, C4_INT32, 0, second, NULL));
    }
    for (int i = 0; i < 2; i++) { /* both go on, and the calls that were refused were never made */
        int64_t one = 1;
        c4_request *request = NULL;
        WORLD_OK(c4_all_reduce(&one, &one, 1, C4_INT64, C4_SUM, i ? second : *comm, &request));
        WORLD_OK(c4_wait(&request));
        WORLD_TRUE(one == 2);
    }
    WORLD_OK(c4_comm_destroy(second));
    free(data);
}

static void test_group_occupied(void)
{
    static const char *const options[] = {"C4_TRANSPORTS=shm", "C4_TRANSPORTS=tcp",
                                          "C4_TRANSPORTS=shm C4_PROGRESS=thread"};
    int pipes[2];
    C4TEST_INT_FATAL(pipe(pipes), 0);
    setenv("C4_LOG", "none", 1);
    for (int i = 0; i < 3; i++)
        world_run(&(world_spec){.nranks = 2, .options = options[i]}, group_occupied_rank, pipes);
}

static void *destroy_main(void *arg)
{
    WORLD_STATUS(c4_comm_destroy(arg), C4_ERR_GROUP);
    WORLD_TRUE(strstr(c4_last_error(NULL), "open group") != NULL);
    return NULL;
}

/* Another thread may not destroy a communicator that an open group has calls on. */
static void group_destroyed_rank(c4_comm **comm, int rank, void *arg)
{
    int64_t value = rank;
    pthread_t thread;
    (void)arg;
    WORLD_OK(c4_group_start());
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT64, C4_SUM, *comm, NULL));
    WORLD_TRUE(pthread_create(&thread, NULL, destroy_main, *comm) == 0);
    pthread_join(thread, NULL);
    WORLD_OK(c4_group_end());
    WORLD_TRUE(value == 1);
}

static void test_group_destroyed(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, group_destroyed_rank, NULL);
}

static double thread_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Rank 1 comes half a second late: a group over two communicators that waits for it leaves the core to others. */
static void group_idle_rank(c4_comm **comm, int rank, void *arg)
{
    c4_comm *second = NULL;
    int64_t a = rank, b = rank;
    (void)arg;
    WORLD_OK(c4_comm_split(*comm, 0, 0, NULL, NULL, &second));
    WORLD_OK(c4_barrier(*comm, NULL));
    if (rank == 1)
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    double used = thread_seconds(CLOCK_THREAD_CPUTIME_ID), start = thread_seconds(CLOCK_MONOTONIC);
    WORLD_OK(c4_group_start());
    WORLD_OK(c4_all_reduce(&a, &a, 1, C4_INT64, C4_SUM, *comm, NULL));
    WORLD_OK(c4_all_reduce(&b, &b, 1, C4_INT64, C4_MAX, second, NULL));
    WORLD_OK(c4_group_end());
    used = thread_seconds(CLOCK_THREAD_CPUTIME_ID) - used;
    double waited = thread_seconds(CLOCK_MONOTONIC) - start;
    WORLD_TRUE(a == 1 && b == 1);
    if (rank == 0 && (waited < 0.3 || used > 0.1))
        world_fail("an idle group used %.3f s of a core in %.3f s", used, waited);
    WORLD_OK(c4_comm_destroy(second));
}

static void test_group_idle(void)
{
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, group_idle_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, group_idle_rank, NULL);
}

static void test_group_misuse(void)
{
    C4TEST_INT(c4_group_end(), C4_ERR_GROUP);
    C4TEST_OK(c4_group_start());
    C4TEST_OK(c4_group_end());
    C4TEST_INT(c4_group_end(), C4_ERR_GROUP);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(overlap, 60),        C4TEST_DEADLINE(destroy_outstanding, 60),
                                        C4TEST_DEADLINE(send_recv, 60),      C4TEST_DEADLINE(group_two_comms, 60),
                                        C4TEST_DEADLINE(self, 30),           C4TEST(group_misuse),
                                        C4TEST_DEADLINE(group_occupied, 40), C4TEST(group_destroyed),
                                        C4TEST_DEADLINE(group_idle, 40),     C4TEST_END};
    return c4test_main(argc, argv, cases);
}
