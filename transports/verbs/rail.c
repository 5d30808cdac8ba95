#include "transports/verbs/rail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "transports/verbs/device.h"
#include "transports/verbs/internal.h"

/* Receive buffers that one rail holds at most, whatever more the device could. */
#define MOST_POSTED (1u << 20)

/* ---- opening ---- */

static bool never_block(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static c4_status lacking(const c4_verbs_rail *rail, const char *what)
{
    char advice[320];
    int error = errno != 0 ? errno : ENOMEM;
    return c4_fail(C4_ERR_SYSTEM, "verbs: %s of %s:%u: %s", what, rail->port.device, rail->port.number,
                   c4_verbs_memory_advice(error, advice, sizeof advice));
}

/* Without one the queue pairs have receive queues of their own. */
static c4_status do_without_srq(c4_verbs_rail *rail, const struct ibv_device_attr *device)
{
    rail->srq = NULL;
    rail->max_posted = (unsigned)device->max_qp_wr;
    return C4_OK;
}

static c4_status make_srq(c4_verbs_rail *rail, const struct ibv_device_attr *device)
{
    unsigned most = (unsigned)device->max_srq_wr;
    struct ibv_srq_init_attr attributes = {.attr = {.max_wr = most < MOST_POSTED ? most : MOST_POSTED, .max_sge = 1}};
    if (device->max_srq == 0 || most == 0)
        return do_without_srq(rail, device);
    /* Drivers make room for max_wr at once: what is asked for is what a few thousand peers need, then less and less. */
    attributes.attr.max_wr = attributes.attr.max_wr < 32768 ? attributes.attr.max_wr : 32768;
    do {
        rail->srq = c4_verbs_calls_in_use->create_srq(rail->pd, &attributes);
    } while (rail->srq == NULL && errno == ENOMEM && (attributes.attr.max_wr /= 2) >= 256);
    rail->max_posted = attributes.attr.max_wr;
    if (rail->srq == NULL && (errno == EOPNOTSUPP || errno == ENOSYS)) /* it only says that it has some */
        return do_without_srq(rail, device);
    return rail->srq != NULL ? C4_OK : lacking(rail, "shared receive queue");
}

static c4_status fill(c4_verbs_rail *rail)
{
    struct ibv_device_attr device;
    errno = 0;
    rail->context = c4_verbs_device_open(rail->port.device);
    if (rail->context == NULL)
        return lacking(rail, "opening");
    if (!never_block(rail->context->async_fd) ||
        (errno = c4_verbs_calls_in_use->query_device(rail->context, &device)) != 0)
        return lacking(rail, "attributes");
    rail->max_cqe = (unsigned)device.max_cqe;
    if ((rail->pd = c4_verbs_calls_in_use->alloc_pd(rail->context)) == NULL)
        return lacking(rail, "protection domain");
    rail->wake = c4_verbs_calls_in_use->create_comp_channel(rail->context);
    if (rail->wake == NULL || !never_block(rail->wake->fd))
        return lacking(rail, "completion channel");
    return make_srq(rail, &device);
}

c4_status c4_verbs_rail_open(c4_verbs_rail *rail, unsigned index, const c4_verbs_port *port)
{
    *rail = (c4_verbs_rail){.index = index, .port = *port, .up = true, .told_up = true};
    c4_status status = fill(rail);
    if (status < 0) {
        c4_verbs_rail_close_queues(rail);
        c4_verbs_rail_close(rail);
    }
    return status;
}

void c4_verbs_rail_close_queues(c4_verbs_rail *rail)
{
    if (rail->srq != NULL)
        c4_verbs_calls_in_use->destroy_srq(rail->srq);
    for (unsigned i = 0; i < rail->ncqs; i++)
        c4_verbs_calls_in_use->destroy_cq(rail->cqs[i].cq);
    if (rail->wake != NULL)
        c4_verbs_calls_in_use->destroy_comp_channel(rail->wake);
    rail->srq = NULL;
    rail->wake = NULL;
    rail->ncqs = 0;
    free(rail->links);
    rail->links = NULL;
}

void c4_verbs_rail_close(c4_verbs_rail *rail)
{
    if (rail->pd != NULL)
        c4_verbs_calls_in_use->dealloc_pd(rail->pd);
    if (rail->context != NULL)
        c4_verbs_calls_in_use->close_device(rail->context);
    rail->pd = NULL;
    rail->context = NULL;
}

/* ---- completion queues ---- */

static c4_verbs_cq *no_cq(const c4_verbs_rail *rail, unsigned size, unsigned entries)
{
    if (size < entries)
        c4_fail(C4_ERR_SYSTEM,
                "verbs: completion queues of %s:%u hold %u, and a queue pair needs %u: lower C4_VERBS_CREDITS",
                rail->port.device, rail->port.number, size, entries);
    else if (rail->ncqs == C4_VERBS_CQS)
        c4_fail(C4_ERR_SYSTEM,
                "verbs: %s:%u has %u queue pairs, and all its completion queues are full: lower "
                "C4_VERBS_QPS_PER_PEER or C4_VERBS_CREDITS",
                rail->port.device, rail->port.number, rail->nlinks);
    else
        lacking(rail, "completion queue");
    return NULL;
}

c4_verbs_cq *c4_verbs_rail_cq(c4_verbs_rail *rail, unsigned entries)
{
    for (unsigned i = 0; i < rail->ncqs; i++)
        if (rail->cqs[i].room >= entries) {
            rail->cqs[i].room -= entries;
            return &rail->cqs[i];
        }
    /* Each poll looks at all of them: so each is twice as large as the one before. */
    unsigned wanted = C4_VERBS_CQ_ENTRIES << rail->ncqs, size = rail->max_cqe < wanted ? rail->max_cqe : wanted;
    errno = 0;
    struct ibv_cq *cq = rail->ncqs < C4_VERBS_CQS && size >= entries
                            ? c4_verbs_calls_in_use->create_cq(rail->context, (int)size, NULL, rail->wake, 0)
                            : NULL;
    if (cq == NULL)
        return no_cq(rail, size, entries);
    rail->cqs[rail->ncqs] = (c4_verbs_cq){.cq = cq, .room = size - entries};
    return &rail->cqs[rail->ncqs++];
}

/* ---- links by queue pair number ---- */

static c4_verbs_qpn_entry *entry_of(const c4_verbs_rail *rail, uint32_t qpn)
{
    unsigned at = qpn * 2654435761u & (rail->capacity - 1);
    while (rail->links[at].link != NULL && rail->links[at].qpn != qpn)
        at = (at + 1) & (rail->capacity - 1);
    return &rail->links[at];
}

bool c4_verbs_rail_add_link(c4_verbs_rail *rail, uint32_t qpn, c4_verbs_link *link)
{
    if (2 * (rail->nlinks + 1) > rail->capacity) {
        c4_verbs_rail grown = *rail;
        grown.capacity = rail->capacity != 0 ? 2 * rail->capacity : 16;
        grown.links = calloc(grown.capacity, sizeof *grown.links);
        if (grown.links == NULL)
            return false;
        for (unsigned i = 0; i < rail->capacity; i++)
            if (rail->links[i].link != NULL)
                *entry_of(&grown, rail->links[i].qpn) = rail->links[i];
        free(rail->links);
        rail->links = grown.links;
        rail->capacity = grown.capacity;
    }
    *entry_of(rail, qpn) = (c4_verbs_qpn_entry){.qpn = qpn, .link = link};
    rail->nlinks++;
    return true;
}

void c4_verbs_rail_remove_link(c4_verbs_rail *rail, uint32_t qpn)
{
    c4_verbs_qpn_entry *entry = rail->capacity != 0 ? entry_of(rail, qpn) : NULL;
    if (entry == NULL || entry->link == NULL)
        return;
    entry->link = NULL;
    rail->nlinks--;
    /* Those behind it may have been put there because of it. */
    for (unsigned at = (unsigned)(entry - rail->links);;) {
        at = (at + 1) & (rail->capacity - 1);
        c4_verbs_qpn_entry moved = rail->links[at];
        if (moved.link == NULL)
            return;
        rail->links[at].link = NULL;
        *entry_of(rail, moved.qpn) = moved;
    }
}

c4_verbs_link *c4_verbs_rail_find_link(const c4_verbs_rail *rail, uint32_t qpn)
{
    return rail->capacity != 0 ? entry_of(rail, qpn)->link : NULL;
}

/* ---- events ---- */

static void take_event(c4_verbs_rail *rail, const struct ibv_async_event *event)
{
    switch (event->event_type) {
    case IBV_EVENT_PORT_ERR:
    case IBV_EVENT_PORT_ACTIVE:
        if (event->element.port_num == rail->port.number)
            rail->up = event->event_type == IBV_EVENT_PORT_ACTIVE && !rail->gone;
        break;
    case IBV_EVENT_DEVICE_FATAL:
        rail->gone = true;
        rail->up = false;
        break;
    default: /* of queue pairs: their completions say it too; others concern nobody here */
        break;
    }
}

static void read_events(c4_verbs_rail *rail)
{
    struct ibv_async_event event;
    while (!rail->gone && c4_verbs_calls_in_use->get_async_event(rail->context, &event) == 0) {
        take_event(rail, &event);
        c4_verbs_calls_in_use->ack_async_event(&event);
    }
    if (!rail->gone && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        rail->gone = true; /* a device that is taken away answers EIO from then on */
        rail->up = false;
    }
}

bool c4_verbs_rail_is_gone(c4_verbs_rail *rail)
{
    read_events(rail);
    for (unsigned i = 0; rail->gone && i < rail->capacity; i++)
        if (rail->links[i].link != NULL)
            c4_verbs_link_break(rail->links[i].link, ENODEV);
    return rail->gone;
}

bool c4_verbs_rail_events(c4_verbs_rail *rail, const c4_transport_host *host)
{
    read_events(rail);
    bool changed = rail->up != rail->told_up || rail->gone != rail->told_gone; /* one that is down may be removed too */
    if (changed)
        host->log(host->context, rail->up ? C4_TLOG_INFO : C4_TLOG_WARN, "verbs: rail %u (%s:%u) is %s", rail->index,
                  rail->port.device, rail->port.number,
                  rail->gone ? "gone: the device was removed"
                  : rail->up ? "up again"
                             : "down");
    rail->told_up = rail->up;
    rail->told_gone = rail->gone;
    return changed;
}

bool c4_verbs_rail_arm(c4_verbs_rail *rail)
{
    bool armed = true;
    for (unsigned i = 0; i < rail->ncqs && !rail->gone; i++) /* what was under way there has been given up */
        armed &= ibv_req_notify_cq(rail->cqs[i].cq, 0) == 0;
    return armed;
}

void c4_verbs_rail_disarm(c4_verbs_rail *rail)
{
    struct ibv_cq *cq;
    void *context;
    while (rail->wake != NULL && c4_verbs_calls_in_use->get_cq_event(rail->wake, &cq, &context) == 0)
        c4_verbs_calls_in_use->ack_cq_events(cq, 1);
}
