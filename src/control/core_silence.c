/* Heartbeats; ranks of which nothing is heard. */
#include <string.h>

#include "control/core_internal.h"

static uint32_t phase_of(const c4_core_peer *peer)
{
    return peer->rumor & 3;
}

static c4_control_header pack_rumor(const c4_core *core, int rank, unsigned char payload[C4_OVERLAY_RUMOR_BYTES])
{
    const c4_core_peer *peer = &core->peers[rank];
    c4_overlay_rumor rumor = {peer->rumor >> 2, (c4_overlay_phase)phase_of(peer), peer->rumor_closed, 0};
    if (peer->silent_since_ns && core->now_ns > peer->silent_since_ns)
        rumor.age_ms = (uint32_t)((core->now_ns - peer->silent_since_ns) / C4_CORE_MS);
    c4_overlay_rumor_pack(&rumor, payload);
    return (c4_control_header){C4_CONTROL_RUMOR, C4_OVERLAY_RUMOR_BYTES, (uint32_t)rank, 0};
}

static void spread_rumor(c4_core *core, int rank, int except)
{
    unsigned char payload[C4_OVERLAY_RUMOR_BYTES];
    c4_control_header header = pack_rumor(core, rank, payload);
    c4_core_spread(core, &header, payload, except);
}

void c4_core_tell_rumors(c4_core *core, int neighbour)
{
    unsigned char payload[C4_OVERLAY_RUMOR_BYTES];
    for (int rank = 0; rank < core->spec.nranks; rank++) {
        if (!core->peers[rank].rumor || c4_core_is_gone(core, rank))
            continue;
        c4_control_header header = pack_rumor(core, rank, payload);
        c4_core_send(core, neighbour, &header, payload);
    }
}

/* ---- what a rumor changes here ---- */

/* When many ranks fall silent at once, a machine is overloaded or a network is down; n ranks that then log n lines each make
 * it worse: 256 ranks on two busy cores wrote 55,000 lines, their control threads waiting for one another at the log, and so
 * silent themselves, until the job was given up. */
static bool may_say(c4_core *core)
{
    unsigned limit = C4_CORE_SAID_LINES / (unsigned)core->spec.nranks;
    if (limit < 2)
        limit = 2;
    if (core->now_ns - core->said_ns >= core->spec.heartbeat_ns) {
        core->said_ns = core->now_ns;
        core->said = 0;
    }
    if (core->said++ == limit)
        c4_core_say(core, false,
                    "more ranks are silent, or back again, and not named for a while: a machine is overloaded or a "
                    "network is down");
    return core->said <= limit;
}

static void name_silent(c4_core *core, int rank, uint64_t since_ns)
{
    char who[128];
    char how[128];
    if (core->peers[rank].silent_since_ns) /* known */
        return;
    core->peers[rank].silent_since_ns = since_ns;
    if (may_say(core)) {
        core->spec.ops->name(core->spec.shell, rank, who, sizeof who);
        core->spec.ops->describe(core->spec.shell, rank, true, how, sizeof how);
        c4_core_say(
            core, false, "%s is silent: nothing heard of it for %.1f s%s%s; it is given up after %.1f s (C4_SILENT_MS)",
            who, (double)(core->now_ns - since_ns) / 1e9, how[0] ? "; " : "", how, (double)core->spec.silent_ns / 1e9);
    }
    core->watch_due_ns = core->now_ns;
    c4_core_questions_hasten(core, rank);
}

/* It lives, or at least is not known to have ended: what this rank waits for to call it dead or silent is void. When
 * nothing comes over this rank's own link, that is at fault. */
static void clear_verdict(c4_core *core, int rank, bool heard_here)
{
    char who[128];
    c4_core_peer *peer = &core->peers[rank];
    bool waited_here = peer->verdict == C4_VERDICT_SILENT || (peer->verdict == C4_VERDICT_DEAD && !peer->ended);
    if (!waited_here)
        return;
    peer->verdict = C4_VERDICT_NONE;
    if (heard_here)
        return;
    core->spec.ops->name(core->spec.shell, rank, who, sizeof who);
    if (peer->probe_gap_ns == 0)
        c4_core_say(core, false,
                    "the control link to %s %s, but others reach it: the network between the two is at fault", who,
                    peer->linked ? "is quiet" : "has closed");
    peer->broken = true;
    peer->probe_gap_ns = peer->probe_gap_ns ? 2 * peer->probe_gap_ns : core->spec.heartbeat_ns / 4;
    if (peer->probe_gap_ns > core->spec.heartbeat_ns)
        peer->probe_gap_ns = core->spec.heartbeat_ns;
    peer->probe_ns = core->now_ns + peer->probe_gap_ns;
    core->watch_due_ns = core->now_ns;
}

static void clear_silence(c4_core *core, int rank)
{
    char who[128];
    c4_core_peer *peer = &core->peers[rank];
    if (!peer->silent_since_ns)
        return;
    core->spec.ops->name(core->spec.shell, rank, who, sizeof who);
    if (may_say(core))
        c4_core_say(core, false, "%s is back after %.1f s of silence", who,
                    (double)(core->now_ns - peer->silent_since_ns) / 1e9);
    peer->silent_since_ns = 0;
}

