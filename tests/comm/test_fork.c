/* fork: the child's handles are dead, the parent's live; the child may make its own, and leaves nothing of the parent behind. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define NO_THREADS_AFTER_FORK 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define NO_THREADS_AFTER_FORK 1
#endif

/* ThreadSanitizer's own locks are not made for that. */
static void need_threads_after_fork(void)
{
#ifdef NO_THREADS_AFTER_FORK
    C4TEST_SKIP("ThreadSanitizer does not support a child that goes on after fork in a process of several threads");
#endif
}

static int child_uses(c4_comm *comm)
{
    float one = 1, sum = 0;
    if (c4_all_reduce(&one, &sum, 1, C4_FLOAT32, C4_SUM, comm, NULL) != C4_ERR_DESTROYED)
        return 1;
    if (strstr(c4_last_error(NULL), "fork") == NULL)
        return 2;
    uint64_t all;
    int waiting;
    c4_unique_id id;
    c4_comm *made;
    if (c4_comm_abort(comm) != C4_ERR_DESTROYED || c4_comm_agree(comm, 1, 100, &all, NULL, NULL) != C4_ERR_DESTROYED ||
        c4_comm_last_complete(comm, 100, &all) != C4_ERR_DESTROYED ||
        c4_comm_shrink(comm, NULL, 0, NULL, NULL, &made) != C4_ERR_DESTROYED ||
        c4_comm_grow_id(comm, &id) != C4_ERR_DESTROYED || c4_comm_pending(comm, &waiting) != C4_ERR_DESTROYED ||
        c4_comm_grow(comm, NULL, 3, -1, NULL, NULL, &made) != C4_ERR_DESTROYED)
        return 4;
    return c4_comm_destroy(comm) == C4_ERR_DESTROYED ? 0 : 3;
}

static void fork_rank(c4_comm **comm, int rank, void *arg)
{
    (void)arg;
    for (int round = 0; round < 3; round++) {
        float value = (float)(rank + round), sum = 0;
        int status = -1;
        pid_t child = fork();
        if (child == 0)
            _exit(child_uses(*comm));
        WORLD_TRUE(child > 0 && waitpid(child, &status, 0) == child);
        WORLD_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        WORLD_OK(c4_all_reduce(&value, &sum, 1, C4_FLOAT32, C4_SUM, *comm, NULL));
        WORLD_TRUE(sum == (float)(1 + 2 * round));
    }
}

static void test_child_is_refused(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, fork_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, fork_rank, NULL);
}

/* ---- the child's own ---- */

/* Alone, and with the children of the other ranks, by an id that the child of rank 0 makes. */
static int child_creates(int rank, const int *pipes)
{
    c4_unique_id id;
    c4_comm *comm;
    int32_t sum = 1;
    if (c4_unique_id_create(&id) != C4_OK || c4_comm_create(&id, 1, 0, NULL, NULL, &comm) != C4_OK ||
        c4_barrier(comm, NULL) != C4_OK || c4_comm_destroy(comm) != C4_OK)
        return 1;
    if (rank == 0 && (c4_unique_id_create(&id) != C4_OK || write(pipes[1], &id, sizeof id) != (ssize_t)sizeof id))
        return 2;
    if (rank == 1 && read(pipes[0], &id, sizeof id) != (ssize_t)sizeof id)
        return 3;
    if (c4_comm_create(&id, 2, rank, NULL, NULL, &comm) != C4_OK)
        return 4;
    if (c4_all_reduce(&sum, &sum, 1, C4_INT32, C4_SUM, comm, NULL) != C4_OK || sum != 2)
        return 5;
    return c4_comm_destroy(comm) == C4_OK ? 0 : 6;
}

static void creating_rank(c4_comm **comm, int rank, void *arg)
{
    int32_t sum = 1;
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(child_creates(rank, arg));
    WORLD_OK(c4_all_reduce(&sum, &sum, 1, C4_INT32, C4_SUM, *comm, NULL)); /* beside it */
    WORLD_TRUE(child > 0 && waitpid(child, &status, 0) == child);
    WORLD_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    WORLD_OK(c4_all_reduce(&sum, &sum, 1, C4_INT32, C4_SUM, *comm, NULL));
    WORLD_TRUE(sum == 4);
}

static void test_child_creates(void)
{
    int pipes[2];
    need_threads_after_fork();
    CU_ASSERT_FATAL(pipe(pipes) == 0);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, creating_rank, pipes);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, creating_rank, pipes);
}

/* Another thread is in the library whenever the child is made: what it holds must not stay held for ever. */
static void *create_often(void *arg)
{
    const atomic_int *stop = arg;
    c4_unique_id id;
    c4_comm *comm;
    while (!*stop)
        if (c4_unique_id_create(&id) != C4_OK || c4_comm_create(&id, 1, 0, NULL, NULL, &comm) != C4_OK ||
            c4_comm_destroy(comm) != C4_OK)
            return (void *)1;
    return NULL;
}

