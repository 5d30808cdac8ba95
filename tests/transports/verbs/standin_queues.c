/* The stand-in's data path: requests, receives, completions. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "tests/transports/verbs/standin_internal.h"

/* ---- completions ---- */

static void ring_the_bell(standin_cq *cq)
{
    standin_channel *channel = (standin_channel *)cq->base.channel;
    cq->armed = false;
    standin.narmed--;
    channel->events.of.cqs[channel->events.count] = &cq->base;
    standin_event_put(&channel->events);
}

static void complete(struct ibv_cq *base, const standin_completion *completion)
{
    standin_cq *cq = (standin_cq *)base;
    if (cq->count == (unsigned)cq->base.cqe)
        standin_misused("a completion queue was overrun");
    cq->ring[(cq->first + cq->count++) % (unsigned)cq->base.cqe] = *completion;
    if (cq->armed)
        ring_the_bell(cq);
}

static void complete_send(const standin_qp *qp, const standin_request *request, enum ibv_wc_status status)
{
    standin_completion completion = {
        .wc = {.wr_id = request->wr_id, .status = status, .qp_num = qp->base.qp_num, .vendor_err = 0x99},
        .serial = qp->serial,
        .done = qp->done};
    if (status != IBV_WC_SUCCESS || (request->flags & IBV_SEND_SIGNALED) != 0)
        complete(qp->base.send_cq, &completion);
}

static void complete_receive(const standin_qp *qp, const standin_receive *receive, size_t bytes,
                             enum ibv_wc_status status)
{
    standin_completion completion = {.wc = {.wr_id = receive->wr_id,
                                            .status = status,
                                            .byte_len = (uint32_t)bytes,
                                            .opcode = IBV_WC_RECV,
                                            .qp_num = qp->base.qp_num}};
    complete(qp->base.recv_cq, &completion);
}

void standin_completions_drop(const standin_qp *qp)
{
    standin_cq *cq = (standin_cq *)qp->base.send_cq;
    unsigned entries = (unsigned)cq->base.cqe, kept = 0;
    for (unsigned i = 0; i < cq->count; i++) {
        const standin_completion *completion = &cq->ring[(cq->first + i) % entries];
        if (completion->wc.qp_num != qp->base.qp_num)
            cq->ring[(cq->first + kept++) % entries] = *completion;
    }
    cq->count = kept;
}

/* ---- memory ---- */

/* What a key opens; NULL: not this. */
static void *reach(const struct ibv_pd *pd, uint32_t key, uint64_t address, size_t bytes)
{
    const struct ibv_mr *mr = standin.mrs[key >> 8 & (STANDIN_MAX_MRS - 1)];
    if (mr == NULL || mr->lkey != key || mr->pd != pd)
        return NULL;
    uint64_t base = (uintptr_t)mr->addr;
    if (address < base || bytes > mr->length || address - base > mr->length - bytes)
        return NULL;
    return (unsigned char *)mr->addr + (address - base);
}

static const void *source_of(const standin_qp *qp, const standin_request *request)
{
    if ((request->flags & IBV_SEND_INLINE) != 0)
        return request->data;
    return reach(qp->base.pd, request->piece.lkey, request->piece.addr, request->piece.length);
}

/* ---- carrying out ---- */

void standin_qp_forget(standin_qp *qp)
{
    standin_qp **at = &standin.pending;
    while (*at != NULL && *at != qp)
        at = &(*at)->next_pending;
    if (*at == qp)
        *at = qp->next_pending;
    qp->pending = false;
}

/* Where requests lag, the last of its receives come back later than anybody waits for them. */
static void flush_receives(standin_qp *qp)
{
    standin_srq *own = &qp->own;
    unsigned kept = standin.setup.lags && own->count > 0 ? (unsigned)c4_rng_below(&standin.rng, own->count + 1) : 0;
    for (; own->count > kept; own->count--) {
        complete_receive(qp, &own->ring[own->first], 0, IBV_WC_WR_FLUSH_ERR);
        own->first = (own->first + 1) % own->capacity;
    }
}

void standin_qp_break(standin_qp *qp)
{
    qp->base.state = IBV_QPS_ERR;
    while (qp->done < qp->posted) {
        const standin_request *request = &qp->ring[qp->done++ % qp->cap.max_send_wr];
        complete_send(qp, request, IBV_WC_WR_FLUSH_ERR);
    }
    flush_receives(qp);
    standin_qp_forget(qp);
}

static void fail(standin_qp *qp, enum ibv_wc_status status)
{
    const standin_request *request = &qp->ring[qp->done++ % qp->cap.max_send_wr];
    complete_send(qp, request, status);
    standin_qp_break(qp);
}

static const standin_device *device_of(const standin_qp *qp)
{
    return (const standin_device *)qp->base.context->device;
}

