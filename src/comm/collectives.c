/* The public collective calls: each describes itself as a c4_call and submits it. */
#include "base/export.h"
#include "comm/internal.h"

/* The call before once more, blocking, with other buffers: nothing else needs a look. Most calls of a training job. */
static inline bool repeat(c4_comm *comm, const c4_shape *shape, const void *send, void *recv, c4_status *status)
{
    bool in_place;
    if (!comm || comm->magic != C4_COMM_MAGIC || *comm->alive == 0 || c4_group_active() ||
        atomic_load_explicit(&comm->setup_status, memory_order_acquire) != C4_OK || comm->threaded ||
        atomic_load_explicit(&comm->busy, memory_order_relaxed) ||
        !c4_checked_again(&comm->checked, shape, send, recv, &in_place) || in_place != comm->checked.in_place)
        return false;
    atomic_store_explicit(&comm->busy, 1, memory_order_relaxed);
    bool done = c4_engine_repeat(comm->engine, send, recv, status);
    if (done && __builtin_expect(*status < 0, 0))
        c4_comm_fail(comm, *status);
    else
        atomic_store_explicit(&comm->busy, 0, memory_order_release);
    return done;
}

static __attribute__((noinline)) c4_status run_call(c4_comm *comm, const c4_shape *shape, const void *send, void *recv,
                                                    c4_request **request)
{
    c4_call call = {.kind = shape->kind,
                    .dtype = shape->dtype,
                    .op = shape->op,
                    .root = shape->root,
                    .count = shape->count,
                    .send = send,
                    .recv = recv};
    C4_TRY(c4_comm_enter(comm));
    c4_status status = c4_comm_usable(comm); /* first: until then another thread may be filling it in */
    if (status == C4_OK)
        status = c4_call_check(comm, &call);
    if (status == C4_OK)
        status = c4_comm_submit(comm, &call, request);
    if (status < 0)
        comm->checked.valid = false; /* its shape is not that of the engine's last call */
    return c4_comm_leave(comm, status);
}

static inline c4_status run(c4_comm *comm, c4_shape shape, const void *send, void *recv, c4_request **request)
{
    c4_status status;
    if (!request && __builtin_expect(repeat(comm, &shape, send, recv, &status), 1))
        return status;
    return run_call(comm, &shape, send, recv, request);
}

C4_API c4_status c4_all_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, c4_comm *comm,
                               c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_ALL_REDUCE, dtype, op, 0, count}, send, recv, request);
}

C4_API c4_status c4_reduce_scatter(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, c4_comm *comm,
                                   c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_REDUCE_SCATTER, dtype, op, 0, count}, send, recv, request);
}

C4_API c4_status c4_all_gather(const void *send, void *recv, size_t count, c4_dtype dtype, c4_comm *comm,
                               c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_ALL_GATHER, dtype, C4_SUM, 0, count}, send, recv, request);
}

C4_API c4_status c4_broadcast(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                              c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_BROADCAST, dtype, C4_SUM, root, count}, send, recv, request);
}

C4_API c4_status c4_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, int root,
                           c4_comm *comm, c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_REDUCE, dtype, op, root, count}, send, recv, request);
}

C4_API c4_status c4_gather(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                           c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_GATHER, dtype, C4_SUM, root, count}, send, recv, request);
}

C4_API c4_status c4_scatter(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                            c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_SCATTER, dtype, C4_SUM, root, count}, send, recv, request);
}

C4_API c4_status c4_all_to_all(const void *send, void *recv, size_t count, c4_dtype dtype, c4_comm *comm,
                               c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_ALL_TO_ALL, dtype, C4_SUM, 0, count}, send, recv, request);
}

C4_API c4_status c4_barrier(c4_comm *comm, c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_BARRIER, C4_UINT8, C4_SUM, 0, 0}, NULL, NULL, request);
}

C4_API c4_status c4_send(const void *send, size_t count, c4_dtype dtype, int peer, c4_comm *comm, c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_SEND, dtype, C4_SUM, peer, count}, send, NULL, request);
}

