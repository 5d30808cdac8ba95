/* Near or far: what measurements say, who hears of it, and a ring whose writer changes its mind. */
#include "tests/transports/shm/rings.h"

static const c4_transport_ops *const ops = &c4_shm_ops;

/* The smallest case of what once filled a ring for good: frames sent far wrap in a part of the ring, then near comes. */
static void test_distance_change(void)
{
    world w = world_open(2, 0);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    uint64_t frame = 0, starved = 0;
    for (int round = 0; round < 1000; round++) {
        C4TEST_OK(ops->inject(w.ranks[0].module, round % 2 ? "distance=near" : "distance=far"));
        for (uint64_t n = c4test_rand_below(200); n > 0; n--, frame++) {
            c4_status status = frame_put(out, frame, 8192);
            if (status == C4_IN_PROGRESS) { /* the reader's empty poll gives the credit */
                c4_window window;
                C4TEST_INT(ops->peek(in, &window), C4_IN_PROGRESS);
                status = frame_put(out, frame, 8192);
                starved++;
            }
            C4TEST_OK_FATAL(status);
            C4TEST_OK_FATAL(frame_get(in, frame, 8192));
        }
    }
    CU_ASSERT(starved > 0);
    world_close(&w);
}

static void vote(c4_shm_distance *distance, uint64_t ticks)
{
    for (unsigned i = 0; i < C4_SHM_WINDOW; i++) /* the minimum counts */
        c4_shm_distance_sample(distance, i == 2 ? ticks : 100 * ticks);
}

/* Large plain frames that take long to read say far, quick ones nothing; one quick one in a window is enough. */
static void test_distance_rates(void)
{
    c4_shm_distance distance;
    c4_shm_distance_init(&distance);
    uint64_t quick = distance.slow_ticks / 2, slow = distance.slow_ticks * 2ull;
    vote(&distance, distance.near_ticks / 2);
    for (unsigned i = 0; i < 100; i++)
        c4_shm_distance_rate(&distance, 256 << 10, i % C4_SHM_WINDOW ? 4 * slow : 4 * quick);
    CU_ASSERT(!distance.far);
    for (unsigned i = 0; i < C4_SHM_VOTES * C4_SHM_WINDOW - 1; i++)
        c4_shm_distance_rate(&distance, 32 << 10, slow / 2 + 1);
    CU_ASSERT(!distance.far);
    c4_shm_distance_rate(&distance, 32 << 10, slow / 2 + 1);
    CU_ASSERT(distance.far);
    CU_ASSERT(c4_shm_distance_ticks(distance.measured) > distance.far_ticks);
    for (unsigned i = 0; i < 100; i++)
        c4_shm_distance_rate(&distance, 256 << 10, 4 * quick);
    CU_ASSERT(distance.far); /* only the probe line says near */
}

enum { LAP = 128, LARGE = 64 << 10 }; /* frames of a ring's first lap are not timed: at most 128 headers */

/* One frame; true: the time to read it was taken. */
static bool timed_frame(world *w, c4_channel *out, c4_channel *in, uint64_t frame, size_t bytes)
{
    const c4_shm_distance *distance = &w->ranks[1].module->peers[0]->distance;
    unsigned before = distance->rates;
    C4TEST_OK_FATAL(frame_put(out, frame, bytes));
    C4TEST_OK_FATAL(frame_get(in, frame, bytes));
    return distance->rates != before;
}

/* Which frames are timed: large ones, stored plainly, after the first lap, read one at a time. */
static void test_distance_timed(void)
{
    world w = world_open(2, 0);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    c4_channel *out2 = rig_channel(&w.ranks[0], 2, 0, 1, 0), *in2 = rig_channel(&w.ranks[1], 2, 0, 1, 0);
    const c4_shm_distance *distance = &w.ranks[1].module->peers[0]->distance;
    uint64_t frame = 0;
    int taken = 0;
    w.ranks[0].module->stores = C4_SHM_STORES_PLAIN;
    for (; frame < LAP; frame++)
        taken += timed_frame(&w, out, in, frame, LARGE) + timed_frame(&w, out2, in2, frame, LARGE);
    C4TEST_INT(taken, 0);
    for (uint64_t end = frame + 2 * LAP; frame < end; frame++) {
        taken += timed_frame(&w, out, in, frame, LARGE);
        CU_ASSERT_FALSE(timed_frame(&w, out2, in2, frame, C4_SHM_RATE_BYTES - 1));
    }
    C4TEST_INT(taken, 2 * LAP);
    for (int round = 0; round < 10; round++, frame++) { /* a step that folds two takes longer for each */
        unsigned before = distance->rates;
        c4_window window;
        C4TEST_OK_FATAL(frame_put(out, frame, LARGE));
        C4TEST_OK_FATAL(frame_put(out2, frame, LARGE));
        C4TEST_OK(ops->peek(in, &window));
        C4TEST_OK(ops->peek(in2, &window));
        ops->consume(in);
        ops->consume(in2);
        C4TEST_INT(distance->rates, before);
    }
    for (int round = 0; round < 10; round++, frame++) /* and that ends with it */
        CU_ASSERT(timed_frame(&w, out, in, frame, LARGE) && timed_frame(&w, out2, in2, frame, LARGE));
    w.ranks[0].module->stores = C4_SHM_STORES_STREAM;
    for (int round = 0; round < 10; round++, frame++)
        CU_ASSERT_FALSE(timed_frame(&w, out, in, frame, LARGE));
    world_close(&w);
}

