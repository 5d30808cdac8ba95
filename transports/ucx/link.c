#include "transports/ucx/link.h"

#include <stdlib.h>

#include "transports/ucx/channel.h"
#include "transports/ucx/greeting.h"
#include "transports/ucx/receive.h"

c4_status c4_ucx_status(ucs_status_t status)
{
    switch (status) {
    case UCS_OK:
        return C4_OK;
    case UCS_ERR_NO_MEMORY:
        return C4_ERR_MEMORY;
    case UCS_ERR_UNREACHABLE:
    case UCS_ERR_NO_DEVICE:
        return C4_ERR_UNREACHABLE;
    case UCS_ERR_EXCEEDS_LIMIT:
        return C4_ERR_SYSTEM;
    case UCS_ERR_UNSUPPORTED:
    case UCS_ERR_NOT_IMPLEMENTED:
        return C4_ERR_UNSUPPORTED;
    default:
        return C4_ERR_LINK;
    }
}

c4_status c4_ucx_link_create(c4_module *module, int peer, c4_ucx_link **out)
{
    c4_ucx_link *link = module->links[peer];
    if (link == NULL) {
        link = calloc(1, sizeof *link);
        if (link == NULL)
            return c4_fail(C4_ERR_MEMORY, "ucx: link to rank %d", peer);
        link->module = module;
        link->peer = peer;
        module->links[peer] = link;
    }
    *out = link;
    return C4_OK;
}

static void endpoint_failed(void *arg, ucp_ep_h endpoint, ucs_status_t why)
{
    (void)endpoint;
    c4_ucx_link_lost(arg, why);
}

c4_status c4_ucx_link_connect(c4_ucx_link *link)
{
    c4_module *module = link->module;
    if (link->endpoint != NULL || link->state != C4_UCX_LIVE)
        return link->state == C4_UCX_LIVE ? C4_OK : C4_ERR_LINK;
    const ucp_ep_params_t params = {
        .field_mask =
            UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = (const ucp_address_t *)(module->addresses[link->peer] + C4_UCX_ADDRESS_BYTES),
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = endpoint_failed, .arg = link},
    };
    ucs_status_t status = ucp_ep_create(module->worker, &params, &link->endpoint);
    if (status == UCS_OK)
        return C4_OK;
    link->endpoint = NULL;
    link->refused = status;
    c4_ucx_link_lost(link, status);
    return C4_ERR_LINK;
}

/* ---- its end ---- */

static void close_endpoint_later(c4_ucx_link *link)
{
    if (link->endpoint == NULL || link->close_endpoint)
        return;
    link->close_endpoint = true;
    link->module->nclosing++;
}

static void fail_lost_xfers(c4_ucx_link *link, c4_status status)
{
    while (link->lost != NULL) {
        c4_xfer *xfer = link->lost;
        link->lost = xfer->next;
        xfer->state = status;
    }
}

static void end_with(c4_ucx_link *link, c4_ucx_state state, c4_status status)
{
    if (link->state == C4_UCX_LOST)
        link->module->nlost--;
    link->state = state;
    link->status = status;
    fail_lost_xfers(link, status);
    c4_ucx_channels_fail(link, status);
    c4_ucx_greetings_free(link);
}

void c4_ucx_link_fail(c4_ucx_link *link, c4_status status)
{
    if (link->state == C4_UCX_FAILED || link->state == C4_UCX_ENDED)
        return;
    end_with(link, C4_UCX_FAILED, status);
    close_endpoint_later(link);
    link->next_failed = link->module->failed;
    link->module->failed = link;
}

/* While it is kept back, `status` is only what it may come to. */
void c4_ucx_link_lost(c4_ucx_link *link, ucs_status_t why)
{
    c4_module *module = link->module;
    if (link->state != C4_UCX_LIVE || module->closing) {
        close_endpoint_later(link);
        return;
    }
    C4_UCX_LOG(module, C4_TLOG_INFO, "ucx: the connection to rank %d is lost: %s", link->peer, ucs_status_string(why));
    link->state = C4_UCX_LOST;
    link->status = c4_ucx_status(why) == C4_OK ? C4_ERR_LINK : c4_ucx_status(why);
    link->lost_until_ns = c4_now_ns() + C4_UCX_GRACE_NS;
    module->nlost++;
    close_endpoint_later(link);
}

/* Nobody knew better. */
static void tell_lost(c4_ucx_link *link)
{
    c4_status failed;
    if (link->refused == UCS_OK)
        failed =
            c4_fail(link->status, "ucx: the connection to rank %d is lost, and UCX does not make it again", link->peer);
    else
        failed = c4_fail(link->status, "ucx: connecting to rank %d: %s%s", link->peer, ucs_status_string(link->refused),
                         link->refused == UCS_ERR_UNREACHABLE
                             ? " (its process may have ended; else UCX_TLS and UCX_NET_DEVICES must leave both "
                               "ranks a network in common; shared memory will not do, as it does not notice that "
                               "a peer has died)"
                             : "");
    c4_ucx_link_fail(link, failed);
}

void c4_ucx_link_ended(c4_ucx_link *link)
{
    if (link->state != C4_UCX_LIVE && link->state != C4_UCX_LOST)
        return;
    bool missed = c4_ucx_channels_wait(link) || link->lost != NULL;
    if (missed && !link->module->closing)
        c4_ucx_link_fail(link, c4_fail(C4_ERR_LINK, "ucx: rank %d closed its end while data was expected", link->peer));
    else
        end_with(link, C4_UCX_ENDED, C4_ERR_LINK);
}

