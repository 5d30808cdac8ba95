/* Ranks that call different things: every one of them hears who called what, over each transport, through the public calls. And
 * ranks that are only slow: nobody hears anything but the log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"

/* TOO_BIG: bytes that sockets do not hold for a reader that does not come. */
enum { MAX_RANKS = 4, MAX_STEPS = 5, BIG = 4 << 20, TOO_BIG = 16 << 20, LIMIT_S = 20 };

typedef enum kind { END, ALL_REDUCE, ALL_GATHER, BROADCAST, REDUCE, BARRIER, ALL_GATHER_V, SEND, RECV } kind;

typedef enum call_way { BLOCKING, WAITED, TESTED, GROUPED } call_way;

typedef struct step {
    kind kind;
    size_t count;
    int root;
    c4_dtype dtype; /* 0: float32 */
    c4_op op;
} step;

typedef struct mismatch_case {
    const char *label;
    int nranks;
    call_way way;
    step steps[MAX_RANKS][MAX_STEPS];
    const char *parts[4]; /* of every rank's text */
    bool slow;            /* over a network it takes 5 s: more than a quick run has */
} mismatch_case;

typedef struct transport_case {
    const char *name, *options;
    bool threads;
} transport_case;

enum { TCP = 1 };
static const transport_case transports[] = {{"shm", "C4_TRANSPORTS=shm", false},
                                            {"tcp", "C4_TRANSPORTS=tcp C4_SOCKET_IFNAME=lo", false},
                                            {"loop", "C4_TRANSPORTS=loop", true},
                                            {"thread", "C4_TRANSPORTS=shm C4_PROGRESS=thread C4_RECORD=0", false}};

#define C(k, ...)              \
    {                          \
        .kind = k, __VA_ARGS__ \
    }

static const mismatch_case cases[] = {
    {"kind",
     2,
     BLOCKING,
     {{C(ALL_REDUCE, 1024)}, {C(BROADCAST, 1024, 0)}},
     {"rank 0 (host ", "called all_reduce #1 of 1024 float32 sum", "called broadcast #1 of 1024 float32 root 0",
      "on communicator \"dp\""},
     false},
    {"kind_of_one",
     4,
     BLOCKING,
     {{C(ALL_REDUCE, 1024)}, {C(ALL_REDUCE, 1024)}, {C(ALL_GATHER, 1024)}, {C(ALL_REDUCE, 1024)}},
     {"rank 2 (host ", "all_reduce #1 of 1024 float32 sum", "all_gather #1 of 1024 float32"},
     false},
    {"count",
     3,
     BLOCKING,
     {{C(ALL_REDUCE, 8)}, {C(ALL_REDUCE, 8)}, {C(ALL_REDUCE, 9)}},
     {"all_reduce #1 of 8 float32", "all_reduce #1 of 9 float32"},
     false},
    {"count_big",
     2,
     BLOCKING,
     {{C(ALL_REDUCE, BIG)}, {C(ALL_REDUCE, BIG - 1)}},
     {"of 4194304 float32", "of 4194303 float32"},
     false},
    {"dtype_tested",
     2,
     TESTED,
     {{C(ALL_REDUCE, 64)}, {C(ALL_REDUCE, 64, 0, C4_INT32)}},
     {"64 float32 sum", "64 int32 sum"},
     false},
    {"op_in_group",
     2,
     GROUPED,
     {{C(ALL_REDUCE, 64)}, {C(ALL_REDUCE, 64, .op = C4_MAX)}},
     {"float32 sum", "float32 max"},
     false},
    {"root",
     3,
     BLOCKING,
     {{C(BROADCAST, 8, 1)}, {C(BROADCAST, 8, 1)}, {C(BROADCAST, 8, 0)}},
     {"broadcast #1 of 8 float32 root 1", "broadcast #1 of 8 float32 root 0"},
     false},
    {"root_both_return",
     2,
     BLOCKING,
     {{C(BROADCAST, 8, 0), C(BARRIER, 0)}, {C(BROADCAST, 8, 1), C(BARRIER, 0)}},
     {"rank 0 (host ", "called broadcast #1 of 8 float32 root 0", "rank 1 (host ",
      "called broadcast #1 of 8 float32 root 1"},
     false},
    {"skipped",
     2,
     WAITED,
     {{C(ALL_REDUCE, 8), C(BARRIER, 0)}, {C(BARRIER, 0)}},
     {"all_reduce #1 of 8 float32", "called barrier #1"},
     false},
    {"swapped",
     3,
     TESTED,
     {{C(ALL_REDUCE, 8), C(ALL_GATHER, 8)}, {C(ALL_REDUCE, 8), C(ALL_GATHER, 8)}, {C(ALL_GATHER, 8), C(ALL_REDUCE, 8)}},
     {"all_reduce #1 of 8", "all_gather #1 of 8"},
     false},
    {"v_kind",
     2,
     BLOCKING,
     {{C(ALL_GATHER_V, 8)}, {C(ALL_GATHER, 8)}},
     {"all_gather_v #1 of float32", "all_gather #1 of 8 float32"},
     false},
    {"against_receive",
     2,
     BLOCKING,
     {{C(ALL_REDUCE, 8), C(ALL_REDUCE, 8)}, {C(ALL_REDUCE, 8), C(RECV, 8, 0)}},
     {"deadlock on communicator \"dp\"", "called all_reduce #2 of 8 float32 sum and waits there for rank 1",
      "called recv #0 of 8 float32 from rank 0 and waits there for rank 0"},
     false},
    {"against_send",
     2,
     BLOCKING,
     {{C(ALL_REDUCE, 8)}, {C(SEND, TOO_BIG, 0)}},
     {"deadlock", "all_reduce #1 of 8 float32 sum", "send #0 of 16777216 float32 to rank 0"},
     true},
    {"send_count",
     2,
     BLOCKING,
     {{C(SEND, 8, 1)}, {C(RECV, 16, 0)}},
     {"send #0 of 8 float32 to rank 1", "recv #0 of 16 float32 from rank 0"},
     false},
    {"circle",
     3,
     WAITED,
     {{C(RECV, 8, 1)}, {C(RECV, 8, 2)}, {C(RECV, 8, 0)}},
     {"deadlock", "waits there for rank 1", "waits there for rank 2", "waits there for rank 0"},
     false},
};

