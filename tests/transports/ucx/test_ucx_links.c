/* Links of ucx seen from inside, two modules in one process: who is let in, order, cancelling, pausing, the end. */
#include "tests/c4test.h"

#include <string.h>
#include <sys/mman.h>

#include "tests/conformance/host.h"
#include "transports/ucx/channel.h"
#include "transports/ucx/internal.h"
#include "transports/ucx/link.h"
#include "transports/ucx/receive.h"

typedef struct pair {
    c4_test_host hosts[2];
    c4_module *modules[2]; /* NULL: closed */
    c4_status errors[2];   /* last one of progress, and whom it named */
    int named[2];
} pair;

static void introduce(pair *p, int rank, int peer)
{
    unsigned char address[C4_ADDRESS_MAX_BYTES];
    size_t bytes = sizeof address;
    char reason[256] = "";
    C4TEST_OK_FATAL(c4_ucx_ops.address(p->modules[peer], address, &bytes));
    C4TEST_OK_FATAL(c4_ucx_ops.add_peer(p->modules[rank], peer, address, bytes, reason, sizeof reason));
}

static void pair_open(pair *p, const unsigned char *key_of_1)
{
    memset(p, 0, sizeof *p);
    for (int rank = 0; rank < 2; rank++) {
        c4_test_host_init(&p->hosts[rank], NULL, NULL, 77, rank, 2);
        if (rank == 1 && key_of_1 != NULL)
            p->hosts[rank].host.key = key_of_1;
        C4TEST_OK_FATAL(c4_ucx_ops.open(&p->hosts[rank].host, &p->modules[rank]));
    }
    introduce(p, 0, 1);
    introduce(p, 1, 0);
}

static void progress_one(pair *p, int rank)
{
    int peer = -1;
    c4_status status = p->modules[rank] != NULL ? c4_ucx_ops.progress(p->modules[rank], &peer) : C4_OK;
    if (status < 0) {
        p->errors[rank] = status;
        p->named[rank] = peer;
    }
}

/* Until the condition holds. What nobody waits for is served too: a rank that computes would look now and then. */
#define PROGRESS_UNTIL(p, condition)                    \
    while (!(condition)) {                              \
        for (int rank_ = 0; rank_ < 2; rank_++) {       \
            if ((p)->modules[rank_] != NULL)            \
                c4_ucx_ops.disarm((p)->modules[rank_]); \
            progress_one((p), rank_);                   \
        }                                               \
    }

static void pair_close(pair *p)
{
    for (int rank = 0; rank < 2; rank++)
        if (p->modules[rank] != NULL)
            c4_ucx_ops.close(p->modules[rank]);
}

static c4_channel *channel(pair *p, int rank, uint32_t tag, int writer, size_t depth_bytes)
{
    const int reader = 1 - writer;
    const c4_channel_spec spec = {sizeof spec, 1, tag, writer, &reader, 1, depth_bytes};
    c4_channel *made = NULL;
    C4TEST_OK_FATAL(c4_ucx_ops.channel_open(p->modules[rank], &spec, &made));
    return made;
}

/* One frame from 0 to 1: afterwards 0 may send. */
static void shake_hands(pair *p)
{
    char byte = 1;
    c4_channel *out = channel(p, 0, 99, 0, 0), *in = channel(p, 1, 99, 0, 0);
    c4_xfer send = {.pointer = &byte, .bytes = 1}, receive = {.pointer = &byte, .bytes = 1};
    CU_ASSERT(c4_ucx_ops.recv(in, &receive) >= 0 && c4_ucx_ops.send(out, &send) >= 0);
    PROGRESS_UNTIL(p, receive.state != C4_IN_PROGRESS && send.state != C4_IN_PROGRESS);
    C4TEST_INT(receive.state, C4_OK);
    c4_ucx_ops.channel_close(in);
    c4_ucx_ops.channel_close(out);
}

/* ---- who is let in ---- */

static void test_wrong_key(void)
{
    static const unsigned char other[32] = "another job's key";
    pair p;
    char byte = 0;
    pair_open(&p, other);
    c4_channel *out = channel(&p, 0, 1, 0, 0);
    c4_xfer send = {.pointer = &byte, .bytes = 1};
    C4TEST_INT(c4_ucx_ops.send(out, &send), C4_IN_PROGRESS);
    PROGRESS_UNTIL(&p, p.errors[0] != C4_OK);
    C4TEST_INT(p.errors[0], C4_ERR_AUTH);
    C4TEST_INT(p.named[0], 1);
    C4TEST_INT(send.state, C4_ERR_AUTH);
    CU_ASSERT(p.modules[1]->links[0] == NULL || !p.modules[1]->links[0]->receives);
    pair_close(&p);
}

