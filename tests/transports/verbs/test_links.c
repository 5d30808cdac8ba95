/* Links of verbs seen from inside: what a peer should not say, on its queue pair and when it greets, ends that queue pair or that
 * link and nothing else; declared memory. */
#include "tests/c4test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/conformance/world.h"
#include "tests/transports/verbs/rig.h"
#include "transports/verbs/link.h"

#define LARGE 100000u

static const standin_setup two = {.ndevices = 2, .max_inline = 256};

/* Both links, both ways, small and large. */
static void exchange_all(rig *r)
{
    for (uint32_t tag = 0; tag < 2; tag++)
        for (int writer = 0; writer < 2; writer++) {
            C4TEST_OK(rig_exchange(r, writer, tag, 8));
            C4TEST_OK(rig_exchange(r, writer, tag, LARGE));
        }
}

/* ---- messages ---- */

/* By rank 0 on link 0, past all its accounts; but the buffer that it takes is one that rank 0 has, while it has any. */
static void post_bytes(const rig *r, const unsigned char *wire, size_t bytes)
{
    c4_verbs_link *link = rig_link(r, 0, 0);
    struct ibv_sge piece = {.addr = (uintptr_t)wire, .length = (uint32_t)bytes};
    struct ibv_send_wr request = {.sg_list = &piece,
                                  .num_sge = 1,
                                  .opcode = IBV_WR_SEND,
                                  .send_flags = IBV_SEND_INLINE},
                       *bad;
    C4TEST_INT(ibv_post_send(link->qp, &request, &bad), 0);
    link->credits -= link->credits > 0;
}

static void post_message(const rig *r, c4_verbs_message message, size_t payload)
{
    unsigned char wire[C4_VERBS_HEADER_BYTES + 64] = {0};
    message.acked += (uint32_t)rig_link(r, 0, 0)->received;
    c4_verbs_message_pack(&message, wire);
    post_bytes(r, wire, C4_VERBS_HEADER_BYTES + payload);
}

typedef struct forgery {
    const char *what;
    c4_verbs_message message; /* acked: more than is right */
    size_t payload;
    unsigned times;
    bool harmless;
} forgery;

static const forgery forgeries[] = {
    {"an acknowledgement that is in order", {.kind = C4_VERBS_ACK}, 0, 1, true},
    {"kind 0", {.kind = 0}, 0, 1, false},
    {"kind 8", {.kind = C4_VERBS_ACK + 1}, 0, 1, false},
    {"a payload where none belongs", {.kind = C4_VERBS_ACK}, 1, 1, false},
    {"a frame that is longer than it says", {.kind = C4_VERBS_FRAME, .frame.bytes = 8}, 9, 1, false},
    {"a frame that is shorter than it says", {.kind = C4_VERBS_FRAME, .frame.bytes = 8}, 7, 1, false},
    {"acknowledges what was never sent", {.kind = C4_VERBS_ACK, .acked = 1}, 0, 1, false},
    {"acknowledges less than before", {.kind = C4_VERBS_ACK, .acked = UINT32_MAX}, 0, 1, false},
    {"gives back more buffers than there are", {.kind = C4_VERBS_ACK, .credits = 33}, 0, 1, false},
    {"data without a ticket", {.kind = C4_VERBS_DATA, .frame.bytes = LARGE}, 0, 1, false},
    {"data for a channel that cannot be", {.kind = C4_VERBS_DATA, .tag = 1u << 24}, 0, 1, false},
    {"a frame for a channel that cannot be", {.kind = C4_VERBS_FRAME, .tag = 1u << 24}, 0, 1, false},
    {"a ticket for a channel that cannot be", {.kind = C4_VERBS_TICKET, .tag = 1u << 24}, 0, 1, false},
    {"more tickets than may be out", {.kind = C4_VERBS_TICKET, .frame.bytes = LARGE}, 0, C4_VERBS_TICKETS + 1, false},
    {"more messages than it has buffers for", {.kind = C4_VERBS_ACK}, 0, 33, false},
    {"a pause for a channel that is not there", {.kind = C4_VERBS_PAUSE, .tag = 77}, 0, 1, true},
};

