/* The stand-in's objects: made, looked at, destroyed. */
#include "tests/transports/verbs/standin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/transports/verbs/standin_internal.h"

standin_world standin = {.lock = PTHREAD_MUTEX_INITIALIZER};

int standin_try(const char *call)
{
    if (standin.fail_only != NULL && strcmp(call, standin.fail_only) != 0)
        return 0;
    if (standin.fail_times == 0 || (standin.fail_in > 0 && --standin.fail_in > 0))
        return 0;
    standin.fail_times--;
    if (standin.failed == NULL)
        standin.failed = call;
    return standin.fail_error;
}

void standin_misused(const char *rule)
{
    fprintf(stderr, "stand-in: %s\n", rule);
    abort();
}

static void *make(standin_object kind, size_t bytes)
{
    void *made = calloc(1, bytes);
    if (made == NULL)
        abort();
    standin.alive[kind]++;
    return made;
}

static void unmake(standin_object kind, void *object)
{
    standin.alive[kind]--;
    free(object);
}

/* 0, with the lock held; or the errno with which the call is to fail. */
static int refused(const char *call)
{
    pthread_mutex_lock(&standin.lock);
    int error = standin_try(call);
    if (error != 0)
        pthread_mutex_unlock(&standin.lock);
    return error;
}

/* The same for calls that tell by errno. Those that return the error leave errno alone. */
static bool refuses(const char *call)
{
    int error = refused(call);
    if (error != 0)
        errno = error;
    return error != 0;
}

static void unlock(void)
{
    pthread_mutex_unlock(&standin.lock);
}

/* ---- events ---- */

static void events_open(standin_events *events)
{
    events->fd = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
    if (events->fd < 0)
        abort();
}

void standin_event_put(standin_events *events)
{
    if (++events->count == sizeof events->of.cqs / sizeof events->of.cqs[0])
        standin_misused("nobody takes the events");
    if (eventfd_write(events->fd, 1) != 0)
        abort();
}

/* Waits for one if its descriptor waits; false with errno. */
static bool event_get(const standin_events *events)
{
    eventfd_t one;
    if (events->hung_up && events->count == 0) {
        errno = EIO;
        return false;
    }
    return eventfd_read(events->fd, &one) == 0;
}

void standin_events_hang_up(standin_events *events)
{
    events->hung_up = true;
    if (eventfd_write(events->fd, 1u << 30) != 0)
        abort();
}

void standin_async_event(standin_context *context, struct ibv_async_event event)
{
    context->events.of.async[context->events.count] = event;
    standin_event_put(&context->events);
}

static int get_async_event(struct ibv_context *base, struct ibv_async_event *event)
{
    standin_context *context = (standin_context *)base;
    if (!event_get(&context->events))
        return -1;
    pthread_mutex_lock(&standin.lock);
    *event = context->events.of.async[0];
    memmove(context->events.of.async, context->events.of.async + 1,
            --context->events.count * sizeof context->events.of.async[0]);
    unlock();
    return 0;
}

static void ack_async_event(struct ibv_async_event *event)
{
    (void)event;
}

/* ---- devices ---- */

union ibv_gid standin_gid(unsigned device, unsigned index)
{
    union ibv_gid gid = {.raw = {0}};
    if (index < 2) { /* fe80::N */
        gid.raw[0] = 0xfe;
        gid.raw[1] = 0x80;
    } else { /* 10.0.0.N */
        gid.raw[10] = gid.raw[11] = 0xff;
        gid.raw[12] = 10;
    }
    gid.raw[15] = (uint8_t)(device + 1);
    return gid;
}

unsigned standin_index_of(const struct ibv_context *context)
{
    return (unsigned)((const standin_device *)context->device - standin.devices);
}

