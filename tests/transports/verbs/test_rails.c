/* Two rails, of which one goes down, comes back, or is taken away, idle or in the middle of frames. */
#include "tests/c4test.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/world.h"
#include "tests/transports/verbs/rig.h"

#define FRAMES 60u

static const standin_setup two = {.ndevices = 2, .max_inline = 256};
static const standin_setup lagging = {.ndevices = 2, .max_inline = 256, .lags = true, .seed = 7};

static unsigned rail_of(const rig *r, int rank, unsigned index)
{
    const c4_verbs_link *link = rig_link(r, rank, index);
    return link->rail != NULL ? link->rail->index : 99;
}

static void check_rails(const rig *r, unsigned first, unsigned second)
{
    for (int rank = 0; rank < 2; rank++) {
        C4TEST_INT(rail_of(r, rank, 0), first);
        C4TEST_INT(rail_of(r, rank, 1), second);
    }
}

/* Both links, both ways, small and large: all of it arrives. */
static void exchange_all(rig *r)
{
    for (uint32_t tag = 0; tag < 2; tag++)
        for (int writer = 0; writer < 2; writer++) {
            C4TEST_OK(rig_exchange(r, writer, tag, 8));
            C4TEST_OK(rig_exchange(r, writer, tag, 70000));
        }
}

static bool all_up(const rig *r, unsigned rail, bool up)
{
    return r->modules[0]->rails[rail].up == up && r->modules[1]->rails[rail].up == up;
}

static void test_port_down_and_up(void)
{
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    exchange_all(&r);
    check_rails(&r, 0, 1);
    standin_port(1, false);
    RIG_UNTIL(&r, all_up(&r, 1, false));
    C4TEST_STRING(r.hosts[0].last_warning, "verbs: rail 1 (standin1:1) is down");
    exchange_all(&r);
    check_rails(&r, 0, 0);
    standin_port(1, true);
    RIG_UNTIL(&r, all_up(&r, 1, true));
    exchange_all(&r);
    check_rails(&r, 0, 1);
    CU_ASSERT(r.errors[0] == C4_OK && r.errors[1] == C4_OK);
    rig_close(&r);
}

/* The port comes back with another MTU (on InfiniBand perhaps with another LID too): new queue pairs go by that. */
static void test_port_comes_back_changed(void)
{
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    exchange_all(&r);
    standin_port(1, false);
    RIG_UNTIL(&r, all_up(&r, 1, false));
    standin_mtu(1, IBV_MTU_4096);
    standin_port(1, true);
    RIG_UNTIL(&r, all_up(&r, 1, true));
    exchange_all(&r);
    check_rails(&r, 0, 1);
    for (int rank = 0; rank < 2; rank++) {
        C4TEST_INT(rig_link(&r, rank, 0)->mtu, 1024);
        C4TEST_INT(rig_link(&r, rank, 1)->mtu, 4096);
    }
    rig_close(&r);
}

static void test_device_removed(void)
{
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    exchange_all(&r);
    standin_remove(0);
    RIG_UNTIL(&r, all_up(&r, 0, false));
    C4TEST_STRING(r.hosts[0].last_warning, "verbs: rail 0 (standin0:1) is gone: the device was removed");
    exchange_all(&r);
    check_rails(&r, 1, 1);
    standin_port(0, true); /* too late */
    exchange_all(&r);
    check_rails(&r, 1, 1);
    rig_close(&r);
}

