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

static c4_status add_table(c4_verbs_slots *slots, size_t bytes, c4_verbs_region **region, table **out)
{
    table *made = calloc(1, sizeof *made);
    if (made == NULL)
        return c4_fail(C4_ERR_MEMORY, "verbs: table of buffers");
    c4_status status = c4_verbs_memory_make(slots->memory, bytes, region);
    if (status < 0) {
        free(made);
        return status;
    }
    made->next = slots->tables;
    slots->tables = made;
    *out = made;
    return C4_OK;
}

static c4_status add_slots(c4_verbs_slots *slots)
{
    c4_verbs_region *region = NULL;
    table *made = NULL;
    C4_TRY(add_table(slots, SLOTS_AT_ONCE * slots->slot_bytes, &region, &made));
    for (unsigned i = SLOTS_AT_ONCE; i-- > 0;) {
        c4_verbs_slot *slot = &made->of.slots[i];
        slot->region = region;
        slot->wire = region->base + i * slots->slot_bytes;
        c4_verbs_slot_put(slots, slot);
    }
    return C4_OK;
}

c4_status c4_verbs_slot_get(c4_verbs_slots *slots, c4_verbs_slot **out)
{
    if (slots->free == NULL)
        C4_TRY(add_slots(slots));
    *out = slots->free;
    slots->free = slots->free->next;
    return C4_OK;
}

static c4_status add_unit(c4_verbs_slots *slots)
{
    c4_verbs_region *region = NULL;
    table *made = NULL;
    c4_status status = add_table(slots, slots->unit_bytes, &region, &made);
    slots->full = status < 0;
    if (status < 0)
        return status;
    made->of.unit = (c4_verbs_unit){.region = region, .pointer = region->base};
    slots->free_units = &made->of.unit;
    return C4_OK;
}

c4_status c4_verbs_unit_get(c4_verbs_slots *slots, c4_verbs_unit **out)
{
    if (slots->free_units == NULL)
        C4_TRY(add_unit(slots));
    *out = slots->free_units;
    slots->free_units = slots->free_units->next;
    slots->nunits_out++;
    return C4_OK;
}