static struct ibv_device **get_device_list(int *count)
{
    if (refuses("get_device_list"))
        return NULL;
    struct ibv_device **list = calloc(STANDIN_DEVICES + 1, sizeof *list);
    if (list == NULL)
        abort();
    *count = 0;
    for (unsigned i = 0; i < standin.setup.ndevices; i++)
        if (!standin.devices[i].gone)
            list[(*count)++] = &standin.devices[i].base;
    unlock();
    return list;
}

static void free_device_list(struct ibv_device **list)
{
    free(list);
}

static struct ibv_context *open_device(struct ibv_device *device)
{
    if (refuses("open_device"))
        return NULL;
    standin_context *context = make(STANDIN_CONTEXT, sizeof *context);
    events_open(&context->events);
    context->base.device = device;
    context->base.async_fd = context->events.fd;
    context->base.ops.poll_cq = standin_poll_cq;
    context->base.ops.req_notify_cq = standin_req_notify_cq;
    context->base.ops.post_srq_recv = standin_post_srq_recv;
    context->base.ops.post_recv = standin_post_recv;
    context->base.ops.post_send = standin_post_send;
    context->next = standin.contexts;
    standin.contexts = context;
    unlock();
    return &context->base;
}

static int close_device(struct ibv_context *base)
{
    standin_context *context = (standin_context *)base, **at = &standin.contexts;
    pthread_mutex_lock(&standin.lock);
    while (*at != context)
        at = &(*at)->next;
    *at = context->next;
    close(context->events.fd);
    unmake(STANDIN_CONTEXT, context);
    unlock();
    return 0;
}

static int query_device(struct ibv_context *context, struct ibv_device_attr *attributes)
{
    int error = refused("query_device");
    (void)context;
    if (error != 0)
        return error;
    *attributes = (struct ibv_device_attr){.phys_port_cnt = 1,
                                           .max_cqe = 1 << 16,
                                           .max_qp_wr = 1 << 10,
                                           .max_srq = standin.setup.no_srq ? 0 : 64,
                                           .max_srq_wr = standin.setup.no_srq ? 0 : 1 << 12};
    unlock();
    return 0;
}

static int query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attributes)
{
    int error = port != 1 ? EINVAL : refused("query_port");
    if (error != 0)
        return error;
    *attributes =
        (struct ibv_port_attr){.state = standin.devices[standin_index_of(context)].up ? IBV_PORT_ACTIVE : IBV_PORT_DOWN,
                               .active_mtu = standin.devices[standin_index_of(context)].mtu,
                               .link_layer = IBV_LINK_LAYER_ETHERNET,
                               .active_speed = 32,
                               .active_width = 2};
    unlock();
    return 0;
}

static ssize_t query_gids(struct ibv_context *context, struct ibv_gid_entry *entries, size_t most)
{
    int error = refused("query_gids");
    if (error != 0)
        return -error;
    for (unsigned i = 0; i < 4 && i < most; i++)
        entries[i] = (struct ibv_gid_entry){.gid = standin_gid(standin_index_of(context), i),
                                            .gid_index = i,
                                            .port_num = 1,
                                            .gid_type = i % 2 == 0 ? IBV_GID_TYPE_ROCE_V1 : IBV_GID_TYPE_ROCE_V2};
    unlock();
    return 4;
}

/* ---- protection domains, memory ---- */

static struct ibv_pd *alloc_pd(struct ibv_context *context)
{
    if (refuses("alloc_pd"))
        return NULL;
    struct ibv_pd *pd = make(STANDIN_PD, sizeof *pd);
    pd->context = context;
    unlock();
    return pd;
}

