/* What a completion says: a request's number is either the slot that it received into, or how many requests have been sent
 * when it is done. */
#ifndef C4_TRANSPORTS_VERBS_COMPLETION_H
#define C4_TRANSPORTS_VERBS_COMPLETION_H

#include "transports/verbs/internal.h"

static inline uint64_t c4_verbs_wr_of_count(unsigned count)
{
    return (uint64_t)count << 1 | 1; /* slots are aligned */
}

static inline unsigned c4_verbs_wr_count(uint64_t wr_id)
{
    return (unsigned)(wr_id >> 1);
}

static inline c4_verbs_slot *c4_verbs_wr_slot(uint64_t wr_id)
{
    return (wr_id & 1) != 0 ? NULL : (c4_verbs_slot *)(uintptr_t)wr_id;
}

/* A request has failed: the queue pair is broken. The log hears the first reason. */
void c4_verbs_completion_failed(c4_verbs_link *link, const struct ibv_wc *wc);

#endif