/* Frames that are slow to read make both sides think that they are far, and their writer go around its cache. */
static void test_distance_switched(void)
{
    world w = world_open(2, 0);
    world_connect(&w);
    c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
    c4_shm_distance *distance = &w.ranks[1].module->peers[0]->distance;
    uint64_t frame = 0;
    c4_shm_distance *writers = &w.ranks[0].module->peers[1]->distance;
    distance->near_ticks = writers->near_ticks = 0; /* the probe line says nothing */
    distance->far_ticks = writers->far_ticks = c4_shm_distance_ticks(UINT32_MAX) - 1;
    distance->slow_ticks = 0;
    for (; frame < LAP; frame++)
        timed_frame(&w, out, in, frame, LARGE);
    CU_ASSERT(!distance->far && !writers->far);
    for (uint64_t end = frame + 2 * LAP; frame < end; frame++)
        timed_frame(&w, out, in, frame, LARGE);
    CU_ASSERT(distance->far && writers->far);
    c4_window window;
    C4TEST_OK_FATAL(ops->reserve(out, LARGE, &window));
    CU_ASSERT(window.stream);
    world_close(&w);
}

static void test_distance_votes(void)
{
    c4_shm_distance distance;
    c4_shm_distance_init(&distance);
    uint64_t near = distance.near_ticks / 2, far = distance.far_ticks * 2ull;
    vote(&distance, far);
    CU_ASSERT(distance.far); /* the first decides */
    vote(&distance, near);
    vote(&distance, near);
    CU_ASSERT(distance.far);
    vote(&distance, far); /* and the count starts again */
    vote(&distance, near);
    vote(&distance, near);
    CU_ASSERT(distance.far);
    vote(&distance, (distance.near_ticks + distance.far_ticks) / 2); /* says nothing */
    vote(&distance, near);
    CU_ASSERT(!distance.far);
    uint32_t before = distance.measured;
    vote(&distance, near);
    CU_ASSERT(distance.measured != before); /* the same value is news to the other side */
    C4TEST_INT(c4_shm_distance_ticks(distance.measured), (long long)near);
    vote(&distance, UINT64_MAX);
    C4TEST_INT(c4_shm_distance_ticks(distance.measured), c4_shm_distance_ticks(UINT32_MAX));
}

/* Readers measure, at any size of frames, and writers hear of it. */
static void test_distance_measured(void)
{
    const size_t sizes[] = {8, 300, 65536};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        world w = world_open(2, 0);
        world_connect(&w);
        c4_channel *out = rig_channel(&w.ranks[0], 1, 0, 1, 0), *in = rig_channel(&w.ranks[1], 1, 0, 1, 0);
        for (uint64_t frame = 0; frame < 1000; frame++) {
            C4TEST_OK_FATAL(frame_put(out, frame, sizes[s]));
            C4TEST_OK_FATAL(frame_get(in, frame, sizes[s]));
        }
        uint32_t measured = w.ranks[1].module->peers[0]->distance.measured;
        CU_ASSERT(measured >> 20 >= 1000 / C4_SHM_PROBE_EVERY / C4_SHM_WINDOW);
        CU_ASSERT(w.ranks[0].module->peers[1]->distance.known);
        world_close(&w);
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(distance_change),
                                        C4TEST(distance_rates),
                                        C4TEST(distance_timed),
                                        C4TEST(distance_switched),
                                        C4TEST(distance_votes),
                                        C4TEST(distance_measured),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
