/* The public collective calls: each describes itself as a c4_call and submits it. */
#include "base/export.h"
#include "comm/internal.h"

static c4_status run(c4_comm *comm, c4_call *call, c4_request **request)
{
    C4_TRY(c4_comm_enter(comm));
    c4_status status = c4_call_check(comm, call);
    if (status == C4_OK)
        status = c4_comm_submit(comm, call, request);
    return c4_comm_leave(comm, status);
}

C4_API c4_status c4_all_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, c4_comm *comm,
                               c4_request **request)
{
    c4_call call = {.kind = C4_KIND_ALL_REDUCE, .dtype = dtype, .op = op, .send = send, .recv = recv, .count = count};
    return run(comm, &call, request);
}

C4_API c4_status c4_reduce_scatter(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, c4_comm *comm,
                                   c4_request **request)
{
    c4_call call = {
        .kind = C4_KIND_REDUCE_SCATTER, .dtype = dtype, .op = op, .send = send, .recv = recv, .count = count};
    return run(comm, &call, request);
}

C4_API c4_status c4_all_gather(const void *send, void *recv, size_t count, c4_dtype dtype, c4_comm *comm,
                               c4_request **request)
{
    c4_call call = {.kind = C4_KIND_ALL_GATHER, .dtype = dtype, .send = send, .recv = recv, .count = count};
    return run(comm, &call, request);
}

C4_API c4_status c4_broadcast(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                              c4_request **request)
{
    c4_call call = {
        .kind = C4_KIND_BROADCAST, .dtype = dtype, .send = send, .recv = recv, .count = count, .root = root};
    return run(comm, &call, request);
}

C4_API c4_status c4_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, int root,
                           c4_comm *comm, c4_request **request)
{
    c4_call call = {
        .kind = C4_KIND_REDUCE, .dtype = dtype, .op = op, .send = send, .recv = recv, .count = count, .root = root};
    return run(comm, &call, request);
}

C4_API c4_status c4_gather(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                           c4_request **request)
{
    c4_call call = {.kind = C4_KIND_GATHER, .dtype = dtype, .send = send, .recv = recv, .count = count, .root = root};
    return run(comm, &call, request);
}

C4_API c4_status c4_scatter(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                            c4_request **request)
{
    c4_call call = {.kind = C4_KIND_SCATTER, .dtype = dtype, .send = send, .recv = recv, .count = count, .root = root};
    return run(comm, &call, request);
}

C4_API c4_status c4_all_to_all(const void *send, void *recv, size_t count, c4_dtype dtype, c4_comm *comm,
                               c4_request **request)
{
    c4_call call = {.kind = C4_KIND_ALL_TO_ALL, .dtype = dtype, .send = send, .recv = recv, .count = count};
    return run(comm, &call, request);
}

C4_API c4_status c4_barrier(c4_comm *comm, c4_request **request)
{
    c4_call call = {.kind = C4_KIND_BARRIER, .dtype = C4_UINT8};
    return run(comm, &call, request);
}

C4_API c4_status c4_send(const void *send, size_t count, c4_dtype dtype, int peer, c4_comm *comm, c4_request **request)
{
    c4_call call = {.kind = C4_KIND_SEND, .dtype = dtype, .send = send, .count = count, .root = peer};
    return run(comm, &call, request);
}

C4_API c4_status c4_recv(void *recv, size_t count, c4_dtype dtype, int peer, c4_comm *comm, c4_request **request)
{
    c4_call call = {.kind = C4_KIND_RECV, .dtype = dtype, .recv = recv, .count = count, .root = peer};
    return run(comm, &call, request);
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

static c4_status run_v(c4_comm *comm, c4_call *call, size_t own_count, c4_request **request)
{
    C4_TRY(c4_comm_enter(comm));
    call->send_displs = packed_displs(comm, call->send_counts, call->send_displs, comm->displs);
    call->recv_displs = packed_displs(comm, call->recv_counts, call->recv_displs, comm->displs + comm->nranks);
    if (call->kind == C4_KIND_REDUCE_SCATTER_V && call->recv_counts)
        own_count = call->recv_counts[comm->rank];
    c4_status status = c4_call_check_v(comm, call, own_count);
    if (status == C4_OK)
        status = c4_comm_submit(comm, call, request);
    return c4_comm_leave(comm, status);
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
