#include "wire/control_overlay.h"

#include <string.h>

#include "base/status.h"
#include "wire/bytes.h"

enum { TTL_MAX = 1 << 16, EPISODE_MAX = 1 << 28 };

void c4_overlay_envelope_pack(const c4_overlay_envelope *envelope, unsigned char *out)
{
    c4_put_u32(out, envelope->target);
    c4_put_u32(out + 4, envelope->number);
    c4_put_u32(out + 8, envelope->ttl);
}

c4_status c4_overlay_envelope_unpack(const unsigned char *in, size_t bytes, uint32_t nranks,
                                     c4_overlay_envelope *envelope)
{
    if (bytes < C4_OVERLAY_ENVELOPE_BYTES)
        return C4_ERR_PROTOCOL;
    c4_overlay_envelope made = {c4_get_u32(in), c4_get_u32(in + 4), c4_get_u32(in + 8)};
    if ((made.target >= nranks && made.target != UINT32_MAX) || made.ttl > TTL_MAX)
        return C4_ERR_PROTOCOL;
    if (made.target == UINT32_MAX && made.number == 0)
        return C4_ERR_PROTOCOL;
    *envelope = made;
    return C4_OK;
}

size_t c4_overlay_leavers_pack(const c4_overlay_leavers *leavers, unsigned char *out)
{
    c4_put_u32(out, leavers->ttl);
    for (uint32_t i = 0; i < leavers->count; i++)
        c4_put_u32(out + 4 + (size_t)4 * i, leavers->ranks[i]);
    return 4 + (size_t)4 * leavers->count;
}

c4_status c4_overlay_leavers_unpack(const unsigned char *in, size_t bytes, uint32_t nranks, c4_overlay_leavers *leavers)
{
    if (bytes < 8 || bytes % 4 || bytes > 4 + 4 * C4_OVERLAY_LEAVERS_MAX || c4_get_u32(in) > TTL_MAX)
        return C4_ERR_PROTOCOL;
    leavers->ttl = c4_get_u32(in);
    leavers->count = (uint32_t)(bytes / 4 - 1);
    for (uint32_t i = 0; i < leavers->count; i++) {
        leavers->ranks[i] = c4_get_u32(in + 4 + (size_t)4 * i);
        if (leavers->ranks[i] >= nranks)
            return C4_ERR_PROTOCOL;
    }
    return C4_OK;
}

void c4_overlay_rumor_pack(const c4_overlay_rumor *rumor, unsigned char out[C4_OVERLAY_RUMOR_BYTES])
{
    c4_put_u32(out, rumor->episode);
    c4_put_u32(out + 4, rumor->phase | (uint32_t)rumor->closed << 8);
    c4_put_u32(out + 8, rumor->age_ms);
}

c4_status c4_overlay_rumor_unpack(const unsigned char *in, size_t bytes, c4_overlay_rumor *rumor)
{
    if (bytes != C4_OVERLAY_RUMOR_BYTES)
        return C4_ERR_PROTOCOL;
    uint32_t episode = c4_get_u32(in);
    uint32_t phase = c4_get_u32(in + 4) & ~0x100u;
    bool closed = in[5] & 1;
    if (episode >= EPISODE_MAX || phase < C4_RUMOR_SUSPECTED || phase > C4_RUMOR_OVER)
        return C4_ERR_PROTOCOL;
    *rumor = (c4_overlay_rumor){episode, (c4_overlay_phase)phase, closed, c4_get_u32(in + 8)};
    return C4_OK;
}

void c4_overlay_card_pack(const c4_overlay_card *card, unsigned char out[C4_OVERLAY_CARD_BYTES])
{
    memset(out, 0, C4_OVERLAY_CARD_BYTES);
    c4_overlay_envelope_pack(&card->envelope, out);
    c4_put_u32(out + 12, card->about);
    c4_put_u32(out + 16, card->answer);
    c4_put_u64(out + 24, card->sequence);
    memcpy(out + 32, card->card, C4_OVERLAY_CARD_OPAQUE);
}

