/* Rings, frame by frame. */
#include "tests/transports/shm/rings.h"

static const c4_transport_ops *const ops = &c4_shm_ops;

static void test_sizes(void)
{
    world w = world_open(2, 0);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    c4_transport_caps caps = {.struct_size = sizeof caps};
    C4TEST_OK(ops->caps(w.ranks[0].module, &caps));
    const size_t sizes[] = {0,
                            1,
                            16,
                            17,
                            23,
                            24,
                            25,
                            32,
                            40,
                            63,
                            64,
                            65,
                            128,
                            511,
                            575,
                            576,
                            577,
                            2047,
                            2048,
                            4096,
                            65535,
                            65537,
                            caps.max_frame_bytes};
    for (int round = 0; round < 40; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint64_t frame = (uint64_t)round * 100 + i;
            C4TEST_OK_FATAL(frame_put(out, frame, sizes[i]));
            C4TEST_OK_FATAL(frame_get(in, frame, sizes[i]));
        }
    c4_window window;
    C4TEST_INT(ops->reserve(out, caps.max_frame_bytes + 1, &window), C4_ERR_COUNT);
    C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
    world_close(&w);
}

/* Until nothing fits, then everything out, then again: at every phase of the ring against the frame's size. */
static void test_full(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    const size_t sizes[] = {0, 24, 25, 64, 1000, 4032, 4096};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        c4_channel *out = rig_channel(&w.ranks[0], (uint32_t)s, 0, 1, 0);
        c4_channel *in = rig_channel(&w.ranks[1], (uint32_t)s, 0, 1, 0);
        uint64_t written = 0, read = 0;
        for (int round = 0; round < 30; round++) {
            uint64_t before = written;
            while (frame_put(out, written, sizes[s]) == C4_OK)
                written++;
            /* What is in flight is bounded, and a good part of the ring is usable. */
            size_t lines = (sizes[s] + 63) / 64;
            size_t whole = sizes[s] <= C4_SHM_INLINE_BYTES ? SIZE_MAX : SMALL_RING / 64 / lines;
            CU_ASSERT(written - before >= (whole < 64 ? whole / 2 : 32)); /* 64 headers */
            CU_ASSERT(written - read <= (whole < 64 ? whole : 64));
            while (read < written)
                C4TEST_OK_FATAL(frame_get(in, read++, sizes[s]));
            c4_window window;
            C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
        }
        ops->channel_close(out);
        ops->channel_close(in);
    }
    world_close(&w);
}

/* Random sizes, bursts and changes of distance. A state in which neither side can move is a deadlock. */
static void random_traffic(size_t ring_bytes, uint64_t frames)
{
    enum { KEPT = 4096 };
    static size_t sizes[KEPT];
    world w = world_open(2, ring_bytes);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    uint64_t written = 0, read = 0, changes = 0;
    while (read < frames && CU_get_number_of_failures() == 0) {
        if (c4test_rand_below(50) == 0) {
            C4TEST_OK(ops->inject(w.ranks[0].module, changes++ % 2 ? "distance=near" : "distance=far"));
        }
        bool wrote = false, took = false;
        for (uint64_t burst = c4test_rand_below(120); burst > 0 && written - read < KEPT; burst--) {
            size_t *bytes = &sizes[written % KEPT];
            size_t limit = c4test_rand_below(4) ? 300 : out->max_frame_bytes;
            if (!wrote)
                *bytes = (size_t)c4test_rand_below(limit + 1);
            if (frame_put(out, written, *bytes) != C4_OK)
                break;
            written++;
            wrote = true;
            sizes[written % KEPT] = (size_t)c4test_rand_below(limit + 1);
        }
        for (uint64_t burst = c4test_rand_below(120); burst > 0 && read < written; burst--) {
            C4TEST_OK_FATAL(frame_get(in, read, sizes[read % KEPT]));
            read++;
            took = true;
        }
        if (wrote || took || read < written)
            continue;
        c4_window window; /* the reader polls an empty channel, then the writer must have room for anything */
        C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
        sizes[written % KEPT] = out->max_frame_bytes;
        if (frame_put(out, written, sizes[written % KEPT]) != C4_OK) {
            C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
            C4TEST_OK_FATAL(frame_put(out, written, sizes[written % KEPT]));
        }
        written++;
    }
    C4TEST_INT((long long)(read >= frames), 1);
    world_close(&w);
}

static void test_random_small(void)
{
    random_traffic(SMALL_RING, 60000);
}

