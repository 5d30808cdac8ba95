#include "transports/ucx/receive.h"

#include <stdlib.h>
#include <string.h>

#include "transports/ucx/channel.h"
#include "transports/ucx/greeting.h"
#include "transports/ucx/link.h"

/* ---- payload to its place ---- */

static void reduce(const c4_xfer *xfer, size_t start, const void *from, size_t bytes)
{
    xfer->reduce->reduce((char *)xfer->pointer + start, (const char *)xfer->operand + start, from,
                         bytes / xfer->reduce->element_bytes, 0);
}

/* Eager payload lies behind a header, and not always as elements must. */
static void store(const c4_module *module, const c4_xfer *xfer, const unsigned char *from)
{
    if (xfer->bytes == 0)
        return;
    if (xfer->reduce == NULL) {
        memcpy(xfer->pointer, from, xfer->bytes);
        return;
    }
    if ((uintptr_t)from % xfer->reduce->element_bytes == 0) {
        reduce(xfer, 0, from, xfer->bytes);
        return;
    }
    for (size_t done = 0; done < xfer->bytes; done += C4_UCX_BOUNCE_BYTES) {
        size_t left = xfer->bytes - done, part = left < C4_UCX_BOUNCE_BYTES ? left : C4_UCX_BOUNCE_BYTES;
        memcpy(module->bounce, from + done, part);
        reduce(xfer, done, module->bounce, part);
    }
}

static void rendezvous_done(c4_ucx_work *work, ucs_status_t status)
{
    c4_xfer *xfer = work->xfer;
    work->xfer = NULL;
    if (xfer != NULL && status == UCS_OK && work->buffer != NULL)
        reduce(xfer, 0, work->buffer, xfer->bytes);
    if (xfer != NULL && status == UCS_ERR_CANCELED && work->link->state == C4_UCX_LIVE)
        status = UCS_ERR_CONNECTION_RESET; /* nothing has come */
    if (xfer != NULL)
        c4_ucx_xfer_finish(work->link, xfer, status);
    c4_ucx_work_end(work);
}

static void received(void *request, ucs_status_t status, size_t bytes, void *arg)
{
    (void)bytes;
    rendezvous_done(arg, status);
    ucp_request_free(request);
}

static void *reduction_buffer(c4_module *module)
{
    void *buffer = module->spare_buffer;
    module->spare_buffer = NULL;
    return buffer != NULL ? buffer : aligned_alloc(4096, C4_UCX_MAX_FRAME_BYTES);
}

/* UCX moves the payload to where it belongs. False: it could not be asked to. */
static bool rendezvous(c4_channel *channel, c4_xfer *xfer, void *descriptor)
{
    c4_module *module = channel->link->module;
    c4_ucx_work *work = c4_ucx_work_begin(channel->link, channel, xfer);
    void *target = xfer->pointer;
    if (work != NULL && xfer->reduce != NULL)
        target = work->buffer = reduction_buffer(module);
    if (work == NULL || target == NULL) {
        if (work != NULL)
            c4_ucx_work_end(work);
        xfer->state = C4_ERR_MEMORY;
        return false;
    }
    const ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE,
        .cb.recv_am = received,
        .user_data = work,
        .memory_type = UCS_MEMORY_TYPE_HOST,
    };
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(module->worker, descriptor, target, xfer->bytes, &param);
    if (UCS_PTR_IS_PTR(request))
        work->request = request;
    else
        rendezvous_done(work, UCS_PTR_STATUS(request));
    return true;
}

/* True: UCX's memory `data` is used up, or will be. */
static bool arrive(c4_channel *channel, c4_xfer *xfer, const c4_ucx_header *header, void *data, bool is_rendezvous)
{
    xfer->frame = header->frame;
    channel->counters.messages++;
    channel->counters.bytes += header->frame.bytes;
    if (header->frame.bytes != xfer->bytes) {
        xfer->state = C4_ERR_PROTOCOL;
        return false;
    }
    if (is_rendezvous)
        return rendezvous(channel, xfer, data);
    store(channel->link->module, xfer, data);
    xfer->state = C4_OK;
    return false;
}

/* ---- kept for later ---- */

static c4_ucx_in *in_create(const c4_ucx_header *header, void *data, size_t bytes, const ucp_am_recv_param_t *param)
{
    bool is_rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
    bool held = bytes > 0 && (is_rendezvous || (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) != 0);
    size_t size = sizeof(c4_ucx_in) + (held ? 0 : bytes);
    c4_ucx_in *in = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (in == NULL) {
        c4_fail(C4_ERR_MEMORY, "ucx: a frame of %zu bytes that nobody has asked for yet", bytes);
        return NULL;
    }
    in->next = NULL;
    in->header = *header;
    in->rendezvous = is_rendezvous;
    in->held = held;
    in->data = held ? data : in->copy;
    if (!held && bytes > 0)
        memcpy(in->copy, data, bytes);
    return in;
}

