/* What the user asked for: one call with its arguments, as c4.h defines them. */
#ifndef C4_ENGINE_CALL_H
#define C4_ENGINE_CALL_H

#include <c4/c4.h>

#include "schedule/schedule.h"

typedef struct c4_call {
    c4_kind kind;
    c4_dtype dtype;
    c4_op op; /* C4_SUM for calls without reduction */
    int root; /* root or peer; 0 when the kind has none */
    const void *send;
    void *recv;
    size_t count;
    bool in_place;
    const void *premul; /* one element, or NULL; stays valid until the op is done */
    /* v-kinds; read before prepare returns */
    const size_t *send_counts, *send_displs, *recv_counts, *recv_displs;
    size_t send_bytes; /* extent of the send buffer that this rank reads */
    size_t recv_bytes; /* extent of the receive buffer that this rank may write */
} c4_call;

#endif
