/* What a rank assumes of its machine, for all to work with the same numbers: 16 words of 8 bytes, little-endian; fractions as
 * IEEE 754 doubles. */
#ifndef C4_WIRE_COST_CARD_H
#define C4_WIRE_COST_CARD_H

#include <c4/c4.h>
#include <stdint.h>

#define C4_COST_CARD_BYTES           128u
#define C4_COST_CARD_FRAME_MIN_BYTES 256u /* schedules cut messages into frames: 0 would never end */

typedef struct c4_cost_card_link {
    double latency_s, seconds_per_byte, reduce_seconds_per_byte;
    uint64_t flags; /* 1: windows, 2: map */
    uint64_t max_readers, max_frame_bytes;
} c4_cost_card_link;

typedef struct c4_cost_card {
    c4_cost_card_link local, remote;
    double step_s, ranks_per_core;
    uint64_t cache_bytes;
} c4_cost_card;

void c4_cost_card_pack(const c4_cost_card *card, unsigned char out[C4_COST_CARD_BYTES]);
/* C4_ERR_PROTOCOL (not logged): a time that is negative or no number, no readers, frames too small to cut messages into. */
c4_status c4_cost_card_unpack(const unsigned char in[C4_COST_CARD_BYTES], c4_cost_card *card);

#endif