/* Memory is to be registered before anybody has seen that a device is gone: that costs this device's queue pairs, and no frame. */
static void test_registering_at_a_removed_device(void)
{
    enum { COUNT = 40 };
    static unsigned char from[2][70000], to[2][COUNT][70000];
    static c4_xfer sends[2][COUNT], receives[2][COUNT];
    static const size_t sizes[] = {3000, sizeof from[0]};
    for (size_t size = 0; size < 2; size++)
        for (int sender_first = 0; sender_first < 2; sender_first++) {
            size_t bytes = sizes[size];
            rig r;
            standin_start(&two);
            rig_open(&r, NULL);
            for (uint32_t tag = 0; tag < 2; tag++)
                C4TEST_OK(rig_exchange(&r, 0, tag, 8));
            if (!sender_first)
                standin_remove(0);
            for (int i = 0; i < COUNT; i++)
                for (uint32_t tag = 0; tag < 2; tag++) {
                    receives[tag][i] = (c4_xfer){.pointer = to[tag][i], .bytes = bytes};
                    CU_ASSERT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, tag), &receives[tag][i]) >= 0);
                }
            if (sender_first) { /* it has its tickets */
                for (int i = 0; i < 20; i++)
                    rig_progress(&r);
                standin_remove(0);
            }
            for (int i = 0; i < COUNT; i++)
                for (uint32_t tag = 0; tag < 2; tag++) {
                    conf_fill(from[tag], bytes, tag);
                    sends[tag][i] =
                        (c4_xfer){.frame = conf_frame((uint32_t)i, bytes), .pointer = from[tag], .bytes = bytes};
                    CU_ASSERT(c4_verbs_ops.send(rig_channel(&r, 0, 0, tag), &sends[tag][i]) >= 0);
                }
            for (int i = 0; i < COUNT; i++)
                for (uint32_t tag = 0; tag < 2; tag++) {
                    RIG_UNTIL(&r, receives[tag][i].state != C4_IN_PROGRESS && sends[tag][i].state != C4_IN_PROGRESS);
                    CU_ASSERT(receives[tag][i].state == C4_OK && sends[tag][i].state == C4_OK);
                    CU_ASSERT(conf_verify(to[tag][i], bytes, tag));
                }
            CU_ASSERT(r.errors[0] == C4_OK && r.errors[1] == C4_OK);
            rig_close(&r);
        }
}

static bool sleeps(rig *r, int rank)
{
    int fd = -1;
    bool slept = false;
    if (c4_verbs_ops.arm(r->modules[rank], &fd) == C4_IN_PROGRESS) {
        struct pollfd waiter = {.fd = fd, .events = POLLIN};
        slept = poll(&waiter, 1, 20) == 0;
    }
    c4_verbs_ops.disarm(r->modules[rank]);
    return slept;
}

static bool sleeps_soon(rig *r, int rank)
{
    for (unsigned wakings = 0; wakings < 100; wakings++) {
        if (sleeps(r, rank))
            return true;
        rig_progress(r);
    }
    return false;
}

/* The descriptors of a device that was taken away are readable for ever: that keeps nobody awake, whether its port was up till
 * then or not. */
static void test_sleep_without_the_device(void)
{
    for (int was_down = 0; was_down < 2; was_down++) {
        rig r;
        standin_start(&two);
        rig_open(&r, NULL);
        exchange_all(&r);
        if (was_down) {
            standin_port(0, false);
            RIG_UNTIL(&r, all_up(&r, 0, false));
        }
        standin_remove(0);
        RIG_UNTIL(&r, r.modules[0]->rails[0].gone && r.modules[1]->rails[0].gone);
        for (int rank = 0; rank < 2; rank++)
            C4TEST_STRING(r.hosts[rank].last_warning, "verbs: rail 0 (standin0:1) is gone: the device was removed");
        exchange_all(&r);
        CU_ASSERT(sleeps_soon(&r, 0) && sleeps_soon(&r, 1));
        exchange_all(&r);
        rig_close(&r);
    }
}

/* Until one of the two ranks knows that no port is up; it gives up its queue pairs then, and the other has none either. */
static void take_all_down(rig *r)
{
    exchange_all(r);
    standin_port(0, false);
    standin_port(1, false);
    RIG_UNTIL(r, standin_alive(STANDIN_QP) == 0);
    CU_ASSERT(!r->modules[0]->rails[0].up || !r->modules[1]->rails[0].up);
}

static void test_all_down(void)
{
    static const char told[] = "all RDMA ports that this rank uses are down";
    rig r;
    standin_start(&two);
    rig_open(&r, "C4_VERBS_RETRY_MS=200ms");
    take_all_down(&r);
    C4TEST_INT(rig_exchange(&r, 0, 0, 8), C4_ERR_LINK);
    CU_ASSERT(strstr(rig_link(&r, 0, 0)->trouble, told) != NULL || strstr(rig_link(&r, 1, 0)->trouble, told) != NULL);
    rig_close(&r);
}

/* All down and up again while nobody wants anything: who has no queue pair hears nothing of it until it wants one. */
static void test_down_while_idle(void)
{
    rig r;
    standin_start(&two);
    rig_open(&r, "C4_VERBS_RETRY_MS=2s");
    take_all_down(&r);
    standin_port(0, true);
    standin_port(1, true);
    exchange_all(&r);
    CU_ASSERT(r.errors[0] == C4_OK && r.errors[1] == C4_OK);
    rig_close(&r);
}

/* ---- many peers ---- */

/* Completion queues are no narrower than the shared receive queue, which has room for 4096 queue pairs of the fewest buffers; then
 * the right limit is named. */