static int dealloc_pd(struct ibv_pd *pd)
{
    pthread_mutex_lock(&standin.lock);
    for (unsigned i = 0; i < STANDIN_MAX_MRS; i++)
        if (standin.mrs[i] != NULL && standin.mrs[i]->pd == pd)
            standin_misused("a protection domain was freed before its memory");
    unmake(STANDIN_PD, pd);
    unlock();
    return 0;
}

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *pointer, size_t bytes, int access)
{
    unsigned place = 0;
    (void)access;
    if (refuses("reg_mr"))
        return NULL;
    if (standin.devices[standin_index_of(pd->context)].gone) {
        unlock();
        errno = EIO;
        return NULL;
    }
    while (standin.mrs[place] != NULL)
        if (++place == STANDIN_MAX_MRS)
            standin_misused("too many memory regions");
    struct ibv_mr *mr = make(STANDIN_MR, sizeof *mr);
    *mr = (struct ibv_mr){.context = pd->context, .pd = pd, .addr = pointer, .length = bytes};
    mr->lkey = mr->rkey = (uint32_t)place << 8 | (uint8_t)++standin.serials;
    standin.mrs[place] = mr;
    unlock();
    return mr;
}

static int dereg_mr(struct ibv_mr *mr)
{
    pthread_mutex_lock(&standin.lock);
    standin.mrs[mr->lkey >> 8] = NULL;
    unmake(STANDIN_MR, mr);
    unlock();
    return 0;
}

/* ---- completion queues ---- */

static struct ibv_comp_channel *create_comp_channel(struct ibv_context *context)
{
    if (refuses("create_comp_channel"))
        return NULL;
    standin_channel *channel = make(STANDIN_CHANNEL, sizeof *channel);
    events_open(&channel->events);
    channel->base.context = context;
    channel->base.fd = channel->events.fd;
    channel->next = standin.channels;
    standin.channels = channel;
    unlock();
    return &channel->base;
}

static int destroy_comp_channel(struct ibv_comp_channel *base)
{
    standin_channel *channel = (standin_channel *)base, **at = &standin.channels;
    pthread_mutex_lock(&standin.lock);
    if (channel->base.refcnt != 0)
        standin_misused("a completion channel was destroyed before its queues");
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    close(channel->events.fd);
    unmake(STANDIN_CHANNEL, channel);
    unlock();
    return 0;
}

static struct ibv_cq *create_cq(struct ibv_context *context, int entries, void *cq_context,
                                struct ibv_comp_channel *channel, int vector)
{
    (void)vector;
    if (refuses("create_cq"))
        return NULL;
    standin_cq *cq = make(STANDIN_CQ, sizeof *cq);
    cq->base.context = context;
    cq->base.cq_context = cq_context;
    cq->base.channel = channel;
    cq->base.cqe = entries;
    cq->ring = calloc((size_t)entries, sizeof *cq->ring);
    if (cq->ring == NULL)
        abort();
    channel->refcnt++;
    unlock();
    return &cq->base;
}

static int destroy_cq(struct ibv_cq *base)
{
    standin_cq *cq = (standin_cq *)base;
    standin_events *events = &((standin_channel *)base->channel)->events;
    pthread_mutex_lock(&standin.lock);
    if (cq->nqps != 0 || cq->unacked != 0)
        standin_misused(cq->nqps != 0 ? "a completion queue was destroyed before its queue pairs"
                                      : "an event of a completion queue was not acknowledged");
    for (unsigned i = events->count; i-- > 0;)
        if (events->of.cqs[i] == base) {
            memmove(&events->of.cqs[i], &events->of.cqs[i + 1], (--events->count - i) * sizeof events->of.cqs[0]);
            (void)event_get(events);
        }
    standin.narmed -= cq->armed;
    base->channel->refcnt--;
    free(cq->ring);
    unmake(STANDIN_CQ, cq);
    unlock();
    return 0;
}

static int get_cq_event(struct ibv_comp_channel *base, struct ibv_cq **cq, void **cq_context)
{
    standin_channel *channel = (standin_channel *)base;
    if (!event_get(&channel->events))
        return -1;
    pthread_mutex_lock(&standin.lock);
    *cq = channel->events.of.cqs[0];
    *cq_context = (*cq)->cq_context;
    ((standin_cq *)*cq)->unacked++;
    memmove(channel->events.of.cqs, channel->events.of.cqs + 1,
            --channel->events.count * sizeof channel->events.of.cqs[0]);
    unlock();
    return 0;
}