static bool works(const standin_qp *qp)
{
    return device_of(qp)->up && !device_of(qp)->gone;
}

static bool leads_to(const standin_qp *from, const standin_qp *to)
{
    union ibv_gid gid = standin_gid((unsigned)(device_of(to) - standin.devices), 3);
    return from->to_qpn == to->base.qp_num && memcmp(gid.raw, from->to_gid.raw, 16) == 0;
}

/* Who answers at the other end: the queue pair that was connected with this one, and not another of the same number. What it
 * answers has to find the way back. */
static standin_qp *peer_of(const standin_qp *qp)
{
    uint32_t index = qp->to_qpn - STANDIN_FIRST_QPN;
    standin_qp *peer = index < STANDIN_MAX_QPS ? standin.qps[index] : NULL;
    if (peer == NULL || !works(qp) || !works(peer))
        return NULL;
    if (peer->base.state != IBV_QPS_RTR && peer->base.state != IBV_QPS_RTS)
        return NULL;
    bool known = peer->rq_psn == qp->sq_psn && peer->mtu == qp->mtu;
    return known && leads_to(qp, peer) && leads_to(peer, qp) ? peer : NULL;
}

/* False: no buffer is there, after a call that was made to fail; it is tried again. */
static bool carry_send(standin_qp *qp, standin_qp *peer, const standin_request *request, const void *source)
{
    standin_srq *srq = peer->receives;
    if (srq->count == 0) {
        if (standin.failed == NULL)
            standin_misused("a message found no receive buffer: credits are to see to that");
        return false;
    }
    const standin_receive *receive = &srq->ring[srq->first];
    srq->first = (srq->first + 1) % srq->capacity;
    srq->count--;
    void *to = reach(srq->base.pd, receive->piece.lkey, receive->piece.addr, receive->piece.length);
    if (to == NULL)
        standin_misused("a receive buffer is not registered");
    if (request->piece.length > receive->piece.length) {
        complete_receive(peer, receive, 0, IBV_WC_LOC_LEN_ERR);
        standin_qp_break(peer);
        fail(qp, IBV_WC_REM_INV_REQ_ERR);
        return true;
    }
    memcpy(to, source, request->piece.length);
    complete_receive(peer, receive, request->piece.length, IBV_WC_SUCCESS);
    qp->done++;
    complete_send(qp, request, IBV_WC_SUCCESS);
    return true;
}

static void carry_write(standin_qp *qp, standin_qp *peer, const standin_request *request, const void *source)
{
    void *to = reach(peer->base.pd, request->rkey, request->remote_address, request->piece.length);
    if (to == NULL || (peer->access & IBV_ACCESS_REMOTE_WRITE) == 0) {
        standin_qp_break(peer);
        fail(qp, IBV_WC_REM_ACCESS_ERR);
        return;
    }
    memcpy(to, source, request->piece.length);
    qp->done++;
    complete_send(qp, request, IBV_WC_SUCCESS);
}

/* False: it waits for a buffer. */
static bool carry_one(standin_qp *qp)
{
    const standin_request *request = &qp->ring[qp->done % qp->cap.max_send_wr];
    standin_qp *peer = peer_of(qp);
    const void *source = source_of(qp, request);
    if (peer == NULL)
        fail(qp, works(qp) ? IBV_WC_RETRY_EXC_ERR : IBV_WC_FATAL_ERR);
    else if (source == NULL)
        fail(qp, IBV_WC_LOC_PROT_ERR);
    else if (request->opcode == IBV_WR_SEND)
        return carry_send(qp, peer, request, source);
    else
        carry_write(qp, peer, request, source);
    return true;
}

/* Requests of all queue pairs, each one's in their order; not all of them when they may lag. */
static void carry(bool all)
{
    standin_qp *qp = standin.pending;
    while (qp != NULL) {
        standin_qp *next = qp->next_pending;
        bool goes = all || c4_rng_below(&standin.rng, 2) == 0;
        while (goes && qp->done < qp->posted)
            goes = carry_one(qp) && (all || c4_rng_below(&standin.rng, 4) != 0);
        if (qp->pending && qp->done == qp->posted)
            standin_qp_forget(qp);
        next = next != NULL && !next->pending ? standin.pending : next; /* it was broken meanwhile */
        qp = next;
    }
}

/* A sleeper would not look again. */
static void carry_now_if_need_be(void)
{
    if (!standin.setup.lags || standin.narmed > 0)
        carry(true);
}

/* ---- the calls ---- */

