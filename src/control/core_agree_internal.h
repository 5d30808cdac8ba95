/* Shared by core_agree*.c only. */
#ifndef C4_CONTROL_CORE_AGREE_INTERNAL_H
#define C4_CONTROL_CORE_AGREE_INTERNAL_H

#include "control/core_internal.h"

#define NO_BALLOT (-1)

typedef enum agree_phase { PHASE_IDLE, PHASE_COLLECTING, PHASE_PROPOSING, PHASE_DECIDED } agree_phase;

typedef enum agree_mark { MARK_NONE, MARK_CONTRIBUTED, MARK_ACCEPTED } agree_mark;

typedef struct agree_member {
    bool gone;          /* left, or was excluded */
    unsigned char mark; /* while leading */
    uint64_t heard_ns;  /* last message, or when this member began to wait for one */
    uint32_t tag;
    uint64_t value, minimum;
} agree_member;

struct c4_core_agree {
    c4_core_agree *next;
    void *context;
    uint32_t comm;
    int me, nmembers;
    const int *members;
    uint64_t round;
    bool wanted; /* the caller has not had this round's decision, though its call may have ended */
    agree_phase phase;
    agree_member *each;
    int ballot;                /* the coordinator that this member follows; NO_BALLOT: none */
    int accepted;              /* whose proposal it has accepted */
    c4_core_proposal proposal; /* accepted, or decided */
    c4_core_proposal last;     /* decided in the round before, for those that have not heard */
    bool has_last;
    uint32_t tag;
    size_t blob_bytes;
    unsigned char blob[C4_CONTROL_AGREE_BLOB_BYTES];
    uint64_t retry_ns, gap_ns;
    int unheard;               /* repeats since the coordinator was heard */
    c4_overlay_agree_step led; /* what the coordinator said last, */
    int led_again;             /* and how often more: it does not get what this member answers */
};

static inline size_t c4_agree_bits_bytes(const c4_core_agree *agree)
{
    return ((size_t)agree->nmembers + 7) / 8;
}

/* Died, was given up, left or was excluded. */
static inline bool c4_agree_is_out(const c4_core *core, const c4_core_agree *agree, int member)
{
    return agree->each[member].gone || c4_core_is_gone(core, agree->members[member]);
}

/* ---- core_agree_send.c ---- */
void c4_agree_send_plain(c4_core *core, const c4_core_agree *agree, int member, c4_overlay_agree_step step,
                         bool flooded);
void c4_agree_send_state(c4_core *core, const c4_core_agree *agree, bool flooded);
void c4_agree_send_proposal(c4_core *core, const c4_core_agree *agree, int member, c4_overlay_agree_step step,
                            bool flooded);
/* The decision of the round before. */
void c4_agree_send_last(c4_core *core, const c4_core_agree *agree, int member, bool flooded);
void c4_agree_send_others(c4_core *core, const c4_core_agree *agree, c4_overlay_agree_step step);
/* What this member owes its coordinator. */
void c4_agree_send_mine(c4_core *core, c4_core_agree *agree, bool flooded);

#endif