C4_API c4_status c4_recv(void *recv, size_t count, c4_dtype dtype, int peer, c4_comm *comm, c4_request **request)
{
    return run(comm, (c4_shape){C4_KIND_RECV, dtype, C4_SUM, peer, count}, NULL, recv, request);
}

/* ---- v-variants ---- */

/* displs, or packed ones written to `packed`. NULL counts give NULL: the check names them. */
static const size_t *packed_displs(const c4_comm *comm, const size_t *counts, const size_t *displs, size_t *packed)
{
    if (displs || !counts)
        return displs;
    size_t at = 0;
    for (int i = 0; i < comm->nranks; i++) {
        packed[i] = at;
        at += counts[i];
    }
    return packed;
}

static c4_status submit_v(c4_comm *comm, c4_call *call, size_t own_count, c4_request **request)
{
    C4_TRY(c4_comm_usable(comm));
    call->send_displs = packed_displs(comm, call->send_counts, call->send_displs, comm->displs);
    call->recv_displs = packed_displs(comm, call->recv_counts, call->recv_displs, comm->displs + comm->nranks);
    if (call->kind == C4_KIND_REDUCE_SCATTER_V && call->recv_counts)
        own_count = call->recv_counts[comm->rank];
    C4_TRY(c4_call_check_v(comm, call, own_count));
    return c4_comm_submit(comm, call, request);
}

static c4_status run_v(c4_comm *comm, c4_call *call, size_t own_count, c4_request **request)
{
    C4_TRY(c4_comm_enter(comm));
    return c4_comm_leave(comm, submit_v(comm, call, own_count, request));
}

C4_API c4_status c4_all_gather_v(const void *send, size_t send_count, void *recv, const size_t *recv_counts,
                                 const size_t *recv_displs, c4_dtype dtype, c4_comm *comm, c4_request **request)
{
    c4_call call = {.kind = C4_KIND_ALL_GATHER_V,
                    .dtype = dtype,
                    .send = send,
                    .recv = recv,
                    .recv_counts = recv_counts,
                    .recv_displs = recv_displs};
    return run_v(comm, &call, send_count, request);
}

C4_API c4_status c4_gather_v(const void *send, size_t send_count, void *recv, const size_t *recv_counts,
                             const size_t *recv_displs, c4_dtype dtype, int root, c4_comm *comm, c4_request **request)
{
    c4_call call = {.kind = C4_KIND_GATHER_V,
                    .dtype = dtype,
                    .send = send,
                    .recv = recv,
                    .recv_counts = recv_counts,
                    .recv_displs = recv_displs,
                    .root = root};
    return run_v(comm, &call, send_count, request);
}

C4_API c4_status c4_scatter_v(const void *send, const size_t *send_counts, const size_t *send_displs, void *recv,
                              size_t recv_count, c4_dtype dtype, int root, c4_comm *comm, c4_request **request)
{
    c4_call call = {.kind = C4_KIND_SCATTER_V,
                    .dtype = dtype,
                    .send = send,
                    .recv = recv,
                    .send_counts = send_counts,
                    .send_displs = send_displs,
                    .root = root};
    return run_v(comm, &call, recv_count, request);
}

C4_API c4_status c4_all_to_all_v(const void *send, const size_t *send_counts, const size_t *send_displs, void *recv,
                                 const size_t *recv_counts, const size_t *recv_displs, c4_dtype dtype, c4_comm *comm,
                                 c4_request **request)
{
    c4_call call = {.kind = C4_KIND_ALL_TO_ALL_V,
                    .dtype = dtype,
                    .send = send,
                    .recv = recv,
                    .send_counts = send_counts,
                    .send_displs = send_displs,
                    .recv_counts = recv_counts,
                    .recv_displs = recv_displs};
    return run_v(comm, &call, 0, request);
}

C4_API c4_status c4_reduce_scatter_v(const void *send, void *recv, const size_t *recv_counts, c4_dtype dtype, c4_op op,
                                     c4_comm *comm, c4_request **request)
{
    c4_call call = {.kind = C4_KIND_REDUCE_SCATTER_V,
                    .dtype = dtype,
                    .op = op,
                    .send = send,
                    .recv = recv,
                    .recv_counts = recv_counts};
    return run_v(comm, &call, 0, request);
}
