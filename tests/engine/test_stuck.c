/* Ranks that call different things, wait for one another in a circle, or are only late: one thread per rank, blocking calls,
 * and a control plane that is a function call. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tests/engine/world.h"

enum { MAX_STEPS = 6, BIG = 1 << 20, LIMIT_S = 20 };

typedef struct step {
    c4_kind kind; /* with count 0 and kind 0: the end, unless `call` */
    size_t count;
    int root;
    c4_dtype dtype; /* 0: float32 */
    c4_op op;
    bool call;
    bool later;   /* not waited for before the next step that is */
    int delay_ms; /* before it */
} step;

typedef struct stuck_case {
    const char *label;
    int nranks;
    step steps[WORLD_MAX_RANKS][MAX_STEPS];
    const char *parts[4]; /* of the text; none: all must go well */
    bool backwards;       /* what is waited for later, is so in reverse order */
    const char *algorithm;
} stuck_case;

typedef struct field {
    world world;
    const stuck_case *table;
    c4_status status[WORLD_MAX_RANKS];
    char text[WORLD_MAX_RANKS][C4_ERROR_TEXT_BYTES];
    _Atomic int questions;
    uint64_t ended_ns[WORLD_MAX_RANKS];
} field;

static field the_field;

static c4_status ask(void *context, int member, uint64_t token, const unsigned char card[C4_CONTROL_CARD_BYTES])
{
    int self = *(int *)context;
    unsigned char reply[C4_CONTROL_CARD_BYTES] = {0};
    atomic_fetch_add(&the_field.questions, 1);
    c4_control_answer answer = c4_engine_answer(the_field.world.engines[member], card, reply);
    c4_engine_hear(the_field.world.engines[self], member, token, answer, reply);
    return C4_OK;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static c4_call make_call(const step *s, int nranks, int rank, char *send, char *recv)
{
    c4_dtype dtype = s->dtype ? s->dtype : C4_FLOAT32;
    size_t bytes = s->count * c4_numeric_dtype_bytes(dtype);
    c4_call call = {
        .kind = s->kind, .dtype = dtype, .op = s->op, .root = s->root, .send = send, .recv = recv, .count = s->count};
    bool gathers = s->kind == C4_KIND_ALL_GATHER || s->kind == C4_KIND_ALL_TO_ALL;
    call.send_bytes = s->kind == C4_KIND_RECV || (s->kind == C4_KIND_BROADCAST && rank != s->root) ? 0 : bytes;
    call.recv_bytes = s->kind == C4_KIND_SEND || (s->kind == C4_KIND_REDUCE && rank != s->root) ? 0 : bytes;
    if (gathers)
        call.recv_bytes *= (size_t)nranks;
    if (s->kind == C4_KIND_ALL_TO_ALL || s->kind == C4_KIND_REDUCE_SCATTER)
        call.send_bytes = bytes * (size_t)nranks;
    return call;
}

/* What c4_comm_tell_peers and the control plane do. */
static void tell_others(int rank, c4_status status)
{
    const char *text;
    if (c4_engine_status(the_field.world.engines[rank], &text) != status)
        return;
    for (int i = 0; i < the_field.table->nranks; i++)
        if (i != rank)
            c4_engine_fault(the_field.world.engines[i], status, rank, text);
}

static c4_status run_steps(int rank, char *send, char *recv)
{
    const step *steps = the_field.table->steps[rank];
    c4_engine *engine = the_field.world.engines[rank];
    c4_operation *later[MAX_STEPS];
    unsigned nlater = 0;
    c4_status status = C4_OK;
    for (int i = 0; i < MAX_STEPS && steps[i].call && status == C4_OK; i++) {
        c4_call call = make_call(&steps[i], the_field.table->nranks, rank, send, recv);
        for (int ms = 0; ms < steps[i].delay_ms; ms++, sleep_ms(1))
            c4_engine_progress(engine); /* as c4_test does */
        if (!steps[i].later) {
            status = c4_engine_call(engine, &call);
            continue;
        }
        status = c4_engine_prepare(engine, &call, &later[nlater]);
        if (status == C4_OK)
            c4_engine_start(engine, later[nlater++]);
    }
    for (unsigned i = 0; i < nlater; i++) {
        c4_operation *op = later[the_field.table->backwards ? nlater - 1 - i : i];
        c4_engine_wait(engine, op);
        c4_status ended = c4_engine_finish(engine, op);
        if (status == C4_OK)
            status = ended;
    }
    return status;
}

static void *rank_main(void *arg)
{
    static char buffers[WORLD_MAX_RANKS][2][BIG * 4 * sizeof(float)];
    int rank = *(int *)arg;
    c4_engine *engine = the_field.world.engines[rank];
    c4_status status = run_steps(rank, buffers[rank][0], buffers[rank][1]);
    uint64_t limit = c4_now_ns() + (uint64_t)c4test_seconds(LIMIT_S) * 1000000000u;
    while (the_field.table->parts[0] && status == C4_OK && c4_now_ns() < limit) {
        sleep_ms(1);
        if (c4_engine_status(engine, NULL) < 0) { /* it had returned: its next call says so */
            step next = {.kind = C4_KIND_BARRIER};
            c4_call call = make_call(&next, the_field.table->nranks, rank, NULL, NULL);
            status = c4_engine_call(engine, &call);
        }
    }
    const char *text = "";
    c4_engine_status(engine, &text);
    if (status < 0)
        tell_others(rank, status);
    the_field.ended_ns[rank] = c4_now_ns();
    the_field.status[rank] = status;
    snprintf(the_field.text[rank], sizeof the_field.text[rank], "%s", text);
    return NULL;
}

/* `posted`: as over a network, and without a flight record. */
static void open_field(const stuck_case *table, bool posted)
{
    static int ranks[WORLD_MAX_RANKS] = {0, 1, 2, 3};
    the_field.table = table;
    world_open(
        &the_field.world,
        &(world_spec){.nranks = table->nranks, .record = !posted, .posted = posted, .algorithm = table->algorithm});
    for (int i = 0; i < table->nranks; i++) {
        c4_engine_spec *spec = &the_field.world.engines[i]->spec;
        spec->name = "dp";
        spec->ask = ask;
        spec->ask_context = &ranks[i];
        spec->late_ms = 1500;
        spec->send_stuck_ms = 2000;
        spec->wait.yield_ns = 1000000;
    }
}

static void run_field(const stuck_case *table, bool posted)
{
    static int ranks[WORLD_MAX_RANKS] = {0, 1, 2, 3};
    pthread_t threads[WORLD_MAX_RANKS];
    open_field(table, posted);
    for (int i = 0; i < table->nranks; i++)
        C4TEST_INT_FATAL(pthread_create(&threads[i], NULL, rank_main, &ranks[i]), 0);
    for (int i = 0; i < table->nranks; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < table->nranks; i++) {
        C4TEST_INT(the_field.status[i], table->parts[0] ? C4_ERR_MISMATCH : C4_OK);
        for (int part = 0; part < 4 && table->parts[part]; part++)
            C4TEST_CONTAINS(the_field.text[i], table->parts[part]);
    }
    world_close(&the_field.world);
}

#define CALL(k, ...)                                   \
    {                                                  \
        .call = true, .kind = C4_KIND_##k, __VA_ARGS__ \
    }
#define DP "on communicator \"dp\""

static const stuck_case different[] = {
    {.label = "kind",
     2,
     {{CALL(ALL_REDUCE, 8)}, {CALL(ALL_GATHER, 8)}},
     {"all_reduce #1 of 8 float32 sum", "all_gather #1 of 8 float32", DP}},
    {.label = "kind_no_shared_channel",
     2,
     {{CALL(ALL_REDUCE, BIG)}, {CALL(BROADCAST, BIG, 1)}},
     {"rank 0 called all_reduce #1 of 1048576 float32 sum", "rank 1 called broadcast #1 of 1048576 float32 root 1",
      DP}},
    {.label = "count",
     2,
     {{CALL(ALL_REDUCE, 8)}, {CALL(ALL_REDUCE, 16)}},
     {"all_reduce #1 of 8 float32 sum", "all_reduce #1 of 16 float32 sum"}},
    {.label = "count_big",
     3,
     {{CALL(ALL_REDUCE, BIG)}, {CALL(ALL_REDUCE, BIG)}, {CALL(ALL_REDUCE, BIG - 1)}},
     {"of 1048575 float32", "rank 2 called", "of 1048576 float32"}},
    {.label = "dtype",
     2,
     {{CALL(ALL_REDUCE, 8)}, {CALL(ALL_REDUCE, 8, .dtype = C4_INT32)}},
     {"8 float32 sum", "8 int32 sum"}},
    {.label = "op", 2, {{CALL(ALL_REDUCE, 8)}, {CALL(ALL_REDUCE, 8, .op = C4_MAX)}}, {"float32 sum", "float32 max"}},
    {.label = "root",
     3,
     {{CALL(REDUCE, 8, 0)}, {CALL(REDUCE, 8, 1)}, {CALL(REDUCE, 8, 0)}},
     {"reduce #1 of 8 float32 sum root 0", "rank 1 called reduce #1 of 8 float32 sum root 1"}},
    {.label = "root_both_return",
     2,
     {{CALL(BROADCAST, 8, 0), CALL(ALL_REDUCE, 8)}, {CALL(BROADCAST, 8, 1), CALL(ALL_REDUCE, 8)}},
     {"rank 0 called broadcast #1 of 8 float32 root 0", "rank 1 called broadcast #1 of 8 float32 root 1"}},
    {.label = "root_found_later",
     2,
     {{CALL(BROADCAST, 8, 0), CALL(ALL_REDUCE, 8), CALL(ALL_REDUCE, 8)},
      {CALL(BROADCAST, 8, 1), CALL(ALL_REDUCE, 8), CALL(ALL_REDUCE, 8)}},
     {"broadcast #1 of 8 float32 root 0", "broadcast #1 of 8 float32 root 1"}},
    {.label = "nothing_sent",
     2,
     {{CALL(BROADCAST, 0, 0), CALL(ALL_REDUCE, 8)}, {CALL(BROADCAST, 0, 1), CALL(ALL_REDUCE, 8)}},
     {"rank 0 called broadcast #1 of 0 float32 root 0", "rank 1 called broadcast #1 of 0 float32 root 1"}},
    {.label = "skipped",
     2,
     {{CALL(ALL_REDUCE, 8), CALL(ALL_GATHER, 8)}, {CALL(ALL_GATHER, 8)}},
     {"all_reduce #1 of 8", "all_gather #1 of 8"}},
    {.label = "added",
     3,
     {{CALL(ALL_REDUCE, 8), CALL(BARRIER, 0)},
      {CALL(ALL_REDUCE, 8), CALL(ALL_REDUCE, 8), CALL(BARRIER, 0)},
      {CALL(ALL_REDUCE, 8), CALL(BARRIER, 0)}},
     {"all_reduce #2 of 8", "barrier #2"}},
    {.label = "swapped",
     2,
     {{CALL(ALL_REDUCE, 8), CALL(ALL_GATHER, 8)}, {CALL(ALL_GATHER, 8), CALL(ALL_REDUCE, 8)}},
     {"all_reduce #1 of 8", "all_gather #1 of 8"}},
    {.label = "swapped_non_blocking",
     2,
     {{CALL(ALL_REDUCE, 8, .later = true), CALL(ALL_GATHER, 8, .later = true)},
      {CALL(ALL_GATHER, 8, .later = true), CALL(ALL_REDUCE, 8, .later = true)}},
     {"all_reduce #1 of 8", "all_gather #1 of 8"}},
    {.label = "against_receive",
     2,
     {{CALL(ALL_REDUCE, 8)}, {CALL(RECV, 8, 0)}},
     {"deadlock " DP, "rank 0 called all_reduce #1 of 8 float32 sum and waits there for rank 1",
      "rank 1 called recv #0 of 8 float32 from rank 0 and waits there for rank 0"}},
    {.label = "against_send",
     2,
     {{CALL(ALL_REDUCE, 8)}, {CALL(SEND, BIG, 0)}},
     {"deadlock " DP, "rank 0 called all_reduce #1", "rank 1 called send #0 of 1048576 float32 to rank 0"}},
    {.label = "after_many",
     2,
     {{CALL(ALL_REDUCE, 8), CALL(ALL_REDUCE, 8), CALL(ALL_REDUCE, 8)},
      {CALL(ALL_REDUCE, 8), CALL(ALL_REDUCE, 8), CALL(RECV, 8, 0)}},
     {"all_reduce #3 of 8", "recv #0"}},
    {.label = "send_count",
     2,
     {{CALL(SEND, 8, 1)}, {CALL(RECV, 16, 0)}},
     {"send #0 of 8 float32 to rank 1", "recv #0 of 16 float32 from rank 0"}},
    {.label = "send_dtype",
     2,
     {{CALL(SEND, 8, 1), CALL(SEND, 8, 1)}, {CALL(RECV, 8, 0), CALL(RECV, 8, 0, .dtype = C4_INT32)}},
     {"send #1 of 8 float32 to rank 1", "recv #1 of 8 int32 from rank 0"}},
    {.label = "receives_in_a_circle",
     2,
     {{CALL(RECV, 8, 1)}, {CALL(RECV, 8, 0)}},
     {"deadlock", "rank 0 called recv #0 of 8 float32 from rank 1", "rank 1 called recv #0 of 8 float32 from rank 0"}},
    {.label = "sends_in_a_circle",
     2,
     {{CALL(SEND, BIG, 1)}, {CALL(SEND, BIG, 0)}},
     {"deadlock", "rank 0 called send #0", "rank 1 called send #0"}},
    {.label = "circle_of_three",
     3,
     {{CALL(RECV, 8, 1)}, {CALL(RECV, 8, 2)}, {CALL(RECV, 8, 0)}},
     {"deadlock", "rank 0 called recv #0 and waits there for rank 1",
      "rank 1 called recv #0 and waits there for rank 2", "rank 2 called recv #0 and waits there for rank 0"}},
    {.label = "circle_beside_ring",
     4,
     {{CALL(ALL_REDUCE, 8)}, {CALL(RECV, 8, 0)}, {CALL(ALL_REDUCE, 8)}, {CALL(ALL_REDUCE, 8)}},
     {"deadlock", "rank 1 called recv #0 of 8 float32 from rank 0 and waits there for rank 0",
      "rank 0 called all_reduce #1 of 8 float32 sum and waits there for rank 1"},
     false,
     "ring"},
    {.label = "circle_of_tested",
     4,
     {{CALL(ALL_REDUCE, 8)},
      {CALL(RECV, 8, 0)},
      {CALL(ALL_REDUCE, 8, .later = true), CALL(ALL_REDUCE, 8)},
      {CALL(ALL_REDUCE, 8)}},
     {"deadlock", "rank 1 called recv #0 of 8 float32 from rank 0 and waits there for rank 0",
      "rank 0 called all_reduce #1 of 8 float32 sum and waits there for rank 1"},
     false,
     "ring"},
    {.label = "queued_behind",
     2,
     {{CALL(ALL_REDUCE, 8, .later = true), CALL(ALL_REDUCE, 8, .later = true)}, {CALL(RECV, 8, 0)}},
     {"deadlock", "rank 0 called all_reduce #1 of 8", "rank 1 called recv #0 of 8"},
     true},
    {.label = "circle_through_collective",
     4,
     {{CALL(ALL_REDUCE, 8)}, {CALL(ALL_REDUCE, 8)}, {CALL(RECV, 8, 3)}, {CALL(ALL_REDUCE, 8)}},
     {"deadlock", "rank 2 called recv #0 of 8 float32 from rank 3", "all_reduce #1 of 8"}},
};

static void test_different(void)
{
    run_field(c4test_arg(), false);
}

static void test_different_posted(void)
{
    run_field(c4test_arg(), true);
}

#define LATE(ms) .delay_ms = (ms)
static const stuck_case alike[] = {
    {.label = "late", 2, {{CALL(ALL_REDUCE, 8)}, {CALL(ALL_REDUCE, 8, LATE(2500))}}, {NULL}},
    {.label = "late_root",
     3,
     {{CALL(BROADCAST, BIG, 2)}, {CALL(BROADCAST, BIG, 2)}, {CALL(BROADCAST, BIG, 2, LATE(2500))}},
     {NULL}},
    {.label = "late_receive", 2, {{CALL(SEND, BIG, 1)}, {CALL(RECV, BIG, 0, LATE(2500))}}, {NULL}},
    {.label = "late_in_turn",
     4,
     {{CALL(ALL_REDUCE, 8), CALL(BARRIER, 0)},
      {CALL(ALL_REDUCE, 8, LATE(1300)), CALL(BARRIER, 0)},
      {CALL(ALL_REDUCE, 8, LATE(2600)), CALL(BARRIER, 0)},
      {CALL(ALL_REDUCE, 8), CALL(BARRIER, 0, LATE(1500))}},
     {NULL}},
    {.label = "message_first",
     2,
     {{CALL(ALL_REDUCE, 8, .later = true), CALL(SEND, 8, 1, LATE(2500))}, {CALL(RECV, 8, 0), CALL(ALL_REDUCE, 8)}},
     {NULL}},
    {.label = "both_ways",
     2,
     {{CALL(SEND, BIG, 1, .later = true), CALL(RECV, BIG, 1)},
      {CALL(SEND, BIG, 0, .later = true, LATE(2500)), CALL(RECV, BIG, 0)}},
     {NULL}},
    {.label = "tested_receive",
     2,
     {{CALL(RECV, 8, 1), CALL(SEND, 8, 1)}, {CALL(RECV, 8, 0, .later = true), CALL(SEND, 8, 0, LATE(2500))}},
     {NULL}},
    {.label = "waits_for_one_that_waits",
     3,
     {{CALL(RECV, 8, 1)}, {CALL(RECV, 8, 2), CALL(SEND, 8, 0)}, {CALL(SEND, 8, 1, LATE(2500))}},
     {NULL}},
    {.label = "collective_after_message",
     3,
     {{CALL(ALL_REDUCE, 8)},
      {CALL(RECV, 8, 2), CALL(ALL_REDUCE, 8)},
      {CALL(SEND, 8, 1, LATE(2500)), CALL(ALL_REDUCE, 8)}},
     {NULL}},
};

static void test_alike(void)
{
    run_field(c4test_arg(), false);
    CU_ASSERT(atomic_load(&the_field.questions) > 0); /* it was long enough */
}

static void test_alike_posted(void)
{
    run_field(c4test_arg(), true);
    CU_ASSERT(atomic_load(&the_field.questions) > 0);
}

static unsigned add(c4test_case *cases, unsigned n, const stuck_case *one, void (*run)(void), const char *suffix)
{
    static char labels[128][64];
    snprintf(labels[n], sizeof labels[n], "%s%s", one->label, suffix);
    cases[n] = (c4test_case)C4TEST_WITH(labels[n], run, 60, one);
    return n + 1;
}

/* Up to the first that has not ended, whatever has after it; failed ones do not count. */
static void test_last_complete(void)
{
    world w;
    float values[2][3] = {{1}, {1}}, message[2] = {0};
    world_open(&w, &(world_spec){.nranks = 2});
    c4_call calls[2];
    for (int i = 0; i < 2; i++)
        calls[i] = world_all_reduce(values[i], values[i], 3, C4_FLOAT32, C4_MAX);
    C4TEST_INT(c4_engine_last_complete(w.engines[0]), 0);
    world_run(&w, calls, C4_OK);
    C4TEST_INT(c4_engine_last_complete(w.engines[0]), 1);
    c4_operation *open = world_start(&w, 0, &calls[0]);
    c4_call send = world_send(message, 1, 1);
    c4_operation *p2p = world_start(&w, 0, &send);
    CU_ASSERT(world_wait(&w, p2p));
    CU_ASSERT_FALSE(c4_operation_done(open));
    C4TEST_INT(c4_engine_last_complete(w.engines[0]), 1);
    c4_operation *peer = world_start(&w, 1, &calls[1]);
    CU_ASSERT(world_wait(&w, open) && world_wait(&w, peer));
    C4TEST_INT(c4_engine_last_complete(w.engines[0]), 2);
    C4TEST_INT(c4_engine_last_complete(w.engines[1]), 2);
    c4_operation *failed = world_start(&w, 0, &calls[0]);
    c4_engine_fault(w.engines[0], C4_ERR_ABORTED, 0, "enough");
    CU_ASSERT(world_wait(&w, failed));
    C4TEST_INT(c4_engine_last_complete(w.engines[0]), 2);
    for (int i = 0; i < 4; i++)
        c4_engine_finish(w.engines[i == 1], (c4_operation *[]){open, peer, p2p, failed}[i]);
    world_close(&w);
}

int main(int argc, char **argv)
{
    enum { NDIFFERENT = sizeof different / sizeof different[0], NALIKE = sizeof alike / sizeof alike[0] };
    static c4test_case cases[2 * (NDIFFERENT + NALIKE) + 2];
    unsigned n = 0;
    bool quick = getenv("C4_TEST_QUICK") != NULL; /* every fourth of those over posted channels */
    for (unsigned i = 0; i < NDIFFERENT; i++) {
        n = add(cases, n, &different[i], test_different, "");
        if (!quick || i % 4 == 0)
            n = add(cases, n, &different[i], test_different_posted, "_posted");
    }
    for (unsigned i = 0; i < NALIKE; i++) {
        n = add(cases, n, &alike[i], test_alike, "");
        if (!quick || i % 4 == 0)
            n = add(cases, n, &alike[i], test_alike_posted, "_posted");
    }
    cases[n] = (c4test_case)C4TEST(last_complete);
    return c4test_main(argc, argv, cases);
}
