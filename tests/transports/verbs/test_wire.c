/* What verbs puts on the wire: every field there and back, the bytes themselves, and everything malformed refused. */
#include "tests/c4test.h"

#include <string.h>

#include "transports/verbs/wire.h"
#include "wire/frame.h"

static const c4_frame some_frame = {.comm = 0x01020304,
                                    .epoch = 0x0506,
                                    .flags = 0x0708,
                                    .sequence = 0x090a0b0c,
                                    .signature = 0x0d0e0f10,
                                    .lane = 0x1112,
                                    .step = 0x1314,
                                    .bytes = 24,
                                    .offset = 0x191a1b1c1d1e1f20};

static c4_verbs_message some_message(c4_verbs_kind kind)
{
    return (c4_verbs_message){.kind = kind,
                              .credits = 0xa1a2,
                              .acked = 0xb1b2b3b4,
                              .comm = 0xc1c2c3c4,
                              .tag = 0x00d2d3d4,
                              .ticket = 0xe1e2e3e4,
                              .rkey = 0xf1f2f3f4,
                              .address = 0x2122232425262728,
                              .frame = some_frame};
}

static size_t length_of(const c4_verbs_message *message)
{
    return C4_VERBS_HEADER_BYTES + (message->kind == C4_VERBS_FRAME ? message->frame.bytes : 0);
}

/* ---- messages ---- */

static void test_messages(void)
{
    for (c4_verbs_kind kind = C4_VERBS_FRAME; kind <= C4_VERBS_ACK; kind++) {
        c4_verbs_message message = some_message(kind), back = {.kind = C4_VERBS_ACK};
        unsigned char wire[C4_VERBS_HEADER_BYTES];
        memset(wire, 0xee, sizeof wire);
        c4_verbs_message_pack(&message, wire);
        CU_ASSERT_FATAL(c4_verbs_message_unpack(wire, length_of(&message), &back));
        C4TEST_INT(back.kind, kind);
        C4TEST_INT(back.credits, message.credits);
        C4TEST_INT(back.acked, message.acked);
        C4TEST_INT(back.comm, message.comm);
        C4TEST_INT(back.tag, message.tag);
        C4TEST_INT(back.ticket, message.ticket);
        C4TEST_INT(back.rkey, message.rkey);
        C4TEST_INT((long long)back.address, (long long)message.address);
        CU_ASSERT(memcmp(&back.frame, &message.frame, sizeof back.frame) == 0);
    }
}

/* Processes of different builds talk to one another: the layout does not change unnoticed. */
static void test_message_bytes(void)
{
    static const unsigned char expected[C4_VERBS_HEADER_BYTES] = {
        2,    0,    0xa2, 0xa1, 0xb4, 0xb3, 0xb2, 0xb1, 0xd4, 0xd3, 0xd2, 0x00, 0xe4, 0xe3, 0xe2, 0xe1,
        4,    3,    2,    1,    6,    5,    8,    7,    0xc,  0xb,  0xa,  9,    0x10, 0xf,  0xe,  0xd,
        0x12, 0x11, 0x14, 0x13, 24,   0,    0,    0,    0x20, 0x1f, 0x1e, 0x1d, 0x1c, 0x1b, 0x1a, 0x19,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0xf4, 0xf3, 0xf2, 0xf1, 0xc4, 0xc3, 0xc2, 0xc1};
    c4_verbs_message message = some_message(C4_VERBS_DATA);
    unsigned char wire[C4_VERBS_HEADER_BYTES];
    c4_verbs_message_pack(&message, wire);
    CU_ASSERT(memcmp(wire, expected, sizeof wire) == 0);
}

static void test_malformed_messages(void)
{
    c4_verbs_message message = some_message(C4_VERBS_FRAME), back;
    unsigned char wire[C4_VERBS_HEADER_BYTES + 64] = {0};
    c4_verbs_message_pack(&message, wire);
    CU_ASSERT(c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES + 24, &back));
    /* every length but the one that it tells, from nothing on */
    for (size_t bytes = 0; bytes < sizeof wire; bytes++)
        C4TEST_INT(c4_verbs_message_unpack(wire, bytes, &back), bytes == C4_VERBS_HEADER_BYTES + 24);
    /* one that tells of more than any memory holds */
    message.frame.bytes = UINT32_MAX;
    c4_verbs_message_pack(&message, wire);
    CU_ASSERT(!c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES - 1, &back));
    CU_ASSERT(!c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES, &back));
    for (c4_verbs_kind kind = C4_VERBS_DATA; kind <= C4_VERBS_ACK; kind++) { /* these have no payload */
        wire[0] = (unsigned char)kind;
        CU_ASSERT(c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES, &back));
        CU_ASSERT(!c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES + 1, &back));
        CU_ASSERT(!c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES - 1, &back));
    }
    message.frame.bytes = 0;
    message.tag = C4_FRAME_TAG_LIMIT;
    c4_verbs_message_pack(&message, wire);
    CU_ASSERT(!c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES, &back));
    message.tag--;
    for (unsigned kind = 0; kind < 256; kind++) {
        c4_verbs_message_pack(&message, wire);
        wire[0] = (unsigned char)kind;
        C4TEST_INT(c4_verbs_message_unpack(wire, C4_VERBS_HEADER_BYTES, &back),
                   kind >= C4_VERBS_FRAME && kind <= C4_VERBS_ACK);
    }
}

