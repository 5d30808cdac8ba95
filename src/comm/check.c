/* Arguments: every rule of c4.h that one rank can check alone, as one table of extents per kind. Nothing is sent
 * when a check fails. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "comm/internal.h"

typedef enum who { NOBODY, EVERYBODY, ROOT } who;

/* How many blocks of `count` elements the buffers hold, on which ranks, and where in-place input or output sits. */
typedef struct kind_rule {
    who send_at, recv_at;
    bool send_blocks, recv_blocks; /* true: nranks blocks; false: one */
    bool rooted, reduces;
} kind_rule;

static const kind_rule kind_rules[C4_NKINDS] = {
    [C4_KIND_ALL_REDUCE] = {EVERYBODY, EVERYBODY, false, false, false, true},
    [C4_KIND_REDUCE_SCATTER] = {EVERYBODY, EVERYBODY, true, false, false, true},
    [C4_KIND_ALL_GATHER] = {EVERYBODY, EVERYBODY, false, true, false, false},
    [C4_KIND_BROADCAST] = {ROOT, EVERYBODY, false, false, true, false},
    [C4_KIND_REDUCE] = {EVERYBODY, ROOT, false, false, true, true},
    [C4_KIND_GATHER] = {EVERYBODY, ROOT, false, true, true, false},
    [C4_KIND_SCATTER] = {ROOT, EVERYBODY, true, false, true, false},
    [C4_KIND_ALL_TO_ALL] = {EVERYBODY, EVERYBODY, true, true, false, false},
    [C4_KIND_ALL_GATHER_V] = {EVERYBODY, EVERYBODY, false, true, false, false},
    [C4_KIND_GATHER_V] = {EVERYBODY, ROOT, false, true, true, false},
    [C4_KIND_SCATTER_V] = {ROOT, EVERYBODY, true, false, true, false},
    [C4_KIND_ALL_TO_ALL_V] = {EVERYBODY, EVERYBODY, true, true, false, false},
    [C4_KIND_REDUCE_SCATTER_V] = {EVERYBODY, EVERYBODY, true, false, false, true},
    [C4_KIND_BARRIER] = {NOBODY, NOBODY, false, false, false, false},
    [C4_KIND_SEND] = {EVERYBODY, NOBODY, false, false, true, false},
    [C4_KIND_RECV] = {NOBODY, EVERYBODY, false, false, true, false},
};

static bool applies(who at, const c4_comm *comm, const c4_call *call)
{
    return at == EVERYBODY || (at == ROOT && comm->rank == call->root);
}

