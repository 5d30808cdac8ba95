/* Bytes per peer, read off the steps: a loop's iterations are already in each step's total. */
#include <string.h>

#include "schedule/schedule.h"

static void flow_of_channel(const c4_schedule *s, const c4_channel_use *use, uint64_t bytes, uint64_t *sent,
                            uint64_t *received)
{
    if (use->writer != s->rank) {
        received[use->writer] += bytes;
        return;
    }
    for (uint16_t i = 0; i < use->nreaders; i++)
        sent[s->readers[use->first_reader + i]] += bytes;
}

void c4_schedule_flows(const c4_schedule *s, uint64_t *sent, uint64_t *received)
{
    memset(sent, 0, sizeof *sent * (size_t)s->nranks);
    memset(received, 0, sizeof *received * (size_t)s->nranks);
    for (uint32_t i = 0; i < s->nsteps; i++) {
        const c4_step *step = &s->steps[i];
        const c4_term *terms = &s->terms[step->first_term];
        for (unsigned t = 0; t < (unsigned)step->nsources + step->ndestinations; t++) {
            if (terms[t].kind == C4_TERM_CHANNEL)
                flow_of_channel(s, &s->channels[terms[t].index], step->total, sent, received);
            else if (terms[t].kind == C4_TERM_REMOTE)
                (t < step->nsources ? received : sent)[terms[t].index] += step->total;
        }
    }
}
