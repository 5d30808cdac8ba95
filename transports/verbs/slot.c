#include "transports/verbs/slot.h"

#include <stdlib.h>

#include "base/status.h"

/* At once: few enough for a rank with one peer, many enough for few registrations. */
#define SLOTS_AT_ONCE 32u

typedef struct table {
    struct table *next;
    union {
        c4_verbs_slot slots[SLOTS_AT_ONCE];
        c4_verbs_unit unit;
    } of;
} table;

void c4_verbs_slots_init(c4_verbs_slots *slots, c4_verbs_memory *memory, size_t eager_bytes, size_t unit_bytes)
{
    size_t line = 64;
    *slots = (c4_verbs_slots){.memory = memory,
                              .slot_bytes = (C4_VERBS_HEADER_BYTES + eager_bytes + line - 1) / line * line,
                              .unit_bytes = unit_bytes};
}

void c4_verbs_slots_fini(c4_verbs_slots *slots)
{
    for (table *at = slots->tables; at != NULL;) {
        table *next = at->next;
        free(at);
        at = next;
    }
    slots->tables = NULL;
}

static table *add_table(c4_verbs_slots *slots, size_t bytes, c4_verbs_region **region)
{
    table *made = calloc(1, sizeof *made);
    if (made == NULL) {
        c4_fail(C4_ERR_MEMORY, "verbs: table of buffers");
        return NULL;
    }
    if (c4_verbs_memory_make(slots->memory, bytes, region) < 0) {
        free(made);
        return NULL;
    }
    made->next = slots->tables;
    slots->tables = made;
    return made;
}

c4_verbs_slot *c4_verbs_slot_get(c4_verbs_slots *slots)
{
    c4_verbs_region *region;
    table *made = slots->free == NULL ? add_table(slots, SLOTS_AT_ONCE * slots->slot_bytes, &region) : NULL;
    for (unsigned i = 0; made != NULL && i < SLOTS_AT_ONCE; i++) {
        c4_verbs_slot *slot = &made->of.slots[SLOTS_AT_ONCE - 1 - i];
        slot->region = region;
        slot->wire = region->base + (SLOTS_AT_ONCE - 1 - i) * slots->slot_bytes;
        c4_verbs_slot_put(slots, slot);
    }
    c4_verbs_slot *slot = slots->free;
    if (slot != NULL)
        slots->free = slot->next;
    return slot;
}

c4_verbs_unit *c4_verbs_unit_get(c4_verbs_slots *slots)
{
    c4_verbs_region *region;
    table *made = slots->free_units == NULL ? add_table(slots, slots->unit_bytes, &region) : NULL;
    if (made != NULL) {
        made->of.unit = (c4_verbs_unit){.region = region, .pointer = region->base};
        slots->free_units = &made->of.unit;
    }
    c4_verbs_unit *unit = slots->free_units;
    if (unit == NULL)
        return NULL;
    slots->free_units = unit->next;
    slots->nunits_out++;
    return unit;
}
