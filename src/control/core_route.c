/* How messages travel: to neighbours, to all, to one. */
#include <string.h>

#include "base/status.h"
#include "control/core_internal.h"

static bool is_way(const c4_core *core, int neighbour)
{
    const c4_core_peer *peer = &core->peers[neighbour];
    return peer->linked && !peer->left && !peer->dead;
}

bool c4_core_has_overlay(const c4_core *core)
{
    for (int i = 0; i < core->nlinks; i++)
        if (is_way(core, core->links[i]))
            return true;
    return false;
}

/* Greedy routes over powers of two take one hop per bit of the distance; twice that for detours. */
uint32_t c4_core_ttl(const c4_core *core)
{
    uint32_t ttl = 8;
    for (int nranks = core->spec.nranks; nranks > 1; nranks /= 2)
        ttl += 2;
    return ttl;
}

void c4_core_send(c4_core *core, int neighbour, const c4_control_header *header, const void *payload)
{
    core->peers[neighbour].sent_ns = core->now_ns;
    core->spec.ops->send(core->spec.shell, neighbour, header, payload);
}

void c4_core_spread(c4_core *core, const c4_control_header *header, const void *payload, int except)
{
    for (int i = 0; i < core->nlinks; i++)
        if (core->links[i] != except && core->peers[core->links[i]].linked && !core->peers[core->links[i]].left)
            c4_core_send(core, core->links[i], header, payload);
}

/* ---- one ---- */

static int circular_distance(const c4_core *core, int a, int b)
{
    int distance = a < b ? b - a : a - b;
    return distance * 2 > core->spec.nranks ? core->spec.nranks - distance : distance;
}

static int hop_cost(const c4_core *core, int neighbour, int target)
{
    const c4_core_peer *peer = &core->peers[neighbour];
    int cost = neighbour == target ? -1 : circular_distance(core, neighbour, target);
    if (peer->broken || peer->silent_since_ns) /* better than none, in case that it is not so */
        cost += core->spec.nranks;
    return cost;
}

/* The neighbour to send to; -1: there is none. Not back, nor to the origin. Where no neighbour is nearer than this rank,
 * since those that were have gone, any one may be the way round: another one each time. */
static int next_hop(const c4_core *core, int target, int from, int origin)
{
    int best = -1;
    int ways[64];
    int nways = 0;
    for (int i = 0; i < core->nlinks; i++) {
        int rank = core->links[i];
        if (!is_way(core, rank) || rank == from || (rank == origin && rank != target))
            continue;
        if (best < 0 || hop_cost(core, rank, target) < hop_cost(core, best, target))
            best = rank;
        if (nways < 64 && hop_cost(core, rank, target) < core->spec.nranks)
            ways[nways++] = rank;
    }
    bool nearer = best >= 0 && hop_cost(core, best, target) < circular_distance(core, core->spec.rank, target);
    return nearer || nways == 0 ? best : ways[core->now_ns / C4_CORE_MS % (uint64_t)nways];
}

void c4_core_post(c4_core *core, c4_control_header *header, unsigned char *payload, int target, bool flooded)
{
    c4_overlay_envelope envelope = {.target = target < 0 ? UINT32_MAX : (uint32_t)target, .ttl = c4_core_ttl(core)};
    if (flooded) {
        envelope.number = ++core->flood_number;
        envelope.ttl = 1u << 16;
    }
    c4_overlay_envelope_pack(&envelope, payload);
    int hop = flooded ? -1 : next_hop(core, target, -1, core->spec.rank);
    if (flooded)
        c4_core_spread(core, header, payload, -1);
    else if (hop >= 0)
        c4_core_send(core, hop, header, payload);
}

/* ---- on the way ---- */

/* Is this flood of `origin` new? */
static bool note_flood(c4_core *core, int origin, uint32_t number)
{
    c4_core_peer *peer = &core->peers[origin];
    if (number > peer->flood_top) {
        uint32_t step = number - peer->flood_top;
        peer->flood_seen = step < 64 ? peer->flood_seen << step : 0;
        peer->flood_seen |= 1;
        peer->flood_top = number;
        return true;
    }
    uint32_t back = peer->flood_top - number;
    if (back >= 64 || (peer->flood_seen >> back & 1)) /* too old to be told from a copy */
        return false;
    peer->flood_seen |= 1ull << back;
    return true;
}

bool c4_core_take(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload,
                  const c4_overlay_envelope *envelope)
{
    int origin = (int)header->rank;
    bool mine = envelope->target == (uint32_t)core->spec.rank;
    if (envelope->number) {
        if (origin == core->spec.rank || !note_flood(core, origin, envelope->number))
            return false;
        if (!mine)
            c4_core_spread(core, header, payload, from);
        return mine || envelope->target == UINT32_MAX;
    }
    if (mine)
        return true;
    int hop = next_hop(core, (int)envelope->target, from, origin);
    if (hop < 0) /* a dead end: back, to be sent another way */
        hop = from;
    if (!is_way(core, hop) || envelope->ttl == 0)
        return false;
    c4_overlay_envelope onwards = {envelope->target, 0, envelope->ttl - 1};
    memmove(core->out, payload, header->bytes);
    c4_overlay_envelope_pack(&onwards, core->out);
    c4_core_send(core, hop, header, core->out);
    return false;
}
