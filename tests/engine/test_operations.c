/* Operations: order on channels, frames that do not fit, faults, deadlines, averages, the two ways of a blocking call. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "tests/engine/world.h"
#include "transports/loop/loop.h"

/* ---- order ---- */

/* Both calls use the same channels, in several frames each. */
static void test_tickets(void)
{
    enum { COUNT = 50000 };
    static float first[2][COUNT], second[2][COUNT];
    for (int posted = 0; posted < 2; posted++) {
        world w;
        world_open(&w, &(world_spec){.nranks = 2, .posted = posted, .algorithm = "ring", .chunk_bytes = 8192});
        for (size_t i = 0; i < COUNT; i++) {
            first[0][i] = first[1][i] = 1;
            second[0][i] = second[1][i] = 10;
        }
        c4_operation *a[2], *b[2];
        c4_call call = world_all_reduce(first[0], first[0], COUNT, C4_FLOAT32, C4_SUM);
        a[0] = world_start(&w, 0, &call);
        call = world_all_reduce(second[0], second[0], COUNT, C4_FLOAT32, C4_SUM);
        b[0] = world_start(&w, 0, &call);
        C4TEST_INT(a[0]->state, OPERATION_RUNNING);
        C4TEST_INT(b[0]->state, OPERATION_QUEUED);
        C4TEST_INT((long long)(b[0]->tickets[0] - a[0]->tickets[0]), 1);
        call = world_all_reduce(first[1], first[1], COUNT, C4_FLOAT32, C4_SUM);
        a[1] = world_start(&w, 1, &call);
        call = world_all_reduce(second[1], second[1], COUNT, C4_FLOAT32, C4_SUM);
        b[1] = world_start(&w, 1, &call);
        uint64_t limit_ns = c4_now_ns() + (uint64_t)c4test_seconds(5) * 1000000000u;
        while (!(c4_operation_done(b[0]) && c4_operation_done(b[1])) && c4_now_ns() < limit_ns) {
            world_step(&w);
            for (int rank = 0; rank < 2; rank++)
                if (a[rank]->lanes_left && b[rank]->state != OPERATION_QUEUED)
                    CU_FAIL_FATAL("an operation began before the one ahead of it had released its channels");
        }
        for (int rank = 0; rank < 2; rank++) {
            C4TEST_OK(c4_engine_finish(w.engines[rank], a[rank]));
            C4TEST_OK(c4_engine_finish(w.engines[rank], b[rank]));
            CU_ASSERT(first[rank][0] == 2 && first[rank][COUNT - 1] == 2 && second[rank][COUNT / 2] == 20);
        }
        world_close(&w);
    }
}

/* What needs other channels does not wait. */
static void test_other_channels(void)
{
    world w;
    float sums[2] = {1, 1}, message = 3, got = 0;
    world_open(&w, &(world_spec){.nranks = 2});
    c4_call call = world_all_reduce(&sums[0], &sums[0], 1, C4_FLOAT32, C4_SUM);
    c4_operation *reduce = world_start(&w, 0, &call);
    call = world_send(&message, 1, 1);
    c4_operation *send = world_start(&w, 0, &call);
    call = world_recv(&got, 1, 0);
    c4_operation *recv = world_start(&w, 1, &call);
    CU_ASSERT(world_wait(&w, send) && world_wait(&w, recv));
    CU_ASSERT_FALSE(c4_operation_done(reduce));
    CU_ASSERT(got == 3);
    C4TEST_OK(c4_engine_finish(w.engines[0], send));
    C4TEST_OK(c4_engine_finish(w.engines[1], recv));
    call = world_all_reduce(&sums[1], &sums[1], 1, C4_FLOAT32, C4_SUM);
    c4_operation *peer = world_start(&w, 1, &call);
    CU_ASSERT(world_wait(&w, reduce) && world_wait(&w, peer));
    C4TEST_OK(c4_engine_finish(w.engines[0], reduce));
    C4TEST_OK(c4_engine_finish(w.engines[1], peer));
    CU_ASSERT(sums[0] == 2 && sums[1] == 2);
    world_close(&w);
}

/* ---- frames that do not fit ---- */

typedef struct stray {
    uint32_t sequence, signature_change;
    uint32_t bytes;
    uint64_t offset;
    c4_status status;
    const char *text;
} stray;