/* "all_reduce on "dp": ..." */
static c4_status refuse(const c4_comm *comm, const c4_call *call, c4_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5), noinline, cold));
static c4_status refuse(const c4_comm *comm, const c4_call *call, c4_status status, const char *format, ...)
{
    char text[C4_ERROR_TEXT_BYTES / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return c4_fail(status, "%s on \"%s\": %s", c4_kind_name(call->kind), comm->name, text);
}

static c4_status check_buffer(const c4_comm *comm, const c4_call *call, const char *what, const void *pointer,
                              size_t bytes, size_t element)
{
    if (bytes == 0)
        return C4_OK;
    if (!pointer)
        return refuse(comm, call, C4_ERR_NULL, "%s is NULL and %zu bytes long", what, bytes);
    if ((uintptr_t)pointer % element)
        return refuse(comm, call, C4_ERR_ALIGNMENT, "%s %p is not aligned to %zu bytes", what, pointer, element);
    if ((uintptr_t)pointer + bytes < (uintptr_t)pointer)
        return refuse(comm, call, C4_ERR_COUNT, "%s wraps around the address space", what);
    return C4_OK;
}

static c4_status check_op(const c4_comm *comm, c4_call *call)
{
    if (call->op >= C4_OP_USER) {
        const c4_premul *premul = c4_premul_find(comm, call->op);
        if (!premul)
            return refuse(comm, call, C4_ERR_OP, "op %d was not created on this communicator", (int)call->op);
        if (premul->dtype != call->dtype)
            return refuse(comm, call, C4_ERR_OP, "premul op is for %s, the call has %s", c4_dtype_name(premul->dtype),
                          c4_dtype_name(call->dtype));
        call->premul = premul->scalar;
        return C4_OK;
    }
    if (!c4_numeric_op_valid(call->op, call->dtype))
        return refuse(comm, call, C4_ERR_OP, "op %d (%s) on %s", (int)call->op,
                      c4_op_name(call->op) ? c4_op_name(call->op) : "unknown", c4_dtype_name(call->dtype));
    return C4_OK;
}

static c4_status check_numbers(const c4_comm *comm, c4_call *call, const kind_rule *rule)
{
    size_t element = c4_numeric_dtype_bytes(call->dtype);
    if (element == 0)
        return refuse(comm, call, C4_ERR_DTYPE, "dtype %d", (int)call->dtype);
    if (rule->reduces)
        C4_TRY(check_op(comm, call));
    if (rule->rooted && (call->root < 0 || call->root >= comm->nranks))
        return refuse(comm, call, C4_ERR_ROOT, "%s %d, but the ranks are 0 .. %d",
                      call->kind == C4_KIND_SEND || call->kind == C4_KIND_RECV ? "peer" : "root", call->root,
                      comm->nranks - 1);
    if (call->count > PTRDIFF_MAX / element / (size_t)comm->nranks)
        return refuse(comm, call, C4_ERR_COUNT, "%zu elements of %zu bytes on %d ranks overflow", call->count, element,
                      comm->nranks);
    return C4_OK;
}

/* Disjoint, or exactly the documented in-place form. */
static c4_status check_overlap(const c4_comm *comm, const c4_call *call, uintptr_t in_place_send, bool *in_place)
{
    const char *send = call->send, *recv = call->recv;
    *in_place = false;
    if (!call->send_bytes || !call->recv_bytes)
        return C4_OK;
    *in_place = (uintptr_t)send == in_place_send;
    if (*in_place || send + call->send_bytes <= recv || recv + call->recv_bytes <= send)
        return C4_OK;
    return refuse(comm, call, C4_ERR_OVERLAP, "send %p+%zu overlaps recv %p+%zu; in place would be send = %p",
                  call->send, call->send_bytes, call->recv, call->recv_bytes, (const void *)in_place_send);
}

static void finish_in_place(c4_call *call, bool in_place)
{
    /* A premultiplied input is a copy, so nothing is in place any more. */
    call->in_place = in_place && !call->premul;
}

c4_status c4_call_check(c4_comm *comm, c4_call *call)
{
    c4_checked *last = &comm->checked;
    const c4_shape shape = {call->kind, call->dtype, call->op, call->root, call->count};
    if (c4_checked_again(last, &shape, call->send, call->recv, &call->in_place)) {
        call->send_bytes = last->send_bytes;
        call->recv_bytes = last->recv_bytes;
        last->in_place = call->in_place;
        return C4_OK;
    }
    const kind_rule *rule = &kind_rules[call->kind];
    C4_TRY(check_numbers(comm, call, rule));
    size_t element = c4_numeric_dtype_bytes(call->dtype);
    size_t block = call->count * element, n = (size_t)comm->nranks;
    call->send_bytes = applies(rule->send_at, comm, call) ? block * (rule->send_blocks ? n : 1) : 0;
    call->recv_bytes = applies(rule->recv_at, comm, call) ? block * (rule->recv_blocks ? n : 1) : 0;
    C4_TRY(check_buffer(comm, call, "send", call->send, call->send_bytes, element));
    C4_TRY(check_buffer(comm, call, "recv", call->recv, call->recv_bytes, element));
    ptrdiff_t offset = 0;
    if (rule->send_blocks && !rule->recv_blocks)
        offset = -(ptrdiff_t)((size_t)comm->rank * block);
    else if (rule->recv_blocks && !rule->send_blocks)
        offset = (ptrdiff_t)((size_t)comm->rank * block);
    bool in_place;
    C4_TRY(check_overlap(comm, call, (uintptr_t)call->recv + (uintptr_t)offset, &in_place));
    finish_in_place(call, in_place);
    *last = (c4_checked){.shape = shape,
                         .send_bytes = call->send_bytes,
                         .recv_bytes = call->recv_bytes,
                         .in_place_offset = offset,
                         .align_mask = element - 1,
                         .in_place = call->in_place,
                         .valid = !call->premul};
    return C4_OK;
}

/* ---- v-kinds ---- */

static c4_status extent(const c4_comm *comm, const c4_call *call, const char *what, const size_t *counts,
                        const size_t *displs, size_t *bytes)
{
    size_t element = c4_numeric_dtype_bytes(call->dtype), end = 0;
    if (!counts || !displs)
        return refuse(comm, call, C4_ERR_NULL, "%s_counts is NULL", what);
    for (int i = 0; i < comm->nranks; i++) {
        if (counts[i] > PTRDIFF_MAX / element || displs[i] > PTRDIFF_MAX / element - counts[i])
            return refuse(comm, call, C4_ERR_COUNT, "%s block of rank %d: %zu elements at %zu overflow", what, i,
                          counts[i], displs[i]);
        if (counts[i] && displs[i] + counts[i] > end)
            end = displs[i] + counts[i];
    }
    *bytes = end * element;
    return C4_OK;
}

typedef struct block {
    size_t at, count;
    int rank;
} block;

static int compare_blocks(const void *a, const void *b)
{
    const block *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

static c4_status blocks_overlap(const c4_comm *comm, const c4_call *call, block x, block y)
{
    return refuse(comm, call, C4_ERR_OVERLAP,
                  "recv block of rank %d (%zu elements at %zu) overlaps that of rank %d (%zu at %zu)", x.rank, x.count,
                  x.at, y.rank, y.count, y.at);
}

/* Two ranks may not write to one place. Blocks that ascend, as packed ones do, take one pass; others are sorted. */
static c4_status check_blocks(const c4_comm *comm, const c4_call *call)
{
    const size_t *counts = call->recv_counts, *displs = call->recv_displs;
    size_t end = 0, n = 0;
    bool ascending = true;
    for (int i = 0; i < comm->nranks; i++) {
        if (counts[i] == 0)
            continue;
        n++;
        ascending &= displs[i] >= end;
        end = displs[i] + counts[i];
    }
    if (ascending)
        return C4_OK;
    block *blocks = calloc(n, sizeof *blocks);
    if (!blocks)
        return refuse(comm, call, C4_ERR_MEMORY, "%zu blocks", n);
    n = 0;
    for (int i = 0; i < comm->nranks; i++)
        if (counts[i])
            blocks[n++] = (block){displs[i], counts[i], i};
    qsort(blocks, n, sizeof *blocks, compare_blocks);
    c4_status status = C4_OK;
    for (size_t i = 1; i < n && status == C4_OK; i++)
        if (blocks[i].at - blocks[i - 1].at < blocks[i - 1].count)
            status = blocks_overlap(comm, call, blocks[i - 1], blocks[i]);
    free(blocks);
    return status;
}

/* Where a v-call's input would sit if it were in place. As a number: it may be no address of any object. */
static uintptr_t in_place_v(const c4_comm *comm, const c4_call *call, size_t element)
{
    uintptr_t recv = (uintptr_t)call->recv;
    if (call->kind == C4_KIND_ALL_GATHER_V || call->kind == C4_KIND_GATHER_V)
        return call->recv_displs ? recv + call->recv_displs[comm->rank] * element : 0;
    if (call->kind == C4_KIND_SCATTER_V)
        return call->send_displs ? recv - call->send_displs[comm->rank] * element : 0;
    if (call->kind == C4_KIND_REDUCE_SCATTER_V)
        return recv - call->recv_displs[comm->rank] * element;
    return recv;
}

c4_status c4_call_check_v(const c4_comm *comm, c4_call *call, size_t own_count)
{
    const kind_rule *rule = &kind_rules[call->kind];
    bool receives = applies(rule->recv_at, comm, call), sends = applies(rule->send_at, comm, call);
    call->count = own_count;
    C4_TRY(check_numbers(comm, call, rule));
    size_t element = c4_numeric_dtype_bytes(call->dtype);
    call->send_bytes = sends ? own_count * element : 0;
    call->recv_bytes = receives ? own_count * element : 0;
    if (sends && rule->send_blocks) {
        bool packed = call->kind == C4_KIND_REDUCE_SCATTER_V;
        C4_TRY(extent(comm, call, packed ? "recv" : "send", packed ? call->recv_counts : call->send_counts,
                      packed ? call->recv_displs : call->send_displs, &call->send_bytes));
    }
    if (receives && rule->recv_blocks) {
        C4_TRY(extent(comm, call, "recv", call->recv_counts, call->recv_displs, &call->recv_bytes));
        C4_TRY(check_blocks(comm, call));
    }
    const size_t *own = call->kind == C4_KIND_SCATTER_V ? (sends ? call->send_counts : NULL)
                        : receives                      ? call->recv_counts
                                                        : NULL;
    if (own && call->kind != C4_KIND_ALL_TO_ALL_V && own[comm->rank] != own_count)
        return refuse(comm, call, C4_ERR_COUNT, "this rank's own block has %zu elements here and %zu in the counts",
                      own_count, own[comm->rank]);
    C4_TRY(check_buffer(comm, call, "send", call->send, call->send_bytes, element));
    C4_TRY(check_buffer(comm, call, "recv", call->recv, call->recv_bytes, element));
    bool in_place;
    C4_TRY(check_overlap(comm, call, in_place_v(comm, call, element), &in_place));
    finish_in_place(call, in_place);
    return C4_OK;
}
