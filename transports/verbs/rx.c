#include "transports/verbs/rx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transports/verbs/channel.h"
#include "transports/verbs/completion.h"
#include "transports/verbs/tx.h"

#define POLL_ENTRIES 16

/* ---- giving frames to receives ---- */

static void complete(c4_channel *channel, int state)
{
    c4_xfer *xfer = channel->posts.first;
    channel->posts.first = xfer->next;
    channel->link->nposted--;
    channel->nlarge -= c4_verbs_is_large(channel, xfer);
    xfer->state = state;
}

/* The first receive expects another size than comes. If the peer may be writing to it, it ends when that cannot be any more. */
static void refuse(c4_channel *channel)
{
    if (channel->ntickets > 0) {
        channel->refused = true;
        c4_verbs_rx_forget(channel);
    } else {
        complete(channel, C4_ERR_PROTOCOL);
    }
}

/* The frame at `payload` goes to the first posted receive, which ends. */
static void deliver(c4_channel *channel, const c4_frame *frame, const unsigned char *payload)
{
    c4_xfer *xfer = channel->posts.first;
    xfer->frame = *frame;
    if (frame->bytes != xfer->bytes) {
        refuse(channel);
        return;
    }
    if (xfer->reduce != NULL)
        xfer->reduce->reduce(xfer->pointer, xfer->operand, payload, frame->bytes / xfer->reduce->element_bytes, 0);
    else if (frame->bytes > 0 && payload != xfer->pointer)
        memcpy(xfer->pointer, payload, frame->bytes);
    channel->counters.bytes += frame->bytes;
    channel->counters.messages++;
    complete(channel, C4_OK);
}

static c4_verbs_ticket *ticket_at(c4_channel *channel, unsigned place)
{
    return &channel->tickets[(channel->first_ticket + place) % C4_VERBS_TICKETS];
}

static void drop_ticket(c4_channel *channel)
{
    c4_verbs_ticket *ticket = ticket_at(channel, 0);
    if (ticket->unit != NULL)
        c4_verbs_unit_put(&channel->link->module->slots, ticket->unit);
    ticket->unit = NULL;
    channel->first_ticket = (channel->first_ticket + 1) % C4_VERBS_TICKETS;
    channel->ntickets--;
}

void c4_verbs_rx_forget(c4_channel *channel)
{
    if (channel->writer || channel->ntickets == 0)
        return;
    /* The peer may write there at any time from now on, and only the end of the queue pair is the end of that. What was under
     * way is sent again on the next one. */
    c4_verbs_link_break(channel->link, ECANCELED);
}

/* What came behind the frame of another size has waited for this. */
static void end_refused(c4_channel *channel)
{
    if (!channel->refused)
        return;
    channel->refused = false;
    if (channel->posts.first != NULL)
        complete(channel, C4_ERR_PROTOCOL);
    c4_verbs_rx_match(channel);
}

void c4_verbs_rx_revoke(c4_verbs_link *link)
{
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next) {
        while (channel->ntickets > 0)
            drop_ticket(channel);
        for (c4_verbs_in **at = &channel->in_first; *at != NULL;) {
            c4_verbs_in *in = *at;
            if (!in->announced) {
                channel->in_last = in;
                at = &in->next;
                continue;
            }
            *at = in->next;
            free(in);
        }
        if (channel->in_first == NULL)
            channel->in_last = NULL;
        end_refused(channel);
    }
}

/* ---- tickets ---- */

/* Where the peer may write the frame. C4_IN_PROGRESS: not now; < 0: there is no memory for it. */
static c4_status place(c4_channel *channel, c4_xfer *xfer, c4_verbs_ticket *ticket)
{
    c4_module *module = channel->link->module;
    unsigned rail = channel->link->rail->index;
    const c4_verbs_region *region = NULL;
    if (xfer->reduce == NULL)
        region = c4_verbs_memory_declared(&module->memory, &module->hub.host, xfer->pointer, xfer->bytes);
    if (region != NULL && region->mrs[rail] != NULL) {
        ticket->address = (uintptr_t)xfer->pointer;
        ticket->rkey = region->mrs[rail]->rkey;
        return C4_OK;
    }
    /* Any number of channels must be able to go on: the receive at the head gets a unit, those behind it only while few are
     * out. Without any of these the writer would stand still from each frame to the next. */
    bool few =
        module->slots.nunits_out < C4_VERBS_UNITS_AHEAD && (!module->slots.full || module->slots.free_units != NULL);
    if (xfer != channel->posts.first && !few)
        return C4_IN_PROGRESS;
    c4_verbs_unit *unit;
    c4_status status = c4_verbs_unit_get(&module->slots, &unit);
    if (status < 0)
        return xfer == channel->posts.first ? status : C4_IN_PROGRESS;
    if (unit->region->mrs[rail] == NULL) {
        c4_verbs_unit_put(&module->slots, unit);
        return C4_IN_PROGRESS;
    }
    ticket->unit = unit;
    ticket->address = (uintptr_t)unit->pointer;
    ticket->rkey = unit->region->mrs[rail]->rkey;
    return C4_OK;
}

