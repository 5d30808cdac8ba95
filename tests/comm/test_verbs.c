/* Communicators over the transport verbs: that they leave nothing behind, in the process and in the device, and that nobody
 * writes to memory which is the program's again, however the peer went. */
#include <c4/c4.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/c4test.h"
#include "tests/chaos/usage.h"
#include "tests/collectives/world.h"

#define OPTIONS "C4_TRANSPORTS=verbs C4_REQUIRE_TRANSPORT=verbs"

static void need_verbs(void)
{
    if (!world_has_transport("verbs"))
        C4TEST_SKIP("no RDMA device here: `c4info transports` says more");
}

/* ---- many communicators ---- */

#define WARM_UP 4
#define COUNT   200
/* The caches of malloc are still growing then, by this much in all. What is left behind for each shows beside it. */
#define BYTES_CACHED (32 << 10)
#define BYTES_EACH   64

/* What the kernel counts for all devices together, as `rdma resource show` prints it. */
typedef struct held {
    int pd, cq, qp, mr, ctx, srq;
} held;

static int held_of(const char *line, const char *word)
{
    char wanted[16];
    snprintf(wanted, sizeof wanted, " %s ", word);
    const char *found = strstr(line, wanted);
    return found ? atoi(found + strlen(wanted)) : 0;
}

/* False: no tool that tells. */
static bool held_measure(held *h)
{
    char line[512];
    bool any = false;
    FILE *list = popen("rdma resource show 2>/dev/null", "r");
    *h = (held){0};
    while (list && fgets(line, sizeof line, list)) {
        any = true;
        h->pd += held_of(line, "pd");
        h->cq += held_of(line, "cq");
        h->qp += held_of(line, "qp");
        h->mr += held_of(line, "mr");
        h->ctx += held_of(line, "ctx");
        h->srq += held_of(line, "srq");
    }
    if (list)
        pclose(list);
    return any;
}

/* Small and large messages in both directions, from memory that the device knows and from other memory. */
static void use(c4_comm *comm, float *declared)
{
    static float buffer[20000];
    WORLD_OK(c4_all_reduce(buffer, buffer, 2, C4_FLOAT32, C4_SUM, comm, NULL));
    WORLD_OK(c4_all_reduce(buffer, buffer, 20000, C4_FLOAT32, C4_SUM, comm, NULL));
    WORLD_OK(c4_all_reduce(declared, declared, 20000, C4_FLOAT32, C4_SUM, comm, NULL));
}

/* Both ranks hold still while rank 0 looks at the devices, which they share. */
static void measure(c4_comm *comm, int rank, chaos_usage *usage, held *devices)
{
    WORLD_OK(c4_barrier(comm, NULL));
    *usage = chaos_usage_measure();
    if (rank == 0 && !held_measure(devices))
        fprintf(stderr, "`rdma resource show` does not work here: what the devices hold is not looked at\n");
    WORLD_OK(c4_barrier(comm, NULL));
}

static void check_held(const held *before, const held *after, int count)
{
    if (memcmp(before, after, sizeof *before) != 0)
        world_fail("devices held pd %d cq %d qp %d mr %d ctx %d srq %d, and %d communicators later %d %d %d %d %d %d",
                   before->pd, before->cq, before->qp, before->mr, before->ctx, before->srq, count, after->pd,
                   after->cq, after->qp, after->mr, after->ctx, after->srq);
    if (before->ctx == 0 && before->pd > 0)
        world_fail("no device was in use");
}