static void in_free(c4_module *module, c4_ucx_in *in, bool used)
{
    if (in->held && !(used && in->rendezvous))
        ucp_am_data_release(module->worker, in->data);
    free(in);
}

void c4_ucx_ins_free(c4_module *module, c4_ucx_in *in)
{
    while (in != NULL) {
        c4_ucx_in *next = in->next;
        in_free(module, in, false);
        in = next;
    }
}

void c4_ucx_receive_kept(c4_channel *channel, c4_xfer *xfer)
{
    c4_ucx_in *in = c4_ucx_channel_take(channel);
    bool used = arrive(channel, xfer, &in->header, in->data, in->rendezvous);
    in_free(channel->link->module, in, used);
}

/* ---- in order ---- */

static void obey(c4_ucx_link *link, const c4_ucx_header *header)
{
    if (header->kind == C4_UCX_BYE)
        c4_ucx_link_ended(link);
    else
        c4_ucx_channel_pause(link, header->comm, header->tag, header->kind == C4_UCX_PAUSE);
}

/* It is this message's turn. */
static void take_turn(c4_ucx_link *link, c4_ucx_in *in)
{
    c4_module *module = link->module;
    const c4_ucx_header *header = &in->header;
    c4_channel *channel = NULL;
    if (header->kind == C4_UCX_DATA && link->state != C4_UCX_FAILED)
        channel = c4_ucx_channel_incoming(link, header->comm, header->tag);
    c4_xfer *xfer = channel != NULL ? c4_ucx_channel_posted(channel) : NULL;
    if (xfer != NULL) {
        bool used = arrive(channel, xfer, header, in->data, in->rendezvous);
        in_free(module, in, used);
    } else if (channel != NULL) {
        c4_ucx_channel_keep(channel, in);
    } else {
        if (header->kind != C4_UCX_DATA)
            obey(link, header);
        in_free(module, in, false);
    }
}

static void take_early(c4_ucx_link *link)
{
    while (link->early != NULL && link->early->header.sequence == link->receive_sequence) {
        c4_ucx_in *in = link->early;
        link->early = in->next;
        link->nearly--;
        link->receive_sequence++;
        in->next = NULL;
        take_turn(link, in);
    }
}

static void keep_early(c4_ucx_link *link, c4_ucx_in *in)
{
    c4_ucx_in **at = &link->early;
    while (*at != NULL && (*at)->header.sequence < in->header.sequence)
        at = &(*at)->next;
    in->next = *at;
    *at = in;
    link->nearly++;
}

static ucs_status_t keep(c4_ucx_link *link, const c4_ucx_header *header, void *data, size_t bytes,
                         const ucp_am_recv_param_t *param)
{
    c4_ucx_in *in = in_create(header, data, bytes, param);
    if (in == NULL) {
        c4_ucx_link_fail(link, C4_ERR_MEMORY);
        return UCS_OK;
    }
    bool held = in->held;
    if (header->sequence != link->receive_sequence) {
        keep_early(link, in);
        return held ? UCS_INPROGRESS : UCS_OK;
    }
    link->receive_sequence++;
    take_turn(link, in);
    take_early(link);
    return held ? UCS_INPROGRESS : UCS_OK;
}

/* The link that a message says it is of, if it proves it. */
static c4_ucx_link *link_of(c4_module *module, const c4_ucx_header *header)
{
    c4_ucx_link *link = header->from < (uint32_t)module->host.nranks ? module->links[header->from] : NULL;
    if (link == NULL || !link->receives || header->token != link->receive_token) {
        c4_ucx_refuse(module, "a frame from a sender that has not shown the job's key");
        return NULL;
    }
    if (header->sequence < link->receive_sequence || link->nearly >= C4_UCX_MAX_EARLY) {
        c4_ucx_refuse(module, "a frame whose turn is over, or far away");
        return NULL;
    }
    return link->state != C4_UCX_FAILED && !module->closing ? link : NULL;
}

ucs_status_t c4_ucx_on_frame(void *arg, const void *wire, size_t header_bytes, void *data, size_t bytes,
                             const ucp_am_recv_param_t *param)
{
    c4_module *module = arg;
    c4_ucx_header header;
    if (!c4_ucx_header_unpack(wire, header_bytes, &header) || header.frame.bytes != bytes) {
        c4_ucx_refuse(module, "a malformed frame");
        return UCS_OK;
    }
    c4_ucx_link *link = link_of(module, &header);
    if (link == NULL)
        return UCS_OK;
    if (header.kind != C4_UCX_DATA || header.sequence != link->receive_sequence)
        return keep(link, &header, data, bytes, param);
    c4_channel *channel = c4_ucx_channel_incoming(link, header.comm, header.tag);
    c4_xfer *xfer = channel != NULL ? c4_ucx_channel_posted(channel) : NULL;
    if (xfer == NULL)
        return keep(link, &header, data, bytes, param);
    link->receive_sequence++;
    bool used = arrive(channel, xfer, &header, data, (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0);
    take_early(link);
    return used ? UCS_INPROGRESS : UCS_OK;
}
