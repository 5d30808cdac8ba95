/* Steps: fold sources, store to destinations. Three patterns that carry nearly all traffic have a short way; the
 * rest takes the general one. Waiting for a frame or for room costs a return, never a block. */
#include <string.h>

#include "engine/stuck.h"

typedef struct step_context {
    c4_engine *engine;
    c4_operation *op;
    uint32_t lane;
    const c4_step *step;
    const c4_term *sources;
    const c4_term *destinations;
    uint64_t offset, bytes;
    unsigned stream; /* C4_NUMERIC_STREAM for local destinations, or 0 */
} step_context;

static c4_frame frame_make(const step_context *x)
{
    const c4_operation *op = x->op;
    return (c4_frame){.comm = x->engine->spec.comm_id,
                      .epoch = x->engine->spec.epoch,
                      .flags = 0,
                      .sequence = op->sequence,
                      .signature = op->signature,
                      .lane = (uint16_t)x->lane,
                      .step = (uint16_t)(x->step - op->schedule->steps),
                      .bytes = (uint32_t)x->bytes,
                      .offset = x->offset};
}

/* Of this call, but not as this rank divides it: only calls with counts per rank can come to this. */
static c4_status frame_unfit(const step_context *x, const c4_edge *edge, const c4_frame *frame)
{
    char context[C4_ERROR_TEXT_BYTES / 2];
    c4_operation_context(x->engine, x->op, context, sizeof context);
    return c4_fail(C4_ERR_MISMATCH,
                   "%s: rank %d sends %u bytes at %llu where this rank expects %llu at %llu: compare the counts "
                   "that the two ranks pass for one another",
                   context, edge->peer, frame->bytes, (unsigned long long)frame->offset, (unsigned long long)x->bytes,
                   (unsigned long long)x->offset);
}

static __attribute__((noinline)) c4_status frame_refuse(const step_context *x, const c4_edge *edge,
                                                        const c4_frame *frame)
{
    const c4_operation *op = x->op;
    bool p2p = op->call.kind == C4_KIND_SEND || op->call.kind == C4_KIND_RECV;
    if (frame->sequence == op->sequence && frame->signature == op->signature)
        return frame_unfit(x, edge, frame);
    if (p2p && frame->sequence != op->sequence) /* both ends count the messages of a channel */
        return c4_fail(C4_ERR_PROTOCOL,
                       "%s #%u: frame from rank %d does not fit: #%u, %u bytes at %llu; expected %llu bytes at %llu",
                       c4_kind_name(op->call.kind), op->sequence, edge->peer, frame->sequence, frame->bytes,
                       (unsigned long long)frame->offset, (unsigned long long)x->bytes, (unsigned long long)x->offset);
    return c4_stuck_mismatch(x->engine, op, edge, frame);
}

static inline c4_status frame_check(const step_context *x, const c4_edge *edge, const c4_frame *frame)
{
    if (__builtin_expect(frame->sequence == x->op->sequence && frame->signature == x->op->signature &&
                             frame->bytes == x->bytes && frame->offset == x->offset,
                         1))
        return C4_OK;
    return frame_refuse(x, edge, frame);
}

static inline char *term_pointer(const step_context *x, const c4_term *term)
{
    char *base =
        term->kind == C4_TERM_LOCAL ? x->op->buffers[term->buffer] : x->op->remote[2 * term->index + term->buffer];
    return base + term->offset + x->offset;
}

static inline c4_edge *term_edge(const step_context *x, const c4_term *term)
{
    return x->op->active->edges[term->index];
}

static inline bool step_divides(const step_context *x)
{
    return (x->step->flags & C4_STEP_FINAL) && x->op->call.op == C4_AVG;
}

/* ---- windows ---- */

static inline c4_status blocked_on(const step_context *x, c4_edge *edge, c4_status status)
{
    x->op->blocked = edge;
    return status;
}

static inline void count_frame(const step_context *x, c4_edge *edge)
{
    edge->bytes += x->bytes;
    edge->messages++;
}

