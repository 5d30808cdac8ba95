/* The express way of blocking calls: wherever it stops, the general way goes on from there, and nobody sees a difference.
 *
 * All ranks live in this thread. Rank 0 calls; its windows go through a table of the test's, which moves the other
 * ranks and says from the n-th frame on that there is none, or no credit, until rank 0's call has become an ordinary
 * operation. So each call is stopped once at each of its frames. */
#include <string.h>

#include "engine/express.h"
#include "tests/engine/world.h"
#include "transports/loop/loop.h"

enum { MAX_COUNT = 700 };

typedef struct script {
    world *w;
    unsigned looks, sends;             /* frames of this call that rank 0 found, or sent, before it was stopped */
    unsigned looks_limit, sends_limit; /* it is stopped at this one */
    c4_status answer;                  /* to what comes then; C4_IN_PROGRESS, or an error */
    unsigned stops;                    /* how often it was given */
    unsigned sends_at_first_look;
    uint32_t fault_after; /* the engine's fault is set when it was stopped so often; 0: never */
} script;

static script play;
static c4_transport_ops ops; /* loop's, but for the slots below */

static bool was_handed_over(void)
{
    return play.w->engines[0]->first != NULL;
}

static void move_others(void)
{
    for (int rank = 1; rank < play.w->spec.nengines; rank++)
        c4_engine_progress(play.w->engines[rank]);
}

/* What waits must be seen by others: the call is in the flight record by then. */
static void check_visible(void)
{
    const c4_record_operation *records = play.w->writers[0].operations;
    unsigned running = 0;
    for (uint32_t i = 0; i <= play.w->writers[0].operation_mask; i++)
        running += records[i].state == C4_RECORD_RUNNING && records[i].generation % 2 == 0;
    C4TEST_INT(running, 1);
}

static c4_status stop(void)
{
    play.stops++;
    if (play.stops > 1)
        check_visible();
    if (play.stops == play.fault_after)
        c4_engine_fault(play.w->engines[0], C4_ERR_ABORTED, 0, "enough");
    return play.answer < 0 ? c4_fail(play.answer, "as the script says") : play.answer;
}

static c4_status script_peek(c4_channel *channel, c4_window *window)
{
    c4_status status = c4_loop_ops.peek(channel, window);
    if (play.looks == 0)
        play.sends_at_first_look = play.sends;
    if (status == C4_IN_PROGRESS) {
        move_others();
        status = c4_loop_ops.peek(channel, window);
    }
    if (was_handed_over() || status != C4_OK)
        return status;
    if (play.looks == play.looks_limit)
        return stop();
    play.looks++;
    return C4_OK;
}

static c4_status script_put(c4_channel *channel, const c4_frame *frame, const void *payload)
{
    if (!was_handed_over() && play.sends == play.sends_limit)
        return stop();
    c4_status status = c4_loop_ops.put(channel, frame, payload);
    play.sends += status == C4_OK;
    return status;
}

static c4_status script_reserve(c4_channel *channel, size_t bytes, c4_window *window)
{
    if (!was_handed_over() && play.sends == play.sends_limit)
        return stop();
    c4_status status = c4_loop_ops.reserve(channel, bytes, window);
    if (status == C4_IN_PROGRESS)
        move_others();
    return status;
}

static void script_commit(c4_channel *channel, const c4_frame *frame)
{
    play.sends++;
    c4_loop_ops.commit(channel, frame);
}

static void script_open(world *w, const world_spec *spec)
{
    world_open(w, spec);
    ops = c4_loop_ops;
    ops.peek = script_peek;
    ops.put = script_put;
    ops.reserve = script_reserve;
    ops.commit = script_commit;
    w->engines[0]->rails[0].ops = &ops;
    w->engines[0]->spec.wait.spin_polls = 200;
    play = (script){.w = w};
}

static void script_begin(unsigned looks_limit, unsigned sends_limit)
{
    play = (script){.w = play.w, .looks_limit = looks_limit, .sends_limit = sends_limit, .answer = C4_IN_PROGRESS};
}

/* ---- every kind, every algorithm, every place ---- */