static void ack_cq_events(struct ibv_cq *cq, unsigned count)
{
    pthread_mutex_lock(&standin.lock);
    ((standin_cq *)cq)->unacked -= count;
    unlock();
}

/* ---- receive queues ---- */

static void receives_init(standin_srq *srq, struct ibv_pd *pd, unsigned capacity)
{
    srq->base.context = pd->context;
    srq->base.pd = pd;
    srq->capacity = capacity;
    srq->ring = calloc(capacity, sizeof *srq->ring);
    if (srq->ring == NULL)
        abort();
}

static struct ibv_srq *create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attributes)
{
    if (refuses("create_srq"))
        return NULL;
    if (standin.setup.no_srq)
        standin_misused("the device has said that it has no shared receive queues");
    standin_srq *srq = make(STANDIN_SRQ, sizeof *srq);
    receives_init(srq, pd, attributes->attr.max_wr);
    unlock();
    return &srq->base;
}

static int destroy_srq(struct ibv_srq *base)
{
    standin_srq *srq = (standin_srq *)base;
    pthread_mutex_lock(&standin.lock);
    if (srq->nqps != 0)
        standin_misused("a receive queue was destroyed before its queue pairs");
    free(srq->ring);
    unmake(STANDIN_SRQ, srq);
    unlock();
    return 0;
}

/* ---- queue pairs ---- */

static struct ibv_qp *create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attributes)
{
    unsigned place = 0;
    if (refuses("create_qp"))
        return NULL;
    if (attributes->cap.max_inline_data > standin.setup.max_inline) {
        unlock();
        errno = EINVAL;
        return NULL;
    }
    while (standin.qps[place] != NULL)
        if (++place == STANDIN_MAX_QPS)
            standin_misused("too many queue pairs");
    standin_qp *qp = make(STANDIN_QP, sizeof *qp);
    qp->base = (struct ibv_qp){.context = pd->context,
                               .qp_context = attributes->qp_context,
                               .pd = pd,
                               .send_cq = attributes->send_cq,
                               .recv_cq = attributes->recv_cq,
                               .srq = attributes->srq,
                               .qp_num = STANDIN_FIRST_QPN + place,
                               .state = IBV_QPS_RESET,
                               .qp_type = attributes->qp_type};
    qp->cap = attributes->cap;
    qp->serial = ++standin.serials;
    qp->ring = calloc(qp->cap.max_send_wr, sizeof *qp->ring);
    if (qp->ring == NULL)
        abort();
    ((standin_cq *)qp->base.send_cq)->nqps++;
    ((standin_cq *)qp->base.recv_cq)->nqps++;
    qp->receives = (standin_srq *)qp->base.srq;
    if (qp->receives == NULL) {
        qp->receives = &qp->own;
        receives_init(qp->receives, pd, qp->cap.max_recv_wr);
    }
    qp->receives->nqps++;
    standin.qps[place] = qp;
    unlock();
    return &qp->base;
}

/* What a step needs, beside IBV_QP_STATE; 0: there is no such step. */
static int mask_of(enum ibv_qp_state from, enum ibv_qp_state to)
{
    if (from == IBV_QPS_RESET && to == IBV_QPS_INIT)
        return IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
    if (from == IBV_QPS_INIT && to == IBV_QPS_RTR)
        return IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
               IBV_QP_MIN_RNR_TIMER;
    if (from == IBV_QPS_RTR && to == IBV_QPS_RTS)
        return IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC;
    return 0;
}