typedef struct case_run {
    const mismatch_case *table;
    const transport_case *transport;
} case_run;

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static c4_status start(const step *s, int nranks, char *send, char *recv, c4_comm *comm, c4_request **request)
{
    c4_dtype dtype = s->dtype ? s->dtype : C4_FLOAT32;
    size_t counts[MAX_RANKS];
    for (int i = 0; i < nranks; i++)
        counts[i] = s->count;
    switch (s->kind) {
    case ALL_REDUCE:
        return c4_all_reduce(send, recv, s->count, dtype, s->op, comm, request);
    case ALL_GATHER:
        return c4_all_gather(send, recv, s->count, dtype, comm, request);
    case BROADCAST:
        return c4_broadcast(send, recv, s->count, dtype, s->root, comm, request);
    case REDUCE:
        return c4_reduce(send, recv, s->count, dtype, s->op, s->root, comm, request);
    case BARRIER:
        return c4_barrier(comm, request);
    case ALL_GATHER_V:
        return c4_all_gather_v(send, s->count, recv, counts, NULL, dtype, comm, request);
    case SEND:
        return c4_send(send, s->count, dtype, s->root, comm, request);
    default:
        return c4_recv(recv, s->count, dtype, s->root, comm, request);
    }
}

static c4_status finish(c4_request **request, call_way way)
{
    c4_status status;
    if (way == WAITED)
        return c4_wait(request);
    while ((status = c4_test(request)) == C4_IN_PROGRESS)
        sleep_ms(1);
    return status;
}

static c4_status run_steps(const step *steps, int nranks, call_way way, char *send, char *recv, c4_comm *comm)
{
    c4_request *requests[MAX_STEPS] = {NULL};
    c4_status status = C4_OK;
    if (way == GROUPED)
        WORLD_OK(c4_group_start());
    for (int i = 0; i < MAX_STEPS && steps[i].kind != END && status == C4_OK; i++)
        status = start(&steps[i], nranks, send, recv, comm, way == WAITED || way == TESTED ? &requests[i] : NULL);
    if (way == GROUPED)
        return c4_group_end();
    for (int i = 0; i < MAX_STEPS; i++) {
        c4_status ended = requests[i] ? finish(&requests[i], way) : C4_OK;
        if (status == C4_OK)
            status = ended;
    }
    return status;
}