static void test_while_creating(void)
{
    pthread_t thread;
    atomic_int stop = 0;
    void *failed = NULL;
    need_threads_after_fork();
    setenv("C4_LOG", "none", 1);
    CU_ASSERT_FATAL(pthread_create(&thread, NULL, create_often, &stop) == 0);
    for (int i = 0; i < c4test_samples(60); i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) {
            c4_unique_id id;
            c4_comm *comm;
            alarm(10); /* a lock that nobody will open */
            _exit(c4_unique_id_create(&id) != C4_OK || c4_comm_create(&id, 1, 0, NULL, NULL, &comm) != C4_OK ||
                  c4_comm_destroy(comm) != C4_OK);
        }
        waitpid(child, &status, 0);
        C4TEST_INT_FATAL(status, 0);
    }
    stop = 1;
    pthread_join(thread, &failed);
    CU_ASSERT_PTR_NULL(failed);
}

/* ---- programs that the rank starts ---- */

/* None of C4's sockets, files and memory goes along. */
static void exec_rank(c4_comm **comm, int rank, void *arg)
{
    (void)arg;
    (void)comm;
    (void)rank;
    char line[512] = "";
    FILE *list =
        popen("ls -l /proc/self/fd | grep -E 'socket:|c4|eventpoll|pidfd|timerfd|infiniband' | tr '\\n' ';'", "r");
    WORLD_TRUE(list != NULL);
    if (fgets(line, sizeof line, list))
        world_fail("a program that rank %d starts has %s", rank, line);
    pclose(list);
}

static void test_exec(void)
{
    world_run(&(world_spec){.nranks = 3, .options = "C4_TRANSPORTS=shm"}, exec_rank, NULL);
    world_run(&(world_spec){.nranks = 3, .options = "C4_TRANSPORTS=tcp"}, exec_rank, NULL);
}

typedef struct killed_parent {
    const char *options;
    int *child;
    int ids[2];
} killed_parent;

static void killed_parent_rank(int rank, void *arg)
{
    const killed_parent *job = arg;
    c4_unique_id id;
    c4_comm *comm;
    float value = 1;
    c4_comm_config config = {.struct_size = sizeof config, .options = world_options(job->options)};
    setenv("C4_LOG", "none", 1);
    bool told = rank == 0
                    ? c4_unique_id_create(&id) == C4_OK && write(job->ids[1], &id, sizeof id) == (ssize_t)sizeof id
                    : read(job->ids[0], &id, sizeof id) == (ssize_t)sizeof id;
    CU_ASSERT_FATAL(told);
    C4TEST_OK_FATAL(c4_comm_create(&id, 2, rank, &config, NULL, &comm));
    C4TEST_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, comm, NULL));
    if (rank == 1) {
        pid_t child = fork();
        while (child == 0)
            pause();
        *job->child = child;
        raise(SIGKILL);
    }
    C4TEST_INT(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, comm, NULL), C4_ERR_PEER_DEAD);
    C4TEST_CONTAINS(c4_last_error(comm), "rank 1 (pid ");
    C4TEST_OK(c4_comm_destroy(comm));
}

/* A loader of data that a rank has forked lives on when the rank is killed, with copies of all that the rank had open. */
static void test_killed_parent(void)
{
    int statuses[2], *pids = c4test_shared(2 * sizeof *pids);
    CU_ASSERT_FATAL(pids != NULL);
    for (int tcp = 0; tcp < 2; tcp++) {
        killed_parent job = {.options = tcp ? "C4_TRANSPORTS=tcp" : "C4_TRANSPORTS=shm", .child = pids};
        CU_ASSERT_FATAL(pipe(job.ids) == 0);
        c4test_team *team = c4test_team_start(2, killed_parent_rank, &job);
        c4test_team_wait(team, 20, statuses);
        C4TEST_INT(statuses[0], 0);
        CU_ASSERT(WIFSIGNALED(statuses[1]) && WTERMSIG(statuses[1]) == SIGKILL);
        kill(pids[0], SIGKILL);
    }
}

/* A child made by fork keeps every descriptor open. What the parent closes must leave its epoll sets all the same, or it
 * would be told of the end of that connection for ever: rank 1 leaves, and the others are idle. */
static void idle_rank(c4_comm **comm, int rank, void *arg)
{
    const struct timespec window = {0, 600 * 1000000L};
    struct timespec before, after;
    float value = 1;
    (void)arg;
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, *comm, NULL));
    pid_t child = rank == 1 ? 0 : fork();
    if (rank != 1 && child == 0) {
        pause();
        _exit(0);
    }
    WORLD_OK(c4_barrier(*comm, NULL));
    if (rank == 1) {
        c4_comm_destroy(*comm);
        *comm = NULL;
        return;
    }
    while (c4_barrier(*comm, NULL) == C4_OK) /* until it has left */
        ;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    nanosleep(&window, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    long used_ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    if (used_ms > 100)
        world_fail("rank %d used %ld ms of CPU in 600 ms in which nothing happened", rank, used_ms);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void test_idle(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 3, .options = "C4_TRANSPORTS=shm"}, idle_rank, NULL);
    world_run(&(world_spec){.nranks = 3, .options = "C4_TRANSPORTS=tcp"}, idle_rank, NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(child_is_refused, 60),
                                        C4TEST_DEADLINE(child_creates, 40),
                                        C4TEST_DEADLINE(while_creating, 90),
                                        C4TEST(exec),
                                        C4TEST_DEADLINE(killed_parent, 60),
                                        C4TEST_DEADLINE(idle, 60),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