static int step(standin_qp *qp, const struct ibv_qp_attr *attributes, int mask)
{
    int needed = mask_of(qp->base.state, attributes->qp_state);
    if (needed == 0 || mask != (needed | IBV_QP_STATE))
        return EINVAL;
    if (attributes->qp_state == IBV_QPS_INIT) {
        qp->access = (int)attributes->qp_access_flags;
    } else if (attributes->qp_state == IBV_QPS_RTR) {
        if (!attributes->ah_attr.is_global || attributes->ah_attr.grh.sgid_index != 3)
            return EINVAL;
        qp->to_gid = attributes->ah_attr.grh.dgid;
        qp->flow_label = attributes->ah_attr.grh.flow_label;
        qp->to_qpn = attributes->dest_qp_num;
        qp->rq_psn = attributes->rq_psn;
        qp->mtu = attributes->path_mtu;
    } else {
        qp->sq_psn = attributes->sq_psn;
    }
    qp->base.state = attributes->qp_state;
    return 0;
}

static int modify_qp(struct ibv_qp *base, struct ibv_qp_attr *attributes, int mask)
{
    standin_qp *qp = (standin_qp *)base;
    if (attributes->qp_state == IBV_QPS_ERR) {
        pthread_mutex_lock(&standin.lock);
        standin_qp_break(qp);
        unlock();
        return 0;
    }
    int error = refused("modify_qp");
    if (error != 0)
        return error;
    error = step(qp, attributes, mask);
    unlock();
    return error;
}

static int modify_qp_udp_sport(struct ibv_qp *base, uint16_t udp_sport)
{
    standin_qp *qp = (standin_qp *)base;
    int error = !standin.setup.sets_udp_sport ? EOPNOTSUPP : refused("modify_qp_udp_sport");
    if (error != 0)
        return error;
    if (base->state == IBV_QPS_RTS)
        qp->udp_sport = udp_sport;
    else
        error = EINVAL;
    unlock();
    return error;
}

static int destroy_qp(struct ibv_qp *base)
{
    standin_qp *qp = (standin_qp *)base;
    pthread_mutex_lock(&standin.lock);
    standin_qp_forget(qp);
    /* Some drivers take back what it has left in completion queues, others leave it there. */
    if (c4_rng_below(&standin.rng, 2) == 0)
        standin_completions_drop(qp);
    ((standin_cq *)base->send_cq)->nqps--;
    ((standin_cq *)base->recv_cq)->nqps--;
    qp->receives->nqps--;
    free(qp->own.ring);
    standin.qps[base->qp_num - STANDIN_FIRST_QPN] = NULL;
    free(qp->ring);
    unmake(STANDIN_QP, qp);
    unlock();
    return 0;
}

/* ---- for tests ---- */

static const c4_verbs_calls calls = {.get_device_list = get_device_list,
                                     .free_device_list = free_device_list,
                                     .open_device = open_device,
                                     .close_device = close_device,
                                     .query_device = query_device,
                                     .query_port = query_port,
                                     .query_gids = query_gids,
                                     .alloc_pd = alloc_pd,
                                     .dealloc_pd = dealloc_pd,
                                     .create_comp_channel = create_comp_channel,
                                     .destroy_comp_channel = destroy_comp_channel,
                                     .create_cq = create_cq,
                                     .destroy_cq = destroy_cq,
                                     .get_cq_event = get_cq_event,
                                     .ack_cq_events = ack_cq_events,
                                     .create_srq = create_srq,
                                     .destroy_srq = destroy_srq,
                                     .create_qp = create_qp,
                                     .modify_qp = modify_qp,
                                     .modify_qp_udp_sport = modify_qp_udp_sport,
                                     .destroy_qp = destroy_qp,
                                     .reg_mr = reg_mr,
                                     .dereg_mr = dereg_mr,
                                     .get_async_event = get_async_event,
                                     .ack_async_event = ack_async_event};

void standin_start(const standin_setup *setup)
{
    standin.setup = *setup;
    standin.rng = (c4_rng){setup->seed};
    for (unsigned i = 0; i < setup->ndevices; i++) {
        standin.devices[i].up = true;
        standin.devices[i].gone = false;
        standin.devices[i].mtu = IBV_MTU_1024;
        snprintf(standin.devices[i].base.name, sizeof standin.devices[i].base.name, "standin%u", i);
    }
    c4_verbs_calls_in_use = &calls;
}