static void test_forged_messages(void)
{
    standin_start(&two);
    for (size_t i = 0; i < sizeof forgeries / sizeof forgeries[0]; i++) {
        const forgery *forged = &forgeries[i];
        unsigned before = CU_get_number_of_failures();
        rig r;
        rig_open(&r, NULL);
        exchange_all(&r);
        uint64_t first = rig_link(&r, 1, 0)->base.generation, second = rig_link(&r, 1, 1)->base.generation;
        if (forged->times > 32)
            rig_link(&r, 1, 0)->credits = 0; /* rank 1 cannot give buffers back meanwhile */
        for (unsigned time = 0; time < forged->times; time++)
            post_message(&r, forged->message, forged->payload);
        if (!forged->harmless) { /* it is rank 1 that minds */
            RIG_UNTIL(&r, rig_link(&r, 1, 0)->base.state != C4_TLINK_UP);
            C4TEST_INT(rig_link(&r, 1, 0)->base.last_errno, EPROTO);
        }
        exchange_all(&r);
        C4TEST_INT(rig_link(&r, 1, 0)->base.generation > first, !forged->harmless);
        C4TEST_INT((long long)rig_link(&r, 1, 1)->base.generation, (long long)second);
        CU_ASSERT(r.errors[0] == C4_OK && r.errors[1] == C4_OK);
        rig_close(&r);
        if (CU_get_number_of_failures() > before)
            fprintf(stderr, "  after: %s\n", forged->what);
    }
}

static void test_short_message(void)
{
    rig r;
    unsigned char wire[C4_VERBS_HEADER_BYTES] = {C4_VERBS_ACK};
    standin_start(&two);
    rig_open(&r, NULL);
    for (size_t bytes = 0; bytes < sizeof wire; bytes++) {
        C4TEST_OK(rig_exchange(&r, 0, 0, 8));
        post_bytes(&r, wire, bytes);
        RIG_UNTIL(&r, rig_link(&r, 1, 0)->base.state != C4_TLINK_UP);
    }
    exchange_all(&r);
    for (int rank = 0; rank < 2; rank++) /* what 64 queue pairs had claimed of the first one is free again */
        for (int rail = 0; rail < 2; rail++)
            C4TEST_INT(r.modules[rank]->rails[rail].ncqs, 1);
    rig_close(&r);
}

/* A receive is out: data for another ticket than its, or of another size, does not end it. */
static void test_wrong_ticket(void)
{
    static unsigned char from[LARGE], to[LARGE];
    const c4_verbs_message wrong[] = {{.kind = C4_VERBS_DATA, .ticket = 1, .frame.bytes = LARGE},
                                      {.kind = C4_VERBS_DATA, .ticket = 0, .frame.bytes = LARGE - 1},
                                      {.kind = C4_VERBS_DATA, .ticket = 7, .frame.bytes = LARGE}};
    standin_start(&two);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        rig r;
        rig_open(&r, NULL);
        C4TEST_OK(rig_exchange(&r, 0, 0, 8));
        c4_channel *out = rig_channel(&r, 0, 0, 0), *in = rig_channel(&r, 1, 0, 0);
        c4_xfer receive = {.pointer = to, .bytes = LARGE}, send = {.pointer = from, .bytes = LARGE};
        C4TEST_INT(c4_verbs_ops.recv(in, &receive), C4_IN_PROGRESS);
        RIG_UNTIL(&r, out->ntickets == 1);
        post_message(&r, wrong[i], 0);
        RIG_UNTIL(&r, rig_link(&r, 1, 0)->base.state != C4_TLINK_UP);
        C4TEST_INT(receive.state, C4_IN_PROGRESS);
        memset(from, (int)i + 1, LARGE);
        CU_ASSERT(c4_verbs_ops.send(out, &send) >= 0);
        RIG_UNTIL(&r, receive.state != C4_IN_PROGRESS);
        C4TEST_INT(receive.state, C4_OK);
        CU_ASSERT(memcmp(from, to, LARGE) == 0);
        rig_close(&r);
    }
}

