#include "transports/verbs/wire.h"

#include <string.h>

#include "wire/frame.h"

#define WORDS_MAGIC 0x56563443u /* "C4VV" */
#define CARD_MAGIC  0x43563443u /* "C4VC" */
#define LAYOUT      1u

void c4_verbs_message_pack(const c4_verbs_message *message, unsigned char wire[C4_VERBS_HEADER_BYTES])
{
    wire[0] = (unsigned char)message->kind;
    wire[1] = 0;
    c4_put_u16(wire + 2, message->credits);
    c4_put_u32(wire + 4, message->acked);
    c4_put_u32(wire + 8, message->tag);
    c4_put_u32(wire + 12, message->ticket);
    c4_frame_pack(&message->frame, wire + 16);
    c4_put_u64(wire + 48, message->address);
    c4_put_u32(wire + 56, message->rkey);
    c4_put_u32(wire + 60, message->comm);
}

bool c4_verbs_message_unpack(const unsigned char *wire, size_t nbytes, c4_verbs_message *message)
{
    if (nbytes < C4_VERBS_HEADER_BYTES || wire[0] < C4_VERBS_FRAME || wire[0] > C4_VERBS_ACK)
        return false;
    message->kind = wire[0];
    message->credits = c4_get_u16(wire + 2);
    message->acked = c4_get_u32(wire + 4);
    message->tag = c4_get_u32(wire + 8);
    message->ticket = c4_get_u32(wire + 12);
    c4_frame_unpack(wire + 16, &message->frame);
    message->address = c4_get_u64(wire + 48);
    message->rkey = c4_get_u32(wire + 56);
    message->comm = c4_get_u32(wire + 60);
    size_t payload = message->kind == C4_VERBS_FRAME ? message->frame.bytes : 0;
    return message->tag < C4_FRAME_TAG_LIMIT && nbytes == C4_VERBS_HEADER_BYTES + payload;
}

void c4_verbs_words_pack(const c4_verbs_words *words, unsigned char wire[C4_VERBS_WORDS_BYTES])
{
    memset(wire, 0, C4_VERBS_WORDS_BYTES);
    c4_put_u32(wire, WORDS_MAGIC);
    wire[4] = LAYOUT;
    wire[5] = words->rail;
    wire[6] = words->port;
    wire[7] = words->ethernet;
    memcpy(wire + 8, words->gid.raw, 16);
    wire[24] = (unsigned char)words->gid.kind;
    c4_put_u16(wire + 26, words->lid);
    c4_put_u32(wire + 28, words->qpn);
    c4_put_u32(wire + 32, words->psn);
    c4_put_u16(wire + 36, words->mtu);
    c4_put_u16(wire + 38, words->window);
    c4_put_u32(wire + 40, words->eager_bytes);
    c4_put_u64(wire + 48, words->received);
}

bool c4_verbs_words_unpack(const unsigned char wire[C4_VERBS_WORDS_BYTES], c4_verbs_words *words)
{
    *words = (c4_verbs_words){
        .rail = wire[5],
        .port = wire[6],
        .ethernet = wire[7] != 0,
        .gid.kind = wire[24],
        .lid = c4_get_u16(wire + 26),
        .qpn = c4_get_u32(wire + 28),
        .psn = c4_get_u32(wire + 32),
        .mtu = c4_get_u16(wire + 36),
        .window = c4_get_u16(wire + 38),
        .eager_bytes = c4_get_u32(wire + 40),
        .received = c4_get_u64(wire + 48),
    };
    memcpy(words->gid.raw, wire + 8, 16);
    return c4_get_u32(wire) == WORDS_MAGIC && wire[4] == LAYOUT && words->rail < C4_VERBS_MAX_RAILS &&
           wire[24] <= C4_VERBS_GID_ROCE_V2 && words->qpn < 1u << 24 && words->psn < 1u << 24 && words->mtu >= 256 &&
           words->window >= C4_VERBS_LEAST_WINDOW;
}

void c4_verbs_card_pack(const c4_verbs_card *card, unsigned char wire[C4_VERBS_EXTRA_BYTES])
{
    memset(wire, 0, C4_VERBS_EXTRA_BYTES);
    c4_put_u32(wire, CARD_MAGIC);
    wire[4] = LAYOUT;
    wire[5] = card->nrails;
    c4_put_u32(wire + 8, card->eager_bytes);
    for (unsigned i = 0; i < card->nrails; i++) {
        unsigned char *at = wire + 16 + 16 * i;
        at[0] = card->rails[i].ethernet;
        at[1] = (unsigned char)card->rails[i].gid_kind;
        at[2] = card->rails[i].ipv4;
        c4_put_u64(at + 8, card->rails[i].subnet);
    }
}

bool c4_verbs_card_unpack(const unsigned char wire[C4_VERBS_EXTRA_BYTES], c4_verbs_card *card)
{
    *card = (c4_verbs_card){.version = wire[4], .nrails = wire[5], .eager_bytes = c4_get_u32(wire + 8)};
    if (c4_get_u32(wire) != CARD_MAGIC || card->version != LAYOUT || card->nrails < 1 ||
        card->nrails > C4_VERBS_MAX_RAILS)
        return false;
    for (unsigned i = 0; i < card->nrails; i++) {
        const unsigned char *at = wire + 16 + 16 * i;
        card->rails[i] = (c4_verbs_rail_card){
            .ethernet = at[0] != 0, .gid_kind = at[1], .ipv4 = at[2] != 0, .subnet = c4_get_u64(at + 8)};
        if (at[1] > C4_VERBS_GID_ROCE_V2)
            return false;
    }
    return true;
}

c4_verbs_rail_card c4_verbs_rail_card_of(bool ethernet, const c4_verbs_gid *gid)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    c4_verbs_rail_card card = {
        .ethernet = ethernet, .gid_kind = gid->kind, .ipv4 = ethernet && memcmp(gid->raw, mapped, sizeof mapped) == 0};
    for (unsigned i = 0; i < 8 && !ethernet; i++)
        card.subnet = card.subnet << 8 | gid->raw[i];
    return card;
}

const char *c4_verbs_card_mismatch(const c4_verbs_card *own, const c4_verbs_card *peer)
{
    const char *wrong = NULL;
    if (own->eager_bytes != peer->eager_bytes)
        return "C4_VERBS_EAGER_BYTES differs: set it alike on all ranks";
    /* Rail i is connected with rail i: networks of several rails are built so. */
    unsigned rails = own->nrails > peer->nrails ? own->nrails : peer->nrails;
    for (unsigned i = 0; i < rails; i++) {
        const c4_verbs_rail_card *a = &own->rails[i % own->nrails], *b = &peer->rails[i % peer->nrails];
        if (a->ethernet != b->ethernet)
            wrong = "one side is InfiniBand and the other RoCE";
        else if (a->gid_kind != b->gid_kind)
            wrong = "one side has a GID of RoCE v1 and the other of v2: set C4_VERBS_GID_INDEX";
        else if (a->ethernet && a->ipv4 != b->ipv4)
            wrong = "one side's GID is of IPv4 and the other's of IPv6: set C4_VERBS_GID_INDEX or C4_SOCKET_FAMILY";
        else
            return NULL;
    }
    return wrong;
}