/* The rank that had returned hears it from its next call. */
static c4_status next_call(c4_comm *comm)
{
    uint64_t limit = c4_now_ns() + (uint64_t)c4test_seconds(LIMIT_S) * 1000000000u;
    while (c4_comm_status(comm) == C4_OK && c4_now_ns() < limit)
        sleep_ms(1);
    return c4_barrier(comm, NULL);
}

static void rank_main(c4_comm **world_comm, int rank, void *arg)
{
    const case_run *r = arg;
    const mismatch_case *table = r->table;
    c4_comm *comm;
    c4_comm_config config = {.struct_size = sizeof config, .name = "dp"};
    char *send = calloc(TOO_BIG, sizeof(float)), *recv = calloc(TOO_BIG, sizeof(float));
    WORLD_OK(c4_comm_split(*world_comm, 0, rank, &config, NULL, &comm));
    c4_status status = run_steps(table->steps[rank], table->nranks, table->way, send, recv, comm);
    if (status == C4_OK)
        status = next_call(comm);
    WORLD_STATUS(status, C4_ERR_MISMATCH);
    const char *text = c4_last_error(comm);
    for (int i = 0; i < 4 && table->parts[i]; i++)
        if (!strstr(text, table->parts[i]))
            world_fail("%s over %s, rank %d: \"%s\" is not in: %s", table->label, r->transport->name, rank,
                       table->parts[i], text);
    WORLD_OK(c4_comm_destroy(comm));
    WORLD_OK(c4_barrier(*world_comm, NULL)); /* another communicator goes on */
    free(send);
    free(recv);
}

static void test_case(void)
{
    case_run r = *(const case_run *)c4test_arg();
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){r.table->nranks, r.transport->threads, r.transport->options, 60}, rank_main, &r);
}

/* ---- no false alarm ---- */

/* Rank 1 computes: rank 0 says so once, and both go on. */
static void late_main(c4_comm **comm, int rank, void *arg)
{
    float value = 1;
    (void)arg;
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, *comm, NULL));
    if (rank == 1)
        sleep_ms(3500);
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, *comm, NULL));
    WORLD_TRUE(value == 4);
}

static void test_late(void)
{
    static char log[1 << 16];
    const char *path = c4test_path("log");
    setenv("C4_LOG", "warn", 1);
    setenv("C4_LOG_FILE", path, 1);
    world_run(&(world_spec){2, false, "C4_TRANSPORTS=shm C4_HEARTBEAT_MS=1500", 60}, late_main, NULL);
    FILE *file = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    log[fread(log, 1, sizeof log - 1, file)] = 0;
    fclose(file);
    const char *first = strstr(log, "has not entered all_reduce #2 of 1 float32 sum on communicator \"world\"");
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    C4TEST_CONTAINS(log, "rank 1 (host ");
    C4TEST_CONTAINS(log, "its last call was all_reduce #1 of 1 float32 sum, which finished");
    CU_ASSERT_PTR_NULL(strstr(first + 1, "has not entered"));
}

typedef struct slow_run {
    uint64_t seed;
    int seconds;
} slow_run;

enum { SLOW_CALLS = 6, SLOW_BYTES = 1 << 16 };

typedef struct slow_state {
    c4_comm *comms[2];
    int rank, nranks;
    c4_rng same, own; /* the one draws what is called, alike on all ranks; the other how */
    char *buffers;
    c4_request *requests[2 * SLOW_CALLS];
    int nrequests;
} slow_state;

/* A call moves its own communicator: where calls of two are under way, nobody blocks in one of them. */
static void slow_call(slow_state *s, int i, c4_comm *comm, bool mixed)
{
    char *send = s->buffers + 3 * i * SLOW_BYTES, *recv = send + SLOW_BYTES;
    size_t count = 1 + c4_rng_below(&s->same, SLOW_BYTES / MAX_RANKS / 4 - 1);
    unsigned what = (unsigned)c4_rng_below(&s->same, 5);
    int root = (int)c4_rng_below(&s->same, (uint64_t)s->nranks);
    bool blocking = c4_rng_below(&s->own, 4) == 0 && !mixed;
    if (c4_rng_below(&s->own, 8) == 0)
        sleep_ms((int)c4_rng_below(&s->own, 2200));
    if (what == 4) { /* around the circle */
        int next = (s->rank + 1) % s->nranks, previous = (s->rank + s->nranks - 1) % s->nranks;
        WORLD_OK(c4_send(send, count, C4_FLOAT32, next, comm, &s->requests[s->nrequests++]));
        WORLD_OK(c4_recv(recv, count, C4_FLOAT32, previous, comm, blocking ? NULL : &s->requests[s->nrequests++]));
        return;
    }
    step one = {.kind = what == 0   ? ALL_REDUCE
                        : what == 1 ? BROADCAST
                        : what == 2 ? ALL_GATHER
                                    : REDUCE,
                .count = count,
                .root = root};
    WORLD_OK(start(&one, s->nranks, send, recv, comm, blocking ? NULL : &s->requests[s->nrequests++]));
}