/* It leads to memory that the peer has not, or not any more. */
static void test_ticket_without_memory(void)
{
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    exchange_all(&r);
    uint64_t before = rig_link(&r, 1, 0)->base.generation;
    post_message(
        &r, (c4_verbs_message){.kind = C4_VERBS_TICKET, .rkey = 0x77777777, .address = 64, .frame.bytes = LARGE}, 0);
    RIG_UNTIL(&r, rig_channel(&r, 1, 1, 0)->ntickets == 1);
    C4TEST_OK(rig_exchange(&r, 1, 0, LARGE));
    CU_ASSERT(rig_link(&r, 1, 0)->base.generation > before);
    exchange_all(&r);
    rig_close(&r);
}

/* ---- greetings ---- */

typedef enum forged_words { MALFORMED, OTHER_EAGER, OTHER_GID, STALE, UNSENT } forged_words;

/* What one rank says of itself is changed before it is sent, so many times. */
static struct {
    forged_words how;
    unsigned times;
} forging;

static c4_status forge_words(c4_tlink *link, const unsigned char *theirs, unsigned char *wire)
{
    c4_verbs_words words;
    c4_status status = c4_verbs_tlink_ops.words(link, theirs, wire);
    if (status != C4_OK || forging.times == 0)
        return status;
    forging.times--;
    CU_ASSERT(c4_verbs_words_unpack(wire, &words));
    if (forging.how == OTHER_EAGER)
        words.eager_bytes = 4096;
    if (forging.how == OTHER_GID)
        words.gid.raw[15] = 99;
    if (forging.how == STALE) /* of a queue pair that is gone */
        words.psn ^= 1;
    if (forging.how == UNSENT)
        words.received = 1000;
    c4_verbs_words_pack(&words, wire);
    if (forging.how == MALFORMED)
        wire[4]++;
    return status;
}

static void open_forger(rig *r, int rank, forged_words how, unsigned times)
{
    static c4_tlink_ops forger;
    forger = c4_verbs_tlink_ops;
    forger.words = forge_words;
    forging.how = how;
    forging.times = times;
    standin_start(&two);
    rig_open(r, "C4_VERBS_RETRY_MS=200ms");
    r->modules[rank]->hub.ops = &forger;
}

/* One greeting that comes to nothing costs time, whichever side it is of: rank 0 is the client. */
static void test_forged_greeting_once(void)
{
    for (int rank = 0; rank < 2; rank++)
        for (forged_words how = MALFORMED; how <= STALE; how++) {
            rig r;
            open_forger(&r, rank, how, 1);
            exchange_all(&r);
            C4TEST_INT((long long)forging.times, 0);
            CU_ASSERT(r.errors[0] == C4_OK && r.errors[1] == C4_OK);
            rig_close(&r);
        }
}

