#include "tests/engine/world.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "transports/loop/loop.h"

enum { COMM_ID = 77, EPOCH = 1, WAIT_S = 5 };

static void open_rail(world *w, int rank)
{
    static const c4_option_table no_options;
    c4_rail *rail = &w->rails[rank];
    c4_test_host_init(&w->hosts[rank], &no_options, "", 1, rank, w->spec.nranks);
    rail->ops = &c4_loop_ops;
    rail->caps.struct_size = sizeof rail->caps;
    C4TEST_OK_FATAL(c4_loop_ops.open(&w->hosts[rank].host, &rail->module));
    C4TEST_OK_FATAL(c4_loop_ops.caps(rail->module, &rail->caps));
    if (w->spec.posted)
        rail->caps.flags &= ~(unsigned)C4_CAP_WINDOWS;
}

static void open_record(world *w)
{
    if (w->spec.record) {
        c4_recorder_spec spec = {.directory = c4test_path("record"), .bytes = 1 << 20, .job_id = 1};
        w->recorder = c4_recorder_acquire(&spec);
        CU_ASSERT_PTR_NOT_NULL_FATAL(w->recorder);
    }
    for (int rank = 0; rank < w->spec.nengines; rank++)
        c4_record_writer_open(w->recorder, COMM_ID, EPOCH, rank, w->spec.nranks, 1, "engine", &w->writers[rank]);
}

static void open_engine(world *w, int rank)
{
    static const uint8_t rail_of[WORLD_MAX_RANKS];
    const world_spec *s = &w->spec;
    int algorithm = s->algorithm ? c4_algorithm_find(s->algorithm) : -1;
    CU_ASSERT_FATAL(!s->algorithm || algorithm >= 0);
    c4_engine_spec spec = {.rank = rank,
                           .nranks = s->nranks,
                           .comm_id = COMM_ID,
                           .epoch = EPOCH,
                           .layout = &w->layout,
                           .cost = &w->cost,
                           .rails = &w->rails[rank],
                           .nrails = 1,
                           .rail_of = rail_of,
                           .writer = &w->writers[rank],
                           .cpu_level = C4_CPU_SCALAR,
                           .wait = {.spin_polls = 1000, .yield_ns = 1000000000},
                           .forced_algorithm = algorithm,
                           .forced_kinds = UINT32_MAX,
                           .chunk_bytes = s->chunk_bytes,
                           .map = s->map,
                           .timeout_ms = s->timeout_ms};
    C4TEST_OK_FATAL(c4_engine_create(&spec, &w->engines[rank]));
}

void world_open(world *w, const world_spec *spec)
{
    *w = (world){.spec = *spec};
    c4_log_configure(C4_LOG_NONE, NULL);
    if (!w->spec.nengines)
        w->spec.nengines = w->spec.nranks;
    w->layout = (c4_layout){w->spec.nranks, w->host_of, 1};
    for (int rank = 0; rank < w->spec.nranks; rank++)
        open_rail(w, rank);
    const c4_transport_caps *caps = &w->rails[0].caps;
    c4_link_class link = {.latency_s = caps->latency_s,
                          .seconds_per_byte = caps->seconds_per_byte,
                          .reduce_seconds_per_byte = 1e-10,
                          .windows = !w->spec.posted,
                          .map = w->spec.map,
                          .max_readers = caps->max_readers,
                          .max_frame_bytes = caps->max_frame_bytes};
    w->cost =
        (c4_cost_params){.local = link, .remote = link, .step_s = 5e-9, .ranks_per_core = 1, .cache_bytes = 1 << 25};
    open_record(w);
    for (int rank = 0; rank < w->spec.nengines; rank++)
        open_engine(w, rank);
}

void world_close(world *w)
{
    for (int rank = 0; rank < w->spec.nranks; rank++) {
        if (w->engines[rank])
            c4_engine_destroy(w->engines[rank]);
        else
            c4_loop_ops.close(w->rails[rank].module);
    }
    for (int rank = 0; rank < w->spec.nengines; rank++)
        c4_record_writer_close(&w->writers[rank], C4_OK);
    c4_recorder_release(w->recorder, true);
}

c4_operation *world_start(world *w, int rank, const c4_call *call)
{
    c4_operation *op = NULL;
    C4TEST_OK_FATAL(c4_engine_prepare(w->engines[rank], call, &op));
    c4_engine_start(w->engines[rank], op);
    return op;
}

void world_step(world *w)
{
    for (int rank = 0; rank < w->spec.nengines; rank++)
        c4_engine_progress(w->engines[rank]);
}

bool world_wait(world *w, c4_operation *op)
{
    uint64_t limit_ns = c4_now_ns() + (uint64_t)c4test_seconds(WAIT_S) * 1000000000u;
    while (!c4_operation_done(op) && c4_now_ns() < limit_ns)
        world_step(w);
    return c4_operation_done(op);
}

void world_run(world *w, const c4_call *calls, c4_status status)
{
    c4_operation *ops[WORLD_MAX_RANKS];
    for (int rank = 0; rank < w->spec.nengines; rank++)
        ops[rank] = world_start(w, rank, &calls[rank]);
    for (int rank = 0; rank < w->spec.nengines; rank++) {
        CU_ASSERT_FATAL(world_wait(w, ops[rank]));
        C4TEST_INT(c4_engine_finish(w->engines[rank], ops[rank]), status);
    }
}

c4_call world_all_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op)
{
    size_t bytes = count * c4_numeric_dtype_bytes(dtype);
    return (c4_call){.kind = C4_KIND_ALL_REDUCE,
                     .dtype = dtype,
                     .op = op,
                     .send = send,
                     .recv = recv,
                     .count = count,
                     .in_place = send == recv,
                     .send_bytes = bytes,
                     .recv_bytes = bytes};
}

c4_call world_send(const void *send, size_t count, int peer)
{
    return (c4_call){.kind = C4_KIND_SEND,
                     .dtype = C4_FLOAT32,
                     .op = C4_SUM,
                     .root = peer,
                     .send = send,
                     .count = count,
                     .send_bytes = count * sizeof(float)};
}

c4_call world_recv(void *recv, size_t count, int peer)
{
    return (c4_call){.kind = C4_KIND_RECV,
                     .dtype = C4_FLOAT32,
                     .op = C4_SUM,
                     .root = peer,
                     .recv = recv,
                     .count = count,
                     .recv_bytes = count * sizeof(float)};
}

c4_channel *world_forge_open(world *w, int from, int to)
{
    c4_channel_spec spec = {sizeof spec, COMM_ID, C4_TAG_P2P, from, &to, 1, 0};
    c4_channel *channel = NULL;
    C4TEST_OK_FATAL(c4_loop_ops.channel_open(w->rails[from].module, &spec, &channel));
    return channel;
}

void world_forge(c4_channel *channel, const c4_frame *frame)
{
    c4_window window;
    c4_frame complete = *frame;
    complete.comm = COMM_ID;
    complete.epoch = EPOCH;
    C4TEST_OK_FATAL(c4_loop_ops.reserve(channel, frame->bytes, &window));
    memset(window.pointer, 0x77, frame->bytes);
    c4_loop_ops.commit(channel, &complete);
}