typedef struct shape {
    c4_kind kind;
    const char *algorithm;
    int root;
} shape;

typedef union values {
    int32_t i[WORLD_MAX_RANKS * MAX_COUNT];
    float f[WORLD_MAX_RANKS * MAX_COUNT];
} values;

typedef struct job {
    const shape *shape;
    int nranks;
    size_t count;
    c4_dtype dtype;
    c4_op op;
    values send[WORLD_MAX_RANKS], expected[WORLD_MAX_RANKS], recv[WORLD_MAX_RANKS];
} job;

static c4_call job_call(job *j, int rank, values *recv)
{
    static const bool many_in[C4_NKINDS] = {
        [C4_KIND_REDUCE_SCATTER] = true, [C4_KIND_ALL_TO_ALL] = true, [C4_KIND_SCATTER] = true};
    static const bool many_out[C4_NKINDS] = {
        [C4_KIND_ALL_GATHER] = true, [C4_KIND_ALL_TO_ALL] = true, [C4_KIND_GATHER] = true};
    c4_kind kind = j->shape->kind;
    size_t block = j->count * 4, n = (size_t)j->nranks;
    c4_call call = {.kind = kind, .dtype = j->dtype, .op = j->op, .root = j->shape->root};
    if (kind == C4_KIND_BARRIER)
        return call;
    call.count = j->count;
    call.send = &j->send[rank];
    call.recv = recv;
    call.send_bytes = block * (many_in[kind] ? n : 1);
    call.recv_bytes = block * (many_out[kind] ? n : 1);
    return call;
}

static void job_fill(job *j)
{
    for (int rank = 0; rank < j->nranks; rank++)
        for (size_t i = 0; i < WORLD_MAX_RANKS * MAX_COUNT; i++) {
            int32_t value = (int32_t)c4test_rand_below(1 << 20);
            if (j->dtype == C4_FLOAT32)
                j->send[rank].f[i] = (float)value / 3.0f;
            else
                j->send[rank].i[i] = value;
        }
    memset(j->expected, 0, sizeof j->expected);
}

/* What the general way makes of it. */
static void job_expect(job *j, const world_spec *spec)
{
    world w;
    c4_call calls[WORLD_MAX_RANKS];
    world_open(&w, spec);
    for (int rank = 0; rank < j->nranks; rank++)
        calls[rank] = job_call(j, rank, &j->expected[rank]);
    world_run(&w, calls, C4_OK);
    world_close(&w);
}

static bool edges_free(const c4_engine *engine)
{
    for (unsigned i = 0; i < C4_EDGE_BUCKETS; i++)
        for (const c4_edge *e = engine->edges.buckets[i]; e; e = e->hash_next)
            if (e->served != e->next_ticket)
                return false;
    return true;
}

static uint64_t program_serial(c4_engine *engine, const c4_call *call, bool *express)
{
    c4_program *program = NULL;
    C4TEST_OK_FATAL(c4_program_get(engine, call, &program));
    uint64_t serial = program->serial;
    *express = program->express != NULL;
    c4_program_release(engine, program);
    C4TEST_INT(program->running, 0);
    return serial;
}

/* Rank 0 calls, stopped as the script says; all ranks' results are as expected. */
static void job_play(job *j, world *w)
{
    c4_operation *others[WORLD_MAX_RANKS];
    memset(j->recv, 0, sizeof j->recv);
    for (int rank = 1; rank < j->nranks; rank++) {
        c4_call call = job_call(j, rank, &j->recv[rank]);
        others[rank] = world_start(w, rank, &call);
    }
    c4_call call = job_call(j, 0, &j->recv[0]);
    uint32_t number = w->engines[0]->sequence;
    C4TEST_OK(c4_engine_call(w->engines[0], &call));
    C4TEST_INT(w->engines[0]->sequence, number + 1);
    CU_ASSERT_FALSE(c4_engine_busy(w->engines[0]));
    CU_ASSERT(edges_free(w->engines[0]));
    const c4_record_operation *record = &w->writers[0].operations[number & w->writers[0].operation_mask];
    CU_ASSERT(record->sequence == number + 1 && record->state == C4_RECORD_DONE && record->status == C4_OK);
    for (int rank = 1; rank < j->nranks; rank++) {
        CU_ASSERT_FATAL(world_wait(w, others[rank]));
        C4TEST_OK(c4_engine_finish(w->engines[rank], others[rank]));
    }
    int wrong = 0;
    for (int rank = 0; rank < j->nranks; rank++)
        wrong += memcmp(j->recv[rank].i, j->expected[rank].i, sizeof j->recv[rank].i) != 0;
    if (wrong)
        fprintf(stderr, "%s by %s, root %d, %d ranks, %zu elements: stopped at frame %u in, %u out\n",
                c4_kind_name(j->shape->kind), j->shape->algorithm, j->shape->root, j->nranks, j->count,
                play.looks_limit, play.sends_limit);
    C4TEST_INT_FATAL(wrong, 0);
}