/* Of the receives below. */
static uint32_t recv_signature(void)
{
    world w;
    float values[4];
    world_open(&w, &(world_spec){.nranks = 2, .nengines = 1});
    c4_call call = world_recv(values, 4, 1);
    c4_operation *op = world_start(&w, 0, &call);
    uint32_t signature = op->signature;
    c4_engine_fault(w.engines[0], C4_ERR_ABORTED, -1, "enough");
    c4_engine_progress(w.engines[0]);
    C4TEST_INT(c4_engine_finish(w.engines[0], op), C4_ERR_ABORTED);
    world_close(&w);
    return signature;
}

/* The receive is a blocking call, which takes the express way; the frame is there before it. */
static c4_status stray_call(world *w, const c4_call *call, c4_channel *channel, const c4_frame *frame)
{
    world_forge(channel, frame);
    return c4_engine_call(w->engines[0], call);
}

/* The receive is an operation; `early`: the frame is there before it. */
static c4_status stray_operation(world *w, const c4_call *call, c4_channel *channel, const c4_frame *frame, bool early)
{
    if (early)
        world_forge(channel, frame);
    c4_operation *op = world_start(w, 0, call);
    if (!early)
        world_forge(channel, frame);
    CU_ASSERT_FATAL(world_wait(w, op));
    return c4_engine_finish(w->engines[0], op);
}

enum { STRAY_EARLY, STRAY_LATE, STRAY_BLOCKING, STRAY_WAYS };

static void check_stray(const stray *s, uint32_t signature, bool posted, int way)
{
    world w;
    float values[4] = {5, 5, 5, 5};
    world_open(&w, &(world_spec){.nranks = 2, .nengines = 1, .posted = posted});
    c4_channel *channel = world_forge_open(&w, 1, 0);
    c4_call call = world_recv(values, 4, 1);
    c4_frame frame = {
        .sequence = s->sequence, .signature = signature ^ s->signature_change, .bytes = s->bytes, .offset = s->offset};
    const char *text;
    c4_status status = way == STRAY_BLOCKING ? stray_call(&w, &call, channel, &frame)
                                             : stray_operation(&w, &call, channel, &frame, way == STRAY_EARLY);
    C4TEST_INT(status, s->status);
    C4TEST_INT(c4_engine_status(w.engines[0], &text), s->status);
    C4TEST_CONTAINS(s->status < 0 ? text : "", s->text);
    if (s->status < 0)
        CU_ASSERT(values[0] == 5 || s->bytes == 16); /* a frame that fits by size may have been stored before */
    world_close(&w);
}

static void test_strays(void)
{
    static const stray strays[] = {
        {0, 0, 16, 0, C4_OK, ""},
        {0, 1, 16, 0, C4_ERR_MISMATCH, "rank 1 called something else than rank 0's recv #0 of 4 float32 from rank 1"},
        {0, 1, 8, 0, C4_ERR_MISMATCH, "rank 1 called something else than rank 0's recv #0 of 4 float32 from rank 1"},
        {0, 0, 8, 0, C4_ERR_MISMATCH, "rank 1 sends 8 bytes at 0 where this rank expects 16 at 0"},
        {0, 0, 64, 0, C4_ERR_MISMATCH, "rank 1 sends 64 bytes at 0 where this rank expects 16 at 0"},
        {0, 0, 16, 32, C4_ERR_MISMATCH, "rank 1 sends 16 bytes at 32 where this rank expects 16 at 0"},
        {7, 0, 16, 0, C4_ERR_PROTOCOL, "recv #0: frame from rank 1 does not fit: #7, 16 bytes at 0; expected 16 bytes"},
        {7, 0, 8, 0, C4_ERR_PROTOCOL, "recv #0: frame from rank 1 does not fit: #7, 8 bytes at 0; expected 16 bytes"},
    };
    uint32_t signature = recv_signature();
    for (size_t i = 0; i < sizeof strays / sizeof strays[0]; i++)
        for (int way = 0; way < 2 * STRAY_WAYS; way++)
            check_stray(&strays[i], signature, way % 2, way / 2);
}