/* ---- greetings ---- */

static c4_verbs_words some_words(void)
{
    c4_verbs_words words = {.rail = 3,
                            .port = 2,
                            .ethernet = true,
                            .gid = {.kind = C4_VERBS_GID_ROCE_V2},
                            .lid = 0x1234,
                            .mtu = 4096,
                            .qpn = 0xabcdef,
                            .psn = 0xfedcba,
                            .window = 32,
                            .eager_bytes = 8192,
                            .received = 0x0102030405060708};
    for (unsigned i = 0; i < 16; i++)
        words.gid.raw[i] = (uint8_t)(0xf0 + i);
    return words;
}

static void test_words(void)
{
    c4_verbs_words words = some_words(), back;
    unsigned char wire[C4_VERBS_WORDS_BYTES];
    memset(wire, 0xee, sizeof wire);
    c4_verbs_words_pack(&words, wire);
    CU_ASSERT_FATAL(c4_verbs_words_unpack(wire, &back));
    CU_ASSERT(back.rail == 3 && back.port == 2 && back.ethernet && back.lid == 0x1234 && back.mtu == 4096);
    CU_ASSERT(memcmp(back.gid.raw, words.gid.raw, 16) == 0 && back.gid.kind == C4_VERBS_GID_ROCE_V2);
    CU_ASSERT(back.qpn == 0xabcdef && back.psn == 0xfedcba && back.window == 32 && back.eager_bytes == 8192);
    C4TEST_INT((long long)back.received, 0x0102030405060708);
    for (unsigned i = 56; i < sizeof wire; i++)
        C4TEST_INT(wire[i], 0); /* no byte of this process's memory leaves it by accident */
}

static void test_malformed_words(void)
{
    static const struct {
        unsigned at;
        unsigned char value;
        const char *what;
    } bad[] = {{0, 'X', "magic"},
               {3, 0, "magic"},
               {4, 0, "layout"},
               {4, 2, "layout of a later version"},
               {5, C4_VERBS_MAX_RAILS, "rail"},
               {24, C4_VERBS_GID_ROCE_V2 + 1, "kind of GID"},
               {31, 1, "queue pair of 25 bits"},
               {35, 1, "PSN of 25 bits"},
               {37, 0, "MTU"},
               {38, C4_VERBS_LEAST_WINDOW - 1, "window"}};
    c4_verbs_words words = some_words(), back;
    words.mtu = 256;
    words.window = C4_VERBS_LEAST_WINDOW;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned char wire[C4_VERBS_WORDS_BYTES];
        c4_verbs_words_pack(&words, wire);
        CU_ASSERT(c4_verbs_words_unpack(wire, &back));
        wire[bad[i].at] = bad[i].value;
        if (c4_verbs_words_unpack(wire, &back)) {
            fprintf(stderr, "accepted: %s\n", bad[i].what);
            CU_FAIL("malformed words were accepted");
        }
    }
}

/* ---- cards ---- */

static c4_verbs_card some_card(unsigned nrails)
{
    c4_verbs_card card = {.version = 1, .nrails = (uint8_t)nrails, .eager_bytes = 8192};
    for (unsigned i = 0; i < nrails; i++)
        card.rails[i] = (c4_verbs_rail_card){
            .ethernet = i % 2 == 0, .gid_kind = (c4_verbs_gid_kind)(i % 3), .ipv4 = i % 2 == 0, .subnet = i * 77};
    return card;
}

static void test_cards(void)
{
    for (unsigned nrails = 1; nrails <= C4_VERBS_MAX_RAILS; nrails++) {
        c4_verbs_card card = some_card(nrails), back;
        unsigned char wire[C4_VERBS_EXTRA_BYTES];
        memset(wire, 0xee, sizeof wire);
        c4_verbs_card_pack(&card, wire);
        CU_ASSERT_FATAL(c4_verbs_card_unpack(wire, &back));
        CU_ASSERT(back.version == 1 && back.nrails == nrails && back.eager_bytes == 8192);
        for (unsigned i = 0; i < nrails; i++) {
            const c4_verbs_rail_card *a = &card.rails[i], *b = &back.rails[i];
            CU_ASSERT(a->ethernet == b->ethernet && a->gid_kind == b->gid_kind && a->ipv4 == b->ipv4 &&
                      a->subnet == b->subnet);
        }
        for (unsigned i = 16 + 16 * nrails; i < sizeof wire; i++)
            C4TEST_INT(wire[i], 0);
    }
}