static void test_random_default(void)
{
    random_traffic(0, 20000);
}

static void test_same_room_twice(void)
{
    world w = world_open(2, 0);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0);
    c4_window first, second;
    for (uint64_t frame = 0; frame < 100; frame++) /* beyond the part used when far */
        C4TEST_OK_FATAL(frame_put(out, frame, 8192));
    C4TEST_OK_FATAL(ops->reserve(out, 3000, &first));
    C4TEST_OK(ops->inject(w.ranks[0].module, "distance=far"));
    C4TEST_OK_FATAL(ops->reserve(out, 3000, &second));
    CU_ASSERT_PTR_EQUAL(first.pointer, second.pointer);
    C4TEST_INT(first.stream, second.stream);
    world_close(&w);
}

/* A commit may be shorter than its reserve, down to what is inline and to nothing. */
static void test_short_commit(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    const uint32_t sizes[] = {0, 1, 24, 25, 64, 500, 1000};
    for (uint64_t frame = 0; frame < 700; frame++) {
        c4_window window;
        uint32_t bytes = sizes[frame % 7];
        C4TEST_OK_FATAL(ops->reserve(out, bytes <= 500 && frame % 2 ? 500 : 1000, &window));
        for (size_t i = 0; i < bytes; i++)
            ((unsigned char *)window.pointer)[i] = frame_pattern(frame, i);
        c4_frame header = {.sequence = (uint32_t)frame, .bytes = bytes, .offset = frame * 3};
        ops->commit(out, &header);
        C4TEST_OK_FATAL(frame_get(in, frame, bytes));
    }
    world_close(&w);
}

static void test_slow_reader(void)
{
    world w = world_open(4, SMALL_RING);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, -1, 0), *in[4] = {NULL};
    for (int rank = 1; rank < 4; rank++)
        in[rank] = rig_channel(&w.ranks[rank], 1, 0, -1, 0);
    uint64_t written = 0, read[4] = {0};
    for (int round = 0; round < 200; round++) {
        while (frame_put(out, written, 700) == C4_OK)
            written++;
        for (int rank = 2; rank < 4; rank++)
            while (read[rank] < written)
                C4TEST_OK_FATAL(frame_get(in[rank], read[rank]++, 700));
        CU_ASSERT(frame_put(out, written, 700) == C4_IN_PROGRESS || round == 0 || written > read[1]);
        uint64_t ahead = written - read[1];
        CU_ASSERT(ahead <= SMALL_RING / 704);
        for (uint64_t n = c4test_rand_below(ahead + 1); n > 0; n--)
            C4TEST_OK_FATAL(frame_get(in[1], read[1]++, 700));
    }
    CU_ASSERT(read[1] > 100);
    world_close(&w);
}

static void test_garbage_stamp(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    C4TEST_OK_FATAL(frame_put(out, 0, 8));
    C4TEST_OK_FATAL(frame_get(in, 0, 8));
    out->out.slots[1].line.stamp = 0x1234567812345678;
    c4_window window;
    C4TEST_INT(ops->peek(in, &window), C4_ERR_PROTOCOL);
    C4TEST_INT(ops->peek(in, &window), C4_ERR_PROTOCOL);
    world_close(&w);
}

/* Sizes and places outside the ring, as a broken or hostile writer could publish them. */
static void test_garbage_header(void)
{
    static const struct {
        uint32_t bytes, first;
    } bad[] = {{UINT32_MAX, 0},
               {SMALL_RING + 1, 0},
               {65, SMALL_RING / 64 - 1},
               {25, SMALL_RING / 64},
               {C4_SHM_SMALL_BYTES + 1, UINT32_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        world w = world_open(2, SMALL_RING);
        world_connect(&w);
        c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
        C4TEST_OK_FATAL(frame_put(out, 0, 100));
        out->out.slots[0].line.frame.bytes = bad[i].bytes;
        out->out.slots[0].line.u.at.first = bad[i].first;
        c4_window window;
        C4TEST_INT(ops->peek(in, &window), C4_ERR_PROTOCOL);
        world_close(&w);
    }
}

static void test_garbage_credit(void)
{
    static const uint64_t bad[] = {1000000, UINT64_MAX, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        world w = world_open(2, SMALL_RING);
        world_connect(&w);
        c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0);
        uint64_t frame = 0;
        while (frame_put(out, frame, 1000) == C4_OK)
            frame++;
        out->out.readers[0].consumed = bad[i];
        c4_window window;
        C4TEST_INT(ops->reserve(out, 1000, &window), C4_ERR_PROTOCOL);
        int peer = -1;
        char buffer[1000] = {0};
        c4_xfer xfer = {.pointer = buffer, .bytes = sizeof buffer};
        C4TEST_INT(ops->send(out, &xfer), C4_ERR_PROTOCOL);
        CU_ASSERT(ops->progress(w.ranks[0].module, &peer) == C4_IN_PROGRESS);
        world_close(&w);
    }
}

