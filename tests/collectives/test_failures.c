/* Communicators that end otherwise than by c4_comm_destroy: a rank that fails late in its set-up, abort, and the one-thread
 * rule. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/internal.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one rank fails after the exchanges ---- */

/* No thread can be made with such a stack: the progress thread, which comes last, fails. */
static void break_threads(bool broken)
{
    static size_t usual;
    pthread_attr_t attributes;
    WORLD_TRUE(pthread_getattr_default_np(&attributes) == 0);
    if (!usual)
        WORLD_TRUE(pthread_attr_getstacksize(&attributes, &usual) == 0);
    WORLD_TRUE(pthread_attr_setstacksize(&attributes, broken ? (size_t)1 << 46 : usual) == 0);
    WORLD_TRUE(pthread_setattr_default_np(&attributes) == 0);
    pthread_attr_destroy(&attributes);
}

typedef struct late_failure {
    bool early; /* rank 1's options are wrong instead */
    int color;  /* of rank 2 */
} late_failure;

static void late_failure_rank(c4_comm **comm, int rank, void *arg)
{
    const late_failure *f = arg;
    c4_comm *child = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_PROGRESS=thread"};
    if (rank == 1 && f->early)
        config.options = "C4_PROGRESS=yesterday";
    else if (rank == 1)
        break_threads(true);
    c4_status status = c4_comm_split(*comm, rank == 2 ? f->color : 0, 0, &config, NULL, &child);
    if (rank == 1) {
        WORLD_STATUS(status, f->early ? C4_ERR_OPTION : C4_ERR_SYSTEM);
        WORLD_TRUE(strstr(c4_last_error(*comm), f->early ? "yesterday" : "progress thread") != NULL);
        break_threads(false);
    } else if (rank == 2 && f->color != 0) {
        WORLD_OK(status); /* not of this child */
        WORLD_TRUE((child != NULL) == (f->color > 0));
        WORLD_OK(c4_comm_destroy(child));
        child = NULL;
    } else {
        WORLD_STATUS(status, C4_ERR_PEER_ERROR);
        WORLD_TRUE(strstr(c4_last_error(*comm), "rank 1") != NULL);
    }
    WORLD_TRUE(child == NULL);
    int64_t one = 1; /* the parent goes on */
    WORLD_OK(c4_all_reduce(&one, &one, 1, C4_INT64, C4_SUM, *comm, NULL));
    WORLD_TRUE(one == 3);
}

static void create_failure_rank(const c4_unique_id *id, int rank, void *arg)
{
    const world_spec *spec = arg;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_PROGRESS=thread", .timeout_ms = 10000};
    if (rank == 1)
        break_threads(true);
    c4_status status = c4_comm_create(id, spec->nranks, rank, &config, NULL, &comm);
    WORLD_STATUS(status, rank == 1 ? C4_ERR_SYSTEM : C4_ERR_PEER_ERROR);
    WORLD_TRUE(comm == NULL && strstr(c4_last_error(NULL), rank == 1 ? "progress thread" : "rank 1") != NULL);
}

static void test_late_failure(void)
{
    static const int colors[] = {0, 1, -1};
    world_spec spec = {.nranks = 3};
    setenv("C4_LOG", "none", 1);
    for (int i = 0; i < 6; i++)
        world_run(&spec, late_failure_rank, &(late_failure){.early = i / 3, .color = colors[i % 3]});
    world_run_raw(&spec, create_failure_rank, &spec);
}

/* A set-up whose thread cannot be made leaves nothing behind. */
static void test_request_leak(void)
{
    c4_unique_id id;
    c4_comm *comm = NULL;
    c4_request *request = NULL;
    size_t before = 0;
    setenv("C4_LOG", "none", 1);
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    break_threads(true);
    for (int i = 0; i < 300; i++) {
        if (i == 100)
            before = mallinfo2().uordblks;
        C4TEST_INT_FATAL(c4_comm_create(&id, 1, 0, NULL, &request, &comm), C4_ERR_SYSTEM);
    }
    size_t after = mallinfo2().uordblks;
    C4TEST_INT(after > before ? after - before : 0, 0);
    CU_ASSERT(request == NULL && comm == NULL);
}