/* Requests of a closed endpoint come back with UCS_ERR_CANCELED. */
static void close_endpoint(c4_ucx_link *link)
{
    const ucp_request_param_t force = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE};
    link->close_endpoint = false;
    link->module->nclosing--;
    void *request = ucp_ep_close_nbx(link->endpoint, &force);
    link->endpoint = NULL;
    if (UCS_PTR_IS_PTR(request))
        ucp_request_free(request);
}

void c4_ucx_links_service(c4_module *module)
{
    uint64_t now = module->nlost > 0 ? c4_now_ns() : 0;
    for (int peer = 0; peer < module->host.nranks; peer++) {
        c4_ucx_link *link = module->links[peer];
        if (link == NULL)
            continue;
        if (link->close_endpoint)
            close_endpoint(link);
        if (link->state == C4_UCX_LOST && now >= link->lost_until_ns)
            tell_lost(link);
    }
}

void c4_ucx_link_free(c4_ucx_link *link)
{
    fail_lost_xfers(link, C4_ERR_LINK);
    c4_ucx_channels_free(link);
    c4_ucx_greetings_free(link);
    c4_ucx_ins_free(link->module, link->early);
    free(link);
}

/* ---- work ---- */

c4_ucx_work *c4_ucx_work_begin(c4_ucx_link *link, c4_channel *channel, c4_xfer *xfer)
{
    c4_module *module = link->module;
    c4_ucx_work *work = module->free_works;
    if (work != NULL) {
        module->free_works = work->next;
    } else {
        work = calloc(1, sizeof *work);
        if (work == NULL) {
            c4_fail(C4_ERR_MEMORY, "ucx: message to or from rank %d", link->peer);
            return NULL;
        }
        work->all = module->all_works;
        module->all_works = work;
    }
    work->link = link;
    work->channel = channel;
    work->xfer = xfer;
    work->request = work->buffer = NULL;
    if (xfer != NULL)
        xfer->scratch[0] = (uint64_t)(uintptr_t)channel; /* should it get lost */
    work->next = link->works;
    work->at = &link->works;
    if (work->next != NULL)
        work->next->at = &work->next;
    link->works = work;
    module->nworks++;
    return work;
}

void c4_ucx_work_end(c4_ucx_work *work)
{
    c4_module *module = work->link->module;
    *work->at = work->next;
    if (work->next != NULL)
        work->next->at = work->at;
    if (work->buffer != NULL && module->spare_buffer == NULL)
        module->spare_buffer = work->buffer;
    else
        free(work->buffer);
    work->buffer = NULL;
    work->next = module->free_works;
    module->free_works = work;
    module->nworks--;
}

void c4_ucx_xfer_finish(c4_ucx_link *link, c4_xfer *xfer, ucs_status_t status)
{
    /* A reader that closes its channel drops the frame: that is no failure of the writer. */
    if (status == UCS_OK || (status == UCS_ERR_CANCELED && link->state == C4_UCX_LIVE)) {
        xfer->state = C4_OK;
    } else if (link->state == C4_UCX_FAILED || link->state == C4_UCX_ENDED) {
        xfer->state = link->status;
    } else {
        xfer->next = link->lost;
        link->lost = xfer;
        c4_ucx_link_lost(link, status);
    }
}

/* Until UCX has called back, or the module's patience is at its end. */
static bool wait_for(const c4_ucx_work *work, const c4_xfer *xfer)
{
    c4_module *module = work->link->module;
    uint64_t began = c4_now_ns(), now = began;
    while (work->xfer == xfer && now - began < module->patience_ns) {
        ucp_worker_progress(module->worker);
        now = c4_now_ns();
    }
    module->patience_ns -= now - began < module->patience_ns ? now - began : module->patience_ns;
    return work->xfer != xfer;
}

void c4_ucx_work_cancel(c4_ucx_work *work)
{
    c4_ucx_link *link = work->link;
    c4_xfer *xfer = work->xfer;
    if (work->request != NULL)
        ucp_request_cancel(link->module->worker, work->request);
    if (wait_for(work, xfer))
        return;
    /* UCX lets go of a closed endpoint's memory at once, so that the second wait is short. */
    c4_ucx_link_fail(link,
                     c4_fail(C4_ERR_LINK, "ucx: cancelling a frame that rank %d has begun to move: the connection ends",
                             link->peer));
    if (link->close_endpoint)
        close_endpoint(link);
    link->module->patience_ns = C4_UCX_PATIENCE_NS;
    wait_for(work, xfer);
    link->module->patience_ns = 0;
    if (work->xfer == xfer)
        work->xfer = NULL;
}

void c4_ucx_works_forget(c4_channel *channel)
{
    for (bool found = true; found;) {
        found = false;
        for (c4_ucx_work *work = channel->link->works; work != NULL && !found; work = work->next)
            if (work->channel == channel && work->xfer != NULL) {
                c4_ucx_work_cancel(work);
                found = true; /* the list has changed */
            }
    }
    for (c4_ucx_work *work = channel->link->works; work != NULL; work = work->next)
        if (work->channel == channel)
            work->channel = NULL;
    for (c4_xfer **at = &channel->link->lost; *at != NULL;)
        if ((*at)->scratch[0] == (uint64_t)(uintptr_t)channel)
            *at = (*at)->next;
        else
            at = &(*at)->next;
}