static void many_rank(c4_comm **comm, int rank, void *arg)
{
    int count = *(const int *)arg;
    chaos_usage before = {0}, after;
    held devices_before = {0}, devices_after = {0};
    void *declared;
    WORLD_OK(c4_mem_alloc(20000 * sizeof(float), &declared));
    for (int i = 0; i < WARM_UP + count && world_failures() == 0; i++) {
        c4_comm *child = NULL;
        if (i == WARM_UP)
            measure(*comm, rank, &before, &devices_before);
        WORLD_OK(c4_comm_split(*comm, 0, rank, NULL, NULL, &child));
        if (child)
            use(child, declared);
        WORLD_OK(c4_comm_destroy(child));
    }
    measure(*comm, rank, &after, &devices_after);
    check_held(&devices_before, &devices_after, count);
    if (after.files > before.files || after.threads > before.threads || after.maps > before.maps + 4 ||
        after.heap_bytes > before.heap_bytes + BYTES_CACHED + (size_t)count * BYTES_EACH)
        world_fail("rank %d: %d files, %d threads, %d maps, %zu bytes after %d communicators, %d, %d, %d, %zu before",
                   rank, after.files, after.threads, after.maps, after.heap_bytes, count, before.files, before.threads,
                   before.maps, before.heap_bytes);
    WORLD_OK(c4_mem_free(declared));
}

static void test_many_communicators(void)
{
    int count = getenv("C4_TEST_QUICK") ? COUNT / 16 : COUNT; /* in a guest under emulation each takes seconds */
    need_verbs();
    world_run(&(world_spec){.nranks = 2, .options = OPTIONS, .deadline_s = 100}, many_rank, &count);
}

/* ---- a peer that goes in the middle of a large message ---- */

enum { WRITER, READER, BYTES = 3 << 20 };

typedef struct leaving {
    int victim; /* WRITER or READER */
    bool stops; /* is stopped, and goes on later; else it dies */
    int polls;  /* of the victim before */
    int ids[2];
    pid_t pid;        /* of the victim */
    atomic_int ended; /* the victim, stopped, has gone on and come to its end */
} leaving;

static c4_comm *create(const leaving *l, int rank)
{
    c4_unique_id id;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = OPTIONS " C4_RECORD=0"};
    if (rank == WRITER) {
        C4TEST_OK_FATAL(c4_unique_id_create(&id));
        CU_ASSERT_FATAL(write(l->ids[1], &id, sizeof id) == (ssize_t)sizeof id);
    } else {
        CU_ASSERT_FATAL(read(l->ids[0], &id, sizeof id) == (ssize_t)sizeof id);
    }
    C4TEST_OK_FATAL(c4_comm_create(&id, 2, rank, &config, NULL, &comm));
    return comm;
}

static bool is_stopped(pid_t pid)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    bool got = file && fgets(line, sizeof line, file);
    if (file)
        fclose(file);
    return got && strstr(line, ") T ") != NULL;
}

/* Where one of them goes, or the other, to whom nobody speaks any more, gives up. */
static void pass_by(const leaving *l, c4_comm *comm, int rank, int poll)
{
    if (rank == l->victim && poll == l->polls)
        raise(l->stops ? SIGSTOP : SIGKILL);
    if (rank != l->victim && l->stops && poll % 64 == 0 && is_stopped(l->pid))
        C4TEST_OK(c4_comm_abort(comm));
}

/* Messages until one ends badly. During the first of them the two connect. */
static c4_status transfer(const leaving *l, c4_comm *comm, int rank, void *memory)
{
    c4_status status = C4_OK;
    for (int message = 0, poll = 0; status == C4_OK; message++) {
        c4_request *request = NULL;
        status = rank == WRITER ? c4_send(memory, BYTES, C4_UINT8, READER, comm, &request)
                                : c4_recv(memory, BYTES, C4_UINT8, WRITER, comm, &request);
        while (status == C4_OK && request) {
            c4_status now = c4_test(&request);
            status = now == C4_IN_PROGRESS ? C4_OK : now;
            if (message > 0)
                pass_by(l, comm, rank, poll++);
        }
    }
    return status;
}