static void slow_round(slow_state *s)
{
    bool mixed = c4_rng_below(&s->same, 2);
    unsigned fixed = (unsigned)c4_rng_below(&s->same, 2);
    for (int i = 0; i < SLOW_CALLS; i++)
        slow_call(s, i, s->comms[mixed ? c4_rng_below(&s->same, 2) : fixed], mixed);
    while (s->nrequests > 0) { /* in an order of its own */
        int i = (int)c4_rng_below(&s->own, (uint64_t)s->nrequests);
        c4_status status = mixed || c4_rng_below(&s->own, 2) ? c4_test(&s->requests[i]) : c4_wait(&s->requests[i]);
        if (status == C4_IN_PROGRESS)
            continue;
        WORLD_OK(status);
        s->requests[i] = s->requests[--s->nrequests];
        s->requests[s->nrequests] = NULL;
    }
}

static void slow_main(c4_comm **comm, int rank, void *arg)
{
    const slow_run *run = arg;
    slow_state s = {.comms = {*comm}, .rank = rank, .same = {run->seed}, .own = {run->seed + 1 + (uint64_t)rank}};
    s.buffers = calloc(3 * SLOW_CALLS, SLOW_BYTES);
    WORLD_OK(c4_comm_size(*comm, &s.nranks));
    WORLD_OK(c4_comm_split(*comm, 0, rank, NULL, NULL, &s.comms[1]));
    uint64_t end = c4_now_ns() + (uint64_t)run->seconds * 1000000000u;
    int32_t more = 1;
    while (more && world_failures() == 0) {
        slow_round(&s);
        more = c4_now_ns() < end;
        WORLD_OK(c4_all_reduce(&more, &more, 1, C4_INT32, C4_MIN, *comm, NULL));
    }
    WORLD_OK(c4_comm_destroy(s.comms[1]));
    free(s.buffers);
}

static void test_slow(void)
{
    const transport_case *transport = c4test_arg();
    slow_run run = {.seed = c4test_rand(), .seconds = getenv("C4_TEST_QUICK") ? 4 : 8};
    world_run(&(world_spec){3, transport->threads, transport->options, 120}, slow_main, &run);
}

int main(int argc, char **argv)
{
    enum { NCASES = sizeof cases / sizeof cases[0], NTRANSPORTS = sizeof transports / sizeof transports[0] };
    static c4test_case tests[NTRANSPORTS * (NCASES + 1) + 2];
    static case_run runs[NTRANSPORTS * NCASES];
    static char labels[NTRANSPORTS * (NCASES + 1)][64];
    bool quick = getenv("C4_TEST_QUICK") != NULL; /* each over one transport, in turn */
    bool other = strcmp(world_network(), "tcp") != 0;
    unsigned n = 0;
    for (unsigned i = 0; i < NCASES; i++)
        for (unsigned t = 0; t < NTRANSPORTS; t++) {
            if (quick && ((t != i % NTRANSPORTS && !other) || cases[i].slow))
                continue;
            if (other && t != TCP)
                continue;
            runs[n] = (case_run){&cases[i], &transports[t]};
            snprintf(labels[n], sizeof labels[n], "%s_%s", cases[i].label, transports[t].name);
            tests[n] = (c4test_case)C4TEST_WITH(labels[n], test_case, 90, &runs[n]);
            n++;
        }
    for (unsigned t = 0; t < NTRANSPORTS; t++) {
        snprintf(labels[n], sizeof labels[n], "slow_%s", transports[t].name);
        tests[n] = (c4test_case)C4TEST_WITH(labels[n], test_slow, 120, &transports[t]);
        n++;
    }
    tests[n++] = (c4test_case)C4TEST_DEADLINE(late, 60);
    return c4test_main(argc, argv, tests);
}