/* It knows rank 0's address and job, says that it is rank 1, and has no key. Neither its handshake nor its frames come
 * through, and what rank 0 answers goes to the true rank 1. */
static void test_stranger(void)
{
    static const unsigned char other[32] = "a guess";
    pair p, strange;
    unsigned char address[C4_ADDRESS_MAX_BYTES];
    size_t bytes = sizeof address;
    char reason[256] = "", byte = 7;
    pair_open(&p, NULL);
    pair_open(&strange, other);
    C4TEST_OK(c4_ucx_ops.address(p.modules[0], address, &bytes));
    C4TEST_OK(c4_ucx_ops.add_peer(strange.modules[1], 0, address, bytes, reason, sizeof reason));
    c4_channel *out = channel(&strange, 1, 1, 1, 0), *in = channel(&p, 0, 1, 1, 0);
    c4_xfer send = {.pointer = &byte, .bytes = 1}, receive = {.pointer = &byte, .bytes = 1};
    C4TEST_INT(c4_ucx_ops.send(out, &send), C4_IN_PROGRESS);
    C4TEST_INT(c4_ucx_ops.recv(in, &receive), C4_IN_PROGRESS);
    uint64_t before = p.modules[1]->refused;
    PROGRESS_UNTIL(
        &p, (progress_one(&strange, 1), p.modules[1]->refused > before)); /* the answer that it did not ask for */
    CU_ASSERT(!strange.modules[1]->links[0]->sends);
    c4_ucx_link *forged = strange.modules[1]->links[0];
    forged->send_token = 0x1234567812345678;
    forged->sends = true;
    before = p.modules[0]->refused;
    c4_ucx_channels_go(forged);
    PROGRESS_UNTIL(&p, (progress_one(&strange, 1), p.modules[0]->refused > before));
    C4TEST_INT(receive.state, C4_IN_PROGRESS);
    /* The true one is let in all the same. */
    c4_channel *true_out = channel(&p, 1, 1, 1, 0);
    c4_xfer true_send = {.pointer = &byte, .bytes = 1};
    CU_ASSERT(c4_ucx_ops.send(true_out, &true_send) >= 0);
    PROGRESS_UNTIL(&p, receive.state != C4_IN_PROGRESS);
    C4TEST_INT(receive.state, C4_OK);
    /* And beside it the stranger still is not. */
    c4_xfer again = {.pointer = &byte, .bytes = 1}, nothing = {.pointer = &byte, .bytes = 1};
    forged->send_sequence = p.modules[0]->links[1]->receive_sequence;
    CU_ASSERT(c4_ucx_ops.recv(in, &nothing) >= 0 && c4_ucx_ops.send(out, &again) >= 0);
    before = p.modules[0]->refused;
    PROGRESS_UNTIL(&p, (progress_one(&strange, 1), nothing.state != C4_IN_PROGRESS || p.modules[0]->refused > before));
    C4TEST_INT(nothing.state, C4_IN_PROGRESS);
    pair_close(&strange);
    pair_close(&p);
}

/* ---- frames as they come from the network ---- */

static ucs_status_t arrive(pair *p, const c4_ucx_header *header, size_t header_bytes, void *data, size_t bytes)
{
    unsigned char wire[C4_UCX_HEADER_BYTES];
    const ucp_am_recv_param_t param = {.recv_attr = 0};
    c4_ucx_header_pack(header, wire);
    return c4_ucx_on_frame(p->modules[1], wire, header_bytes, data, bytes, &param);
}

static c4_ucx_header next_header(const pair *p, uint64_t ahead, uint32_t bytes)
{
    const c4_ucx_link *link = p->modules[1]->links[0];
    return (c4_ucx_header){.kind = C4_UCX_DATA,
                           .tag = 1,
                           .comm = 1,
                           .token = link->receive_token,
                           .sequence = link->receive_sequence + ahead,
                           .frame = {.sequence = (uint32_t)ahead, .bytes = bytes}};
}

/* The first comes last; half of them have been asked for. */
static void test_overtaking(void)
{
    enum { COUNT = 6 };
    pair p;
    unsigned char got[COUNT] = {0};
    c4_xfer receives[COUNT];
    c4_ucx_header headers[COUNT];
    pair_open(&p, NULL);
    shake_hands(&p);
    c4_channel *in = channel(&p, 1, 1, 0, 0);
    for (int i = 0; i < COUNT; i++) {
        headers[i] = next_header(&p, (uint64_t)i, 1);
        receives[i] = (c4_xfer){.pointer = &got[i], .bytes = 1};
    }
    for (int i = 0; i < COUNT / 2; i++)
        C4TEST_INT(c4_ucx_ops.recv(in, &receives[i]), C4_IN_PROGRESS);
    for (int i = COUNT - 1; i >= 0; i--) {
        unsigned char payload = (unsigned char)(100 + i);
        C4TEST_INT(receives[0].state, C4_IN_PROGRESS);
        C4TEST_INT(arrive(&p, &headers[i], C4_UCX_HEADER_BYTES, &payload, 1), UCS_OK);
    }
    for (int i = COUNT / 2; i < COUNT; i++)
        C4TEST_OK(c4_ucx_ops.recv(in, &receives[i]));
    for (int i = 0; i < COUNT; i++) {
        C4TEST_INT(receives[i].state, C4_OK);
        C4TEST_INT(receives[i].frame.sequence, i);
        C4TEST_INT(got[i], 100 + i);
    }
    C4TEST_INT(p.modules[1]->links[0]->nearly, 0);
    pair_close(&p);
}

