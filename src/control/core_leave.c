/* Ranks that leave in good order. What is news is gathered for a moment and passed on as a list, so that all ranks of a
 * job leaving together cost each link a few messages, not one per rank. */
#include <stdlib.h>
#include <string.h>

#include "control/core_internal.h"

static bool has_bit(const unsigned char *bits, int index)
{
    return bits[index / 8] >> (index % 8) & 1;
}

static void set_bit(unsigned char *bits, int index)
{
    bits[index / 8] |= (unsigned char)(1u << (index % 8));
}

static size_t bits_bytes(const c4_core *core)
{
    return ((size_t)core->spec.nranks + 7) / 8;
}

c4_status c4_core_leaves_init(c4_core *core)
{
    for (int i = 0; i < C4_CORE_LEAVES; i++) {
        core->leaves[i].known = calloc(bits_bytes(core), 1);
        core->leaves[i].fresh = calloc(bits_bytes(core), 1);
        core->leaves[i].due_ns = C4_CORE_NEVER_NS;
        if (!core->leaves[i].known || !core->leaves[i].fresh)
            return C4_ERR_MEMORY;
    }
    core->leaves[0].used = true;
    return C4_OK;
}

void c4_core_leaves_fini(c4_core *core)
{
    for (int i = 0; i < C4_CORE_LEAVES; i++) {
        free(core->leaves[i].known);
        free(core->leaves[i].fresh);
    }
}

/* ---- telling ---- */

/* Those of `bits`, to one neighbour or to all (-1). */
static void send_list(c4_core *core, const c4_core_leaving *leaving, const unsigned char *bits, uint32_t ttl,
                      int neighbour)
{
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_overlay_leavers leavers = {.ttl = ttl};
    for (int rank = 0; rank <= core->spec.nranks; rank++) {
        bool last = rank == core->spec.nranks;
        if (!last && has_bit(bits, rank))
            leavers.ranks[leavers.count++] = (uint32_t)rank;
        if (leavers.count < (last ? 1 : C4_OVERLAY_LEAVERS_MAX))
            continue;
        c4_control_header header = {C4_CONTROL_GOODBYE, 0, (uint32_t)core->spec.rank, leaving->comm};
        header.bytes = (uint32_t)c4_overlay_leavers_pack(&leavers, payload);
        if (neighbour < 0)
            c4_core_spread(core, &header, payload, -1);
        else
            c4_core_send(core, neighbour, &header, payload);
        leavers.count = 0;
    }
}

void c4_core_tell_leavers(c4_core *core, int neighbour)
{
    for (int i = 0; i < C4_CORE_LEAVES; i++)
        if (core->leaves[i].used)
            send_list(core, &core->leaves[i], core->leaves[i].known, c4_core_ttl(core), neighbour);
}

static void tell(c4_core *core, c4_core_leaving *leaving)
{
    send_list(core, leaving, leaving->fresh, leaving->ttl, -1);
    leaving->nfresh = 0;
    memset(leaving->fresh, 0, bits_bytes(core));
    leaving->ttl = 0;
    leaving->told_ns = core->now_ns;
    leaving->due_ns = C4_CORE_NEVER_NS;
}

/* The first news at once, more of them in growing steps. */
static void schedule(c4_core *core, c4_core_leaving *leaving)
{
    if (leaving->due_ns != C4_CORE_NEVER_NS)
        return;
    if (!leaving->told_ns || core->now_ns - leaving->told_ns >= 1000 * C4_CORE_MS) {
        leaving->gap_ns = C4_CORE_LEAVE_GATHER_MIN_MS * C4_CORE_MS;
        leaving->due_ns = core->now_ns;
        return;
    }
    leaving->due_ns = leaving->told_ns + leaving->gap_ns;
    leaving->gap_ns *= 2;
    if (leaving->gap_ns > C4_CORE_LEAVE_GATHER_MAX_MS * C4_CORE_MS)
        leaving->gap_ns = C4_CORE_LEAVE_GATHER_MAX_MS * C4_CORE_MS;
}