/* Stopped at each frame in turn, then at none. true: such calls go express. */
static bool job_run(job *j, size_t chunk_bytes)
{
    world w;
    bool express;
    unsigned looks, sends;
    world_spec spec = {
        .nranks = j->nranks, .record = true, .algorithm = j->shape->algorithm, .chunk_bytes = chunk_bytes};
    job_fill(j);
    job_expect(j, &spec);
    script_open(&w, &spec);
    c4_call call = job_call(j, 0, &j->recv[0]);
    uint64_t serial = program_serial(w.engines[0], &call, &express);
    script_begin(UINT32_MAX, UINT32_MAX);
    job_play(j, &w);
    looks = play.looks;
    sends = play.sends;
    for (unsigned limit = 0; express && limit < looks + sends; limit++) {
        script_begin(limit < looks ? limit : UINT32_MAX, limit < looks ? UINT32_MAX : limit - looks);
        job_play(j, &w);
        /* A step with several destinations takes room for all of them before it sends, so not each frame is a place. */
        CU_ASSERT(play.stops > 1 || (play.stops == 0 && limit > looks));
        script_begin(UINT32_MAX, UINT32_MAX);
        job_play(j, &w);
        CU_ASSERT(play.stops == 0 && play.looks == looks && play.sends == sends);
        C4TEST_INT(program_serial(w.engines[0], &call, &express), (long long)serial);
    }
    world_close(&w);
    return express;
}

static const shape shapes[] = {
    {C4_KIND_ALL_REDUCE, "direct", 0},   {C4_KIND_ALL_REDUCE, "rsag", 0},
    {C4_KIND_ALL_REDUCE, "ring", 0},     {C4_KIND_ALL_REDUCE, "rhd", 0},
    {C4_KIND_ALL_REDUCE, "tree", 0},     {C4_KIND_REDUCE_SCATTER, "direct", 0},
    {C4_KIND_REDUCE_SCATTER, "ring", 0}, {C4_KIND_ALL_GATHER, "direct", 0},
    {C4_KIND_ALL_GATHER, "ring", 0},     {C4_KIND_ALL_GATHER, "bruck", 0},
    {C4_KIND_BROADCAST, "direct", 0},    {C4_KIND_BROADCAST, "direct", 1},
    {C4_KIND_BROADCAST, "ring", 1},      {C4_KIND_BROADCAST, "tree", 0},
    {C4_KIND_BROADCAST, "tree", 1},      {C4_KIND_REDUCE, "direct", 0},
    {C4_KIND_REDUCE, "direct", 1},       {C4_KIND_REDUCE, "ring", 1},
    {C4_KIND_REDUCE, "tree", 0},         {C4_KIND_REDUCE, "tree", 1},
    {C4_KIND_GATHER, "direct", 0},       {C4_KIND_GATHER, "direct", 1},
    {C4_KIND_SCATTER, "direct", 0},      {C4_KIND_SCATTER, "direct", 1},
    {C4_KIND_ALL_TO_ALL, "direct", 0},   {C4_KIND_ALL_TO_ALL, "bruck", 0},
    {C4_KIND_ALL_TO_ALL, "pairwise", 0}, {C4_KIND_REDUCE_SCATTER, "pairwise", 0},
    {C4_KIND_BARRIER, "direct", 0},      {C4_KIND_BARRIER, "bruck", 0},
};