static void test_forged_greetings(void)
{
    static const struct {
        forged_words how;
        const char *told;
    } cases[] = {{MALFORMED, "link 0 to rank 0: the peer greets with words that are none of this version"},
                 {OTHER_EAGER, "link 0 to rank 0: the peer greets with C4_VERBS_EAGER_BYTES=4096, here it is 8192"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rig r;
        open_forger(&r, 0, cases[i].how, UINT32_MAX);
        CU_ASSERT(rig_exchange(&r, 0, 0, 8) < 0);
        RIG_UNTIL(&r, r.errors[1] != C4_OK);
        C4TEST_INT(r.errors[1], C4_ERR_LINK);
        C4TEST_INT(r.named[1], 0);
        C4TEST_CONTAINS(r.hosts[1].last_warning, cases[i].told);
        C4TEST_INT(r.hosts[1].warnings_logged, 1); /* once, not at every try */
        CU_ASSERT_PTR_NULL(rig_link(&r, 1, 0)->qp);
        rig_close(&r);
    }
}

/* Queue pairs that are up and carry nothing: packets go nowhere, or to nobody who knows them. */
static void test_path_that_carries_nothing(void)
{
    for (forged_words how = OTHER_GID; how <= STALE; how++) {
        rig r;
        open_forger(&r, 0, how, UINT32_MAX);
        C4TEST_INT(rig_exchange(&r, 0, 0, 8), C4_ERR_LINK);
        C4TEST_CONTAINS(c4_fail_text(), "carried nothing (C4_VERBS_RETRY_MS): is its GID reachable from here");
        rig_close(&r);
    }
}

/* It says that frames have arrived that nobody sent: that link is over, the other goes on. */
static void test_unsent(void)
{
    rig r;
    open_forger(&r, 0, UNSENT, 1);
    CU_ASSERT(rig_exchange(&r, 0, 0, 8) < 0);
    RIG_UNTIL(&r, r.errors[1] != C4_OK);
    C4TEST_INT(r.errors[1], C4_ERR_PROTOCOL);
    C4TEST_INT(r.named[1], 0);
    C4TEST_OK(rig_exchange(&r, 0, 1, 8));
    C4TEST_OK(rig_exchange(&r, 1, 1, LARGE));
    rig_close(&r);
}

/* A rank of an earlier membership gets no queue pair. */
static void test_old_epoch(void)
{
    rig r = {.sequence = 0};
    standin_start(&two);
    for (int rank = 0; rank < 2; rank++) {
        rig_host(&r, rank, "C4_VERBS_RETRY_MS=200ms");
        r.hosts[rank].host.epoch = (uint16_t)(1 + rank);
        C4TEST_OK_FATAL(c4_verbs_ops.open(&r.hosts[rank].host, &r.modules[rank]));
    }
    rig_introduce(&r);
    CU_ASSERT(rig_exchange(&r, 0, 0, 8) < 0);
    C4TEST_INT(r.named[0], 1);
    C4TEST_INT(standin_alive(STANDIN_QP), 0);
    rig_close(&r);
}

/* ---- bounds ---- */

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Of so many small receives that are all posted before, and filled. */
static double seconds_for_each(unsigned count)
{
    static unsigned char from[8], to[8];
    c4_xfer *receives = calloc(count, sizeof *receives), *sends = calloc(count, sizeof *sends);
    rig r;
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    double began = cpu_seconds();
    for (unsigned i = 0; i < count; i++) {
        receives[i] = (c4_xfer){.pointer = to, .bytes = sizeof to};
        C4TEST_INT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, 0), &receives[i]), C4_IN_PROGRESS);
    }
    for (unsigned i = 0; i < count; i++) {
        sends[i] = (c4_xfer){.pointer = from, .bytes = sizeof from};
        CU_ASSERT(c4_verbs_ops.send(rig_channel(&r, 0, 0, 0), &sends[i]) >= 0);
    }
    RIG_UNTIL(&r, receives[count - 1].state != C4_IN_PROGRESS);
    double seconds = cpu_seconds() - began;
    rig_close(&r);
    free(receives);
    free(sends);
    return seconds / count;
}

/* Any number may be posted: one more does not make each of them dearer. */
static void test_many_posted(void)
{
    standin_start(&two);
    double few = seconds_for_each(1000), many = seconds_for_each(16000);
    if (many > 4 * few)
        C4TEST_INT((long long)(many * 1e9), (long long)(few * 1e9));
}

/* More is posted on both links than peer and device have room for, while the peer looks at nothing: the stand-in ends a process
 * that overruns a send queue, or whose peer has no buffer. */
static void test_full_queues(void)
{
    enum { COUNT = 600 };
    static const char *const credits[] = {NULL, "C4_VERBS_CREDITS=8", "C4_VERBS_CREDITS=1000"};
    static unsigned char from[64], to[64];
    static c4_xfer sends[2][COUNT];
    standin_start(&two);
    for (size_t i = 0; i < sizeof credits / sizeof credits[0]; i++) {
        rig r;
        rig_open(&r, credits[i]);
        exchange_all(&r);
        for (uint32_t n = 0; n < 2 * COUNT; n++) {
            c4_xfer *send = &sends[n % 2][n / 2];
            *send = (c4_xfer){.frame = {.sequence = n / 2}, .pointer = from, .bytes = sizeof from};
            CU_ASSERT(c4_verbs_ops.send(rig_channel(&r, 0, 0, n % 2), send) >= 0);
        }
        for (uint32_t n = 0; n < 2 * COUNT; n++) {
            c4_xfer receive = {.pointer = to, .bytes = sizeof to};
            CU_ASSERT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, n % 2), &receive) >= 0);
            RIG_UNTIL(&r, receive.state != C4_IN_PROGRESS);
            CU_ASSERT(receive.state == C4_OK && receive.frame.sequence == n / 2);
        }
        rig_close(&r);
    }
}