/* The same frame once more is no second message. */
static void test_duplicate(void)
{
    world w;
    float values[4];
    world_open(&w, &(world_spec){.nranks = 2});
    float message[4] = {1, 2, 3, 4};
    c4_call send = world_send(message, 4, 1), recv = world_recv(values, 4, 0);
    c4_operation *s = world_start(&w, 0, &send), *r = world_start(&w, 1, &recv);
    CU_ASSERT_FATAL(world_wait(&w, s) && world_wait(&w, r));
    c4_frame again = {.sequence = r->sequence, .signature = r->signature, .bytes = 16};
    C4TEST_OK(c4_engine_finish(w.engines[0], s));
    C4TEST_OK(c4_engine_finish(w.engines[1], r));
    const c4_edge *edge = NULL;
    for (unsigned i = 0; i < C4_EDGE_BUCKETS && !edge; i++)
        edge = w.engines[0]->edges.buckets[i];
    CU_ASSERT_FATAL(edge && edge->writer);
    world_forge(edge->channel, &again);
    r = world_start(&w, 1, &recv);
    CU_ASSERT_FATAL(world_wait(&w, r));
    C4TEST_INT(c4_engine_finish(w.engines[1], r), C4_ERR_PROTOCOL);
    world_close(&w);
}

/* ---- faults and deadlines ---- */

static void test_fault(void)
{
    for (int posted = 0; posted < 2; posted++) {
        world w;
        float values[4] = {5, 5, 5, 5};
        const char *text;
        world_open(&w, &(world_spec){.nranks = 2, .nengines = 1, .posted = posted});
        c4_channel *channel = world_forge_open(&w, 1, 0);
        c4_call call = world_recv(values, 4, 1);
        c4_operation *op = world_start(&w, 0, &call), *behind = world_start(&w, 0, &call), *later = NULL;
        c4_engine_progress(w.engines[0]);
        CU_ASSERT_FALSE(c4_operation_done(op) || c4_operation_done(behind));
        c4_engine_fault(w.engines[0], C4_ERR_PEER_DEAD, 1, "rank 1 (pid 4711) died");
        c4_engine_fault(w.engines[0], C4_ERR_ABORTED, 0, "too late");
        CU_ASSERT(c4_engine_progress(w.engines[0]));
        CU_ASSERT(c4_operation_done(op) && c4_operation_done(behind) && !c4_engine_busy(w.engines[0]));
        for (uint32_t i = 0; i < op->slots_capacity; i++)
            CU_ASSERT_PTR_NULL(op->slots[i]);
        /* Nothing may be stored any more: the caller has its buffer back. */
        world_forge(channel, &(c4_frame){.bytes = 16, .signature = op->signature});
        int peer;
        w.rails[0].ops->progress(w.rails[0].module, &peer);
        c4_engine_progress(w.engines[0]);
        CU_ASSERT(values[0] == 5 && values[3] == 5);
        C4TEST_INT(c4_engine_finish(w.engines[0], op), C4_ERR_PEER_DEAD);
        C4TEST_INT(c4_engine_finish(w.engines[0], behind), C4_ERR_PEER_DEAD);
        C4TEST_INT(c4_engine_prepare(w.engines[0], &call, &later), C4_ERR_PEER_DEAD);
        C4TEST_INT(c4_engine_call(w.engines[0], &call), C4_ERR_PEER_DEAD);
        C4TEST_INT(c4_engine_status(w.engines[0], &text), C4_ERR_PEER_DEAD);
        C4TEST_CONTAINS(text, "recv #0 of 4 float32 from rank 1 on communicator");
        C4TEST_CONTAINS(text, "waiting to receive from rank 1: rank 1 (pid 4711) died");
        world_close(&w);
    }
}

static void test_timeout(void)
{
    enum { LIMIT_MS = 60 };
    world w;
    float value = 0;
    const char *text;
    world_open(&w, &(world_spec){.nranks = 2, .timeout_ms = LIMIT_MS});
    c4_call call = world_recv(&value, 1, 1);
    uint64_t before_ns = c4_now_ns();
    c4_operation *op = world_start(&w, 0, &call);
    CU_ASSERT_FATAL(world_wait(&w, op));
    CU_ASSERT(c4_now_ns() - before_ns >= LIMIT_MS * 1000000u);
    C4TEST_INT(c4_engine_finish(w.engines[0], op), C4_ERR_TIMEOUT);
    C4TEST_INT(c4_engine_status(w.engines[0], &text), C4_ERR_TIMEOUT);
    C4TEST_CONTAINS(text, "recv #0 of 1 float32 from rank 1 on communicator");
    C4TEST_CONTAINS(text, "waiting to receive from rank 1: did not complete within C4_TIMEOUT_MS=60");
    call.root = 0;
    C4TEST_INT(c4_engine_call(w.engines[1], &call), C4_ERR_TIMEOUT); /* a blocking call has one, too */
    world_close(&w);
}

