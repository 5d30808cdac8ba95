/* All ranks must choose alike, so all work with one set of numbers: rank 0's, with the smallest limits of anybody. */
#include <stdlib.h>

#include "comm/setup.h"
#include "wire/cost_card.h"

static c4_cost_card_link link_to_card(const c4_link_class *link)
{
    return (c4_cost_card_link){.latency_s = link->latency_s,
                               .seconds_per_byte = link->seconds_per_byte,
                               .reduce_seconds_per_byte = link->reduce_seconds_per_byte,
                               .flags = (link->windows ? 1u : 0u) | (link->map ? 2u : 0u),
                               .max_readers = link->max_readers,
                               .max_frame_bytes = link->max_frame_bytes};
}

static c4_link_class link_from_card(const c4_cost_card_link *link)
{
    return (c4_link_class){.latency_s = link->latency_s,
                           .seconds_per_byte = link->seconds_per_byte,
                           .reduce_seconds_per_byte = link->reduce_seconds_per_byte,
                           .windows = (link->flags & 1u) != 0,
                           .map = (link->flags & 2u) != 0,
                           .max_readers = (unsigned)link->max_readers,
                           .max_frame_bytes = (size_t)link->max_frame_bytes};
}

static void link_limit(c4_cost_card_link *link, const c4_cost_card_link *other)
{
    link->flags &= other->flags;
    if (other->max_readers < link->max_readers)
        link->max_readers = other->max_readers;
    if (other->max_frame_bytes < link->max_frame_bytes)
        link->max_frame_bytes = other->max_frame_bytes;
}

c4_status c4_setup_agree_cost(const c4_setup *setup, c4_cost_params *cost)
{
    size_t n = (size_t)setup->comm->nranks;
    unsigned char own[C4_COST_CARD_BYTES];
    unsigned char *all = calloc((uint32_t)n, C4_COST_CARD_BYTES);
    c4_cost_card card = {.local = link_to_card(&cost->local),
                         .remote = link_to_card(&cost->remote),
                         .step_s = cost->step_s,
                         .ranks_per_core = cost->ranks_per_core,
                         .cache_bytes = cost->cache_bytes};
    if (!all)
        return c4_fail(C4_ERR_MEMORY, "set-up of %zu ranks", n);
    c4_cost_card_pack(&card, own);
    c4_status status = setup->exchange->all_gather(setup->exchange->context, own, sizeof own, all);
    for (size_t i = 0; status == C4_OK && i < n; i++) {
        c4_cost_card other;
        if (c4_cost_card_unpack(all + i * C4_COST_CARD_BYTES, &other) < 0) {
            status = c4_fail(C4_ERR_PROTOCOL, "rank %zu sent a malformed cost card during set-up", i);
            break;
        }
        if (i == 0)
            card = other;
        link_limit(&card.local, &other.local);
        link_limit(&card.remote, &other.remote);
    }
    if (status == C4_OK)
        *cost = (c4_cost_params){.local = link_from_card(&card.local),
                                 .remote = link_from_card(&card.remote),
                                 .step_s = card.step_s,
                                 .ranks_per_core = card.ranks_per_core,
                                 .cache_bytes = (size_t)card.cache_bytes};
    free(all);
    return status;
}