static c4_status send_window(const step_context *x, c4_edge *edge)
{
    c4_window window;
    c4_status status = edge->ops->reserve(edge->channel, x->bytes, &window);
    if (status != C4_OK)
        return blocked_on(x, edge, status);
    if (x->bytes)
        c4_copy(window.pointer, term_pointer(x, x->sources), x->bytes, window.stream ? C4_NUMERIC_STREAM : 0);
    c4_frame frame = frame_make(x);
    edge->ops->commit(edge->channel, &frame);
    count_frame(x, edge);
    return C4_OK;
}

static c4_status receive_window(const step_context *x, c4_edge *edge)
{
    c4_window window;
    c4_status status = edge->ops->peek(edge->channel, &window);
    if (status != C4_OK)
        return blocked_on(x, edge, status);
    C4_TRY(frame_check(x, edge, &window.frame));
    if (x->bytes)
        c4_copy(term_pointer(x, x->destinations), window.pointer, x->bytes, x->stream);
    edge->ops->consume(edge->channel);
    count_frame(x, edge);
    if (x->stream)
        c4_numeric_fence();
    return C4_OK;
}

static c4_status receive_reduce_window(const step_context *x, c4_edge *edge, const c4_term *local)
{
    c4_window window;
    c4_status status = edge->ops->peek(edge->channel, &window);
    if (status != C4_OK)
        return blocked_on(x, edge, status);
    C4_TRY(frame_check(x, edge, &window.frame));
    const c4_reducer *reducer = x->op->reducer;
    size_t count = x->bytes / reducer->element_bytes;
    void *destination = term_pointer(x, x->destinations);
    unsigned stream = step_divides(x) ? 0 : x->stream;
    reducer->reduce2(destination, term_pointer(x, local), window.pointer, count, stream);
    edge->ops->consume(edge->channel);
    count_frame(x, edge);
    if (step_divides(x))
        reducer->scale(destination, destination, count, (size_t)x->engine->spec.nranks);
    if (stream)
        c4_numeric_fence();
    return C4_OK;
}

/* ---- posted transfers ---- */

static c4_xfer **lane_slots(const step_context *x)
{
    return &x->op->slots[(size_t)x->lane * x->op->active->max_terms];
}

static char *lane_bounce(const step_context *x)
{
    const c4_operation *op = x->op;
    if (!op->scratch)
        return NULL; /* no step of the program stages anything */
    size_t base = (op->schedule->scratch_bytes + 63) / 64 * 64;
    return op->scratch + base + x->lane * ((op->active->bounce_bytes + 63) / 64 * 64);
}

/* A transport refuses a frame of another size than was expected; the frame tells what it was. */
static c4_status receive_failed(const step_context *x, const c4_edge *edge, const c4_xfer *xfer, c4_status status)
{
    bool came = status == C4_ERR_PROTOCOL && xfer->frame.comm == x->engine->spec.comm_id;
    return came && xfer->frame.bytes != x->bytes ? frame_refuse(x, edge, &xfer->frame) : status;
}

static c4_status post_receive(const step_context *x, c4_edge *edge, c4_xfer **slot, void *pointer,
                              const c4_reduction *reduce, const void *operand)
{
    c4_xfer *xfer = c4_xfer_get(x->engine);
    if (!xfer)
        return c4_fail(C4_ERR_MEMORY, "transfer");
    *xfer = (c4_xfer){.pointer = pointer,
                      .bytes = x->bytes,
                      .reduce = reduce,
                      .operand = operand,
                      .state = C4_IN_PROGRESS,
                      .owner = edge};
    *slot = xfer;
    count_frame(x, edge);
    c4_status status = edge->ops->recv(edge->channel, xfer);
    if (status == C4_OK)
        xfer->state = C4_OK;
    return status < 0 ? receive_failed(x, edge, xfer, status) : C4_OK;
}

