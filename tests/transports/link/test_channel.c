/* Channels on a link that leads nowhere: frames are made to arrive by hand, and what the transport is asked is noted. */
#include <stdlib.h>
#include <string.h>

#include "tests/c4test.h"
#include "transports/link/channel.h"
#include "transports/link/internal.h"
#include "wire/frame.h"

#define FRAME_BYTES 1000

static struct {
    c4_xfer *sent[8];
    unsigned nsent, nposted, ncancelled, nforgotten, npaused, nresumed;
} asked;

static c4_status note_send(c4_channel *channel, c4_xfer *xfer)
{
    (void)channel;
    asked.sent[asked.nsent++] = xfer;
    return xfer->state = C4_IN_PROGRESS;
}

static void note_posted(c4_channel *channel)
{
    (void)channel;
    asked.nposted++;
}

static void note_cancel(c4_channel *channel, c4_xfer *xfer)
{
    (void)channel;
    (void)xfer;
    asked.ncancelled++;
}

static void note_forget(c4_channel *channel)
{
    (void)channel;
    asked.nforgotten++;
}

static c4_status note_pause(c4_channel *channel, bool pause)
{
    (void)channel;
    asked.npaused += pause;
    asked.nresumed += !pause;
    return C4_OK;
}

static const c4_tchannel_ops channel_ops = {
    .max_frame_bytes = FRAME_BYTES,
    .send = note_send,
    .posted = note_posted,
    .cancel = note_cancel,
    .forget = note_forget,
    .pause = note_pause,
};

static void log_nothing(void *context, int level, const char *format, ...)
{
    (void)context;
    (void)level;
    (void)format;
}

static const c4_tlink_ops link_ops = {.name = "nowhere", .link_bytes = sizeof(c4_tlink), .channels = &channel_ops};

/* Rank 0 of 2; the peer is known and has two links. */
static void nowhere_open(c4_tlink_hub *hub)
{
    *hub = (c4_tlink_hub){.ops = &link_ops, .nlinks = 2};
    hub->host = (c4_transport_host){.log = log_nothing, .rank = 0, .nranks = 2};
    hub->peers = calloc(2, sizeof *hub->peers);
    CU_ASSERT_PTR_NOT_NULL_FATAL(hub->peers);
    hub->peers[1].known = true;
}

static void nowhere_close(c4_tlink_hub *hub)
{
    c4_tchannels_close(hub);
    c4_tlink_pool_fini(&hub->pool);
    free(hub->active);
    free(hub->peers[1].links);
    free(hub->peers);
}

static c4_channel *open_channel(c4_tlink_hub *hub, uint32_t tag, int writer, size_t depth_bytes)
{
    int reader = 1 - writer;
    const c4_channel_spec spec = {sizeof spec, 1, tag, writer, &reader, 1, depth_bytes};
    c4_channel *channel = NULL;
    C4TEST_OK_FATAL(c4_tchannel_open(hub, &spec, &channel));
    return channel;
}

