/* What ranks ask one another about a call that gets no further, and what they answer, over the control plane.
 *
 * call:      0  sequence 4   4  kind 1   5  dtype 1   6  op 1   7  zero   8  root or peer 4   12  count 8
 * question:  0  version 1   1  zero 3   4  owner 4   8  call
 * answer:    0  version 1   1  flags 1   2  zero 2   4  age 4   8  call   28  waits_for 4   32  stuck call   52  stuck 4
 *            56  called 4   60  status 4
 *
 * Little endian; the rest of the 64 bytes is zero. */
#ifndef C4_WIRE_CALL_CARD_H
#define C4_WIRE_CALL_CARD_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

#define C4_CALL_CARD_BYTES   64u
#define C4_CALL_CARD_VERSION 1u

/* One call of one rank. Collectives are numbered by communicator; sends and receives by direction and peer. */
typedef struct c4_call_card {
    uint32_t sequence;
    uint8_t kind; /* c4_kind */
    uint8_t dtype;
    uint8_t op;   /* C4_NOPS: a premultiplied sum */
    int32_t root; /* or peer */
    uint64_t count;
} c4_call_card;

/* Have you called your part of this call of `owner`? */
typedef struct c4_call_question {
    int32_t owner; /* rank in the communicator; the one who asks may ask for another */
    c4_call_card call;
} c4_call_question;

typedef struct c4_call_answer {
    bool has_call;   /* `call`: of that number, or the last one when it has not come so far */
    bool ended;      /* that call is over */
    uint32_t age_ms; /* since its end, or since it was called */
    c4_call_card call;
    bool waits;    /* a call of that rank, `stuck`, has got no further for stuck_ms: it needs waits_for */
    bool blocked;  /* and its thread is inside that call: it makes no other before this one is over */
    bool receives; /* it waits for a frame, else for room to send one */
    bool sure;     /* room in memory that both share: what is not there is not under way either */
    int32_t waits_for;
    uint32_t stuck_ms;
    c4_call_card stuck;
    /* To probes only, else zero. */
    uint32_t called; /* collectives so far */
    int32_t status;  /* c4_status of the communicator, <= 0 */
} c4_call_answer;

void c4_call_question_pack(const c4_call_question *question, unsigned char out[C4_CALL_CARD_BYTES]);
/* C4_ERR_PROTOCOL (not logged): another version, dtype or op unknown. Kinds and ranks are the caller's to check. */
c4_status c4_call_question_unpack(const unsigned char in[C4_CALL_CARD_BYTES], c4_call_question *question);

void c4_call_answer_pack(const c4_call_answer *answer, unsigned char out[C4_CALL_CARD_BYTES]);
c4_status c4_call_answer_unpack(const unsigned char in[C4_CALL_CARD_BYTES], c4_call_answer *answer);

#endif