/* The NIC of a stopped process works on, and what a dead one has sent may still be on its way. */
static void watch_memory(leaving *l, unsigned char *memory)
{
    uint64_t end_ns = c4_now_ns() + 300000000;
    memset(memory, 0xa5, BYTES);
    if (l->stops)
        kill(l->pid, SIGCONT);
    while (l->stops ? !l->ended : c4_now_ns() < end_ns)
        sched_yield();
    for (size_t i = 0; i < BYTES; i++)
        if (memory[i] != 0xa5) {
            C4TEST_INT_FATAL((int)i, -1);
        }
}

static void leaving_rank(int rank, void *arg)
{
    leaving *l = arg;
    void *memory = NULL;
    if (rank == l->victim)
        l->pid = getpid();
    c4_comm *comm = create(l, rank);
    C4TEST_OK_FATAL(c4_mem_alloc(BYTES, &memory));
    memset(memory, 0x5a, BYTES);
    c4_status status = transfer(l, comm, rank, memory);
    if (rank == l->victim) {
        CU_ASSERT(status < 0);
    } else {
        C4TEST_INT(status, l->stops ? C4_ERR_ABORTED : C4_ERR_PEER_DEAD);
        watch_memory(l, memory);
    }
    C4TEST_OK(c4_comm_destroy(comm));
    C4TEST_OK(c4_mem_free(memory));
    l->ended = 1;
}

static void leave(int victim, bool stops)
{
    int statuses[2];
    leaving *l = c4test_shared(sizeof *l);
    /* In the guest a message takes the writer 100 to 400 polls, and the reader 20000, who yields to the NIC. */
    *l = (leaving){.victim = victim, .stops = stops, .polls = (int)c4test_rand_below(victim == WRITER ? 800 : 40000)};
    C4TEST_INT_FATAL(pipe(l->ids), 0);
    c4test_team *team = c4test_team_start(2, leaving_rank, l);
    c4test_team_wait(team, 20, statuses);
    for (int rank = 0; rank < 2; rank++) {
        bool killed = rank == victim && !stops;
        bool good = killed ? WIFSIGNALED(statuses[rank]) && WTERMSIG(statuses[rank]) == SIGKILL : statuses[rank] == 0;
        if (!good)
            fprintf(stderr, "rank %d ended with 0x%x; rank %d was %s after %d polls\n", rank, (unsigned)statuses[rank],
                    victim, stops ? "stopped" : "killed", l->polls);
        CU_ASSERT(good);
    }
    close(l->ids[0]);
    close(l->ids[1]);
}

static void test_killed_in_mid_message(void)
{
    setenv("C4_LOG", "none", 1);
    need_verbs();
    for (int i = 0; i < c4test_samples(16); i++)
        leave(i % 2, false);
}

static void test_stopped_in_mid_message(void)
{
    setenv("C4_LOG", "none", 1);
    need_verbs();
    for (int i = 0; i < c4test_samples(16); i++)
        leave(i % 2, true);
}

/* ---- what is wrong with this machine ---- */

/* This process, and those it makes, may lock so much memory and no more, root or not. */
static void limit_locked_memory(size_t bytes)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    struct rlimit limit = {bytes, bytes};
    C4TEST_INT_FATAL(syscall(SYS_capget, &header, sets), 0);
    sets[0].effective &= ~(1u << CAP_IPC_LOCK);
    C4TEST_INT_FATAL(syscall(SYS_capset, &header, sets), 0);
    C4TEST_INT_FATAL(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

typedef struct misfit {
    const char *options;
    size_t locked_bytes;
    const char *told[2];
} misfit;

static void without_rank(c4_comm **comm, int rank, void *arg)
{
    float value = (float)rank;
    (void)arg;
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, *comm, NULL));
    WORLD_TRUE(value == 1);
}