static c4_status post_send(const step_context *x, c4_edge *edge, c4_xfer **slot, const void *pointer)
{
    c4_xfer *xfer = c4_xfer_get(x->engine);
    if (!xfer)
        return c4_fail(C4_ERR_MEMORY, "transfer");
    *xfer = (c4_xfer){
        .frame = frame_make(x), .pointer = (void *)pointer, .bytes = x->bytes, .state = C4_IN_PROGRESS, .owner = edge};
    *slot = xfer;
    count_frame(x, edge);
    c4_status status = edge->ops->send(edge->channel, xfer);
    if (status == C4_OK)
        xfer->state = C4_OK;
    return status < 0 ? status : C4_OK;
}

/* A receive slot: C4_OK when the frame is there and fits. */
static c4_status receive_done(const step_context *x, c4_edge *edge, const c4_xfer *xfer)
{
    if (xfer->state != C4_OK)
        return blocked_on(x, edge, receive_failed(x, edge, xfer, xfer->state));
    return frame_check(x, edge, &xfer->frame);
}

/* A send slot: C4_OK when the lane may go on; an unacknowledged span moves to the operation's pending list. */
static c4_status send_done(const step_context *x, c4_xfer **slot)
{
    c4_xfer *xfer = *slot;
    if (!xfer)
        return C4_OK;
    if (xfer->state < 0)
        return xfer->state;
    if (xfer->state == C4_OK) {
        c4_xfer_put(x->engine, xfer);
    } else if (xfer->handed_over) {
        xfer->owner_next = x->op->pending;
        x->op->pending = xfer;
    } else {
        return blocked_on(x, xfer->owner, C4_IN_PROGRESS);
    }
    *slot = NULL;
    return C4_OK;
}

static c4_status send_posted(const step_context *x, c4_edge *edge)
{
    c4_lane_state *lane = &x->op->lanes[x->lane];
    c4_xfer **slot = lane_slots(x);
    if (!lane->entered) {
        C4_TRY(post_send(x, edge, slot, x->step->nsources ? term_pointer(x, x->sources) : NULL));
        lane->entered = true;
    }
    c4_status status = send_done(x, slot);
    if (status == C4_OK)
        lane->entered = false;
    return status;
}

static c4_status receive_posted(const step_context *x, c4_edge *edge, const c4_term *local)
{
    c4_lane_state *lane = &x->op->lanes[x->lane];
    c4_xfer **slot = lane_slots(x);
    void *destination = x->step->ndestinations ? term_pointer(x, x->destinations) : NULL;
    if (!lane->entered) {
        const c4_reduction *reduction = local ? &x->op->reduction : NULL;
        C4_TRY(post_receive(x, edge, slot, destination, reduction, local ? term_pointer(x, local) : NULL));
        lane->entered = true;
    }
    c4_status status = receive_done(x, edge, *slot);
    if (status != C4_OK)
        return status;
    c4_xfer_put(x->engine, *slot);
    *slot = NULL;
    lane->entered = false;
    if (local && step_divides(x))
        x->op->reducer->scale(destination, destination, x->bytes / x->op->reducer->element_bytes,
                              (size_t)x->engine->spec.nranks);
    return C4_OK;
}

/* ---- the general way ---- */

typedef struct destination {
    void *pointer;
    unsigned stream;
} destination;

static void store_copies(const step_context *x, const void *source, const destination *d, unsigned n)
{
    unsigned i = 0;
    for (; i + 1 < n; i += 2)
        c4_copy_dup(d[i].pointer, d[i + 1].pointer, source, x->bytes,
                    (d[i].stream ? C4_NUMERIC_STREAM : 0) | (d[i + 1].stream ? C4_NUMERIC_STREAM2 : 0));
    if (i < n && d[i].pointer != source)
        c4_copy(d[i].pointer, source, x->bytes, d[i].stream ? C4_NUMERIC_STREAM : 0);
}

