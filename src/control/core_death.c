/* Verdicts, and deaths as they become known. */
#include <stdio.h>

#include "control/core_internal.h"

void c4_core_plan_verdict(c4_core *core, int rank, c4_core_verdict verdict, uint64_t when_ns)
{
    c4_core_peer *peer = &core->peers[rank];
    if (peer->verdict != C4_VERDICT_NONE && peer->verdict_ns <= when_ns)
        return;
    peer->verdict = verdict;
    peer->verdict_ns = when_ns;
    if (when_ns < core->watch_due_ns)
        core->watch_due_ns = when_ns;
}

void c4_core_hasten_ended(c4_core *core)
{
    uint64_t when_ns = core->now_ns + C4_CORE_GOODBYE_GRACE_MS * C4_CORE_MS;
    for (int rank = 0; rank < core->spec.nranks; rank++)
        if (core->peers[rank].ended && core->peers[rank].verdict == C4_VERDICT_DEAD)
            c4_core_plan_verdict(core, rank, C4_VERDICT_DEAD, when_ns);
}

/* What the others say of this rank, now that it hears it: "rank 2 ... is given up" is not how its own log should put it. */
static void say_to_itself(const c4_control_fault *said, c4_control_fault *heard)
{
    heard->status = said->status;
    snprintf(heard->text, sizeof heard->text, "the other ranks gave this one up and go on without it: %.300s",
             said->text);
}

void c4_core_declare_dead(c4_core *core, int rank, int from, const c4_control_fault *fault)
{
    c4_core_peer *peer = &core->peers[rank];
    if (c4_core_is_gone(core, rank))
        return;
    peer->dead = true;
    peer->verdict = C4_VERDICT_NONE;
    peer->silent_since_ns = 0;
    c4_control_fault heard;
    if (rank == core->spec.rank) {
        say_to_itself(fault, &heard);
        fault = &heard;
    }
    c4_core_keep_death(core, rank, fault);
    c4_core_say(core, true, "%s", fault->text);
    core->spec.ops->died(core->spec.shell, rank, fault);
    c4_core_agree_without(core, 0, rank);
    if (rank == core->spec.rank) /* the others go on without this rank; it has nothing to tell them */
        return;
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_header header = {C4_CONTROL_DEATH, 0, (uint32_t)rank, 0};
    header.bytes = (uint32_t)c4_control_fault_pack(fault, payload);
    c4_core_spread(core, &header, payload, from); /* also to itself, should it come back */
    c4_core_questions_hasten(core, rank);
    if (peer->linked)
        core->spec.ops->close(core->spec.shell, rank);
    if (peer->linked)
        peer->broken = true;
    peer->linked = false;
}

void c4_core_declare_ended(c4_core *core, int rank)
{
    char who[128];
    char how[128];
    c4_control_fault fault = {.status = C4_ERR_PEER_DEAD};
    core->spec.ops->name(core->spec.shell, rank, who, sizeof who);
    core->spec.ops->describe(core->spec.shell, rank, false, how, sizeof how);
    snprintf(fault.text, sizeof fault.text, "%s died: %s", who, how);
    c4_core_declare_dead(core, rank, core->spec.rank, &fault);
}

void c4_core_give_up(c4_core *core, int rank)
{
    char who[128];
    char how[128];
    c4_control_fault fault = {.status = C4_ERR_PEER_SILENT};
    double silent_s = (double)(core->now_ns - core->peers[rank].silent_since_ns) / 1e9;
    core->spec.ops->name(core->spec.shell, rank, who, sizeof who);
    core->spec.ops->describe(core->spec.shell, rank, true, how, sizeof how);
    snprintf(fault.text, sizeof fault.text, "%s is given up: silent for %.1f s (C4_SILENT_MS)%s%s", who, silent_s,
             how[0] ? "; " : "", how);
    c4_core_declare_dead(core, rank, core->spec.rank, &fault);
}
