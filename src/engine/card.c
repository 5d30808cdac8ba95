#include "engine/card.h"

#include <stdio.h>

#include "schedule/kinds.h"

static bool reduces(unsigned kind)
{
    return kind == C4_KIND_ALL_REDUCE || kind == C4_KIND_REDUCE_SCATTER || kind == C4_KIND_REDUCE ||
           kind == C4_KIND_REDUCE_SCATTER_V;
}

c4_call_card c4_card_make(const c4_call *call, uint32_t sequence)
{
    return (c4_call_card){.sequence = sequence,
                          .kind = (uint8_t)call->kind,
                          .dtype = (uint8_t)call->dtype,
                          .op = call->op < C4_NOPS ? (uint8_t)call->op : C4_NOPS,
                          .root = call->root,
                          .count = call->count};
}

c4_call_card c4_card_of_record(const c4_record_operation *record)
{
    return (c4_call_card){.sequence = record->sequence,
                          .kind = record->kind,
                          .dtype = record->dtype,
                          .op = record->op,
                          .root = record->root,
                          .count = record->count};
}

bool c4_card_is_p2p(const c4_call_card *card)
{
    return card->kind == C4_KIND_SEND || card->kind == C4_KIND_RECV;
}

bool c4_card_reduces(const c4_call_card *card)
{
    return reduces(card->kind);
}

bool c4_card_valid(const c4_call_card *card, int nranks)
{
    return card->kind < C4_NKINDS && card->dtype < C4_NDTYPES && card->op <= C4_NOPS && card->root >= 0 &&
           card->root < nranks;
}

bool c4_card_match(const c4_call_card *card, int rank, const c4_call_card *other, int other_rank)
{
    if (c4_card_is_p2p(card))
        return c4_card_is_p2p(other) && card->kind != other->kind && card->root == other_rank && other->root == rank &&
               card->dtype == other->dtype && card->count == other->count;
    return card->kind == other->kind && card->dtype == other->dtype &&
           (!reduces(card->kind) || card->op == other->op) && card->root == other->root &&
           (c4_kind_is_v((c4_kind)card->kind) || card->count == other->count);
}

bool c4_card_needs(const c4_call_card *card, int rank, int peer)
{
    switch (card->kind) {
    case C4_KIND_BARRIER:
        return true;
    case C4_KIND_ALL_REDUCE:
    case C4_KIND_REDUCE_SCATTER:
    case C4_KIND_ALL_GATHER:
    case C4_KIND_ALL_TO_ALL:
        return card->count > 0;
    case C4_KIND_BROADCAST:
    case C4_KIND_SCATTER:
        return card->count > 0 && peer == card->root && peer != rank;
    case C4_KIND_REDUCE:
    case C4_KIND_GATHER:
        return card->count > 0 && rank == card->root;
    case C4_KIND_RECV:
        return peer == card->root;
    default: /* v-kinds: only the caller knows from whom there is anything; sends may be on their way already */
        return false;
    }
}

void c4_card_short_text(const c4_call_card *card, char text[C4_CARD_TEXT_BYTES])
{
    const char *kind = c4_kind_name((c4_kind)card->kind);
    snprintf(text, C4_CARD_TEXT_BYTES, "%s #%u", kind ? kind : "unknown call", card->sequence);
}

void c4_card_text(const c4_call_card *card, char text[C4_CARD_TEXT_BYTES])
{
    const char *kind = c4_kind_name((c4_kind)card->kind), *dtype = c4_dtype_name((c4_dtype)card->dtype);
    const char *op = card->op < C4_NOPS ? c4_op_name((c4_op)card->op) : "premultiplied sum";
    if (card->kind == C4_KIND_BARRIER || !kind || !dtype) {
        c4_card_short_text(card, text);
        return;
    }
    int used = snprintf(text, C4_CARD_TEXT_BYTES, "%s #%u of ", kind, card->sequence);
    size_t at = (size_t)used;
    if (!c4_kind_is_v((c4_kind)card->kind))
        at += (size_t)snprintf(text + at, C4_CARD_TEXT_BYTES - at, "%llu ", (unsigned long long)card->count);
    at += (size_t)snprintf(text + at, C4_CARD_TEXT_BYTES - at, "%s", dtype);
    if (reduces(card->kind))
        at += (size_t)snprintf(text + at, C4_CARD_TEXT_BYTES - at, " %s", op);
    if (c4_card_is_p2p(card))
        snprintf(text + at, C4_CARD_TEXT_BYTES - at, " %s rank %d", card->kind == C4_KIND_SEND ? "to" : "from",
                 card->root);
    else if (c4_kind_is_rooted((c4_kind)card->kind))
        snprintf(text + at, C4_CARD_TEXT_BYTES - at, " root %d", card->root);
}