static bool has_ticket(c4_channel *channel, const c4_xfer *xfer)
{
    for (unsigned i = 0; i < channel->ntickets; i++)
        if (ticket_at(channel, i)->xfer == xfer)
            return true;
    return false;
}

void c4_verbs_rx_grant(c4_channel *channel)
{
    c4_verbs_link *link = channel->link;
    if (channel->nlarge ==
        channel->ntickets) /* many small ones may be posted: not to be looked through at each frame */
        return;
    for (c4_xfer *xfer = channel->posts.first; xfer != NULL && channel->ntickets < C4_VERBS_TICKETS;
         xfer = xfer->next) {
        if (!c4_verbs_is_large(channel, xfer) || has_ticket(channel, xfer))
            continue;
        c4_verbs_ticket *ticket = ticket_at(channel, channel->ntickets);
        *ticket = (c4_verbs_ticket){.number = channel->next_number, .bytes = (uint32_t)xfer->bytes, .xfer = xfer};
        if (!c4_verbs_tx_may(link, C4_VERBS_CREDITS_FOR_TICKETS)) {
            c4_verbs_channel_waits_on(channel);
            return;
        }
        c4_status status = place(channel, xfer, ticket);
        if (status < 0)
            complete(channel, status); /* it is at the head, and no ticket is out: nobody writes to it */
        if (status != C4_OK)
            return;
        channel->next_number++;
        channel->ntickets++;
        c4_verbs_message message = {.kind = C4_VERBS_TICKET,
                                    .comm = channel->comm,
                                    .tag = channel->tag,
                                    .ticket = ticket->number,
                                    .rkey = ticket->rkey,
                                    .address = ticket->address,
                                    .frame.bytes = ticket->bytes};
        c4_verbs_tx_control(link, &message);
    }
}

static c4_verbs_in *in_pop(c4_channel *channel)
{
    c4_verbs_in *in = channel->in_first;
    channel->in_first = in->next;
    if (channel->in_first == NULL)
        channel->in_last = NULL;
    if (!in->announced)
        channel->in_bytes -= in->frame.bytes + sizeof *in;
    if (channel->paused && channel->in_bytes <= channel->depth_bytes / 2) {
        channel->paused = false;
        channel->tell_pause = true;
        c4_verbs_channel_waits(channel);
    }
    return in;
}

/* A large frame waits for the receive at the head: one of the same size, or none will come. */
static void check_announced(c4_channel *channel)
{
    c4_verbs_in *in = channel->in_first;
    c4_xfer *xfer = channel->posts.first;
    if (in->frame.bytes != xfer->bytes) {
        xfer->frame = in->frame;
        refuse(channel);
    }
    free(in_pop(channel));
}

void c4_verbs_rx_match(c4_channel *channel)
{
    while (channel->posts.first != NULL && channel->in_first != NULL && !channel->refused) {
        if (channel->in_first->announced) {
            check_announced(channel);
            continue;
        }
        c4_verbs_in *in = in_pop(channel);
        deliver(channel, &in->frame, in->payload);
        free(in);
    }
    if (channel->link->open)
        c4_verbs_rx_grant(channel);
}

/* ---- messages ---- */

/* This message is not taken. If it is a frame, the peer sends it again, and all behind it: which would be counted, and kept, in
 * its place if they were taken now. */
static void miss(c4_verbs_link *link, int error)
{
    link->deaf = true;
    c4_verbs_link_break(link, error);
}

static c4_channel *reader_of(c4_verbs_link *link, const c4_verbs_message *message)
{
    c4_channel *channel = c4_verbs_channel_incoming(link, message->comm, message->tag, false);
    if (channel == NULL)
        miss(link, ENOMEM);
    return channel;
}

/* False: no memory. */
static bool keep(c4_channel *channel, const c4_verbs_message *message, const unsigned char *payload)
{
    bool announced = message->kind == C4_VERBS_ANNOUNCE;
    size_t bytes = announced ? 0 : message->frame.bytes;
    c4_verbs_in *in = aligned_alloc(64, (sizeof *in + bytes + 63) / 64 * 64);
    if (in == NULL)
        return false;
    *in = (c4_verbs_in){.frame = message->frame, .announced = announced};
    memcpy(in->payload, payload, bytes);
    if (channel->in_first != NULL)
        channel->in_last->next = in;
    else
        channel->in_first = in;
    channel->in_last = in;
    if (announced)
        return true;
    channel->in_bytes += bytes + sizeof *in; /* empty frames take memory too */
    if (!channel->paused && channel->in_bytes > channel->depth_bytes) {
        channel->paused = true;
        channel->tell_pause = true;
        c4_verbs_channel_waits(channel);
    }
    return true;
}