c4_status c4_overlay_card_unpack(const unsigned char *in, size_t bytes, uint32_t nranks, c4_overlay_card *card)
{
    c4_overlay_card made;
    if (bytes != C4_OVERLAY_CARD_BYTES)
        return C4_ERR_PROTOCOL;
    C4_TRY(c4_overlay_envelope_unpack(in, bytes, nranks, &made.envelope));
    made.about = c4_get_u32(in + 12);
    made.answer = c4_get_u32(in + 16);
    made.sequence = c4_get_u64(in + 24);
    memcpy(made.card, in + 32, C4_OVERLAY_CARD_OPAQUE);
    if (made.about >= nranks || made.answer >= 16 || made.envelope.target == UINT32_MAX)
        return C4_ERR_PROTOCOL;
    *card = made;
    return C4_OK;
}

/* 12 step 1, differ 1, zero 2; 16 ballot; 20 accepted; 24 tag; 28 round; 36 value; 44 minimum; 52 lowest; 56 bytes of
 * the blob; 60 members; 64 zero. */
size_t c4_overlay_agree_pack(const c4_overlay_agree *agree, unsigned char *out)
{
    size_t dead_bytes = (agree->nmembers + 7) / 8;
    memset(out, 0, C4_OVERLAY_AGREE_BYTES);
    c4_overlay_envelope_pack(&agree->envelope, out);
    out[12] = (unsigned char)agree->step;
    out[13] = agree->differ;
    c4_put_u32(out + 16, agree->ballot);
    c4_put_u32(out + 20, agree->accepted);
    c4_put_u32(out + 24, agree->tag);
    c4_put_u64(out + 28, agree->round);
    c4_put_u64(out + 36, agree->value);
    c4_put_u64(out + 44, agree->minimum);
    c4_put_u32(out + 52, agree->lowest);
    c4_put_u32(out + 56, agree->blob_bytes);
    c4_put_u32(out + 60, agree->nmembers);
    if (agree->blob_bytes)
        memcpy(out + C4_OVERLAY_AGREE_BYTES, agree->blob, agree->blob_bytes);
    if (dead_bytes)
        memcpy(out + C4_OVERLAY_AGREE_BYTES + agree->blob_bytes, agree->dead, dead_bytes);
    return C4_OVERLAY_AGREE_BYTES + agree->blob_bytes + dead_bytes;
}

c4_status c4_overlay_agree_unpack(const unsigned char *in, size_t bytes, uint32_t nranks, c4_overlay_agree *agree)
{
    c4_overlay_agree made;
    if (bytes < C4_OVERLAY_AGREE_BYTES || in[12] < C4_AGREE_COLLECT || in[12] > C4_AGREE_DECIDE || in[13] > 1)
        return C4_ERR_PROTOCOL;
    C4_TRY(c4_overlay_envelope_unpack(in, bytes, nranks, &made.envelope));
    made.step = (c4_overlay_agree_step)in[12];
    made.differ = in[13];
    made.ballot = c4_get_u32(in + 16);
    made.accepted = c4_get_u32(in + 20);
    made.tag = c4_get_u32(in + 24);
    made.round = c4_get_u64(in + 28);
    made.value = c4_get_u64(in + 36);
    made.minimum = c4_get_u64(in + 44);
    made.lowest = c4_get_u32(in + 52);
    made.blob_bytes = c4_get_u32(in + 56);
    made.nmembers = c4_get_u32(in + 60);
    if (made.envelope.target == UINT32_MAX || made.blob_bytes > C4_OVERLAY_AGREE_BLOB_BYTES || made.nmembers > nranks)
        return C4_ERR_PROTOCOL;
    if (bytes != C4_OVERLAY_AGREE_BYTES + made.blob_bytes + (made.nmembers + 7) / 8)
        return C4_ERR_PROTOCOL;
    bool has_proposal = made.step == C4_AGREE_PROPOSE || made.step == C4_AGREE_DECIDE || made.accepted != UINT32_MAX;
    if (has_proposal && (made.nmembers == 0 || made.lowest >= made.nmembers))
        return C4_ERR_PROTOCOL;
    made.blob = in + C4_OVERLAY_AGREE_BYTES;
    made.dead = made.blob + made.blob_bytes;
    *agree = made;
    return C4_OK;
}