static void set_rumor(c4_core *core, int rank, uint32_t episode, c4_overlay_phase phase, bool closed)
{
    c4_core_peer *peer = &core->peers[rank];
    peer->rumor = episode << 2 | phase;
    peer->rumor_closed = closed;
    if (phase == C4_RUMOR_OVER)
        peer->object_ns = 0;
    if (phase != C4_RUMOR_SUSPECTED || !closed || !peer->linked || peer->broken)
        return;
    peer->object_ns = core->now_ns + C4_CORE_OBJECT_MS * C4_CORE_MS;
    peer->sent_ns = 0; /* a heartbeat at once: where the process has ended, it breaks the link */
    core->watch_due_ns = core->now_ns;
}

static bool is_in_doubt(const c4_core_peer *peer)
{
    return phase_of(peer) == C4_RUMOR_SUSPECTED || phase_of(peer) == C4_RUMOR_SILENT || peer->silent_since_ns;
}

void c4_core_heard(c4_core *core, int neighbour)
{
    c4_core_peer *peer = &core->peers[neighbour];
    peer->heard_ns = core->now_ns;
    if (c4_core_is_gone(core, neighbour) || !peer->linked)
        return;
    if (peer->broken) {
        peer->broken = false;
        peer->probe_gap_ns = 0;
    }
    if (!is_in_doubt(peer))
        return;
    set_rumor(core, neighbour, (peer->rumor >> 2) + (phase_of(peer) == C4_RUMOR_OVER), C4_RUMOR_OVER, false);
    clear_silence(core, neighbour);
    clear_verdict(core, neighbour, true);
    spread_rumor(core, neighbour, -1);
}

/* There was a link, it closed, and nothing else here would show that the process ended. */
static bool lost_link(const c4_core_peer *peer)
{
    return peer->broken && !peer->linked && !peer->has_pid && !peer->unanswered;
}

void c4_core_on_rumor(c4_core *core, int from, int rank, const c4_overlay_rumor *rumor)
{
    c4_core_peer *peer = &core->peers[rank];
    uint32_t value = rumor->episode << 2 | rumor->phase;
    uint64_t age_ns = (uint64_t)rumor->age_ms * C4_CORE_MS;
    uint64_t since_ns = age_ns < core->now_ns ? core->now_ns - age_ns : 1;
    /* This rank has just begun to suspect it anew; the verdict on the suspicion before is as good. */
    if (!c4_core_is_gone(core, rank) && rumor->phase == C4_RUMOR_SILENT && phase_of(peer) == C4_RUMOR_SUSPECTED &&
        rumor->episode + 1 == peer->rumor >> 2)
        name_silent(core, rank, since_ns);
    if (c4_core_is_gone(core, rank) || value <= peer->rumor)
        return;
    if (rank == core->spec.rank && (rumor->phase != C4_RUMOR_OVER || rumor->closed)) {
        set_rumor(core, rank, rumor->episode + (rumor->phase == C4_RUMOR_OVER), C4_RUMOR_OVER, false);
        spread_rumor(core, rank, -1);
        return;
    }
    set_rumor(core, rank, rumor->episode, rumor->phase, rumor->closed);
    if (rumor->phase == C4_RUMOR_SILENT)
        name_silent(core, rank, since_ns);
    spread_rumor(core, rank, from);
    if (rumor->phase == C4_RUMOR_SUSPECTED && rumor->closed && lost_link(peer))
        c4_core_plan_verdict(core, rank, C4_VERDICT_DEAD, core->now_ns + C4_CORE_LINK_GRACE_MS * C4_CORE_MS);
    if (rumor->phase != C4_RUMOR_OVER)
        return;
    if (!rumor->closed)
        clear_silence(core, rank);
    if (!rumor->closed || peer->verdict == C4_VERDICT_DEAD)
        clear_verdict(core, rank, false);
}

void c4_core_suspect(c4_core *core, int rank, bool closed, c4_core_verdict verdict, uint64_t verdict_ns)
{
    c4_core_peer *peer = &core->peers[rank];
    bool told = phase_of(peer) == C4_RUMOR_SUSPECTED || phase_of(peer) == C4_RUMOR_SILENT;
    c4_core_plan_verdict(core, rank, verdict, verdict_ns);
    if (told && (!closed || (phase_of(peer) == C4_RUMOR_SUSPECTED && peer->rumor_closed)))
        return;
    set_rumor(core, rank, (peer->rumor >> 2) + 1, C4_RUMOR_SUSPECTED, closed);
    spread_rumor(core, rank, -1);
}

/* ---- what is due ---- */

static void earlier(uint64_t *next_ns, uint64_t when_ns)
{
    if (when_ns < *next_ns)
        *next_ns = when_ns;
}