static void refused_rank(const c4_unique_id *id, int rank, void *arg)
{
    const misfit *m = arg;
    char options[256];
    c4_comm *comm = NULL;
    snprintf(options, sizeof options, "C4_TRANSPORTS=verbs,tcp C4_REQUIRE_TRANSPORT=verbs %s", m->options);
    c4_comm_config config = {.struct_size = sizeof config, .options = options, .timeout_ms = c4test_seconds(10) * 1000};
    WORLD_STATUS(c4_comm_create(id, 2, rank, &config, NULL, &comm), C4_ERR_UNREACHABLE);
    for (int i = 0; i < 2; i++)
        if (!strstr(c4_last_error(NULL), m->told[i]))
            world_fail("rank %d: \"%s\" does not say \"%s\"", rank, c4_last_error(NULL), m->told[i]);
}

static int count_lines(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++)
        n++;
    return n;
}

/* Without verbs a job runs over tcp: each rank says once why. Where verbs is demanded, that is the error. */
static void test_misfit(void)
{
    static char log[1 << 16];
    const misfit *m = c4test_arg();
    char options[256];
    setenv("C4_LOG", "warn", 1);
    setenv("C4_LOG_FILE", c4test_path("log"), 1);
    need_verbs();
    if (m->locked_bytes > 0)
        limit_locked_memory(m->locked_bytes);
    snprintf(options, sizeof options, "C4_TRANSPORTS=verbs,tcp %s", m->options);
    world_run(&(world_spec){.nranks = 2, .options = options}, without_rank, NULL);
    FILE *file = fopen(c4test_path("log"), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    log[fread(log, 1, sizeof log - 1, file)] = '\0';
    fclose(file);
    for (int i = 0; i < 2; i++)
        C4TEST_CONTAINS(log, m->told[i]);
    C4TEST_INT(count_lines(log, "\n"), 2);
    if (count_lines(log, "\n") != 2)
        fprintf(stderr, "%s", log);
    setenv("C4_LOG", "none", 1);
    world_run_raw(&(world_spec){.nranks = 2}, refused_rank, (void *)m);
}

static void short_rank(c4_comm **comm, int rank, void *arg)
{
    float value = 1;
    (void)arg;
    c4_status status = c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, *comm, NULL);
    const char *said = c4_last_error(*comm);
    WORLD_TRUE(status == C4_ERR_SYSTEM || status == C4_ERR_PEER_ERROR);
    if (!strstr(said, "cannot be registered: Cannot allocate memory; this process may lock 400 KiB (ulimit -l)") ||
        strstr(said, "C4_ERR_MEMORY"))
        world_fail("rank %d: %s: %s", rank, c4_status_name(status), said);
}

/* Enough to find that verbs works, and too little for what the first peer is granted. */
static void test_locked_memory_runs_out(void)
{
    setenv("C4_LOG", "none", 1);
    need_verbs();
    limit_locked_memory(400 << 10);
    world_run(&(world_spec){.nranks = 2, .options = OPTIONS}, short_rank, NULL);
}

int main(int argc, char **argv)
{
    static const misfit locked = {
        "", 64 << 10, {"this process may lock 64 KiB (ulimit -l)", "raise memlock in /etc/security/limits.conf"}};
    static const misfit gid = {"C4_VERBS_GID_INDEX=99", 0, {"has no GID 99 (C4_VERBS_GID_INDEX)", "verbs is"}};
    static const misfit device = {
        "C4_VERBS_DEVICES=mlx77", 0, {"no active port fits C4_VERBS_DEVICES=mlx77; there are", "verbs is"}};
    static const c4test_case cases[] = {C4TEST_WITH("locked_memory", test_misfit, 40, &locked),
                                        C4TEST_WITH("gid_that_is_not_there", test_misfit, 40, &gid),
                                        C4TEST_WITH("device_that_is_not_there", test_misfit, 40, &device),
                                        C4TEST_DEADLINE(locked_memory_runs_out, 40),
                                        C4TEST_DEADLINE(many_communicators, 120),
                                        C4TEST_DEADLINE(killed_in_mid_message, 60),
                                        C4TEST_DEADLINE(stopped_in_mid_message, 60),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