/* ---- abort ---- */

typedef struct aborter {
    c4_comm *comm;
    _Atomic int blocked; /* the main thread is about to block */
    double aborted_at;
} aborter;

static void *abort_main(void *arg)
{
    aborter *a = arg;
    while (!atomic_load(&a->blocked))
        sched_yield();
    a->aborted_at = now_s();
    WORLD_OK(c4_comm_abort(a->comm));
    WORLD_TRUE(now_s() - a->aborted_at < 1.0);
    return NULL;
}

/* Rank 0 waits for a message that rank 1 never sends; another thread of rank 0 aborts. Both ranks end. */
static void abort_rank(c4_comm **comm, int rank, void *arg)
{
    int32_t value = 0;
    (void)arg;
    if (rank == 0) {
        aborter a = {.comm = *comm};
        pthread_t thread;
        WORLD_TRUE(pthread_create(&thread, NULL, abort_main, &a) == 0);
        atomic_store(&a.blocked, 1);
        WORLD_STATUS(c4_recv(&value, 1, C4_INT32, 1, *comm, NULL), C4_ERR_ABORTED);
        pthread_join(thread, NULL);
        WORLD_TRUE(now_s() - a.aborted_at < 1.0);
    } else {
        c4_status status = c4_barrier(*comm, NULL);
        WORLD_TRUE(status == C4_ERR_ABORTED || status == C4_ERR_PEER_ERROR);
        WORLD_TRUE(strstr(c4_last_error(*comm), "abort") != NULL);
    }
    WORLD_TRUE(c4_comm_status(*comm) < 0);
    WORLD_TRUE(c4_barrier(*comm, NULL) < 0);
}

static void test_abort(void)
{
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, abort_rank, NULL);
    world_run(&(world_spec){.nranks = 3, .options = "C4_TRANSPORTS=tcp"}, abort_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm C4_PROGRESS=thread"}, abort_rank, NULL);
}

/* ---- one thread at a time ---- */

typedef struct intruder {
    c4_comm *comm;
    int *pipes;
} intruder;

/* Comes while the other thread is inside its receive; then lets the message go that ends that receive. */
static void *intrude_main(void *arg)
{
    const intruder *x = arg;
    int32_t value = 0;
    while (!atomic_load(&x->comm->busy))
        sched_yield();
    WORLD_STATUS(c4_recv(&value, 1, C4_INT32, 1, x->comm, NULL), C4_ERR_CONCURRENT_USE);
    WORLD_TRUE(strstr(c4_last_error(NULL), "another thread") != NULL);
    WORLD_TRUE(write(x->pipes[1], "x", 1) == 1);
    return NULL;
}

static void concurrent_rank(c4_comm **comm, int rank, void *arg)
{
    int32_t value = rank ? 5 : 0;
    char byte;
    intruder x = {.comm = *comm, .pipes = arg};
    if (rank == 1) {
        WORLD_TRUE(read(x.pipes[0], &byte, 1) == 1);
        WORLD_OK(c4_send(&value, 1, C4_INT32, 0, *comm, NULL));
        return;
    }
    pthread_t thread;
    WORLD_TRUE(pthread_create(&thread, NULL, intrude_main, &x) == 0);
    WORLD_OK(c4_recv(&value, 1, C4_INT32, 1, *comm, NULL));
    pthread_join(thread, NULL);
    WORLD_TRUE(value == 5);
    WORLD_OK(c4_comm_status(*comm));
}

static void test_concurrent_use(void)
{
    int pipes[2];
    C4TEST_INT_FATAL(pipe(pipes), 0);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, concurrent_rank, pipes);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, concurrent_rank, pipes);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(late_failure, 40), C4TEST(request_leak),
                                        C4TEST_DEADLINE(abort, 30), C4TEST_DEADLINE(concurrent_use, 30), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
