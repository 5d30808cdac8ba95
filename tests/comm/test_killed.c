/* Ranks are killed: the others are told who, soon, and nothing is left behind. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"
#include "tests/comm/bad_days.h"

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- a rank is killed ---- */

enum { KILL_BEFORE, KILL_DURING, KILL_AFTER };

typedef struct killing {
    int nranks, victim, when;
    const char *options;
    int pipe[2], ready[2];
    _Atomic int64_t killed_at;
    bool captured; /* what ranks print goes to files first */
} killing;

/* Not before the survivors have done what came earlier. */
static void die(killing *k)
{
    char byte;
    for (int i = 1; i < k->nranks; i++)
        CU_ASSERT_FATAL(read(k->ready[0], &byte, 1) == 1);
    k->killed_at = now_ns();
    raise(SIGKILL);
}

static c4_status survive(const killing *k, c4_comm *comm, float *buffer, size_t count)
{
    c4_status status = C4_OK;
    if (k->when == KILL_AFTER) { /* computes, and only looks at the communicator now and then */
        while ((status = c4_comm_status(comm)) == C4_OK)
            sched_yield();
        return c4_barrier(comm, NULL);
    }
    while (status == C4_OK)
        status = c4_all_reduce(buffer, buffer, count, C4_FLOAT32, C4_MAX, comm, NULL);
    return status;
}

static const char *output_of(int rank)
{
    char name[32];
    snprintf(name, sizeof name, "output.%d", rank);
    return c4test_path(name);
}

