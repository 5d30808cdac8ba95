/* Where each kind of call has its data: which block goes where. One place, so that algorithms need no case per kind. */
#ifndef C4_SCHEDULE_KINDS_H
#define C4_SCHEDULE_KINDS_H

#include "schedule/blocks.h"
#include "schedule/schedule.h"

#define C4_KIND_BIT(kind) (1u << (kind))

bool c4_kind_is_v(c4_kind kind);
bool c4_kind_is_rooted(c4_kind kind); /* has a root (not a peer) */

bool c4_kind_gathers(c4_kind kind); /* the output has a block from every rank */

/* Block of rank p in the caller's input (offset as if the input were a buffer of its own): reduce_scatter, scatter, all_to_all
 * and their v-forms: what is meant for p; else the whole input. */
c4_span c4_query_input_block(const c4_query *query, int p);
/* Block of rank p in the caller's output: gathering kinds: what comes from p; else the whole output. */
c4_span c4_query_output_block(const c4_query *query, int p);
/* Bytes of this rank's own input and output buffers, as c4.h documents them; 0 where the rank has none. */
uint64_t c4_query_input_bytes(const c4_query *query);
uint64_t c4_query_output_bytes(const c4_query *query);
/* In place: where the input begins in RECV (offset) when RECV holds the input, else (reduce_scatter, scatter) where RECV
 * begins in SEND. Which of the two is told by c4_kind_output_is_inside. */
uint64_t c4_query_alias_offset(const c4_query *query);
bool c4_kind_output_is_inside(c4_kind kind);

#endif