static void fold(const step_context *x, const void *const *sources, const destination *d, unsigned n)
{
    const c4_reducer *reducer = x->op->reducer;
    size_t count = x->bytes / reducer->element_bytes;
    bool divide = step_divides(x);
    bool dup = n > 1 && !divide;
    unsigned flags = !divide && d[0].stream ? C4_NUMERIC_STREAM : 0;
    if (dup && d[1].stream)
        flags |= C4_NUMERIC_STREAM2;
    if (x->step->nsources == 2 && !dup)
        reducer->reduce2(d[0].pointer, sources[0], sources[1], count, flags);
    else if (x->step->nsources == 2)
        reducer->reduce2_dup(d[0].pointer, d[1].pointer, sources[0], sources[1], count, flags);
    else
        reducer->reduce_k(d[0].pointer, dup ? d[1].pointer : NULL, sources, x->step->nsources, count, flags);
    if (divide)
        reducer->scale(d[0].pointer, d[0].pointer, count, (size_t)x->engine->spec.nranks);
    unsigned stored = dup ? 2 : 1;
    store_copies(x, d[0].pointer, d + stored, n - stored);
}

static void compute(const step_context *x, const void *const *sources, const destination *d, unsigned n)
{
    if (x->step->nsources == 0 || n == 0 || x->bytes == 0)
        return;
    if (x->step->nsources == 1)
        store_copies(x, sources[0], d, n);
    else
        fold(x, sources, d, n);
}

static c4_status general_enter(const step_context *x)
{
    c4_xfer **slots = lane_slots(x);
    char *bounce = lane_bounce(x);
    size_t piece = (x->bytes + 63) / 64 * 64;
    for (unsigned i = 0; i < x->step->nsources; i++) {
        const c4_term *term = &x->sources[i];
        if (term->kind != C4_TERM_CHANNEL || term_edge(x, term)->windows)
            continue;
        C4_TRY(post_receive(x, term_edge(x, term), &slots[i], bounce, NULL, NULL));
        bounce += piece;
    }
    return C4_OK;
}

static c4_status general_sources(const step_context *x, const void **sources)
{
    c4_xfer **slots = lane_slots(x);
    for (unsigned i = 0; i < x->step->nsources; i++) {
        const c4_term *term = &x->sources[i];
        if (term->kind != C4_TERM_CHANNEL) {
            sources[i] = term_pointer(x, term);
            continue;
        }
        c4_edge *edge = term_edge(x, term);
        c4_status status;
        if (edge->windows) {
            c4_window window;
            status = edge->ops->peek(edge->channel, &window);
            sources[i] = window.pointer;
            if (status == C4_OK)
                status = frame_check(x, edge, &window.frame);
        } else {
            sources[i] = slots[i]->pointer;
            status = receive_done(x, edge, slots[i]);
        }
        if (status != C4_OK)
            return blocked_on(x, edge, status);
    }
    return C4_OK;
}

/* Destinations in the order in which compute wants them: the first one is read back for further copies, so local memory
 * comes first. `home`: where posted sends find the bytes. */
static c4_status general_destinations(const step_context *x, const void *const *sources, destination *d, unsigned *n,
                                      const void **home)
{
    bool posted = false;
    *n = 0;
    *home = NULL;
    for (unsigned i = 0; i < x->step->ndestinations; i++) {
        const c4_term *term = &x->destinations[i];
        if (term->kind != C4_TERM_CHANNEL)
            d[(*n)++] = (destination){term_pointer(x, term), x->stream};
        else if (!term_edge(x, term)->windows)
            posted = true;
    }
    if (*n > 0)
        *home = d[0].pointer;
    else if (x->step->nsources == 1 && x->sources[0].kind == C4_TERM_LOCAL)
        *home = sources[0];
    bool divides_away = step_divides(x) && *n == 0;
    if ((posted && !*home && x->bytes) || divides_away) {
        char *bounce = lane_bounce(x) + x->step->nsources * ((x->bytes + 63) / 64 * 64);
        d[(*n)++] = (destination){bounce, 0};
        *home = bounce;
    }
    for (unsigned i = 0; i < x->step->ndestinations; i++) {
        const c4_term *term = &x->destinations[i];
        if (term->kind != C4_TERM_CHANNEL || !term_edge(x, term)->windows)
            continue;
        c4_edge *edge = term_edge(x, term);
        c4_window window;
        c4_status status = edge->ops->reserve(edge->channel, x->bytes, &window);
        if (status != C4_OK)
            return blocked_on(x, edge, status);
        d[(*n)++] = (destination){window.pointer, window.stream};
    }
    return C4_OK;
}

