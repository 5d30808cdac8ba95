/* Slots: registered buffers of one size, for a header and a small frame. Some are posted to receive, some hold frames on
 * their way until the peer has acknowledged them. */
#ifndef C4_TRANSPORTS_VERBS_SLOT_H
#define C4_TRANSPORTS_VERBS_SLOT_H

#include "transports/verbs/memory.h"

typedef struct c4_verbs_slot {
    struct c4_verbs_slot *next;
    const c4_verbs_region *region;
    unsigned char *wire; /* header, then payload */
    /* A frame on its way: */
    c4_channel *channel; /* NULL: closed meanwhile */
    uint32_t comm, tag;
    c4_frame frame;
    bool large;                 /* not in this slot, but in: */
    c4_xfer *xfer;              /* whose span it is, in the user's declared memory; */
    struct c4_verbs_unit *unit; /* or a copy. Neither: it was cancelled */
    const c4_verbs_region *source;
} c4_verbs_slot;

/* A registered buffer for one large frame, for which the user's memory will not do. */
typedef struct c4_verbs_unit {
    struct c4_verbs_unit *next;
    const c4_verbs_region *region;
    unsigned char *pointer;
} c4_verbs_unit;

typedef struct c4_verbs_slots {
    c4_verbs_memory *memory;
    size_t slot_bytes, unit_bytes;
    c4_verbs_slot *free;
    c4_verbs_unit *free_units;
    unsigned nunits_out;
    bool full;    /* no memory could be had, or registered, for another unit */
    void *tables; /* of slots and units, chained */
} c4_verbs_slots;

void c4_verbs_slots_init(c4_verbs_slots *slots, c4_verbs_memory *memory, size_t eager_bytes, size_t unit_bytes);
/* The memory behind them goes with c4_verbs_memory_fini. */
void c4_verbs_slots_fini(c4_verbs_slots *slots);

/* < 0: no memory, or it cannot be registered (logged). */
c4_status c4_verbs_slot_get(c4_verbs_slots *slots, c4_verbs_slot **out);
c4_status c4_verbs_unit_get(c4_verbs_slots *slots, c4_verbs_unit **out);

static inline void c4_verbs_slot_put(c4_verbs_slots *slots, c4_verbs_slot *slot)
{
    slot->next = slots->free;
    slots->free = slot;
}

static inline void c4_verbs_unit_put(c4_verbs_slots *slots, c4_verbs_unit *unit)
{
    slots->nunits_out--;
    unit->next = slots->free_units;
    slots->free_units = unit;
}

#endif