static void test_garbage_directory(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    C4TEST_OK_FATAL(frame_put(out, 0, 100));
    out->out.entry->shape.offset = w.ranks[0].module->arena.bytes - C4_SHM_PAGE;
    c4_window window;
    C4TEST_INT(ops->peek(in, &window), C4_ERR_PROTOCOL);
    c4_shm_arena_head(&w.ranks[0].module->arena)->table_offset[0] = UINT64_MAX - 63;
    c4_channel *other = rig_channel(&w.ranks[1], 2, 0, 1, 0);
    C4TEST_INT(ops->peek(other, &window), C4_IN_PROGRESS);
    world_close(&w);
}

/* Closing drops what was not delivered; the same identity starts afresh, whichever end comes first. */
static void test_reopen(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    for (int round = 0; round < 20; round++) {
        c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
        c4_window window;
        C4TEST_OK_FATAL(frame_put(out, 100, 500));
        C4TEST_OK_FATAL(frame_put(out, 101, 500));
        C4TEST_OK_FATAL(frame_get(in, 100, 500));
        ops->channel_close(in);
        in = rig_channel(&w.ranks[1], 1, 0, 1, 0); /* the writer's old ring is still there, with frame 101 */
        C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
        ops->channel_close(out);
        C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
        out = rig_channel(&w.ranks[0], 1, 0, 1, 0);
        C4TEST_OK_FATAL(frame_put(out, 200, 500));
        C4TEST_OK_FATAL(frame_get(in, 200, 500));
        ops->channel_close(out);
        ops->channel_close(in);
    }
    /* Rings were reused: 40 of them took the room of a few. */
    CU_ASSERT(w.ranks[0].module->arena.top < 8 * (SMALL_RING + 4 * C4_SHM_PAGE));
    world_close(&w);
}

/* Memory that a reader may still be looking at is not given to the next ring. */
static void test_limbo(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    C4TEST_OK_FATAL(frame_put(out, 0, 500));
    C4TEST_OK_FATAL(frame_put(out, 1, 500));
    C4TEST_OK_FATAL(frame_get(in, 0, 500));
    ops->channel_close(out);
    c4_channel *next = rig_channel(&w.ranks[0], 2, 0, 1, 0);
    for (uint64_t frame = 10; frame_put(next, frame, 4000) == C4_OK;)
        frame++;
    C4TEST_OK(frame_get(in, 1, 500)); /* intact */
    world_close(&w);
}

static void test_many_channels(void)
{
    enum { CHANNELS = 600 };
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    c4_channel *out[CHANNELS], *in[CHANNELS];
    for (uint32_t tag = 0; tag < CHANNELS; tag++) {
        out[tag] = rig_channel(&w.ranks[0], tag, 0, 1, 0);
        in[tag] = rig_channel(&w.ranks[1], tag, 0, 1, 0);
        C4TEST_OK_FATAL(frame_put(out[tag], tag, tag % 100));
    }
    for (uint32_t tag = 0; tag < CHANNELS; tag++)
        C4TEST_OK_FATAL(frame_get(in[tag], tag, tag % 100));
    world_close(&w);
}

static void test_wrong_use(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    c4_window window;
    C4TEST_INT(ops->reserve(in, 8, &window), C4_ERR_ARGUMENT);
    C4TEST_INT(ops->peek(out, &window), C4_ERR_ARGUMENT);
    c4_frame frame = {.bytes = 8};
    ops->commit(out, &frame); /* nothing reserved */
    C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
    int readers[] = {1, 0};
    c4_channel_spec spec = {.struct_size = sizeof spec, .writer = 0, .readers = readers, .nreaders = 2};
    c4_channel *channel = NULL;
    C4TEST_INT(ops->channel_open(w.ranks[0].module, &spec, &channel), C4_ERR_ARGUMENT);
    readers[0] = 5;
    spec.nreaders = 1;
    C4TEST_INT(ops->channel_open(w.ranks[0].module, &spec, &channel), C4_ERR_ROOT);
    CU_ASSERT_PTR_NULL(channel);
    world_close(&w);
}

