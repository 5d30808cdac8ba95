#include "schedule/cost.h"

#include "schedule/algorithms.h"
#include "schedule/builder.h"

/* One rank's view of the links that bound a flat algorithm. */
typedef struct link_cost {
    double n;       /* ranks */
    double rounds;  /* ceil(log2 n) */
    double alpha;   /* one message, one way */
    double message; /* what a further message in flight costs its sender */
    double beta;    /* per byte, alone on the link */
    double crowded; /* per byte, when all ranks of a host send to other hosts at once */
    double far; /* per byte, crowded, to many or distant ranks: switches collide, which neighbours' traffic does not */
    double
        treed; /* per byte over a binary tree of ranks: some three of its edges cross a host's link for every two of a ring */
    double gamma; /* per reduced byte */
    double bytes; /* of the call, as c4_query_bytes */
} link_cost;

static double log2_ceil(int n)
{
    double rounds = 0;
    for (int reach = 1; reach < n; reach *= 2)
        rounds++;
    return rounds;
}

static link_cost link_of(const c4_query *q)
{
    const c4_cost_params *cost = c4_query_cost(q);
    bool remote = q->layout && q->layout->nhosts > 1;
    const c4_link_class *link = remote ? &cost->remote : &cost->local;
    double per_host = remote ? (double)q->nranks / q->layout->nhosts : 1;
    double share = cost->ranks_per_core > 1 ? cost->ranks_per_core : 1;
    double crowded = link->seconds_per_byte * (share > per_host ? share : per_host);
    /* Of a message's latency, about a third occupies the sender (LogP's o over L + 2o on sockets and rings). On a socket whose
     * two ends take turns on one core all of it is work: 8 ranks on 2 cores add 8 bytes in 95 us by 24 messages, in 229 us by
     * 56. */
    double occupied = cost->ranks_per_core > 1 && !link->windows ? 1 : 0.3;
    return (link_cost){.n = q->nranks,
                       .rounds = log2_ceil(q->nranks),
                       .alpha = link->latency_s * share + cost->step_s,
                       .message = link->latency_s * occupied * share + cost->step_s,
                       .beta = link->seconds_per_byte * share,
                       .crowded = crowded,
                       .far = remote ? 1.15 * crowded : crowded,
                       .treed = link->seconds_per_byte * (per_host > 1 ? 1.5 : 1) * share,
                       .gamma = link->reduce_seconds_per_byte * share,
                       .bytes = (double)c4_query_bytes(q)};
}

double c4_cost_direct(const c4_query *q)
{
    link_cost c = link_of(q);
    double peers = c.n - 1, all = peers * c.bytes;
    double start = c.alpha + (peers - 1) * c.message;
    switch (q->kind) {
    case C4_KIND_ALL_REDUCE:
        return start + all * (c.crowded + c.gamma);
    case C4_KIND_REDUCE:
        return start + all * (c.beta + c.gamma);
    case C4_KIND_BROADCAST:
        return start + all * c.beta;
    case C4_KIND_REDUCE_SCATTER:
    case C4_KIND_REDUCE_SCATTER_V:
        return start + all / c.n * (c.crowded + c.gamma);
    default:
        return start + all / c.n * c.crowded;
    }
}

double c4_cost_rsag(const c4_query *q)
{
    link_cost c = link_of(q);
    double part = (c.n - 1) / c.n * c.bytes;
    return 2 * c.alpha + 2 * (c.n - 2) * c.message + part * (2 * c.far + c.gamma);
}

double c4_cost_ring(const c4_query *q)
{
    link_cost c = link_of(q);
    double peers = c.n - 1, part = peers / c.n * c.bytes;
    switch (q->kind) {
    case C4_KIND_ALL_REDUCE:
        return 2 * peers * c.alpha + part * (2 * c.beta + c.gamma);
    case C4_KIND_BROADCAST:
        return peers * c.alpha + c.bytes * c.beta;
    case C4_KIND_REDUCE:
        return peers * c.alpha + c.bytes * (c.beta + c.gamma);
    case C4_KIND_REDUCE_SCATTER:
        return peers * c.alpha + part * (c.beta + c.gamma);
    default:
        return peers * c.alpha + part * c.beta;
    }
}

double c4_cost_rhd(const c4_query *q)
{
    link_cost c = link_of(q);
    bool power_of_two = (q->nranks & (q->nranks - 1)) == 0;
    double folded = power_of_two ? 0 : 2 * (c.alpha + c.bytes * c.beta) + c.bytes * c.gamma;
    double doubling = c.rounds * (c.alpha + c.bytes * (c.crowded + c.gamma));
    double part = (c.n - 1) / c.n * c.bytes;
    double halving = 2 * c.rounds * c.alpha + part * (2 * c.far + c.gamma);
    return folded + (doubling < halving ? doubling : halving);
}