static void test_stopped(void)
{
    enum { NSHAPES = sizeof shapes / sizeof shapes[0] };
    static const size_t counts[] = {1, 3, MAX_COUNT};
    static job j;
    int express = 0;
    for (int i = 0; i < NSHAPES * 3 * 3; i++) {
        j.shape = &shapes[i % NSHAPES];
        j.nranks = 2 + i / NSHAPES % 3;
        j.count = counts[i / NSHAPES / 3];
        j.dtype = C4_INT32;
        j.op = C4_SUM;
        express += job_run(&j, i % 2 ? 512 : 0);
    }
    printf("%d of %d shapes went express\n", express, NSHAPES * 9);
    CU_ASSERT(express > NSHAPES * 6);
}

/* Their last step divides. */
static void test_averages(void)
{
    static job j;
    int express = 0;
    for (int i = 0; i < 8 * 3; i++) {
        j.shape = &shapes[i % 8 < 7 ? i % 8 : 15];
        if (j.shape->kind != C4_KIND_ALL_REDUCE && j.shape->kind != C4_KIND_REDUCE_SCATTER &&
            j.shape->kind != C4_KIND_REDUCE)
            continue;
        j.nranks = 2 + i / 8;
        j.count = 33;
        j.dtype = C4_FLOAT32;
        j.op = C4_AVG;
        express += job_run(&j, 0);
    }
    CU_ASSERT(express > 0);
}

/* ---- messages ---- */

/* Numbered per channel, whichever way each takes. */
static void test_messages(void)
{
    static const size_t counts[] = {1, 5, MAX_COUNT};
    static float message[MAX_COUNT], got[MAX_COUNT];
    world w;
    unsigned stopped = 0;
    script_open(&w, &(world_spec){.nranks = 2, .record = true});
    for (int i = 0; i < 3 * 2 * 20; i++) {
        size_t count = counts[i % 3];
        bool sends = i / 3 % 2;
        for (size_t at = 0; at < count; at++)
            message[at] = (float)c4test_rand_below(1000);
        memset(got, 0, sizeof got);
        c4_call peers = sends ? world_recv(got, count, 0) : world_send(message, count, 0);
        c4_call call = sends ? world_send(message, count, 1) : world_recv(got, count, 1);
        script_begin(i / 6 % 4 == 1 ? 0 : UINT32_MAX, i / 6 % 4 == 2 ? 0 : UINT32_MAX);
        c4_operation *op = world_start(&w, 1, &peers);
        C4TEST_OK_FATAL(c4_engine_call(w.engines[0], &call));
        CU_ASSERT_FATAL(world_wait(&w, op));
        C4TEST_OK_FATAL(c4_engine_finish(w.engines[1], op));
        CU_ASSERT(memcmp(message, got, count * sizeof *got) == 0);
        CU_ASSERT(edges_free(w.engines[0]));
        const c4_record_operation *record = &w.writers[0].operations[i & (int)w.writers[0].operation_mask];
        CU_ASSERT(record->state == C4_RECORD_DONE && record->sequence == (uint32_t)(i / 6 * 3 + i % 3));
        stopped += play.stops > 0;
    }
    C4TEST_INT(stopped, 3 * 2 * 20 / 4);
    C4TEST_INT(w.engines[0]->sequence, 0);
    world_close(&w);
}

/* ---- errors ---- */