int standin_poll_cq(struct ibv_cq *base, int most, struct ibv_wc *wc)
{
    standin_cq *cq = (standin_cq *)base;
    int taken = 0;
    pthread_mutex_lock(&standin.lock);
    if (standin.setup.lags && standin.pending != NULL)
        carry(false);
    for (; taken < most && cq->count > 0; taken++) {
        const standin_completion *completion = &cq->ring[cq->first];
        standin_qp *qp = standin.qps[completion->wc.qp_num - STANDIN_FIRST_QPN];
        wc[taken] = completion->wc;
        if (qp != NULL && completion->serial == qp->serial)
            qp->retired = completion->done;
        cq->first = (cq->first + 1) % (unsigned)cq->base.cqe;
        cq->count--;
    }
    pthread_mutex_unlock(&standin.lock);
    return taken;
}

int standin_req_notify_cq(struct ibv_cq *base, int solicited_only)
{
    standin_cq *cq = (standin_cq *)base;
    (void)solicited_only;
    pthread_mutex_lock(&standin.lock);
    if (standin.devices[standin_index_of(cq->base.context)].gone) {
        pthread_mutex_unlock(&standin.lock);
        return EIO;
    }
    if (!cq->armed) {
        cq->armed = true;
        standin.narmed++;
    }
    carry(true);
    pthread_mutex_unlock(&standin.lock);
    return 0;
}

/* 0 or errno; *bad is the first that was not taken. */
static int post_receives(standin_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    for (*bad = wr; wr != NULL; *bad = wr = wr->next) {
        if (wr->num_sge != 1)
            standin_misused("a receive is of one piece");
        if (srq->count == srq->capacity)
            return ENOMEM;
        srq->ring[(srq->first + srq->count++) % srq->capacity] = (standin_receive){wr->wr_id, wr->sg_list[0]};
    }
    return 0;
}

int standin_post_srq_recv(struct ibv_srq *base, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    pthread_mutex_lock(&standin.lock);
    int error = standin_try("post_srq_recv");
    *bad = wr;
    if (error == 0)
        error = post_receives((standin_srq *)base, wr, bad);
    carry_now_if_need_be();
    pthread_mutex_unlock(&standin.lock);
    return error;
}

int standin_post_recv(struct ibv_qp *base, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    standin_qp *qp = (standin_qp *)base;
    pthread_mutex_lock(&standin.lock);
    int error = standin_try("post_recv");
    *bad = wr;
    if (base->srq != NULL || base->state == IBV_QPS_RESET)
        standin_misused("receives are posted to a queue pair that cannot take them");
    if (error == 0)
        error = post_receives(qp->receives, wr, bad);
    if (error == 0 && base->state == IBV_QPS_ERR)
        standin_qp_break(qp);
    carry_now_if_need_be();
    pthread_mutex_unlock(&standin.lock);
    return error;
}

static void put_request(standin_qp *qp, const struct ibv_send_wr *wr)
{
    standin_request *request = &qp->ring[qp->posted++ % qp->cap.max_send_wr];
    request->wr_id = wr->wr_id;
    request->opcode = wr->opcode;
    request->flags = wr->send_flags;
    request->piece = wr->sg_list[0];
    request->remote_address = wr->wr.rdma.remote_addr;
    request->rkey = wr->wr.rdma.rkey;
    if ((wr->send_flags & IBV_SEND_INLINE) != 0)
        memcpy(request->data, (const void *)(uintptr_t)wr->sg_list[0].addr, wr->sg_list[0].length);
}

static int check_request(const standin_qp *qp, const struct ibv_send_wr *wr)
{
    if (qp->base.state != IBV_QPS_RTS && qp->base.state != IBV_QPS_ERR)
        return EINVAL;
    if (wr->num_sge != 1 || (wr->opcode != IBV_WR_SEND && wr->opcode != IBV_WR_RDMA_WRITE))
        return EINVAL;
    if ((wr->send_flags & IBV_SEND_INLINE) != 0 && wr->sg_list[0].length > qp->cap.max_inline_data)
        return EINVAL;
    return qp->posted - qp->retired < qp->cap.max_send_wr ? 0 : ENOMEM;
}

int standin_post_send(struct ibv_qp *base, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    standin_qp *qp = (standin_qp *)base;
    pthread_mutex_lock(&standin.lock);
    int error = standin_try("post_send");
    for (*bad = wr; wr != NULL && error == 0; *bad = wr = wr->next) {
        error = check_request(qp, wr);
        if (error == ENOMEM)
            standin_misused("a send queue was overrun");
        if (error != 0)
            break;
        put_request(qp, wr);
        if (!qp->pending) {
            qp->pending = true;
            qp->next_pending = standin.pending;
            standin.pending = qp;
        }
    }
    if (qp->base.state == IBV_QPS_ERR)
        standin_qp_break(qp);
    carry_now_if_need_be();
    pthread_mutex_unlock(&standin.lock);
    return error;
}