double c4_cost_tree(const c4_query *q)
{
    link_cost c = link_of(q);
    if (q->kind == C4_KIND_BROADCAST)
        return (c.rounds + 1) * (c.alpha + c.message) + c.bytes * c.treed;
    double up = (c.rounds + 1) * (c.alpha + c.message) + c.bytes * (c.treed + c.gamma);
    return q->kind == C4_KIND_REDUCE ? up : up + (c.rounds + 1) * (c.alpha + c.message) + c.bytes * c.treed;
}

double c4_cost_bruck(const c4_query *q)
{
    link_cost c = link_of(q);
    if (q->kind == C4_KIND_ALL_TO_ALL) /* half the blocks travel in every round, and are copied twice */
        return c.rounds * (c.alpha + c.n * c4_query_cost(q)->step_s + c.bytes / 2 * (c.crowded + 2 * c.gamma));
    return c.rounds * (c.alpha + c.message) + (c.n - 1) / c.n * c.bytes * c.crowded;
}

double c4_cost_pairwise(const c4_query *q)
{
    link_cost c = link_of(q);
    double part = (c.n - 1) / c.n * c.bytes;
    double reduce = q->kind == C4_KIND_REDUCE_SCATTER || q->kind == C4_KIND_REDUCE_SCATTER_V ? part * c.gamma : 0;
    return (c.n - 1) * c.alpha + part * c.crowded + reduce;
}

double c4_cost_mapped(const c4_query *q)
{
    link_cost c = link_of(q);
    double reduce = q->kind == C4_KIND_ALL_REDUCE || q->kind == C4_KIND_REDUCE_SCATTER ? c.bytes * c.gamma : 0;
    return 2 * c.alpha + 2 * (c.n - 2) * c.message + (c.n - 1) / c.n * c.bytes * c.beta + reduce;
}

double c4_cost_hierarchical(const c4_query *q)
{
    const c4_cost_params *p = c4_query_cost(q);
    double hosts = q->layout ? q->layout->nhosts : 1, per_host = q->nranks / hosts, bytes = (double)c4_query_bytes(q);
    double share = p->ranks_per_core > 1 ? p->ranks_per_core : 1;
    double inside = (p->local.latency_s * per_host + bytes * p->local.seconds_per_byte) * share;
    double outside = p->remote.latency_s + (hosts - 2) * 0.3 * p->remote.latency_s +
                     (hosts - 1) / hosts * bytes * p->remote.seconds_per_byte;
    double reduce = q->reduces ? bytes * p->local.reduce_seconds_per_byte * share : 0;
    double phases = q->kind == C4_KIND_ALL_REDUCE ? 2 : 1;
    return phases * (inside + outside) + reduce;
}

/* ---- from a schedule ---- */

static const c4_link_class *link_to(const c4_layout *layout, const c4_cost_params *p, int a, int b)
{
    return !layout || layout->host_of[a] == layout->host_of[b] ? &p->local : &p->remote;
}

static double term_cost(const c4_schedule *s, const c4_term *term, const c4_layout *layout, const c4_cost_params *p,
                        double bytes)
{
    int peer = term->index;
    if (term->kind == C4_TERM_LOCAL)
        return 0;
    if (term->kind == C4_TERM_CHANNEL) {
        const c4_channel_use *use = &s->channels[term->index];
        peer = use->writer == s->rank ? s->readers[use->first_reader] : use->writer;
    }
    return bytes * link_to(layout, p, s->rank, peer)->seconds_per_byte;
}

/* A lane's time: its bytes at the speed of their links, every step's overhead, and the latency of each receive of one
 * iteration: in the following iterations the frames are under way already. */
static double lane_cost(const c4_schedule *s, const c4_lane *lane, const c4_layout *layout, const c4_cost_params *p)
{
    double time = 0;
    for (uint32_t l = 0; l < lane->nloops; l++) {
        const c4_loop *loop = &s->loops[lane->first_loop + l];
        for (uint32_t i = 0; i < loop->nsteps; i++) {
            const c4_step *step = &s->steps[loop->first_step + i];
            const c4_term *terms = &s->terms[step->first_term];
            double bytes = (double)step->total, latency = 0;
            time += p->step_s * loop->iterations;
            for (unsigned t = 0; t < (unsigned)step->nsources + step->ndestinations; t++) {
                time += term_cost(s, &terms[t], layout, p, bytes);
                if (t < step->nsources && terms[t].kind == C4_TERM_CHANNEL)
                    latency = link_to(layout, p, s->rank, s->channels[terms[t].index].writer)->latency_s;
            }
            if (step->nsources > 1)
                time += bytes * (step->nsources - 1) * p->local.reduce_seconds_per_byte;
            time += latency;
        }
    }
    return time;
}

double c4_schedule_cost(const c4_schedule *s, const c4_layout *layout, const c4_cost_params *p)
{
    double longest = 0;
    for (uint32_t i = 0; i < s->nlanes; i++) {
        double time = lane_cost(s, &s->lanes[i], layout, p);
        longest = time > longest ? time : longest;
    }
    return longest * (p->ranks_per_core > 1 ? p->ranks_per_core : 1);
}