/* What a transport says ends the call, the communicator and the record. */
static void test_errors(void)
{
    static const char *const algorithms[] = {"direct", "ring", "rhd"};
    for (unsigned i = 0; i < 3 * 2 * 2; i++) {
        world w;
        int32_t in[2] = {1, 2}, out[2] = {0};
        const char *text;
        unsigned limit = i / 3 % 2;
        /* A link that ends waits a third of a second for the news of who died: once is enough. */
        c4_status answer = i == 0 ? C4_ERR_LINK : C4_ERR_PROTOCOL;
        script_open(&w, &(world_spec){.nranks = 2, .record = true, .algorithm = algorithms[i % 3], .chunk_bytes = 4});
        c4_call call = world_all_reduce(in, out, 2, C4_INT32, C4_SUM);
        int32_t peers[2] = {3, 4};
        c4_call other = world_all_reduce(peers, peers, 2, C4_INT32, C4_SUM);
        other.in_place = true;
        c4_operation *op = world_start(&w, 1, &other);
        script_begin(i < 6 ? limit : UINT32_MAX, i < 6 ? UINT32_MAX : limit);
        play.answer = answer;
        C4TEST_INT(c4_engine_call(w.engines[0], &call), answer);
        C4TEST_INT(play.stops, 1);
        C4TEST_INT(c4_engine_status(w.engines[0], &text), answer);
        C4TEST_CONTAINS(text, "as the script says");
        C4TEST_INT(w.engines[0]->fault_peer, 1);
        CU_ASSERT_FALSE(c4_engine_busy(w.engines[0]));
        C4TEST_INT(w.writers[0].operations[0].state, C4_RECORD_FAILED);
        C4TEST_INT(w.writers[0].operations[0].status, answer);
        C4TEST_INT(c4_engine_call(w.engines[0], &call), answer);
        c4_engine_fault(w.engines[1], C4_ERR_PEER_ERROR, 0, "enough");
        CU_ASSERT_FATAL(world_wait(&w, op));
        c4_engine_finish(w.engines[1], op);
        world_close(&w);
    }
}

/* A fault from another thread is noticed while spinning, on either side of a message. */
static void test_fault(void)
{
    for (int sends = 0; sends < 2; sends++) {
        world w;
        float value = 1;
        script_open(&w, &(world_spec){.nranks = 2, .record = true});
        c4_call call = sends ? world_send(&value, 1, 1) : world_recv(&value, 1, 1);
        c4_call other = sends ? world_recv(&value, 1, 0) : world_send(&value, 1, 0);
        c4_operation *op = world_start(&w, 1, &other);
        w.engines[0]->spec.wait.spin_polls = 100000;
        script_begin(0, 0);
        play.fault_after = 2;
        C4TEST_INT(c4_engine_call(w.engines[0], &call), C4_ERR_ABORTED);
        CU_ASSERT(play.stops >= 2 && play.stops < 1000);
        CU_ASSERT_FALSE(c4_engine_busy(w.engines[0]));
        C4TEST_INT(w.writers[0].operations[0].status, C4_ERR_ABORTED);
        c4_engine_fault(w.engines[1], C4_ERR_PEER_ERROR, 0, "enough");
        CU_ASSERT_FATAL(world_wait(&w, op));
        c4_engine_finish(w.engines[1], op);
        world_close(&w);
    }
}

/* ---- order ---- */

/* All that needs nothing from others goes out before the first wait, so that the frames of two ranks cross. */
static void test_sends_first(void)
{
    static job j;
    for (j.nranks = 2; j.nranks <= WORLD_MAX_RANKS; j.nranks++) {
        world w;
        j.shape = &shapes[0];
        j.count = MAX_COUNT;
        j.dtype = C4_INT32;
        j.op = C4_SUM;
        world_spec spec = {.nranks = j.nranks, .record = true, .algorithm = "direct", .chunk_bytes = 700};
        job_fill(&j);
        job_expect(&j, &spec);
        script_open(&w, &spec);
        script_begin(UINT32_MAX, UINT32_MAX);
        job_play(&j, &w);
        C4TEST_INT(play.sends, 4); /* to all at once */
        C4TEST_INT(play.sends_at_first_look, play.sends);
        world_close(&w);
    }
}

/* ---- the same call again ---- */

