/* Links that were lost and are there again, or cannot be had. */
#include <stdlib.h>
#include <string.h>

#include "control/core_internal.h"

/* ---- what is kept for those who may have missed it ---- */

void c4_core_keep_report(c4_core *core, const c4_control_header *header, const unsigned char *payload)
{
    if (header->bytes > C4_CONTROL_MESSAGE_MAX_BYTES)
        return;
    c4_core_told *told = &core->reports[core->nreports++ % C4_CORE_REPORTS];
    told->header = *header;
    memcpy(told->payload, payload, header->bytes);
}

void c4_core_keep_death(c4_core *core, int rank, const c4_control_fault *fault)
{
    if (!core->deaths[rank])
        core->deaths[rank] = malloc(sizeof **core->deaths);
    if (core->deaths[rank])
        *core->deaths[rank] = *fault;
}

/* ---- telling ---- */

static void tell_death(c4_core *core, int rank, int neighbour)
{
    static const c4_control_fault unknown = {C4_ERR_PEER_DEAD, "a rank died while a control link was lost"};
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    const c4_control_fault *fault = core->deaths[rank] ? core->deaths[rank] : &unknown;
    c4_control_header header = {C4_CONTROL_DEATH, 0, (uint32_t)rank, 0};
    header.bytes = (uint32_t)c4_control_fault_pack(fault, payload);
    c4_core_send(core, neighbour, &header, payload);
}

/* Each is taken once, and only what is news travels on. */
static void tell_all(c4_core *core, int neighbour)
{
    for (int rank = 0; rank < core->spec.nranks; rank++)
        if (core->peers[rank].dead && rank != core->spec.rank)
            tell_death(core, rank, neighbour);
    c4_core_tell_leavers(core, neighbour);
    c4_core_tell_rumors(core, neighbour);
    for (unsigned i = 0; i < C4_CORE_REPORTS; i++) {
        const c4_core_told *told = &core->reports[(core->nreports + i) % C4_CORE_REPORTS]; /* the oldest first */
        if (told->header.bytes && told->header.rank != (uint32_t)neighbour)
            c4_core_send(core, neighbour, &told->header, told->payload);
    }
}

void c4_core_mend(c4_core *core, int neighbour)
{
    c4_core_peer *peer = &core->peers[neighbour];
    peer->unanswered = peer->lossy = false;
    peer->probe_gap_ns = 0;
    if (peer->dead) { /* it was given up, and may not know */
        tell_death(core, neighbour, neighbour);
        core->spec.ops->close(core->spec.shell, neighbour);
        peer->linked = false;
        peer->broken = true;
        return;
    }
    if (peer->verdict == C4_VERDICT_SUSPECT)
        peer->verdict = C4_VERDICT_NONE;
    c4_core_heard(core, neighbour); /* it has just proved who it is */
    tell_all(core, neighbour);
}

/* ---- trying ---- */

bool c4_core_wants_link(const c4_core *core, int neighbour)
{
    const c4_core_peer *peer = &core->peers[neighbour];
    if (c4_core_is_gone(core, neighbour) || peer->ended || core->peers[core->spec.rank].dead)
        return false;
    return !peer->linked || peer->broken || peer->silent_since_ns;
}

static bool is_undecided(const c4_core *core, int neighbour)
{
    const c4_core_peer *peer = &core->peers[neighbour];
    return !peer->linked && peer->broken && !peer->has_pid && !c4_core_is_gone(core, neighbour) && !core->leaving &&
           !core->peers[core->spec.rank].dead;
}

void c4_core_link_refused(c4_core *core, int neighbour, uint64_t now_ns)
{
    c4_core_peer *peer = &core->peers[neighbour];
    core->now_ns = now_ns;
    if (!is_undecided(core, neighbour) || !peer->unanswered)
        return; /* its verdict is near */
    peer->unanswered = false;
    c4_core_suspect(core, neighbour, true, C4_VERDICT_DEAD, now_ns + C4_CORE_LINK_GRACE_MS * C4_CORE_MS);
}

/* Its silence has begun when it was heard last. */
void c4_core_link_unanswered(c4_core *core, int neighbour, uint64_t now_ns)
{
    c4_core_peer *peer = &core->peers[neighbour];
    core->now_ns = now_ns;
    if (!is_undecided(core, neighbour) || peer->unanswered)
        return;
    peer->unanswered = true;
    if (peer->verdict != C4_VERDICT_DEAD || peer->ended)
        return;
    uint64_t silent_ns = peer->heard_ns + core->spec.heartbeat_ns;
    peer->verdict = C4_VERDICT_NONE;
    peer->suspected_ns = peer->heard_ns;
    c4_core_suspect(core, neighbour, false, C4_VERDICT_SILENT,
                    silent_ns > now_ns ? silent_ns : now_ns + core->spec.heartbeat_ns / 5);
}