static void capture_output(int rank)
{
    int fd = open(output_of(rank), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
}

static void killing_rank(int rank, void *arg)
{
    killing *k = arg;
    c4_unique_id id;
    c4_comm *comm;
    size_t count = 2 << 20;
    char name[32];
    float *buffer = calloc(count, sizeof *buffer);
    if (k->captured)
        capture_output(rank);
    setenv("C4_LOG", "none", 1);
    bad_days_get_id(k->pipe, rank, k->nranks, &id);
    c4_comm_config config = {.struct_size = sizeof config, .options = world_options(k->options)};
    C4TEST_OK_FATAL(c4_comm_create(&id, k->nranks, rank, &config, NULL, &comm));
    C4TEST_OK(c4_all_reduce(buffer, buffer, 1000, C4_FLOAT32, C4_SUM, comm, NULL));
    if (rank == k->victim) {
        c4_request *request;
        if (k->when == KILL_DURING) {
            C4TEST_OK(c4_all_reduce(buffer, buffer, count, C4_FLOAT32, C4_MAX, comm, &request));
            for (int i = 0; i < 3; i++)
                c4_test(&request);
        }
        die(k);
    }
    CU_ASSERT_FATAL(write(k->ready[1], "x", 1) == 1);
    c4_status status = survive(k, comm, buffer, count);
    double seconds = (double)(now_ns() - k->killed_at) * 1e-9;
    C4TEST_INT(status, C4_ERR_PEER_DEAD);
    if (seconds >= 1.0 || getenv("C4_TEST_VERBOSE"))
        fprintf(stderr, "rank %d of %d: %.3f s after the death of rank %d\n", rank, k->nranks, seconds, k->victim);
    CU_ASSERT(seconds < 1.0 * c4test_seconds(1));
    snprintf(name, sizeof name, "rank %d", k->victim);
    C4TEST_CONTAINS(c4_last_error(comm), name);
    C4TEST_INT(c4_comm_status(comm), C4_ERR_PEER_DEAD);
    C4TEST_INT(c4_all_reduce(buffer, buffer, 1, C4_FLOAT32, C4_SUM, comm, NULL), C4_ERR_PEER_DEAD);
    int64_t before = now_ns();
    C4TEST_OK(c4_comm_destroy(comm));
    CU_ASSERT(now_ns() - before < 1500000000);
    free(buffer);
}

/* What UCX says when it ends a process by itself: README.md tells of it. */
static const char *const ucx_ends[] = {"got REP message", "`!(ep->flags & UCT_TCP_EP_FLAG_CTX_TYPE_TX)' failed"};

/* Passes on what rank `rank` has printed. Has UCX ended it? */
static bool ended_by_ucx(int rank, int status)
{
    char line[1024];
    bool found = false;
    FILE *file = fopen(output_of(rank), "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    while (fgets(line, sizeof line, file)) {
        fputs(line, stderr);
        for (size_t i = 0; i < sizeof ucx_ends / sizeof ucx_ends[0]; i++)
            found |= strstr(line, "Assertion") && strstr(line, ucx_ends[i]);
    }
    fclose(file);
    return found && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* False: UCX has ended a survivor, so that nothing can be said. */
static bool kill_once(const char *options, int nranks, int victim, int when, bool ucx)
{
    int statuses[8];
    bool counts = true;
    killing *k = c4test_shared(sizeof *k);
    *k = (killing){.nranks = nranks, .victim = victim, .when = when, .options = options, .captured = ucx};
    C4TEST_INT_FATAL(pipe(k->pipe), 0);
    C4TEST_INT_FATAL(pipe(k->ready), 0);
    c4test_team *team = c4test_team_start(nranks, killing_rank, k);
    c4test_team_wait(team, 15, statuses);
    for (int i = 0; ucx && i < nranks; i++)
        if (ended_by_ucx(i, statuses[i]))
            counts = false;
    for (int i = 0; counts && i < nranks; i++) {
        bool good = i == victim ? WIFSIGNALED(statuses[i]) && WTERMSIG(statuses[i]) == SIGKILL : statuses[i] == 0;
        if (!good)
            fprintf(stderr, "%s: rank %d of %d ended with status 0x%x (victim %d, moment %d)\n", options, i, nranks,
                    (unsigned)statuses[i], victim, when);
        CU_ASSERT(good);
    }
    for (int i = 0; i < 2; i++) {
        close(k->pipe[i]);
        close(k->ready[i]);
    }
    return counts;
}

static void kill_one(const char *options, int nranks, int victim, int when)
{
    CU_ASSERT(kill_once(options, nranks, victim, when, false));
}

static void test_kill_shm(void)
{
    const char *options = bad_days_options("C4_TRANSPORTS=shm");
    for (int when = KILL_BEFORE; when <= KILL_AFTER; when++) {
        kill_one(options, 2, 1, when);
        kill_one(options, 4, 2, when);
        kill_one(options, 4, 0, when);
    }
}

static const struct {
    int nranks, victim;
} worlds[] = {{2, 0}, {4, 3}, {4, 0}};
#define WORLDS (sizeof worlds / sizeof worlds[0])

static void test_kill_tcp(void)
{
    const char *options = bad_days_options("C4_TRANSPORTS=tcp");
    for (int when = KILL_BEFORE; when <= KILL_AFTER; when++)
        for (size_t i = 0; i < WORLDS; i++)
            kill_one(options, worlds[i].nranks, worlds[i].victim, when);
}

/* UCX tells of a lost connection at once: the death must be told, not that. Where assertions are compiled into UCX, it
 * may end the process of a survivor that was connecting: then the same again. */
static void test_kill_ucx(void)
{
    enum { TRIES = 10 };
    if (!world_has_transport("ucx"))
        C4TEST_SKIP("no UCX here: `c4info transports` says why");
    const char *options = bad_days_options("C4_TRANSPORTS=ucx");
    for (int when = KILL_BEFORE; when <= KILL_AFTER; when++)
        for (size_t i = 0; i < WORLDS; i++) {
            int tries = 1;
            while (!kill_once(options, worlds[i].nranks, worlds[i].victim, when, true) && tries < TRIES) {
                fprintf(stderr, "UCX has ended a survivor: once more\n");
                tries++;
            }
            CU_ASSERT(tries < TRIES);
        }
}

/* ---- all ranks are killed ---- */

typedef struct massacre {
    const char *options;
    int id_pipe[2], ready[2];
} massacre;

static void massacre_rank(int rank, void *arg)
{
    massacre *m = arg;
    c4_unique_id id;
    c4_comm *comm;
    int32_t value = 1;
    void *mapped;
    bad_days_get_id(m->id_pipe, rank, 3, &id);
    c4_comm_config config = {.struct_size = sizeof config, .options = world_options(m->options)};
    C4TEST_OK_FATAL(c4_comm_create(&id, 3, rank, &config, NULL, &comm));
    C4TEST_OK(c4_mem_alloc(1 << 20, &mapped));
    C4TEST_OK(c4_all_reduce(mapped, mapped, 100000, C4_FLOAT32, C4_SUM, comm, NULL));
    C4TEST_OK(c4_all_reduce(&value, &value, 1, C4_INT32, C4_SUM, comm, NULL));
    CU_ASSERT_FATAL(write(m->ready[1], "x", 1) == 1);
    for (;;)
        pause();
}

static void kill_all(const char *options)
{
    char before[8192], after[8192], byte;
    int statuses[3];
    massacre m = {.options = bad_days_options(options)};
    C4TEST_INT_FATAL(pipe(m.id_pipe), 0);
    C4TEST_INT_FATAL(pipe(m.ready), 0);
    bad_days_list("/dev/shm", before, sizeof before);
    c4test_team *team = c4test_team_start(3, massacre_rank, &m);
    for (int i = 0; i < 3; i++)
        CU_ASSERT_FATAL(read(m.ready[0], &byte, 1) == 1);
    for (int i = 0; i < 3; i++)
        kill(c4test_team_pid(team, i), SIGKILL);
    c4test_team_wait(team, 10, statuses);
    bad_days_list("/dev/shm", after, sizeof after);
    C4TEST_STRING(after, before);
    bad_days_list(c4test_dir(), after, sizeof after);
    C4TEST_STRING(after, "records "); /* what tells of the crash */
    for (int i = 0; i < 2; i++) {
        close(m.id_pipe[i]);
        close(m.ready[i]);
    }
}

static void test_kill_all(void)
{
    kill_all("C4_TRANSPORTS=shm,tcp");
    kill_all("C4_TRANSPORTS=shm C4_SHM_BACKEND=file");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(kill_shm, 60), C4TEST_DEADLINE(kill_tcp, 60),
                                        C4TEST_DEADLINE(kill_ucx, 60), C4TEST_DEADLINE(kill_all, 30), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
