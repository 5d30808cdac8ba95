/* What goes between two verbs links: the messages on the queue pair, the words of a greeting, and the part of a process's
 * address that is ours. All little-endian, all lengths checked by the reader. */
#ifndef C4_TRANSPORTS_VERBS_WIRE_H
#define C4_TRANSPORTS_VERBS_WIRE_H

#include <c4/transport.h>
#include <stdbool.h>

#include "transports/verbs/ports.h"

/* ---- messages ---- */

typedef enum c4_verbs_kind {
    C4_VERBS_FRAME = 1, /* payload follows the header */
    C4_VERBS_DATA,      /* payload has been written to where `ticket` of the receiver said */
    C4_VERBS_TICKET,    /* receiver -> writer: `bytes` of the next large frame of this channel may be written there */
    C4_VERBS_ANNOUNCE,  /* writer -> receiver: a large frame waits for its ticket; this is its header */
    C4_VERBS_PAUSE,     /* receiver -> writer of a channel: no more small frames that nobody has asked for */
    C4_VERBS_RESUME,
    C4_VERBS_ACK /* nothing but what every header has: acked and credits */
} c4_verbs_kind;

#define C4_VERBS_HEADER_BYTES 64u

typedef struct c4_verbs_message {
    c4_verbs_kind kind;
    uint16_t credits;   /* receive buffers that have become free again since the last message */
    uint32_t acked;     /* frames (FRAME, DATA) of the other side that were taken so far, modulo 2^32 */
    uint32_t comm, tag; /* of the channel */
    uint32_t ticket;    /* DATA, TICKET */
    uint32_t rkey;      /* TICKET */
    uint64_t address;
    c4_frame frame; /* FRAME, DATA, ANNOUNCE; of TICKET: bytes */
} c4_verbs_message;

void c4_verbs_message_pack(const c4_verbs_message *message, unsigned char wire[C4_VERBS_HEADER_BYTES]);
/* Of nbytes that arrived. False when malformed: unknown kind, too short, a FRAME whose payload is not as long as it says, a tag
 * that no channel can have. */
bool c4_verbs_message_unpack(const unsigned char *wire, size_t nbytes, c4_verbs_message *message);

/* ---- greeting ---- */

#define C4_VERBS_WORDS_BYTES  64u
#define C4_VERBS_LEAST_WINDOW 8u /* data leaves the last few to tickets and acknowledgements */

/* What one side tells of its end of a queue pair. */
typedef struct c4_verbs_words {
    uint8_t rail; /* which of the speaker's */
    uint8_t port;
    bool ethernet;
    c4_verbs_gid gid;
    uint16_t lid;
    uint16_t mtu;      /* bytes */
    uint32_t qpn, psn; /* 24 bits each */
    uint16_t window;   /* messages that the other side may have under way */
    uint32_t eager_bytes;
    uint64_t received; /* frames taken so far, over all queue pairs of this link */
} c4_verbs_words;

void c4_verbs_words_pack(const c4_verbs_words *words, unsigned char wire[C4_VERBS_WORDS_BYTES]);
bool c4_verbs_words_unpack(const unsigned char wire[C4_VERBS_WORDS_BYTES], c4_verbs_words *words);

/* ---- address ---- */

#define C4_VERBS_MAX_RAILS   4u
#define C4_VERBS_EXTRA_BYTES 96u

/* One rail, as peers must know it before any connection, to say whether they can reach it. */
typedef struct c4_verbs_rail_card {
    bool ethernet;
    c4_verbs_gid_kind gid_kind;
    bool ipv4;
    uint64_t subnet; /* InfiniBand: prefix of the GID */
} c4_verbs_rail_card;

typedef struct c4_verbs_card {
    uint8_t version, nrails;
    uint32_t eager_bytes;
    c4_verbs_rail_card rails[C4_VERBS_MAX_RAILS];
} c4_verbs_card;

c4_verbs_rail_card c4_verbs_rail_card_of(bool ethernet, const c4_verbs_gid *gid);
/* Why no rail of one reaches one of the other; NULL: it may. */
const char *c4_verbs_card_mismatch(const c4_verbs_card *own, const c4_verbs_card *peer);
void c4_verbs_card_pack(const c4_verbs_card *card, unsigned char wire[C4_VERBS_EXTRA_BYTES]);
bool c4_verbs_card_unpack(const unsigned char wire[C4_VERBS_EXTRA_BYTES], c4_verbs_card *card);

#endif