static void test_malformed_cards(void)
{
    static const struct {
        unsigned at;
        unsigned char value;
    } bad[] = {{0, 'X'}, {3, 0}, {4, 0}, {4, 2}, {5, 0}, {5, C4_VERBS_MAX_RAILS + 1}, {5, 255}, {17, 3}, {33, 9}};
    c4_verbs_card card = some_card(2), back;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned char wire[C4_VERBS_EXTRA_BYTES];
        c4_verbs_card_pack(&card, wire);
        wire[bad[i].at] = bad[i].value;
        C4TEST_INT(c4_verbs_card_unpack(wire, &back), 0);
    }
}

static void test_card_of_gid(void)
{
    c4_verbs_gid gid = {.kind = C4_VERBS_GID_ROCE_V2, .raw = {[10] = 0xff, [11] = 0xff, [12] = 10}};
    c4_verbs_rail_card card = c4_verbs_rail_card_of(true, &gid);
    CU_ASSERT(card.ethernet && card.ipv4 && card.gid_kind == C4_VERBS_GID_ROCE_V2 && card.subnet == 0);
    gid.raw[0] = 0x20;
    card = c4_verbs_rail_card_of(true, &gid);
    CU_ASSERT(card.ethernet && !card.ipv4 && card.subnet == 0);
    gid = (c4_verbs_gid){.kind = C4_VERBS_GID_IB, .raw = {0xfe, 0x80, 0, 0, 0, 0, 0, 0x11, 0x99}};
    card = c4_verbs_rail_card_of(false, &gid);
    CU_ASSERT(!card.ethernet && !card.ipv4 && card.gid_kind == C4_VERBS_GID_IB);
    C4TEST_INT((long long)card.subnet, (long long)0xfe80000000000011);
}

static void test_reach(void)
{
    static const c4_verbs_rail_card v2 = {.ethernet = true, .gid_kind = C4_VERBS_GID_ROCE_V2, .ipv4 = true};
    static const c4_verbs_rail_card v2_6 = {.ethernet = true, .gid_kind = C4_VERBS_GID_ROCE_V2};
    static const c4_verbs_rail_card v1 = {.ethernet = true, .gid_kind = C4_VERBS_GID_ROCE_V1, .ipv4 = true};
    static const c4_verbs_rail_card ib = {.gid_kind = C4_VERBS_GID_IB, .subnet = 1};
    static const c4_verbs_rail_card far = {.gid_kind = C4_VERBS_GID_IB, .subnet = 2};
    const struct {
        c4_verbs_rail_card own[2], peer[2];
        uint8_t nown, npeer;
        const char *wrong; /* part of it */
    } cases[] = {
        {{v2}, {v2}, 1, 1, NULL},
        {{ib}, {ib}, 1, 1, NULL},
        {{ib}, {far}, 1, 1, NULL}, /* through a router */
        {{v2}, {ib}, 1, 1, "one side is InfiniBand and the other RoCE"},
        {{v2}, {v1}, 1, 1, "of RoCE v1 and the other of v2: set C4_VERBS_GID_INDEX"},
        {{v2}, {v2_6}, 1, 1, "of IPv4 and the other's of IPv6: set C4_VERBS_GID_INDEX or C4_SOCKET_FAMILY"},
        /* one pair of rails is enough, as they are connected: the first with the first */
        {{ib, v2}, {v2, v2}, 2, 2, NULL},
        {{v2, v2}, {ib}, 2, 1, "one side is InfiniBand"},
        {{v2, ib}, {ib}, 2, 1, NULL},
        {{ib, v2}, {v2, ib}, 2, 2, "one side is InfiniBand"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        c4_verbs_card own = {.nrails = cases[i].nown, .eager_bytes = 8192};
        c4_verbs_card peer = {.nrails = cases[i].npeer, .eager_bytes = 8192};
        memcpy(own.rails, cases[i].own, sizeof cases[i].own);
        memcpy(peer.rails, cases[i].peer, sizeof cases[i].peer);
        for (int turn = 0; turn < 2; turn++) { /* both sides say the same */
            const char *wrong = turn == 0 ? c4_verbs_card_mismatch(&own, &peer) : c4_verbs_card_mismatch(&peer, &own);
            C4TEST_INT(wrong == NULL, cases[i].wrong == NULL);
            if (wrong != NULL && cases[i].wrong != NULL)
                C4TEST_CONTAINS(wrong, cases[i].wrong);
        }
        peer.eager_bytes = 4096;
        C4TEST_STRING(c4_verbs_card_mismatch(&own, &peer), "C4_VERBS_EAGER_BYTES differs: set it alike on all ranks");
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(messages), C4TEST(message_bytes),   C4TEST(malformed_messages), C4TEST(words), C4TEST(malformed_words),
        C4TEST(cards),    C4TEST(malformed_cards), C4TEST(card_of_gid),        C4TEST(reach), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
