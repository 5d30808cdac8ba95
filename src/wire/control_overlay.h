/* Payloads that control threads exchange over the overlay (kinds in control_message.h). No I/O; what comes in is
 * checked against the number of ranks. All unpackers return C4_ERR_PROTOCOL, not logged. */
#ifndef C4_WIRE_CONTROL_OVERLAY_H
#define C4_WIRE_CONTROL_OVERLAY_H

#include "wire/control_message.h"

/* In front of what is for one rank, or from one rank for all. A flooded message has a number, by which its copies are
 * known; a routed one has none. */
#define C4_OVERLAY_ENVELOPE_BYTES 12u
typedef struct c4_overlay_envelope {
    uint32_t target; /* UINT32_MAX: all */
    uint32_t number; /* of the origin's floods, from 1; 0: routed */
    uint32_t ttl;    /* hops that are left, <= 2^16 */
} c4_overlay_envelope;

void c4_overlay_envelope_pack(const c4_overlay_envelope *envelope, unsigned char *out);
c4_status c4_overlay_envelope_unpack(const unsigned char *in, size_t bytes, uint32_t nranks,
                                     c4_overlay_envelope *envelope);

/* Ranks that have left: hops that are left 4, then 4 for each rank. */
enum { C4_OVERLAY_LEAVERS_MAX = (C4_CONTROL_MESSAGE_MAX_BYTES - 4) / 4 };
typedef struct c4_overlay_leavers {
    uint32_t ttl;
    uint32_t count; /* 1 .. C4_OVERLAY_LEAVERS_MAX */
    uint32_t ranks[C4_OVERLAY_LEAVERS_MAX];
} c4_overlay_leavers;

size_t c4_overlay_leavers_pack(const c4_overlay_leavers *leavers, unsigned char *out); /* returns its size */
c4_status c4_overlay_leavers_unpack(const unsigned char *in, size_t bytes, uint32_t nranks,
                                    c4_overlay_leavers *leavers);

/* What is said about a rank's silence. Rumors about one rank are ordered by (episode, phase); only news travel on. */
#define C4_OVERLAY_RUMOR_BYTES 12u
typedef enum c4_overlay_phase {
    C4_RUMOR_SUSPECTED = 1, /* somebody does not hear it: whoever does, and itself, should say OVER */
    C4_RUMOR_SILENT = 2,    /* nobody said so */
    C4_RUMOR_OVER = 3       /* it was heard */
} c4_overlay_phase;
typedef struct c4_overlay_rumor {
    uint32_t episode; /* < 2^28 */
    c4_overlay_phase phase;
    bool closed;     /* SUSPECTED: a link to it closed; OVER: not heard, but another link to it is open */
    uint32_t age_ms; /* since it was heard last */
} c4_overlay_rumor;

void c4_overlay_rumor_pack(const c4_overlay_rumor *rumor, unsigned char out[C4_OVERLAY_RUMOR_BYTES]);
c4_status c4_overlay_rumor_unpack(const unsigned char *in, size_t bytes, c4_overlay_rumor *rumor);

/* A question or an answer about a call. */
#define C4_OVERLAY_CARD_BYTES  96u
#define C4_OVERLAY_CARD_OPAQUE 64u
typedef struct c4_overlay_card {
    c4_overlay_envelope envelope;
    uint32_t about;  /* answer: the rank that was asked; another may answer for it */
    uint32_t answer; /* enum c4_control_answer, < 16; question: 0 */
    uint64_t sequence;
    unsigned char card[C4_OVERLAY_CARD_OPAQUE];
} c4_overlay_card;

void c4_overlay_card_pack(const c4_overlay_card *card, unsigned char out[C4_OVERLAY_CARD_BYTES]);
c4_status c4_overlay_card_unpack(const unsigned char *in, size_t bytes, uint32_t nranks, c4_overlay_card *card);

/* Agreement among the members of a communicator; core_agree.c has the protocol. Then `blob_bytes` bytes and, when
 * `nmembers` is not 0, one bit per member: dead. */
#define C4_OVERLAY_AGREE_BYTES      68u
#define C4_OVERLAY_AGREE_BLOB_BYTES 128u
typedef enum c4_overlay_agree_step {
    C4_AGREE_COLLECT = 1, /* the coordinator has begun */
    C4_AGREE_STATE = 2,   /* to the coordinator: a contribution, or what this member has accepted already */
    C4_AGREE_WAIT = 3,    /* in answer to a repeated STATE or ACCEPT: it is here, others are missing */
    C4_AGREE_PROPOSE = 4,
    C4_AGREE_ACCEPT = 5,
    C4_AGREE_DECIDE = 6
} c4_overlay_agree_step;
typedef struct c4_overlay_agree {
    c4_overlay_envelope envelope;
    c4_overlay_agree_step step;
    bool differ;       /* PROPOSE, DECIDE: the tags differ */
    uint32_t ballot;   /* member index of the coordinator meant */
    uint32_t accepted; /* STATE: the ballot of the proposal that follows; UINT32_MAX: none was accepted */
    uint32_t tag;
    uint64_t round;
    uint64_t value, minimum;
    uint32_t lowest;     /* proposals: the member whose blob it is */
    uint32_t blob_bytes; /* <= C4_OVERLAY_AGREE_BLOB_BYTES */
    uint32_t nmembers;   /* bits in `dead`; 0: no proposal */
    const unsigned char *blob;
    const unsigned char *dead; /* (nmembers + 7) / 8 bytes */
} c4_overlay_agree;

/* Of any payload among so many ranks. */
static inline size_t c4_overlay_max_bytes(uint32_t nranks)
{
    return C4_CONTROL_MESSAGE_MAX_BYTES + (size_t)nranks;
}
size_t c4_overlay_agree_pack(const c4_overlay_agree *agree, unsigned char *out); /* returns its size */
/* `blob` and `dead` then point into `in`. */
c4_status c4_overlay_agree_unpack(const unsigned char *in, size_t bytes, uint32_t nranks, c4_overlay_agree *agree);

#endif