static void test_bad_frames(void)
{
    pair p;
    unsigned char payload[8] = {0};
    pair_open(&p, NULL);
    shake_hands(&p);
    const c4_ucx_header good = next_header(&p, 0, 8);
    c4_ucx_header bad[7];
    for (int i = 0; i < 7; i++)
        bad[i] = good;
    bad[0].kind = 9;
    bad[1].from = 2;
    bad[2].from = 1; /* the reader itself */
    bad[3].token ^= 1;
    bad[4].sequence--;
    bad[5].frame.bytes = 7;
    bad[6].frame.bytes = C4_UCX_MAX_FRAME_BYTES + 1;
    uint64_t before = p.modules[1]->refused;
    for (uint64_t i = 0; i < 7; i++) {
        C4TEST_INT(arrive(&p, &bad[i], C4_UCX_HEADER_BYTES, payload, 8), UCS_OK);
        C4TEST_INT(p.modules[1]->refused, before + i + 1);
    }
    C4TEST_INT(arrive(&p, &good, C4_UCX_HEADER_BYTES - 1, payload, 8), UCS_OK);
    C4TEST_INT(p.modules[1]->refused, before + 8);
    C4TEST_INT(p.modules[1]->links[0]->receive_sequence, good.sequence);
    /* Early ones are kept up to a limit. */
    for (uint64_t i = 0; i < C4_UCX_MAX_EARLY + 10; i++) {
        c4_ucx_header early = next_header(&p, 1 + i, 8);
        arrive(&p, &early, C4_UCX_HEADER_BYTES, payload, 8);
    }
    C4TEST_INT(p.modules[1]->links[0]->nearly, C4_UCX_MAX_EARLY);
    pair_close(&p);
}

/* ---- cancelling what UCX has in its hands ---- */

#define LARGE C4_UCX_MAX_FRAME_BYTES

static void *pages(void)
{
    void *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(memory != MAP_FAILED);
    return memory;
}

static void test_cancel_rendezvous(void)
{
    const int *which = c4test_arg();
    bool send_side = *which == 0;
    pair p;
    pair_open(&p, NULL);
    shake_hands(&p);
    c4_channel *out = channel(&p, 0, 1, 0, 0), *in = channel(&p, 1, 1, 0, 0);
    c4_xfer send = {.pointer = pages(), .bytes = LARGE}, receive = {.pointer = pages(), .bytes = LARGE};
    memset(send.pointer, 1, LARGE);
    C4TEST_INT(c4_ucx_ops.send(out, &send), C4_IN_PROGRESS);
    if (!send_side)
        C4TEST_INT(c4_ucx_ops.recv(in, &receive), C4_IN_PROGRESS);
    PROGRESS_UNTIL(&p, send_side ? in->in_first != NULL : p.modules[1]->nworks > 0 || receive.state != C4_IN_PROGRESS);
    uint64_t before = c4_now_ns();
    if (send_side)
        c4_ucx_ops.cancel(out, &send);
    else
        c4_ucx_ops.cancel(in, &receive);
    CU_ASSERT(c4_now_ns() - before < 1000000000);
    C4TEST_INT(p.modules[send_side ? 0 : 1]->nworks, 0);
    /* Whoever touches it now dies. */
    munmap(send_side ? send.pointer : receive.pointer, LARGE);
    if (send_side)
        CU_ASSERT(c4_ucx_ops.recv(in, &receive) >= 0 || receive.state < 0);
    before = c4_now_ns();
    PROGRESS_UNTIL(&p, c4_now_ns() - before > 300000000);
    pair_close(&p);
}

/* ---- bounds ---- */

