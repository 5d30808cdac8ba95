#include "wire/rank_card.h"

#include <string.h>

#include "base/status.h"
#include "wire/bytes.h"

#define HEADER_BYTES 13u

c4_status c4_rank_card_pack(const c4_rank_card *card, unsigned char out[C4_RANK_CARD_BYTES])
{
    size_t at = HEADER_BYTES;
    unsigned char count = 0;
    memset(out, 0, C4_RANK_CARD_BYTES);
    c4_put_u64(out, card->options_hash);
    c4_put_u32(out + 8, card->version);
    for (unsigned i = 0; i < C4_RANK_CARD_TRANSPORTS; i++) {
        size_t bytes = card->transports[i].bytes;
        if (bytes == 0)
            continue;
        if (bytes > C4_ADDRESS_MAX_BYTES || at + 3 + bytes > C4_RANK_CARD_BYTES)
            return c4_fail(C4_ERR_INTERNAL, "addresses of %u transports do not fit into %u bytes", i + 1,
                           C4_RANK_CARD_BYTES);
        out[at] = (unsigned char)i;
        c4_put_u16(out + at + 1, (uint16_t)bytes);
        memcpy(out + at + 3, card->transports[i].address, bytes);
        at += 3 + bytes;
        count++;
    }
    out[12] = count;
    return C4_OK;
}

c4_status c4_rank_card_unpack(const unsigned char in[C4_RANK_CARD_BYTES], c4_rank_card *card)
{
    size_t at = HEADER_BYTES;
    unsigned next = 0; /* in ascending order: none comes twice */
    memset(card, 0, sizeof *card);
    card->options_hash = c4_get_u64(in);
    card->version = c4_get_u32(in + 8);
    for (unsigned n = in[12]; n > 0; n--) {
        if (at + 3 > C4_RANK_CARD_BYTES)
            return C4_ERR_PROTOCOL;
        unsigned index = in[at];
        size_t bytes = c4_get_u16(in + at + 1);
        if (index < next || index >= C4_RANK_CARD_TRANSPORTS || bytes == 0 || bytes > C4_ADDRESS_MAX_BYTES ||
            at + 3 + bytes > C4_RANK_CARD_BYTES)
            return C4_ERR_PROTOCOL;
        next = index + 1;
        card->transports[index].bytes = (uint16_t)bytes;
        memcpy(card->transports[index].address, in + at + 3, bytes);
        at += 3 + bytes;
    }
    return C4_OK;
}