static void test_many_queue_pairs(void)
{
    const unsigned entries = C4_VERBS_SQ_DEPTH + 32, most = 6000;
    unsigned claimed = 0;
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    exchange_all(&r);
    while (claimed < most && c4_verbs_rail_cq(&r.modules[0]->rails[0], entries) != NULL)
        claimed++;
    CU_ASSERT(claimed >= 4096 && claimed < most);
    C4TEST_CONTAINS(c4_fail_text(),
                    "verbs: standin0:1 has 1 queue pairs, and all its completion queues are full: lower "
                    "C4_VERBS_QPS_PER_PEER or C4_VERBS_CREDITS");
    exchange_all(&r);
    rig_close(&r);
}

/* ---- in the middle of frames ---- */

typedef struct stream {
    c4_xfer sends[FRAMES], receives[FRAMES];
    unsigned char *from, *to;
    size_t bytes;
} stream;

static void stream_post(rig *r, stream *s, uint32_t tag, size_t bytes, unsigned first, unsigned last)
{
    for (unsigned i = first; i < last; i++) {
        unsigned char *from = s->from + i * bytes;
        conf_fill(from, bytes, i + bytes);
        s->sends[i] = (c4_xfer){.frame = conf_frame(i, bytes), .pointer = from, .bytes = bytes};
        s->receives[i] = (c4_xfer){.pointer = s->to + i * bytes, .bytes = bytes};
        CU_ASSERT(c4_verbs_ops.recv(rig_channel(r, 1, 0, tag), &s->receives[i]) >= 0);
        CU_ASSERT(c4_verbs_ops.send(rig_channel(r, 0, 0, tag), &s->sends[i]) >= 0);
    }
}

static void stream_check(rig *r, stream *s)
{
    for (unsigned i = 0; i < FRAMES; i++) {
        const c4_frame expected = conf_frame(i, s->bytes);
        RIG_UNTIL(r, s->receives[i].state != C4_IN_PROGRESS && s->sends[i].state != C4_IN_PROGRESS);
        CU_ASSERT(s->receives[i].state == C4_OK && s->sends[i].state == C4_OK);
        CU_ASSERT(conf_frame_equal(&s->receives[i].frame, &expected));
        CU_ASSERT(conf_verify(s->receives[i].pointer, s->bytes, i + s->bytes));
    }
    rig_take_back(s->from);
    rig_take_back(s->to);
    free(s->from);
    free(s->to);
}

static stream stream_make(size_t bytes, bool declare)
{
    stream s = {.from = conf_alloc(FRAMES * bytes), .to = conf_alloc(FRAMES * bytes), .bytes = bytes};
    if (declare) {
        rig_declare(s.from, FRAMES * bytes);
        rig_declare(s.to, FRAMES * bytes);
    }
    return s;
}

/* Frames on both links, of which one loses its rail after some steps, by the port or by the device. Twice with declared memory,
 * where frames are on their way in the user's own. */
static void test_in_the_middle(void)
{
    standin_start(&lagging);
    for (int round = 0; round < 4; round++) {
        rig r;
        rig_open(&r, NULL);
        exchange_all(&r);
        stream small = stream_make(3000, false), large = stream_make(50000, round % 2 == 1);
        stream_post(&r, &small, 0, small.bytes, 0, FRAMES);
        stream_post(&r, &large, 1, large.bytes, 0, FRAMES / 2);
        for (uint64_t steps = c4test_rand_below(12); steps > 0; steps--)
            rig_progress(&r);
        unsigned rail = (unsigned)round / 2;
        standin_port(rail, false);
        stream_post(&r, &large, 1, large.bytes, FRAMES / 2, FRAMES);
        stream_check(&r, &small);
        stream_check(&r, &large);
        for (int rank = 0; rank < 2; rank++) /* a link that was done before has no rail at all, soon */
            RIG_UNTIL(&r, rail_of(&r, rank, 0) != rail && rail_of(&r, rank, 1) != rail);
        standin_port(rail, true);
        rig_close(&r);
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(port_down_and_up),
                                        C4TEST(port_comes_back_changed),
                                        C4TEST(registering_at_a_removed_device),
                                        C4TEST(device_removed),
                                        C4TEST(sleep_without_the_device),
                                        C4TEST(all_down),
                                        C4TEST(many_queue_pairs),
                                        C4TEST(down_while_idle),
                                        C4TEST_DEADLINE(in_the_middle, 60),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
