/* What a rank tells the others when a communicator is made: version, options hash, addresses of its transports.
 *
 *     0  options hash 8   8  API version 4   12  transports 1   then per transport: index 1, length 2, address
 *
 * Little endian, one fixed-size blob per rank. */
#ifndef C4_WIRE_RANK_CARD_H
#define C4_WIRE_RANK_CARD_H

#include <c4/transport.h>

#define C4_RANK_CARD_BYTES      1024u
#define C4_RANK_CARD_TRANSPORTS 8u

typedef struct c4_rank_card {
    uint64_t options_hash;
    uint32_t version;
    struct {
        uint16_t bytes; /* 0: the rank does not have this transport */
        unsigned char address[C4_ADDRESS_MAX_BYTES];
    } transports[C4_RANK_CARD_TRANSPORTS];
} c4_rank_card;

/* C4_ERR_INTERNAL when the addresses do not fit. */
c4_status c4_rank_card_pack(const c4_rank_card *card, unsigned char out[C4_RANK_CARD_BYTES]);
/* C4_ERR_PROTOCOL (not logged) for lengths that do not fit, transports out of order. */
c4_status c4_rank_card_unpack(const unsigned char in[C4_RANK_CARD_BYTES], c4_rank_card *card);

#endif