/* A writer that nobody reads is told to wait; later all of it arrives. */
static void test_pause(void)
{
    enum { COUNT = 2000, BYTES = 1000, DEPTH = 100000 };
    pair p;
    static unsigned char sent[BYTES], got[BYTES];
    static c4_xfer sends[COUNT];
    pair_open(&p, NULL);
    shake_hands(&p);
    c4_channel *out = channel(&p, 0, 1, 0, 0), *in = channel(&p, 1, 1, 0, DEPTH);
    for (uint32_t i = 0; i < COUNT; i++)
        sends[i] = (c4_xfer){.frame = {.sequence = i}, .pointer = sent, .bytes = BYTES};
    for (uint32_t i = 0; i < 200; i++)
        CU_ASSERT(c4_ucx_ops.send(out, &sends[i]) >= 0);
    PROGRESS_UNTIL(&p, out->paused);
    for (uint32_t i = 200; i < COUNT; i++)
        C4TEST_INT(c4_ucx_ops.send(out, &sends[i]), C4_IN_PROGRESS);
    size_t most = in->in_bytes;
    for (int i = 0; i < 1000; i++) {
        c4_ucx_ops.disarm(p.modules[1]);
        progress_one(&p, 0);
        progress_one(&p, 1);
        most = in->in_bytes > most ? in->in_bytes : most;
    }
    CU_ASSERT(most <= (size_t)200 * (BYTES + sizeof(c4_ucx_in) + 64));
    for (uint32_t i = 0; i < COUNT; i++) {
        c4_xfer receive = {.pointer = got, .bytes = BYTES};
        CU_ASSERT(c4_ucx_ops.recv(in, &receive) >= 0);
        PROGRESS_UNTIL(&p, receive.state != C4_IN_PROGRESS);
        CU_ASSERT(receive.state == C4_OK && receive.frame.sequence == i);
    }
    pair_close(&p);
}

/* ---- the end ---- */

static void test_peer_closes(void)
{
    pair p;
    char byte = 0;
    pair_open(&p, NULL);
    shake_hands(&p);
    c4_channel *in = channel(&p, 1, 1, 0, 0);
    c4_xfer receive = {.pointer = &byte, .bytes = 1};
    C4TEST_INT(c4_ucx_ops.recv(in, &receive), C4_IN_PROGRESS);
    c4_ucx_ops.close(p.modules[0]);
    p.modules[0] = NULL;
    PROGRESS_UNTIL(&p, p.errors[1] != C4_OK);
    C4TEST_INT(p.errors[1], C4_ERR_LINK);
    C4TEST_INT(p.named[1], 0);
    C4TEST_INT(receive.state, C4_ERR_LINK);
    C4TEST_INT(c4_ucx_ops.recv(in, &receive), C4_ERR_LINK);
    pair_close(&p);
}

/* The endpoint fails: told after the grace, and not before. */
static void test_lost(void)
{
    pair p;
    char byte = 0;
    pair_open(&p, NULL);
    shake_hands(&p);
    c4_channel *in = channel(&p, 1, 1, 0, 0);
    c4_xfer receive = {.pointer = &byte, .bytes = 1};
    C4TEST_INT(c4_ucx_ops.recv(in, &receive), C4_IN_PROGRESS);
    uint64_t before = c4_now_ns();
    c4_ucx_link_lost(p.modules[1]->links[0], UCS_ERR_CONNECTION_RESET);
    PROGRESS_UNTIL(&p, p.errors[1] != C4_OK);
    CU_ASSERT(c4_now_ns() - before >= C4_UCX_GRACE_NS);
    C4TEST_INT(p.errors[1], C4_ERR_LINK);
    C4TEST_INT(receive.state, C4_ERR_LINK);
    pair_close(&p);
}

/* Who connects to a rank that has just died is told by UCX at once, and waits all the same for whoever knows of the death. */
static void test_refused(void)
{
    pair p;
    char byte = 0;
    pair_open(&p, NULL);
    c4_channel *out = channel(&p, 0, 1, 0, 0);
    c4_ucx_ops.close(p.modules[1]);
    p.modules[1] = NULL;
    c4_xfer send = {.pointer = &byte, .bytes = 1};
    uint64_t before = c4_now_ns();
    C4TEST_INT(c4_ucx_ops.send(out, &send), C4_IN_PROGRESS);
    PROGRESS_UNTIL(&p, p.errors[0] != C4_OK);
    CU_ASSERT(c4_now_ns() - before >= C4_UCX_GRACE_NS);
    C4TEST_INT(p.named[0], 1);
    CU_ASSERT(send.state < 0 && send.state == p.errors[0]);
    pair_close(&p);
}

int main(int argc, char **argv)
{
    static const int sides[] = {0, 1};
    static const c4test_case cases[] = {C4TEST(wrong_key),
                                        C4TEST(stranger),
                                        C4TEST(overtaking),
                                        C4TEST(bad_frames),
                                        C4TEST_WITH("cancel_sent", test_cancel_rendezvous, 20, &sides[0]),
                                        C4TEST_WITH("cancel_received", test_cancel_rendezvous, 20, &sides[1]),
                                        C4TEST(pause),
                                        C4TEST(peer_closes),
                                        C4TEST(lost),
                                        C4TEST(refused),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
