#include "transports/ucx/send.h"

#include <string.h>

#include "transports/ucx/link.h"

static void sent(void *request, ucs_status_t status, void *arg)
{
    c4_ucx_work *work = arg;
    c4_xfer *xfer = work->xfer;
    work->xfer = NULL;
    if (xfer != NULL)
        c4_ucx_xfer_finish(work->link, xfer, status);
    c4_ucx_work_end(work);
    ucp_request_free(request);
}

/* Returns what the xfer, if there is one, has come to. The work is over when that is not C4_IN_PROGRESS. */
static c4_status give(c4_ucx_work *work, unsigned id, size_t header_bytes, const void *payload, size_t bytes)
{
    c4_ucx_link *link = work->link;
    const ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE |
                        UCP_OP_ATTR_FIELD_FLAGS,
        .flags = id == C4_UCX_AM_GREETING ? UCP_AM_SEND_FLAG_EAGER : 0,
        .cb.send = sent,
        .user_data = work,
        .memory_type = UCS_MEMORY_TYPE_HOST,
    };
    link->module->sent = true;
    ucs_status_ptr_t request = ucp_am_send_nbx(link->endpoint, id, work->header, header_bytes, payload, bytes, &param);
    if (UCS_PTR_IS_PTR(request)) {
        work->request = request;
        return C4_IN_PROGRESS;
    }
    c4_xfer *xfer = work->xfer;
    c4_ucx_work_end(work);
    if (xfer != NULL)
        c4_ucx_xfer_finish(link, xfer, UCS_PTR_STATUS(request));
    else if (UCS_PTR_IS_ERR(request))
        c4_ucx_link_lost(link, UCS_PTR_STATUS(request));
    return xfer != NULL ? (c4_status)xfer->state : C4_OK;
}

c4_status c4_ucx_send_frame(c4_channel *channel, c4_xfer *xfer)
{
    c4_ucx_link *link = channel->link;
    c4_ucx_header header = {.kind = C4_UCX_DATA,
                            .tag = channel->tag,
                            .comm = channel->comm,
                            .token = link->send_token,
                            .sequence = link->send_sequence,
                            .from = (uint32_t)link->module->host.rank,
                            .frame = xfer->frame};
    c4_ucx_work *work = c4_ucx_work_begin(link, channel, xfer);
    if (work == NULL)
        return xfer->state = C4_ERR_MEMORY;
    link->send_sequence++;
    header.frame.bytes = (uint32_t)xfer->bytes;
    c4_ucx_header_pack(&header, work->header);
    xfer->handed_over = 1;
    channel->counters.messages++;
    channel->counters.bytes += xfer->bytes;
    return give(work, C4_UCX_AM_FRAME, C4_UCX_HEADER_BYTES, xfer->bytes > 0 ? xfer->pointer : NULL, xfer->bytes);
}

void c4_ucx_send_control(c4_ucx_link *link, c4_ucx_kind kind, uint32_t comm, uint32_t tag)
{
    const c4_ucx_header header = {.kind = (uint8_t)kind,
                                  .tag = tag,
                                  .comm = comm,
                                  .token = link->send_token,
                                  .sequence = link->send_sequence,
                                  .from = (uint32_t)link->module->host.rank};
    c4_ucx_work *work = c4_ucx_work_begin(link, NULL, NULL);
    if (work == NULL) {
        c4_ucx_link_fail(link, C4_ERR_MEMORY);
        return;
    }
    link->send_sequence++;
    c4_ucx_header_pack(&header, work->header);
    give(work, C4_UCX_AM_FRAME, C4_UCX_HEADER_BYTES, NULL, 0);
}

void c4_ucx_send_greeting(c4_ucx_link *link, const c4_ucx_greeting *greeting, const void *message, size_t bytes)
{
    if (bytes > C4_HANDSHAKE_MESSAGE_BYTES || c4_ucx_link_connect(link) < 0)
        return;
    c4_ucx_work *work = c4_ucx_work_begin(link, NULL, NULL);
    if (work == NULL) {
        c4_ucx_link_fail(link, C4_ERR_MEMORY);
        return;
    }
    c4_ucx_greeting_pack(greeting, work->header);
    memcpy(work->payload, message, bytes);
    give(work, C4_UCX_AM_GREETING, C4_UCX_GREETING_BYTES, work->payload, bytes);
}