/* A frame of `bytes` times `value`, that nobody has asked for. */
static void arrive(c4_channel *channel, unsigned char value, uint32_t bytes)
{
    c4_tchannel_in *in = c4_tlink_pool_get(&channel->link->hub->pool, sizeof *in + bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(in);
    in->frame = (c4_frame){.sequence = value, .bytes = bytes};
    memset(in->payload, value, bytes);
    c4_tchannel_store(channel, in);
}

/* Frames come before the channel is opened, until its writer is told to pause; they are handed out in order, and the writer
 * may go on when half of them are. */
static void test_unexpected(void)
{
    c4_tlink_hub hub;
    c4_tlink *link;
    unsigned char memory[FRAME_BYTES];
    nowhere_open(&hub);
    C4TEST_OK_FATAL(c4_tlink_get(&hub, 1, 1, &link));
    c4_channel *channel = c4_tchannel_incoming(link, 1, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(channel);
    CU_ASSERT(c4_tchannel_incoming(link, 1, 2) == channel);
    arrive(channel, 1, FRAME_BYTES);
    CU_ASSERT(open_channel(&hub, 2, 1, 4 * FRAME_BYTES) == channel);
    for (unsigned char i = 2; i <= 6; i++)
        arrive(channel, i, FRAME_BYTES);
    C4TEST_INT(asked.npaused, 1);
    for (unsigned char i = 1; i <= 6; i++) {
        c4_xfer receive = {.pointer = memory, .bytes = i == 6 ? 8 : FRAME_BYTES};
        C4TEST_INT(asked.nresumed, i > 5); /* until then two are kept, which cost more than their bytes */
        C4TEST_INT(c4_tchannel_recv(channel, &receive), i == 6 ? C4_ERR_PROTOCOL : C4_OK);
        C4TEST_INT(receive.frame.sequence, i);
        CU_ASSERT(i == 6 || (memory[0] == i && memory[FRAME_BYTES - 1] == i));
    }
    C4TEST_INT(asked.npaused, 1);
    C4TEST_INT(asked.nresumed, 1);
    C4TEST_INT(link->nposted, 0);
    C4TEST_INT(channel->in_bytes, 0);
    nowhere_close(&hub);
}

static void test_posted(void)
{
    c4_tlink_hub hub;
    unsigned char memory[3][8];
    c4_xfer receives[3];
    nowhere_open(&hub);
    c4_channel *channel = open_channel(&hub, 1, 1, 0);
    c4_tlink *link = channel->link;
    C4TEST_INT(link->index, 0); /* (tag + comm) of 2 */
    for (int i = 0; i < 3; i++) {
        receives[i] = (c4_xfer){.pointer = memory[i], .bytes = 8};
        C4TEST_INT(c4_tchannel_recv(channel, &receives[i]), C4_IN_PROGRESS);
    }
    C4TEST_INT(asked.nposted, 3);
    C4TEST_INT(link->nposted, 3);
    CU_ASSERT(link->active);
    c4_tchannel_cancel(channel, &receives[1]);
    C4TEST_INT(asked.ncancelled, 0); /* it had not been given to the transport */
    c4_tchannel_cancel(channel, &receives[1]);
    C4TEST_INT(asked.ncancelled, 1);
    arrive(channel, 7, 8);
    C4TEST_INT(receives[0].state, C4_OK);
    C4TEST_INT(memory[0][7], 7);
    C4TEST_INT(link->nposted, 1);
    c4_tchannels_fail(link, C4_ERR_LINK);
    C4TEST_INT(receives[2].state, C4_ERR_LINK);
    C4TEST_INT(receives[1].state, C4_IN_PROGRESS);
    C4TEST_INT(link->nposted, 0);
    c4_tchannel_close(channel);
    C4TEST_INT(asked.nforgotten, 1);
    nowhere_close(&hub);
}

/* A writer that is paused keeps its frames, and their order when it goes on. */
static void test_paused(void)
{
    c4_tlink_hub hub;
    unsigned char memory[8];
    c4_xfer sends[4];
    nowhere_open(&hub);
    c4_channel *channel = open_channel(&hub, 1, 0, 0);
    c4_tlink *link = channel->link;
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            c4_tchannel_pause(link, 1, 1, true);
        sends[i] = (c4_xfer){.pointer = memory, .bytes = 8};
        C4TEST_INT(c4_tchannel_send(channel, &sends[i]), C4_IN_PROGRESS);
        C4TEST_INT(asked.nsent, 1);
    }
    C4TEST_INT(link->npaused, 1);
    c4_tchannel_cancel(channel, &sends[2]);
    c4_tchannel_pause(link, 1, 99, false); /* of a channel that is closed */
    c4_tchannel_pause(link, 1, 1, false);
    C4TEST_INT(link->npaused, 0);
    C4TEST_INT(asked.nsent, 3);
    CU_ASSERT(asked.sent[0] == &sends[0] && asked.sent[1] == &sends[1] && asked.sent[2] == &sends[3]);
    c4_tchannel_pause(link, 1, 1, true);
    c4_tchannel_close(channel);
    C4TEST_INT(link->npaused, 0);
    nowhere_close(&hub);
}

static void add_u32(void *dst, const void *a, const void *b, size_t count, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < count; i++)
        ((uint32_t *)dst)[i] = ((const uint32_t *)a)[i] + ((const uint32_t *)b)[i];
}

static void test_reduced(void)
{
    c4_tlink_hub hub;
    uint32_t result[3] = {0}, operand[3] = {1, 2, 3};
    const c4_reduction sum = {add_u32, sizeof result[0]};
    c4_xfer receive = {.pointer = result, .operand = operand, .reduce = &sum, .bytes = sizeof result};
    nowhere_open(&hub);
    c4_channel *channel = open_channel(&hub, 1, 1, 0);
    arrive(channel, 1, sizeof result);
    C4TEST_INT(c4_tchannel_recv(channel, &receive), C4_OK);
    for (uint32_t i = 0; i < 3; i++)
        C4TEST_INT(result[i], 0x01010101 + i + 1);
    nowhere_close(&hub);
}

static void test_refused(void)
{
    c4_tlink_hub hub;
    unsigned char memory[8];
    const int one = 1, both[2] = {1, 1};
    c4_channel *channel;
    nowhere_open(&hub);
    c4_channel_spec spec = {sizeof spec, 1, 1, 0, &one, 1, 0};
    C4TEST_OK(c4_tchannel_open(&hub, &spec, &channel));
    C4TEST_INT(c4_tchannel_open(&hub, &spec, &channel), C4_ERR_ARGUMENT);
    C4TEST_CONTAINS(c4_fail_text(), "nowhere: channel 1.1 to rank 1 is open already");
    c4_xfer send = {.pointer = memory, .bytes = FRAME_BYTES + 1};
    C4TEST_INT(c4_tchannel_send(channel, &send), C4_ERR_COUNT);
    C4TEST_INT(c4_tchannel_recv(channel, &send), C4_ERR_ARGUMENT);
    channel->link->state = C4_TLINK_FAILED;
    channel->link->status = C4_ERR_LINK;
    send.bytes = 8;
    C4TEST_INT(c4_tchannel_send(channel, &send), C4_ERR_LINK);
    spec.tag = C4_FRAME_TAG_LIMIT;
    C4TEST_INT(c4_tchannel_open(&hub, &spec, &channel), C4_ERR_ARGUMENT);
    spec = (c4_channel_spec){sizeof spec, 1, 2, 0, both, 2, 0};
    C4TEST_INT(c4_tchannel_open(&hub, &spec, &channel), C4_ERR_ARGUMENT);
    spec = (c4_channel_spec){sizeof spec, 1, 2, 1, &one, 1, 0};
    C4TEST_INT(c4_tchannel_open(&hub, &spec, &channel), C4_ERR_ARGUMENT); /* neither writer nor reader */
    hub.peers[1].known = false;
    spec = (c4_channel_spec){sizeof spec, 1, 2, 0, &one, 1, 0};
    C4TEST_INT(c4_tchannel_open(&hub, &spec, &channel), C4_ERR_ROOT);
    nowhere_close(&hub);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(unexpected), C4TEST(posted),  C4TEST(paused),
                                        C4TEST(reduced),    C4TEST(refused), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