static void test_repeat(void)
{
    world w;
    c4_status status = C4_IN_PROGRESS;
    int32_t in[2] = {1, 2}, peers[2] = {10, 20}, out[2] = {0}, again[2] = {0}, sums[2];
    script_open(&w, &(world_spec){.nranks = 2, .record = true, .algorithm = "direct"});
    c4_call call = world_all_reduce(in, out, 2, C4_INT32, C4_SUM);
    c4_call other = world_all_reduce(peers, sums, 2, C4_INT32, C4_SUM);
    CU_ASSERT_FALSE(c4_engine_repeat(w.engines[0], in, again, &status)); /* nothing to repeat */
    for (int round = 0; round < 4; round++) {
        script_begin(round % 2 ? 0 : UINT32_MAX, UINT32_MAX);
        c4_operation *op = world_start(&w, 1, &other);
        C4TEST_OK_FATAL(c4_engine_call(w.engines[0], &call));
        CU_ASSERT_FATAL(world_wait(&w, op));
        C4TEST_OK(c4_engine_finish(w.engines[1], op));
        CU_ASSERT(out[0] == 11 && out[1] == 22);
        if (round % 2) { /* went the general way */
            CU_ASSERT_FALSE(c4_engine_repeat(w.engines[0], in, again, &status));
            continue;
        }
        memset(again, 0, sizeof again);
        op = world_start(&w, 1, &other);
        in[0]++;
        CU_ASSERT_FATAL(c4_engine_repeat(w.engines[0], in, again, &status));
        C4TEST_OK(status);
        CU_ASSERT_FATAL(world_wait(&w, op));
        C4TEST_OK(c4_engine_finish(w.engines[1], op));
        CU_ASSERT(again[0] == 12 && again[1] == 22 && out[0] == 11);
        in[0]--;
    }
    world_close(&w);
}

/* A pair of calls: rank 1's is an operation. */
static void call_pair(world *w, const c4_call *call, const c4_call *other)
{
    script_begin(UINT32_MAX, UINT32_MAX);
    c4_operation *op = world_start(w, 1, other);
    C4TEST_OK_FATAL(c4_engine_call(w->engines[0], call));
    CU_ASSERT_FATAL(world_wait(w, op));
    C4TEST_OK(c4_engine_finish(w->engines[1], op));
}

/* Beside an operation that is under way, or after a fault, there is no short cut; what it sends is counted. */
static void test_not_alone(void)
{
    world w;
    c4_status status = C4_IN_PROGRESS;
    c4_operation *op = NULL;
    int32_t in[2] = {1, 2}, peers[2] = {10, 20}, out[2] = {0}, again[2] = {0}, sums[2];
    script_open(&w, &(world_spec){.nranks = 2, .record = true, .algorithm = "direct"});
    c4_call call = world_all_reduce(in, out, 2, C4_INT32, C4_SUM);
    c4_call other = world_all_reduce(peers, sums, 2, C4_INT32, C4_SUM), message = world_recv(again, 1, 1);
    C4TEST_OK_FATAL(c4_engine_prepare(w.engines[0], &message, &op));
    call_pair(&w, &call, &other);
    unsigned counted = 0;
    for (unsigned i = 0; i < C4_EDGE_BUCKETS; i++)
        for (const c4_edge *e = w.engines[0]->edges.buckets[i]; e; e = e->hash_next)
            counted += e->messages == 1 && e->bytes == sizeof in;
    C4TEST_INT(counted, 2);
    CU_ASSERT_PTR_NOT_NULL(w.engines[0]->repeat);
    c4_engine_start(w.engines[0], op);
    CU_ASSERT_FALSE(c4_engine_repeat(w.engines[0], in, out, &status));
    call_pair(&w, &call, &other);
    CU_ASSERT_PTR_NULL(w.engines[0]->repeat); /* went the general way */
    c4_call sent = world_send(in, 1, 0);
    c4_operation *sending = world_start(&w, 1, &sent);
    CU_ASSERT_FATAL(world_wait(&w, op) && world_wait(&w, sending));
    C4TEST_OK(c4_engine_finish(w.engines[0], op));
    C4TEST_OK(c4_engine_finish(w.engines[1], sending));
    call_pair(&w, &call, &other);
    CU_ASSERT_PTR_NOT_NULL(w.engines[0]->repeat);
    c4_engine_fault(w.engines[0], C4_ERR_ABORTED, -1, "enough");
    CU_ASSERT_FALSE(c4_engine_repeat(w.engines[0], in, out, &status));
    world_close(&w);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST_DEADLINE(stopped, 60), C4TEST(averages), C4TEST(messages),  C4TEST(errors), C4TEST(fault),
        C4TEST(sends_first),          C4TEST(repeat),   C4TEST(not_alone), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