static c4_status general_publish(const step_context *x, const void *home)
{
    c4_xfer **slots = lane_slots(x);
    c4_frame frame = frame_make(x);
    for (unsigned i = 0; i < x->step->ndestinations; i++) {
        const c4_term *term = &x->destinations[i];
        if (term->kind != C4_TERM_CHANNEL)
            continue;
        c4_edge *edge = term_edge(x, term);
        if (edge->windows) {
            edge->ops->commit(edge->channel, &frame);
            count_frame(x, edge);
        } else
            C4_TRY(post_send(x, edge, &slots[x->step->nsources + i], home));
    }
    for (unsigned i = 0; i < x->step->nsources; i++) {
        const c4_term *term = &x->sources[i];
        if (term->kind != C4_TERM_CHANNEL)
            continue;
        c4_edge *edge = term_edge(x, term);
        if (edge->windows) {
            edge->ops->consume(edge->channel);
            count_frame(x, edge);
        } else {
            c4_xfer_put(x->engine, slots[i]);
            slots[i] = NULL;
        }
    }
    return C4_OK;
}

static c4_status general_compute(const step_context *x)
{
    const void *sources[UINT8_MAX + 1];
    destination d[UINT8_MAX + 2];
    unsigned n;
    const void *home;
    c4_status status = general_sources(x, sources);
    if (status != C4_OK)
        return status;
    status = general_destinations(x, sources, d, &n, &home);
    if (status != C4_OK)
        return status;
    compute(x, sources, d, n);
    if (x->stream)
        c4_numeric_fence();
    return general_publish(x, home);
}

static c4_status general_run(const step_context *x)
{
    c4_lane_state *lane = &x->op->lanes[x->lane];
    if (!lane->entered) {
        C4_TRY(general_enter(x));
        lane->entered = true;
    }
    if (!lane->computed) {
        c4_status status = general_compute(x);
        if (status != C4_OK)
            return status;
        lane->computed = true;
    }
    for (unsigned i = 0; i < x->step->ndestinations; i++) {
        c4_status status = send_done(x, &lane_slots(x)[x->step->nsources + i]);
        if (status != C4_OK)
            return status;
    }
    lane->entered = lane->computed = false;
    return C4_OK;
}

c4_status c4_step_run(c4_engine *engine, c4_operation *op, uint32_t lane, const c4_step *step, uint64_t offset,
                      uint64_t bytes)
{
    const c4_term *terms = &op->schedule->terms[step->first_term];
    step_context x = {.engine = engine,
                      .op = op,
                      .lane = lane,
                      .step = step,
                      .sources = terms,
                      .destinations = terms + step->nsources,
                      .offset = offset,
                      .bytes = bytes,
                      .stream = step->flags & C4_STEP_STREAM ? C4_NUMERIC_STREAM : 0};
    switch (op->active->exec[step - op->schedule->steps]) {
    case EXEC_SEND: {
        c4_edge *edge = term_edge(&x, x.destinations);
        return edge->windows ? send_window(&x, edge) : send_posted(&x, edge);
    }
    case EXEC_RECV: {
        c4_edge *edge = term_edge(&x, x.sources);
        return edge->windows ? receive_window(&x, edge) : receive_posted(&x, edge, NULL);
    }
    case EXEC_RECV_REDUCE: {
        const c4_term *local = x.sources[0].kind == C4_TERM_LOCAL ? x.sources : x.sources + 1;
        c4_edge *edge = term_edge(&x, local == x.sources ? x.sources + 1 : x.sources);
        return edge->windows ? receive_reduce_window(&x, edge, local) : receive_posted(&x, edge, local);
    }
    default:
        return general_run(&x);
    }
}