uint64_t c4_core_leaves_tick(c4_core *core)
{
    uint64_t next_ns = C4_CORE_NEVER_NS;
    for (int i = 0; i < C4_CORE_LEAVES; i++) {
        if (core->leaves[i].due_ns <= core->now_ns)
            tell(core, &core->leaves[i]);
        if (core->leaves[i].due_ns < next_ns)
            next_ns = core->leaves[i].due_ns;
    }
    return next_ns;
}

/* ---- learning ---- */

static c4_core_leaving *find(c4_core *core, uint32_t comm)
{
    for (int i = 0; i < C4_CORE_LEAVES; i++)
        if (core->leaves[i].used && core->leaves[i].comm == comm)
            return &core->leaves[i];
    return NULL;
}

/* The place that was used longest ago, which is told first. */
static c4_core_leaving *find_or_make(c4_core *core, uint32_t comm)
{
    c4_core_leaving *leaving = find(core, comm);
    if (!leaving) {
        leaving = &core->leaves[1];
        for (int i = 2; i < C4_CORE_LEAVES; i++)
            if (core->leaves[i].used_ns < leaving->used_ns)
                leaving = &core->leaves[i];
        if (leaving->nfresh)
            tell(core, leaving);
        memset(leaving->known, 0, bits_bytes(core));
        leaving->used = true;
        leaving->comm = comm;
        leaving->told_ns = 0;
    }
    leaving->used_ns = core->now_ns;
    return leaving;
}

static bool learn(c4_core *core, c4_core_leaving *leaving, int rank)
{
    c4_core_peer *peer = &core->peers[rank];
    if (has_bit(leaving->known, rank) || peer->dead)
        return false;
    set_bit(leaving->known, rank);
    if (rank == core->spec.rank)
        return true;
    if (leaving->comm == 0) {
        peer->left = true;
        peer->verdict = C4_VERDICT_NONE;
        peer->silent_since_ns = 0;
    }
    core->spec.ops->left(core->spec.shell, leaving->comm, rank);
    c4_core_agree_without(core, leaving->comm, rank);
    c4_core_questions_hasten(core, rank);
    return true;
}

void c4_core_learn_leave(c4_core *core, uint32_t comm, int rank)
{
    learn(core, find_or_make(core, comm), rank);
}

void c4_core_on_leavers(c4_core *core, uint32_t comm, const c4_overlay_leavers *leavers)
{
    c4_core_leaving *leaving = find_or_make(core, comm);
    for (uint32_t i = 0; i < leavers->count; i++) {
        int rank = (int)leavers->ranks[i];
        if (rank == core->spec.rank || !learn(core, leaving, rank) || leavers->ttl == 0)
            continue;
        set_bit(leaving->fresh, rank);
        leaving->nfresh++;
        if (leaving->ttl < leavers->ttl - 1)
            leaving->ttl = leavers->ttl - 1;
        schedule(core, leaving);
    }
}

void c4_core_leave(c4_core *core, uint32_t comm, uint64_t now_ns)
{
    core->now_ns = now_ns;
    c4_core_leaving *leaving = find_or_make(core, comm);
    if (learn(core, leaving, core->spec.rank)) {
        set_bit(leaving->fresh, core->spec.rank);
        leaving->nfresh++;
    }
    leaving->ttl = c4_core_ttl(core);
    for (int i = 0; i < C4_CORE_LEAVES; i++) /* nobody else may be there to pass on what this rank knows */
        if (core->leaves[i].nfresh && (comm == 0 || core->leaves[i].comm == comm))
            tell(core, &core->leaves[i]);
    core->leaving = core->leaving || comm == 0;
}

bool c4_core_has_left(const c4_core *core, uint32_t comm, int rank)
{
    for (int i = 0; i < C4_CORE_LEAVES; i++)
        if (core->leaves[i].used && core->leaves[i].comm == comm)
            return has_bit(core->leaves[i].known, rank);
    return false;
}