static void take_frame(c4_verbs_link *link, const c4_verbs_message *message, const unsigned char *payload)
{
    c4_channel *channel = reader_of(link, message);
    if (channel == NULL)
        return;
    if (message->kind == C4_VERBS_FRAME)
        link->received++;
    if (channel->posts.first != NULL && channel->in_first == NULL && !channel->refused &&
        message->kind == C4_VERBS_FRAME) {
        deliver(channel, &message->frame, payload);
        if (channel->posts.first != NULL)
            c4_verbs_rx_grant(channel);
        return;
    }
    if (keep(channel, message, payload)) {
        c4_verbs_rx_match(channel);
        return;
    }
    link->received -= message->kind == C4_VERBS_FRAME;
    miss(link, ENOMEM);
}

/* The data lies where the oldest ticket said, and its receive is the first one. */
static void take_data(c4_verbs_link *link, const c4_verbs_message *message)
{
    c4_channel *channel = reader_of(link, message);
    if (channel == NULL)
        return;
    c4_verbs_ticket *ticket = ticket_at(channel, 0);
    if (channel->ntickets == 0 || ticket->number != message->ticket || ticket->xfer != channel->posts.first ||
        ticket->bytes != message->frame.bytes || channel->refused) { /* then it is not for this receive */
        miss(link, EPROTO);
        return;
    }
    link->received++;
    link->ack_soon = true;
    const unsigned char *payload = ticket->unit != NULL ? ticket->unit->pointer : ticket->xfer->pointer;
    deliver(channel, &message->frame, payload);
    drop_ticket(channel);
    c4_verbs_rx_match(channel);
}

/* Frames up to `acked` are the peer's: their spans are the user's again. */
static bool take_acked(c4_verbs_link *link, uint32_t acked)
{
    uint32_t more = acked - (uint32_t)link->acked;
    if (more > link->sent - link->acked)
        return false;
    for (; more > 0; more--)
        c4_verbs_tx_retire(link);
    return true;
}

static void take_message(c4_verbs_link *link, const unsigned char *wire, size_t nbytes)
{
    c4_verbs_message message;
    if (link->deaf)
        return;
    bool granted = link->owed_credits < link->window; /* it had a buffer of ours to send it to */
    if (!granted || !c4_verbs_message_unpack(wire, nbytes, &message) || !take_acked(link, message.acked) ||
        link->credits + message.credits > link->peer_window) {
        miss(link, EPROTO);
        return;
    }
    link->heard = true;
    link->failures = 0;
    link->credits += message.credits;
    link->owed_credits++;
    switch (message.kind) {
    case C4_VERBS_FRAME:
    case C4_VERBS_ANNOUNCE:
        take_frame(link, &message, wire + C4_VERBS_HEADER_BYTES);
        break;
    case C4_VERBS_DATA:
        take_data(link, &message);
        break;
    case C4_VERBS_TICKET:
    case C4_VERBS_PAUSE:
    case C4_VERBS_RESUME:
        c4_verbs_tx_hear(link, &message);
        break;
    case C4_VERBS_ACK:
        break;
    }
    if (link->waiting_first != NULL || link->again != NULL || link->ack_soon || c4_verbs_tx_owes(link))
        c4_verbs_link_busy(link);
}

/* ---- completions ---- */

static void sent(c4_verbs_link *link, unsigned count)
{
    link->sq_room += count;
    c4_verbs_link_busy(link); /* something may have waited for it */
}

static void take_completion(c4_verbs_rail *rail, const struct ibv_wc *wc)
{
    c4_verbs_link *link = c4_verbs_rail_find_link(rail, wc->qp_num);
    c4_verbs_slot *slot = c4_verbs_wr_slot(wc->wr_id);
    if (wc->status != IBV_WC_SUCCESS && link != NULL)
        c4_verbs_completion_failed(link, wc);
    else if (slot != NULL && link != NULL)
        take_message(link, slot->wire, wc->byte_len);
    else if (link != NULL)
        sent(link, c4_verbs_wr_count(wc->wr_id));
    if (slot != NULL)
        c4_verbs_receives_back(rail, link, slot);
}

static int poll_cq(c4_verbs_rail *rail, struct ibv_cq *cq)
{
    struct ibv_wc completions[POLL_ENTRIES];
    int count = ibv_poll_cq(cq, POLL_ENTRIES, completions);
    for (int i = 0; i < count; i++)
        take_completion(rail, &completions[i]);
    return count;
}

bool c4_verbs_rx_poll(c4_module *module, c4_verbs_rail *rail)
{
    bool moved = false;
    (void)module;
    for (unsigned i = 0; i < rail->ncqs; i++)
        moved |= poll_cq(rail, rail->cqs[i].cq) > 0;
    if (rail->receives.nspare >= C4_VERBS_REFILL_AT || (rail->receives.nspare > 0 && !moved))
        (void)c4_verbs_receives_refill(rail); /* what fails here breaks the queue pairs, and shows there */
    return moved;
}

void c4_verbs_rx_drain(c4_module *module, c4_verbs_rail *rail)
{
    (void)module;
    for (unsigned i = 0; i < rail->ncqs; i++)
        while (poll_cq(rail, rail->cqs[i].cq) > 0) {
        }
}