/* ---- waiting ---- */

/* The frame that is awaited, and comes when a rail has been told often enough to look, or at its time. */
static struct late_frame {
    c4_channel *channel;
    c4_frame frame;
    unsigned looks;
    uint64_t at_ns;
} late;

static c4_status quiet_arm(c4_module *module, int *fd)
{
    (void)module;
    *fd = -1;
    return C4_IN_PROGRESS;
}

static void quiet_disarm(c4_module *module)
{
    (void)module;
    bool due = late.at_ns ? late.channel && c4_now_ns() >= late.at_ns : late.looks == 2;
    late.looks++;
    if (due) {
        world_forge(late.channel, &late.frame);
        late.channel = NULL;
    }
}

/* A frame for a later call keeps the rank from sleeping on its rails. Those behind the one that has it look around all the same.
 * Returns how often this thread has slept meanwhile; yielding is not sleeping. */
static long wait_beside_early_frame(uint64_t wait_ns)
{
    world w;
    float values[4];
    struct rusage before, after;
    world_open(&w, &(world_spec){.nranks = 3, .nengines = 1});
    c4_engine *engine = w.engines[0];
    c4_channel *early = world_forge_open(&w, 2, 0);
    c4_call from_2 = world_recv(values, 4, 2), from_1 = world_recv(values, 4, 1);
    c4_operation *op = world_start(&w, 0, &from_2);
    for (uint32_t i = 0; i < 2; i++)
        world_forge(early, &(c4_frame){.sequence = i, .signature = op->signature, .bytes = 16});
    CU_ASSERT_FATAL(world_wait(&w, op));
    C4TEST_OK(c4_engine_finish(engine, op));
    c4_transport_ops quiet = c4_loop_ops;
    quiet.arm = quiet_arm;
    quiet.disarm = quiet_disarm;
    engine->rails[1] = engine->rails[0];
    engine->rails[1].ops = &quiet;
    engine->spec.nrails = 2;
    engine->spec.wait = (c4_wait_policy){.spin_polls = 1};
    op = world_start(&w, 0, &from_1);
    late = (struct late_frame){.channel = world_forge_open(&w, 1, 0),
                               .frame = {.sequence = op->sequence, .signature = op->signature, .bytes = 16},
                               .at_ns = wait_ns ? c4_now_ns() + wait_ns : 0};
    getrusage(RUSAGE_THREAD, &before);
    c4_engine_wait(engine, op); /* the case's deadline ends a wait in vain */
    getrusage(RUSAGE_THREAD, &after);
    C4TEST_OK(c4_engine_finish(engine, op));
    CU_ASSERT(late.looks >= 3);
    engine->spec.nrails = 1;
    world_close(&w);
    return after.ru_nvcsw - before.ru_nvcsw;
}

static void test_rails_behind(void)
{
    wait_beside_early_frame(0);
}

/* 20 ms awake, then naps: it does not take all the time there is. */
static void test_long_wait_naps(void)
{
    CU_ASSERT(wait_beside_early_frame(500000000u) >= 10);
}

/* ---- averages ---- */

