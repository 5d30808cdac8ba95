#include "transports/verbs/pair.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "transports/verbs/rx.h"

c4_status c4_verbs_pair_trouble(c4_verbs_link *link, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(link->trouble, sizeof link->trouble, format, args);
    va_end(args);
    C4_VERBS_LOG(link->module, link->failures == 0 ? C4_TLOG_WARN : C4_TLOG_DEBUG, "verbs: link %u to rank %d: %s",
                 link->base.index, link->base.peer, link->trouble);
    return C4_IN_PROGRESS;
}

static c4_status refused(c4_verbs_link *link, const c4_verbs_rail *rail, const char *what, int error)
{
    char advice[320];
    return c4_verbs_pair_trouble(link, "%s on %s:%u: %s", what, rail->port.device, rail->port.number,
                                 c4_verbs_memory_advice(error, advice, sizeof advice));
}

static int to_init(struct ibv_qp *qp, uint8_t port)
{
    struct ibv_qp_attr attributes = {
        .qp_state = IBV_QPS_INIT, .port_num = port, .qp_access_flags = IBV_ACCESS_REMOTE_WRITE};
    return c4_verbs_calls_in_use->modify_qp(qp, &attributes,
                                            IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

/* Of all that it may have under way, and of receive buffers that nobody has filled when it ends. */
static unsigned most_completions(const c4_verbs_link *link, const c4_verbs_rail *rail)
{
    return C4_VERBS_SQ_DEPTH + link->window + (rail->srq != NULL ? 0 : C4_VERBS_REFILL_AT);
}

static void forget(c4_verbs_link *link)
{
    link->cq->room += most_completions(link, link->rail);
    c4_verbs_receives_end(link, link->rail, link->window);
    link->qp = NULL;
    link->cq = NULL;
    link->rail = NULL;
    link->open = link->deaf = false;
    link->broken = 0;
}

/* NULL with errno. */
static struct ibv_qp *create(const c4_verbs_rail *rail, const c4_verbs_cq *cq, unsigned window, c4_verbs_link *link,
                             unsigned *inline_bytes)
{
    struct ibv_qp_init_attr attributes = {
        .qp_context = link,
        .send_cq = cq->cq,
        .recv_cq = cq->cq,
        .srq = rail->srq,
        .cap = {.max_send_wr = C4_VERBS_SQ_DEPTH,
                .max_recv_wr = rail->srq != NULL ? 0 : window + C4_VERBS_REFILL_AT,
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = C4_VERBS_INLINE_BYTES},
        .qp_type = IBV_QPT_RC,
    };
    errno = 0;
    struct ibv_qp *qp = c4_verbs_calls_in_use->create_qp(rail->pd, &attributes);
    if (qp == NULL && errno == EINVAL) { /* less goes inline here; a header must */
        attributes.cap.max_inline_data = C4_VERBS_HEADER_BYTES;
        qp = c4_verbs_calls_in_use->create_qp(rail->pd, &attributes);
    }
    *inline_bytes = attributes.cap.max_inline_data;
    // cppcheck-suppress returnDanglingLifetime ; the device keeps nothing of the attributes
    return qp;
}

c4_status c4_verbs_pair_try(c4_verbs_rail *rail)
{
    unsigned inline_bytes;
    char advice[320];
    c4_verbs_cq *cq = c4_verbs_rail_cq(rail, C4_VERBS_SQ_DEPTH + C4_VERBS_LEAST_WINDOW);
    if (cq == NULL)
        return C4_ERR_SYSTEM;
    struct ibv_qp *qp = create(rail, cq, C4_VERBS_LEAST_WINDOW, NULL, &inline_bytes);
    int error = qp != NULL ? to_init(qp, rail->port.number) : errno != 0 ? errno : ENOMEM;
    if (qp != NULL)
        c4_verbs_calls_in_use->destroy_qp(qp);
    if (error == 0)
        return C4_OK;
    return c4_fail(C4_ERR_SYSTEM, "verbs: no queue pair on %s:%u: %s", rail->port.device, rail->port.number,
                   c4_verbs_memory_advice(error, advice, sizeof advice));
}

static c4_status make_pair(c4_verbs_link *link, c4_verbs_rail *rail)
{
    unsigned inline_bytes;
    struct ibv_qp *qp = create(rail, link->cq, link->window, link, &inline_bytes);
    if (qp == NULL)
        return refused(link, rail, "no queue pair", errno != 0 ? errno : ENOMEM);
    int error = to_init(qp, rail->port.number);
    if (error == 0)
        error = c4_verbs_receives_begin(link, rail, qp);
    if (error == 0 && !c4_verbs_rail_add_link(rail, qp->qp_num, link))
        error = ENOMEM;
    if (error != 0) {
        c4_verbs_calls_in_use->destroy_qp(qp);
        return refused(link, rail, "initialising a queue pair", error);
    }
    link->qp = qp;
    link->inline_bytes = inline_bytes;
    return C4_OK;
}

c4_status c4_verbs_pair_make(c4_verbs_link *link, c4_verbs_rail *rail, c4_verbs_words *mine)
{
    c4_module *module = link->module;
    char reason[160];
    c4_verbs_gid gid;
    uint64_t psn = 0;
    int unasked = c4_verbs_port_read(rail->context, &rail->port);
    if (unasked != 0)
        return c4_verbs_pair_trouble(link, "%s:%u cannot be asked: %s", rail->port.device, rail->port.number,
                                     strerror_r(unasked, reason, sizeof reason));
    if (c4_verbs_gid_read(rail->context, rail->port.number, module->gid_index, module->family, &gid, reason,
                          sizeof reason) < 0)
        return c4_verbs_pair_trouble(link, "%s: %s", rail->port.device, reason);
    C4_TRY(c4_random_bytes(&psn, sizeof psn));
    link->window = module->window;
    c4_status status = c4_verbs_receives_promise(link, rail, link->window);
    if (status > 0)
        return c4_verbs_pair_trouble(link, "%s:%u was removed", rail->port.device, rail->port.number);
    C4_TRY(status);
    link->rail = rail;
    link->cq = c4_verbs_rail_cq(rail, most_completions(link, rail));
    if (link->cq == NULL) {
        c4_verbs_receives_end(link, rail, link->window);
        return C4_ERR_SYSTEM;
    }
    status = make_pair(link, rail);
    if (status != C4_OK) {
        forget(link);
        return status;
    }
    link->psn = (uint32_t)psn & 0xffffff;
    link->mtu = rail->port.mtu;
    *mine = (c4_verbs_words){.rail = (uint8_t)rail->index,
                             .port = rail->port.number,
                             .ethernet = rail->port.ethernet,
                             .gid = gid,
                             .lid = rail->port.lid,
                             .mtu = (uint16_t)link->mtu,
                             .qpn = link->qp->qp_num,
                             .psn = link->psn,
                             .window = (uint16_t)link->window,
                             .eager_bytes = (uint32_t)module->eager_bytes,
                             .received = link->received};
    link->gid = gid;
    return C4_OK;
}

/* ---- connecting ---- */

static bool is_routed(const c4_verbs_link *link, const c4_verbs_words *theirs)
{
    return theirs->ethernet || memcmp(link->gid.raw, theirs->gid.raw, 8) != 0; /* InfiniBand: another subnet's prefix */
}

static int to_receive(c4_verbs_link *link, const c4_verbs_words *theirs)
{
    link->path = (c4_verbs_path){.flow_label = 0};
    const c4_module *module = link->module;
    unsigned mtu = theirs->mtu < link->mtu ? theirs->mtu : link->mtu;
    struct ibv_qp_attr attributes = {
        .qp_state = IBV_QPS_RTR,
        .path_mtu = c4_verbs_mtu_code(mtu),
        .dest_qp_num = theirs->qpn,
        .rq_psn = theirs->psn,
        .max_dest_rd_atomic = 1,
        .min_rnr_timer = 12, /* 0.64 ms; never needed, see credits */
        .ah_attr = {.dlid = theirs->lid, .sl = module->service_level, .port_num = link->rail->port.number},
    };
    if (is_routed(link, theirs)) {
        attributes.ah_attr.is_global = 1;
        memcpy(attributes.ah_attr.grh.dgid.raw, theirs->gid.raw, 16);
        attributes.ah_attr.grh.sgid_index = link->gid.index;
        attributes.ah_attr.grh.hop_limit = 64;
        attributes.ah_attr.grh.traffic_class = module->traffic_class;
        attributes.ah_attr.grh.flow_label = link->path.flow_label =
            c4_verbs_flow_label(module->flow_label, link->qp->qp_num, theirs->qpn);
    }
    return c4_verbs_calls_in_use->modify_qp(link->qp, &attributes,
                                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
}

/* Soft-RoCE takes 7 for ever: a peer that is gone would never be found out. */
#define MOST_SOFTWARE_RETRIES 6

static int to_send(const c4_verbs_link *link)
{
    uint8_t retries = link->module->retries;
    if (link->rail->port.software && retries > MOST_SOFTWARE_RETRIES)
        retries = MOST_SOFTWARE_RETRIES;
    struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_RTS,
                                     .timeout = link->module->timeout,
                                     .retry_cnt = retries,
                                     .rnr_retry = 7, /* for ever */
                                     .sq_psn = link->psn,
                                     .max_rd_atomic = 1};
    return c4_verbs_calls_in_use->modify_qp(link->qp, &attributes,
                                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int c4_verbs_pair_connect(c4_verbs_link *link, const c4_verbs_words *theirs)
{
    int error = to_receive(link, theirs);
    if (error == 0)
        error = to_send(link);
    if (error == 0) {
        link->trouble[0] = '\0';
        c4_verbs_path_settle(link);
    }
    link->peer_window = theirs->window;
    link->credits = theirs->window;
    link->owed_credits = 0;
    link->sq_room = C4_VERBS_SQ_DEPTH;
    link->unsignaled = 0;
    return error;
}

void c4_verbs_pair_refused(c4_verbs_link *link, const c4_verbs_words *theirs, int error)
{
    char own[C4_VERBS_GID_TEXT], other[C4_VERBS_GID_TEXT], reason[96];
    (void)c4_verbs_pair_trouble(
        link, "%s:%u at %s cannot be connected with %s: %s; see C4_VERBS_GID_INDEX and C4_VERBS_DEVICES",
        link->rail->port.device, link->rail->port.number, c4_verbs_gid_text(&link->gid, own),
        c4_verbs_gid_text(&theirs->gid, other), strerror_r(error, reason, sizeof reason));
}

/* ---- the end ---- */

void c4_verbs_pair_destroy(c4_verbs_link *link)
{
    struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_ERR};
    c4_verbs_rail *rail = link->rail;
    if (link->qp == NULL)
        return;
    uint32_t qpn = link->qp->qp_num;
    link->open = false; /* nothing is sent any more by what arrives now */
    c4_verbs_calls_in_use->modify_qp(link->qp, &attributes, IBV_QP_STATE);
    c4_verbs_rx_drain(link->module, rail); /* what arrived counts: the peer will not send it again */
    c4_verbs_calls_in_use->destroy_qp(link->qp);
    c4_verbs_rx_drain(link->module,
                      rail); /* nothing is left that a new queue pair of the same number could be taken for */
    c4_verbs_rail_remove_link(rail, qpn);
    forget(link);
}