/* Heartbeats go out three in heartbeat_ns; those nearly due go together, for one wake-up. */
static void beat(c4_core *core, int neighbour, uint64_t *next_ns)
{
    c4_core_peer *peer = &core->peers[neighbour];
    uint64_t interval_ns = core->spec.heartbeat_ns / 3;
    if (core->now_ns - peer->sent_ns >= interval_ns - interval_ns / 4) {
        c4_control_header header = {C4_CONTROL_HEARTBEAT, 0, (uint32_t)core->spec.rank, 0};
        c4_core_send(core, neighbour, &header, NULL);
    }
    earlier(next_ns, peer->sent_ns + interval_ns);
}

static void watch_link(c4_core *core, int neighbour, uint64_t *next_ns)
{
    c4_core_peer *peer = &core->peers[neighbour];
    uint64_t heartbeat_ns = core->spec.heartbeat_ns;
    if (c4_core_is_gone(core, neighbour))
        return;
    if (peer->linked)
        beat(core, neighbour, next_ns);
    if (peer->verdict != C4_VERDICT_NONE || peer->silent_since_ns)
        return; /* asked already; what comes is timed elsewhere */
    uint64_t suspect_ns = peer->broken ? peer->probe_ns : peer->heard_ns + heartbeat_ns / 5 * 4;
    if (core->now_ns < suspect_ns) {
        earlier(next_ns, suspect_ns);
        return;
    }
    /* Over a broken link nothing could be heard: its silence begins with this question. */
    uint64_t verdict_ns = peer->heard_ns + heartbeat_ns;
    peer->suspected_ns = peer->broken ? core->now_ns : peer->heard_ns;
    if (peer->broken)
        verdict_ns = core->now_ns + heartbeat_ns / 5 * 4;
    else if (verdict_ns < core->now_ns + heartbeat_ns / 5)
        verdict_ns = core->now_ns + heartbeat_ns / 5;
    c4_core_suspect(core, neighbour, lost_link(peer), lost_link(peer) ? C4_VERDICT_DEAD : C4_VERDICT_SILENT,
                    verdict_ns);
}

static void give_verdict(c4_core *core, int rank)
{
    c4_core_peer *peer = &core->peers[rank];
    c4_core_verdict verdict = peer->verdict;
    peer->verdict = C4_VERDICT_NONE;
    if (c4_core_is_gone(core, rank))
        return;
    if (verdict == C4_VERDICT_SUSPECT) { /* its process lives on */
        peer->suspected_ns = core->now_ns;
        c4_core_suspect(core, rank, true, C4_VERDICT_SILENT, core->now_ns + core->spec.heartbeat_ns / 5 * 4);
    } else if (verdict == C4_VERDICT_DEAD) {
        c4_core_declare_ended(core, rank);
    } else if (verdict == C4_VERDICT_SILENT && phase_of(peer) == C4_RUMOR_SUSPECTED) {
        set_rumor(core, rank, peer->rumor >> 2, C4_RUMOR_SILENT, false);
        name_silent(core, rank, peer->suspected_ns);
        spread_rumor(core, rank, -1);
    }
}

/* Somebody's link to it closed, this rank's is open: its process has not ended. */
static void object(c4_core *core, int rank)
{
    c4_core_peer *peer = &core->peers[rank];
    peer->object_ns = 0;
    if (!peer->linked || c4_core_is_gone(core, rank))
        return;
    set_rumor(core, rank, peer->rumor >> 2, C4_RUMOR_OVER, true);
    spread_rumor(core, rank, -1);
    if (peer->verdict == C4_VERDICT_DEAD)
        clear_verdict(core, rank, false);
}

/* Neighbours give up first; the others, should no neighbour be left to say it, a little later. */
static void watch_rank(c4_core *core, int rank, uint64_t *next_ns)
{
    c4_core_peer *peer = &core->peers[rank];
    if (peer->verdict != C4_VERDICT_NONE && core->now_ns >= peer->verdict_ns)
        give_verdict(core, rank);
    if (peer->verdict != C4_VERDICT_NONE)
        earlier(next_ns, peer->verdict_ns);
    if (peer->object_ns && core->now_ns >= peer->object_ns)
        object(core, rank);
    if (peer->object_ns)
        earlier(next_ns, peer->object_ns);
    if (!peer->silent_since_ns)
        return;
    uint64_t give_up_ns = peer->silent_since_ns + core->spec.silent_ns;
    if (!peer->linked)
        give_up_ns += core->spec.heartbeat_ns / 5;
    if (core->now_ns >= give_up_ns)
        c4_core_give_up(core, rank);
    else
        earlier(next_ns, give_up_ns);
}

uint64_t c4_core_watch_tick(c4_core *core)
{
    if (core->leaving || core->peers[core->spec.rank].dead)
        return C4_CORE_NEVER_NS;
    if (core->now_ns < core->watch_due_ns)
        return core->watch_due_ns;
    core->watch_due_ns = C4_CORE_NEVER_NS;
    uint64_t next_ns = C4_CORE_NEVER_NS;
    for (int i = 0; i < core->nlinks; i++)
        watch_link(core, core->links[i], &next_ns);
    for (int rank = 0; rank < core->spec.nranks; rank++)
        watch_rank(core, rank, &next_ns);
    earlier(&core->watch_due_ns, next_ns); /* something found may have asked for another look */
    return core->watch_due_ns;
}