/* What came before the sleeper armed would ring no bell. */
static void test_arm_looks_again(void)
{
    world w = world_open(2, SMALL_RING);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    int fd;
    C4TEST_INT(ops->arm(w.ranks[1].module, &fd), C4_IN_PROGRESS);
    ops->disarm(w.ranks[1].module);
    C4TEST_OK_FATAL(frame_put(out, 0, 1000));
    C4TEST_INT(ops->arm(w.ranks[1].module, &fd), C4_OK);
    C4TEST_OK_FATAL(frame_get(in, 0, 1000));
    C4TEST_INT(ops->arm(w.ranks[1].module, &fd), C4_IN_PROGRESS);
    ops->disarm(w.ranks[1].module);

    uint64_t written = 1, read = 1;
    while (frame_put(out, written, 1000) == C4_OK)
        written++;
    C4TEST_INT(ops->arm(w.ranks[0].module, &fd), C4_IN_PROGRESS); /* no credit */
    ops->disarm(w.ranks[0].module);
    while (read < written)
        C4TEST_OK_FATAL(frame_get(in, read++, 1000));
    C4TEST_INT(ops->arm(w.ranks[0].module, &fd), C4_OK);
    C4TEST_OK(frame_put(out, written, 1000));
    world_close(&w);
}

/* The reader's own frame to look at does not keep a writer waiting: a look at each channel gives the credit that its writer
 * starves for, and once a sleeper has been told that something is there it may never poll the other channel again. */
static void test_arm_looks_at_all(void)
{
    for (int newer = 0; newer < 2; newer++) {
        world w = world_open(2, 0);
        world_connect(&w);
        c4_channel *in = NULL, *busy_in = NULL;
        c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *busy_out = rig_channel(&w.ranks[0], 2, 0, 1, 0);
        if (!newer)
            busy_in = rig_channel(&w.ranks[1], 2, 0, 1, 0);
        in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
        if (newer)
            busy_in = rig_channel(&w.ranks[1], 2, 0, 1, 0);
        uint64_t frame = 0;
        c4_status status = C4_OK;
        for (int round = 0; round < 1000 && status == C4_OK; round++) {
            C4TEST_OK(ops->inject(w.ranks[0].module, round % 2 ? "distance=near" : "distance=far"));
            for (uint64_t n = c4test_rand_below(200); n > 0 && status == C4_OK; n--) {
                status = frame_put(out, frame, 8192);
                if (status == C4_OK)
                    C4TEST_OK_FATAL(frame_get(in, frame++, 8192));
            }
        }
        C4TEST_INT_FATAL(status, C4_IN_PROGRESS); /* all is consumed, but the writer does not know it yet */
        int fd;
        C4TEST_OK_FATAL(frame_put(busy_out, 0, 100));
        C4TEST_OK(ops->arm(w.ranks[1].module, &fd));
        C4TEST_OK(frame_put(out, frame, 8192));
        C4TEST_OK(frame_get(in, frame, 8192));
        C4TEST_OK(frame_get(busy_in, 0, 100));
        C4TEST_INT(ops->arm(w.ranks[1].module, &fd), C4_IN_PROGRESS);
        ops->disarm(w.ranks[1].module);
        world_close(&w);
    }
}

static void test_self(void)
{
    world w = world_open(1, 0);
    world_connect(&w);
    c4_channel *both = rig_channel(&w.ranks[0], 1, 0, 0, 0);
    for (uint64_t frame = 0; frame < 3000; frame++) {
        C4TEST_OK_FATAL(frame_put(both, frame, 1500));
        C4TEST_OK_FATAL(frame_get(both, frame, 1500));
    }
    world_close(&w);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(sizes),
                                        C4TEST(full),
                                        C4TEST_DEADLINE(random_small, 60),
                                        C4TEST_DEADLINE(random_default, 60),
                                        C4TEST(same_room_twice),
                                        C4TEST(short_commit),
                                        C4TEST(slow_reader),
                                        C4TEST(garbage_stamp),
                                        C4TEST(garbage_header),
                                        C4TEST(garbage_credit),
                                        C4TEST(garbage_directory),
                                        C4TEST(reopen),
                                        C4TEST(limbo),
                                        C4TEST(many_channels),
                                        C4TEST(wrong_use),
                                        C4TEST(arm_looks_again),
                                        C4TEST(arm_looks_at_all),
                                        C4TEST(self),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