static void test_average(void)
{
    static const char *const algorithms[] = {"direct", "rsag", "ring", "rhd", "tree"};
    static const size_t counts[] = {1, 5, 3000};
    static float in[4][3000], out[4][3000];
    for (int variant = 0; variant < 2 * 5 * 3; variant++) {
        bool posted = variant & 1;
        const char *algorithm = algorithms[variant / 2 % 5];
        size_t count = counts[variant / 10];
        int nranks = 3;
        world w;
        c4_call calls[WORLD_MAX_RANKS];
        world_open(&w, &(world_spec){.nranks = nranks, .posted = posted, .algorithm = algorithm});
        for (int rank = 0; rank < nranks; rank++) {
            for (size_t i = 0; i < count; i++)
                in[rank][i] = (float)(i % 100) + (float)rank * 3;
            memset(out[rank], 0, sizeof out[rank]);
            calls[rank] = world_all_reduce(in[rank], out[rank], count, C4_FLOAT32, C4_AVG);
        }
        world_run(&w, calls, C4_OK);
        int wrong = 0;
        for (int rank = 0; rank < nranks; rank++)
            for (size_t i = 0; i < count; i++)
                wrong += out[rank][i] != (float)(i % 100) + 3;
        if (wrong)
            fprintf(stderr, "%s, %s, %zu elements\n", algorithm, posted ? "posted" : "windows", count);
        C4TEST_INT(wrong, 0);
        world_close(&w);
    }
}

/* ---- blocking calls ---- */

typedef struct blocking_rank {
    world *w;
    int rank, failures;
    float results[8][4];
} blocking_rank;

enum { GENERAL_CALLS = 2 }; /* the first ones go through prepare and start, the others through c4_engine_call */

static void *blocking_main(void *arg)
{
    blocking_rank *r = arg;
    c4_engine *engine = r->w->engines[r->rank];
    float in[4];
    for (int i = 0; i < 4; i++)
        in[i] = 0.1f * (float)(i + 1) + (float)r->rank / 3.0f;
    for (int n = 0; n < 8; n++) {
        c4_call call = world_all_reduce(in, r->results[n], 4, C4_FLOAT32, C4_SUM);
        c4_operation *op = NULL;
        if (n >= GENERAL_CALLS) {
            r->failures += c4_engine_call(engine, &call) != C4_OK;
            continue;
        }
        r->failures += c4_engine_prepare(engine, &call, &op) != C4_OK;
        c4_engine_start(engine, op);
        c4_engine_wait(engine, op);
        r->failures += c4_engine_finish(engine, op) != C4_OK;
    }
    return NULL;
}

/* Everything that does not depend on time. */
static void check_records(const c4_record_operation *general, const c4_record_operation *other, uint32_t number)
{
    C4TEST_INT(other->sequence, number + 1);
    C4TEST_INT(other->generation, general->generation);
    CU_ASSERT(other->count == general->count && other->comm == general->comm && other->program == general->program);
    CU_ASSERT(other->kind == general->kind && other->dtype == general->dtype && other->op == general->op);
    CU_ASSERT(other->root == general->root && other->status == C4_OK);
    C4TEST_INT(other->state, C4_RECORD_DONE);
    CU_ASSERT(other->call_ticks > general->call_ticks && other->end_ticks >= other->call_ticks);
}

static void test_blocking(void)
{
    world w;
    pthread_t threads[2];
    static blocking_rank ranks[2];
    world_open(&w, &(world_spec){.nranks = 2, .record = true});
    for (int rank = 0; rank < 2; rank++) {
        ranks[rank] = (blocking_rank){.w = &w, .rank = rank};
        CU_ASSERT_FATAL(pthread_create(&threads[rank], NULL, blocking_main, &ranks[rank]) == 0);
    }
    for (int rank = 0; rank < 2; rank++)
        pthread_join(threads[rank], NULL);
    for (int rank = 0; rank < 2; rank++) {
        C4TEST_INT(ranks[rank].failures, 0);
        C4TEST_INT(w.engines[rank]->sequence, 8);
        for (uint32_t n = 0; n < 8; n++) {
            CU_ASSERT(memcmp((const void *)ranks[rank].results[n], (const void *)ranks[0].results[0],
                             sizeof ranks[0].results[0]) == 0);
            if (n)
                check_records(&w.writers[rank].operations[0], &w.writers[rank].operations[n], n);
        }
        CU_ASSERT(ranks[rank].results[0][0] > 0.53f && ranks[rank].results[0][0] < 0.54f);
    }
    world_close(&w);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(tickets), C4TEST(other_channels), C4TEST(strays),         C4TEST(duplicate), C4TEST(fault),
        C4TEST(timeout), C4TEST(rails_behind),   C4TEST(long_wait_naps), C4TEST(average),   C4TEST(blocking),
        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
