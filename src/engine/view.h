/* What an engine is in, seen from the control thread while its own thread may be anywhere: from the flight record, which any
 * thread may read, and from what the engine shows of its own waiting (stuck.h). */
#ifndef C4_ENGINE_VIEW_H
#define C4_ENGINE_VIEW_H

#include "engine/card.h"
#include "engine/engine.h"

#define C4_VIEW_OPERATIONS 16

typedef struct c4_view_operation {
    c4_call_card call;
    bool ended;
    uint32_t age_ms; /* since its end, or since it was called */
} c4_view_operation;

typedef struct c4_engine_view {
    uint32_t called; /* collectives so far */
    c4_status status;
    unsigned nrunning; /* the latest ones, the newest first */
    c4_view_operation running[C4_VIEW_OPERATIONS];
    bool has_last, has_complete;
    c4_view_operation last;     /* the newest call */
    c4_view_operation complete; /* the newest collective that has ended well */
    bool waits;                 /* `stuck` has got no further for stuck_ms: it needs waits_for */
    bool receives;              /* a frame, else room to send one */
    int waits_for;
    uint32_t stuck_ms;
    c4_call_card stuck;
} c4_engine_view;

void c4_engine_view_take(c4_engine *engine, c4_engine_view *view);
/* The same for other ranks, in brief: a c4_call_answer. */
void c4_engine_testify(c4_engine *engine, unsigned char card[C4_CONTROL_CARD_BYTES]);
/* false: not such a card, or not of a rank of this communicator. */
bool c4_engine_read_testimony(const c4_engine *engine, const unsigned char card[C4_CONTROL_CARD_BYTES],
                              c4_call_answer *told);

/* How the engine chooses algorithms; does not change while it lives. */
const c4_engine_spec *c4_engine_spec_of(const c4_engine *engine);
/* Name of the transport to `peer`; "" for this rank. */
const char *c4_engine_transport_to(const c4_engine *engine, int peer);
/* Of the engine's transports, as numbered in the records of its edges; "": there is none. */
const char *c4_engine_transport_name(const c4_engine *engine, unsigned rail);

#endif
