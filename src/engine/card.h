/* Cards: what a rank called, to be compared with what another called and to be named. Pure. */
#ifndef C4_ENGINE_CARD_H
#define C4_ENGINE_CARD_H

#include "engine/call.h"
#include "record/recorder.h"
#include "wire/call_card.h"

#define C4_CARD_TEXT_BYTES 128

c4_call_card c4_card_make(const c4_call *call, uint32_t sequence);
c4_call_card c4_card_of_record(const c4_record_operation *record);

bool c4_card_is_p2p(const c4_call_card *card);
bool c4_card_reduces(const c4_call_card *card);
/* Is it a call that a communicator of so many ranks can have? Cards come from other processes. */
bool c4_card_valid(const c4_call_card *card, int nranks);
/* `other` is of rank `other_rank`, `card` of `rank`, with one sequence number: do they belong together? Counts of v-kinds and
 * premultiplied scalars may differ; a send belongs to a receive. */
bool c4_card_match(const c4_call_card *card, int rank, const c4_call_card *other, int other_rank);
/* Can `rank` not complete the call before `peer` has called its part of it, whatever the algorithm? */
bool c4_card_needs(const c4_call_card *card, int rank, int peer);

/* "all_reduce #17 of 1024 float32 sum" */
void c4_card_text(const c4_call_card *card, char text[C4_CARD_TEXT_BYTES]);
/* "all_reduce #17" */
void c4_card_short_text(const c4_call_card *card, char text[C4_CARD_TEXT_BYTES]);

#endif