/* No more memory can be registered: who needs some for a large frame is told; what was there already goes on. */
static void test_no_memory_for_large(void)
{
    static unsigned char to[LARGE];
    c4_xfer receive = {.pointer = to, .bytes = LARGE};
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    C4TEST_OK(rig_exchange(&r, 1, 0, 8)); /* rank 1 knows by now that it may send tickets */
    standin_fail(2, UINT32_MAX, ENOMEM);  /* at the second rail: nothing stays registered at the first */
    standin_fail_only("reg_mr");
    C4TEST_INT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, 0), &receive), C4_ERR_SYSTEM);
    C4TEST_INT(receive.state, C4_ERR_SYSTEM);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    standin_fail(0, 0, 0);
    C4TEST_OK(rig_exchange(&r, 0, 0, LARGE));
    rig_close(&r);
}

/* A receive behind the first one can wait for a copy: where no more can be registered that is tried, and told, once. */
static void test_no_memory_ahead(void)
{
    static unsigned char to[3][LARGE], from[LARGE];
    c4_xfer receive[3], send = {.pointer = from, .bytes = LARGE};
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    C4TEST_OK(rig_exchange(&r, 1, 0, 8)); /* rank 1 knows by now that it may send tickets */
    for (int i = 0; i < 3; i++) {
        receive[i] = (c4_xfer){.pointer = to[i], .bytes = LARGE};
        if (i == 1) {
            standin_fail(1, 1, ENOMEM);
            standin_fail_only("reg_mr");
        }
        C4TEST_INT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, 0), &receive[i]), C4_IN_PROGRESS);
    }
    CU_ASSERT_PTR_NOT_NULL(standin_failed());
    C4TEST_INT(rig_channel(&r, 1, 0, 0)->ntickets, 1);
    for (int i = 0; i < 3; i++) {
        send.frame.bytes = LARGE;
        c4_verbs_ops.send(rig_channel(&r, 0, 0, 0), &send);
        RIG_UNTIL(&r, receive[i].state != C4_IN_PROGRESS && send.state != C4_IN_PROGRESS);
        C4TEST_OK(receive[i].state);
    }
    rig_close(&r);
}

/* A writer that nobody reads is told to wait; later all of it arrives. */
static void test_pause(void)
{
    enum { COUNT = 2000, BYTES = 1000, DEPTH = 100000 };
    static unsigned char from[BYTES], to[BYTES];
    static c4_xfer sends[COUNT];
    const int reader = 1;
    const c4_channel_spec spec = {sizeof spec, 0, 4, 0, &reader, 1, DEPTH};
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    c4_channel *out = rig_channel(&r, 0, 0, 4), *in;
    C4TEST_OK_FATAL(c4_verbs_ops.channel_open(r.modules[1], &spec, &in));
    for (uint32_t i = 0; i < COUNT; i++) {
        sends[i] = (c4_xfer){.frame = {.sequence = i}, .pointer = from, .bytes = BYTES};
        CU_ASSERT(c4_verbs_ops.send(out, &sends[i]) >= 0);
    }
    RIG_UNTIL(&r, out->paused);
    for (int i = 0; i < 1000; i++)
        rig_progress(&r);
    CU_ASSERT(in->in_bytes > DEPTH && in->in_bytes < DEPTH + 40 * (BYTES + sizeof(c4_verbs_in)));
    C4TEST_OK(rig_exchange(&r, 0, 0, BYTES)); /* the same link is open to others */
    for (uint32_t i = 0; i < COUNT; i++) {
        c4_xfer receive = {.pointer = to, .bytes = BYTES};
        CU_ASSERT(c4_verbs_ops.recv(in, &receive) >= 0);
        RIG_UNTIL(&r, receive.state != C4_IN_PROGRESS);
        CU_ASSERT(receive.state == C4_OK && receive.frame.sequence == i);
    }
    rig_close(&r);
}

/* ---- declared memory ---- */

static void test_declared_memory(void)
{
    static unsigned char from[LARGE], to[LARGE];
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    rig_declare(from, LARGE);
    rig_declare(to, LARGE);
    unsigned own = standin_alive(STANDIN_MR);
    for (int turn = 0; turn < 3; turn++) {
        c4_xfer receive = {.pointer = to, .bytes = LARGE}, send = {.pointer = from, .bytes = LARGE};
        conf_fill(from, LARGE, (uint64_t)turn);
        C4TEST_INT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, 0), &receive), C4_IN_PROGRESS);
        C4TEST_INT(c4_verbs_ops.send(rig_channel(&r, 0, 0, 0), &send), C4_IN_PROGRESS);
        RIG_UNTIL(&r, receive.state != C4_IN_PROGRESS && send.state != C4_IN_PROGRESS);
        CU_ASSERT(receive.state == C4_OK && send.state == C4_OK && conf_verify(to, LARGE, (uint64_t)turn));
    }
    /* Straight: each side has registered its buffer once, at each of its rails, and nothing was copied. */
    C4TEST_INT(standin_alive(STANDIN_MR), own + r.modules[0]->nrails + r.modules[1]->nrails);
    CU_ASSERT(r.modules[0]->slots.free_units == NULL && r.modules[1]->slots.free_units == NULL);
    /* Taken back while the peer has a ticket for it: the receive is cancelled first, as its owner must. */
    c4_xfer receive = {.pointer = to, .bytes = LARGE};
    C4TEST_INT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, 0), &receive), C4_IN_PROGRESS);
    RIG_UNTIL(&r, rig_channel(&r, 0, 0, 0)->ntickets == 1);
    c4_verbs_ops.cancel(rig_channel(&r, 1, 0, 0), &receive);
    memset(to, 0x11, LARGE);
    rig_take_back(from);
    rig_take_back(to);
    C4TEST_OK(rig_exchange(&r, 0, 0, LARGE));
    for (size_t i = 0; i < LARGE; i++)
        if (to[i] != 0x11) {
            CU_FAIL("memory that was taken back was written to");
            break;
        }
    unsigned units = 2 * r.modules[0]->nrails; /* what the last frame needed */
    RIG_UNTIL(&r, standin_alive(STANDIN_MR) == own + units);
    rig_close(&r);
}

/* A channel is closed while its frame is on its way from the user's memory: both are the user's again, and nobody looks at them. */
static void test_closed_on_the_way(void)
{
    static unsigned char from[LARGE], to[LARGE];
    const int reader = 1;
    const c4_channel_spec spec = {sizeof spec, 0, 4, 0, &reader, 1, 0};
    c4_channel *out;
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    rig_declare(from, LARGE);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    C4TEST_OK_FATAL(c4_verbs_ops.channel_open(r.modules[0], &spec, &out));
    c4_xfer receive = {.pointer = to, .bytes = LARGE}, send = {.pointer = from, .bytes = LARGE};
    C4TEST_INT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, 4), &receive), C4_IN_PROGRESS);
    RIG_UNTIL(&r, out->ntickets == 1);
    C4TEST_INT(c4_verbs_ops.send(out, &send), C4_IN_PROGRESS);
    C4TEST_INT(send.handed_over, 1);
    C4TEST_INT(rig_link(&r, 0, 0)->nspans, 1);
    c4_verbs_ops.channel_close(out);
    C4TEST_INT(rig_link(&r, 0, 0)->nspans, 0);
    send.state = 77;
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    C4TEST_OK(rig_exchange(&r, 1, 0, LARGE));
    for (int i = 0; i < 100; i++)
        rig_progress(&r);
    C4TEST_INT(send.state, 77);
    rig_take_back(from);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(forged_messages, 60),
                                        C4TEST(short_message),
                                        C4TEST(wrong_ticket),
                                        C4TEST(ticket_without_memory),
                                        C4TEST_DEADLINE(forged_greeting_once, 60),
                                        C4TEST(forged_greetings),
                                        C4TEST(path_that_carries_nothing),
                                        C4TEST(unsent),
                                        C4TEST(old_epoch),
                                        C4TEST_DEADLINE(many_posted, 60),
                                        C4TEST(full_queues),
                                        C4TEST(no_memory_for_large),
                                        C4TEST(no_memory_ahead),
                                        C4TEST(pause),
                                        C4TEST(declared_memory),
                                        C4TEST(closed_on_the_way),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
