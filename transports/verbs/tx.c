#include "transports/verbs/tx.h"

#include <errno.h>
#include <string.h>

#include "transports/verbs/channel.h"
#include "transports/verbs/completion.h"
#include "transports/verbs/rx.h"

/* ---- requests ---- */

/* Posts a chain of `count`. Every so many one is signaled, so that room in the send queue is known to be free again. */
static void post(c4_verbs_link *link, struct ibv_send_wr *first, struct ibv_send_wr *last, unsigned count)
{
    struct ibv_send_wr *bad = NULL;
    link->sq_room -= count;
    link->unsignaled += count;
    if (link->unsignaled >= C4_VERBS_SQ_DEPTH / 4 || link->flushing) {
        last->send_flags |= IBV_SEND_SIGNALED;
        last->wr_id = c4_verbs_wr_of_count(link->unsignaled);
        link->unsignaled = 0;
    }
    int error = ibv_post_send(link->qp, first, &bad);
    if (error != 0)
        c4_verbs_link_break(link, error);
}

/* Every message says what has arrived so far. */
static void pack(c4_verbs_link *link, c4_verbs_message *message, unsigned char *wire)
{
    message->credits = (uint16_t)link->owed_credits;
    message->acked = (uint32_t)link->received;
    c4_verbs_message_pack(message, wire);
    link->told = message->acked;
    link->owed_credits = 0;
    link->ack_soon = false;
    link->credits--;
}

void c4_verbs_tx_control(c4_verbs_link *link, c4_verbs_message *message)
{
    unsigned char wire[C4_VERBS_HEADER_BYTES];
    pack(link, message, wire);
    struct ibv_sge piece = {.addr = (uintptr_t)wire, .length = sizeof wire};
    struct ibv_send_wr request = {
        .sg_list = &piece, .num_sge = 1, .opcode = IBV_WR_SEND, .send_flags = IBV_SEND_INLINE};
    post(link, &request, &request, 1);
}

static struct ibv_sge piece_of(const c4_verbs_link *link, const c4_verbs_region *region, const void *pointer,
                               size_t bytes)
{
    return (struct ibv_sge){
        .addr = (uintptr_t)pointer, .length = (uint32_t)bytes, .lkey = region->mrs[link->rail->index]->lkey};
}

/* ---- frames on their way ---- */

static void keep(c4_verbs_link *link, c4_verbs_slot *slot)
{
    slot->next = NULL;
    if (link->sent_first != NULL)
        link->sent_last->next = slot;
    else
        link->sent_first = slot;
    link->sent_last = slot;
    link->sent++;
}

static void release(c4_verbs_link *link, c4_verbs_slot *slot, int state)
{
    if (slot->xfer != NULL) {
        slot->xfer->state = state;
        link->nspans--;
    }
    if (slot->unit != NULL)
        c4_verbs_unit_put(&link->module->slots, slot->unit);
    slot->xfer = NULL;
    slot->unit = NULL;
    c4_verbs_slot_put(&link->module->slots, slot);
}

void c4_verbs_tx_retire(c4_verbs_link *link)
{
    c4_verbs_slot *slot = link->sent_first;
    link->sent_first = slot->next;
    if (link->sent_first == NULL)
        link->sent_last = NULL;
    link->acked++;
    release(link, slot, C4_OK);
}

static void count_sent(c4_channel *channel, const c4_verbs_slot *slot)
{
    channel->counters.bytes += slot->frame.bytes;
    channel->counters.messages++;
}

/* Header and payload in one message, from the slot. */
static void send_small(c4_verbs_link *link, c4_verbs_slot *slot, c4_verbs_message *message)
{
    size_t bytes = C4_VERBS_HEADER_BYTES + slot->frame.bytes;
    pack(link, message, slot->wire);
    struct ibv_sge piece = piece_of(link, slot->region, slot->wire, bytes);
    struct ibv_send_wr request = {.sg_list = &piece,
                                  .num_sge = 1,
                                  .opcode = IBV_WR_SEND,
                                  .send_flags = bytes <= link->inline_bytes ? IBV_SEND_INLINE : 0};
    post(link, &request, &request, 1);
}

/* The payload to where the ticket says, then the header, in this order on this queue pair. */
static void send_large(c4_verbs_link *link, c4_verbs_slot *slot, const c4_verbs_ticket *ticket,
                       c4_verbs_message *message)
{
    const c4_verbs_region *region = slot->source;
    const void *from = slot->unit != NULL ? slot->unit->pointer : slot->xfer->pointer;
    message->ticket = ticket->number;
    pack(link, message, slot->wire);
    struct ibv_sge data = piece_of(link, region, from, slot->frame.bytes);
    struct ibv_sge header = piece_of(link, slot->region, slot->wire, C4_VERBS_HEADER_BYTES);
    struct ibv_send_wr tell = {.sg_list = &header, .num_sge = 1, .opcode = IBV_WR_SEND, .send_flags = IBV_SEND_INLINE};
    struct ibv_send_wr write = {.next = &tell,
                                .sg_list = &data,
                                .num_sge = 1,
                                .opcode = IBV_WR_RDMA_WRITE,
                                .wr.rdma = {.remote_addr = ticket->address, .rkey = ticket->rkey}};
    post(link, &write, &tell, 2);
}

/* ---- sending one ---- */

static c4_verbs_message message_of(const c4_verbs_slot *slot)
{
    return (c4_verbs_message){.kind = slot->large ? C4_VERBS_DATA : C4_VERBS_FRAME,
                              .comm = slot->comm,
                              .tag = slot->tag,
                              .frame = slot->frame};
}

static void announce(c4_channel *channel, const c4_frame *frame)
{
    c4_verbs_message message = {.kind = C4_VERBS_ANNOUNCE, .comm = channel->comm, .tag = channel->tag, .frame = *frame};
    if (channel->announced || !c4_verbs_tx_may(channel->link, C4_VERBS_CREDITS_FOR_TICKETS))
        return;
    channel->announced = true;
    c4_verbs_tx_control(channel->link, &message);
}

/* The ticket for a frame of so many bytes; NULL: not now. */
static const c4_verbs_ticket *ticket_for(c4_channel *channel, const c4_frame *frame)
{
    const c4_verbs_ticket *ticket = &channel->tickets[channel->first_ticket];
    if (channel->ntickets > 0 && ticket->bytes == frame->bytes)
        return ticket;
    announce(channel, frame); /* where another size is expected, it is the receiver's to say so */
    return NULL;
}

static void use_ticket(c4_channel *channel)
{
    channel->first_ticket = (channel->first_ticket + 1) % C4_VERBS_TICKETS;
    channel->ntickets--;
    channel->announced = false;
}

/* From where the device takes a large frame: the user's declared memory, else a copy. < 0: no memory; C4_IN_PROGRESS:
 * the rail has just been found to be gone. */
static c4_status find_source(c4_verbs_link *link, c4_verbs_slot *slot, c4_xfer *xfer)
{
    c4_module *module = link->module;
    const c4_verbs_region *region =
        c4_verbs_memory_declared(&module->memory, &module->hub.host, xfer->pointer, xfer->bytes);
    if (region != NULL && region->mrs[link->rail->index] != NULL) {
        slot->source = region;
        slot->xfer = xfer;
        link->nspans++;
        xfer->handed_over = 1;
        return C4_OK;
    }
    C4_TRY(c4_verbs_unit_get(&module->slots, &slot->unit));
    if (link->broken != 0) {
        c4_verbs_unit_put(&module->slots, slot->unit);
        slot->unit = NULL;
        return C4_IN_PROGRESS;
    }
    slot->source = slot->unit->region;
    memcpy(slot->unit->pointer, xfer->pointer, xfer->bytes);
    xfer->state = C4_OK;
    return C4_OK;
}

/* C4_IN_PROGRESS without handed_over: it cannot go now. */
static c4_status send_first_time(c4_channel *channel, c4_xfer *xfer)
{
    c4_verbs_link *link = channel->link;
    bool large = xfer->bytes > link->module->eager_bytes;
    xfer->frame.bytes = (uint32_t)xfer->bytes;
    if (!c4_verbs_tx_may(link, C4_VERBS_CREDITS_FOR_DATA) || (channel->paused && !large))
        return C4_IN_PROGRESS;
    const c4_verbs_ticket *ticket = large ? ticket_for(channel, &xfer->frame) : NULL;
    if (large && ticket == NULL)
        return C4_IN_PROGRESS;
    c4_verbs_slot *slot;
    C4_TRY(c4_verbs_slot_get(&link->module->slots, &slot));
    if (link->broken != 0) { /* the rail has just been found to be gone */
        c4_verbs_slot_put(&link->module->slots, slot);
        return C4_IN_PROGRESS;
    }
    slot->channel = channel;
    slot->comm = channel->comm;
    slot->tag = channel->tag;
    slot->frame = xfer->frame;
    slot->large = large;
    c4_verbs_message message = message_of(slot);
    c4_status status = large ? find_source(link, slot, xfer) : C4_OK;
    if (status != C4_OK) {
        c4_verbs_slot_put(&link->module->slots, slot);
        return status;
    }
    keep(link, slot);
    count_sent(channel, slot);
    if (large) {
        send_large(link, slot, ticket, &message);
        use_ticket(channel);
        return xfer->state;
    }
    if (xfer->bytes > 0)
        memcpy(slot->wire + C4_VERBS_HEADER_BYTES, xfer->pointer, xfer->bytes);
    send_small(link, slot, &message);
    return xfer->state = C4_OK;
}

/* The first of those that are to be sent again; false: it cannot go now. What has no data any more is passed over: nobody
 * waits for it. */
static bool send_again(c4_verbs_link *link)
{
    c4_verbs_slot *slot = link->again;
    c4_channel *channel = slot->channel;
    c4_verbs_message message = message_of(slot);
    const c4_verbs_ticket *ticket = NULL;
    bool lives = !slot->large || (channel != NULL && (slot->xfer != NULL || slot->unit != NULL));
    if (lives && !c4_verbs_tx_may(link, C4_VERBS_CREDITS_FOR_DATA))
        return false;
    if (lives && slot->large && (ticket = ticket_for(channel, &slot->frame)) == NULL)
        return false;
    link->again = slot->next;
    if (!lives) {
        release(link, slot, C4_ERR_LINK);
        return true;
    }
    keep(link, slot);
    if (channel != NULL)
        channel->counters.resends++;
    if (slot->large) {
        send_large(link, slot, ticket, &message);
        use_ticket(channel);
    } else {
        send_small(link, slot, &message);
    }
    return true;
}

c4_status c4_verbs_tx_post(c4_channel *channel, c4_xfer *xfer)
{
    if (channel->posts.first == NULL && channel->link->again == NULL) {
        c4_status status = send_first_time(channel, xfer);
        if (status != C4_IN_PROGRESS || xfer->handed_over)
            return xfer->state = status;
    }
    c4_verbs_channel_append(channel, xfer);
    c4_verbs_channel_waits(channel);
    c4_tlink_activate(&channel->link->base);
    return C4_IN_PROGRESS;
}

/* ---- what waits ---- */

static bool send_waiting(c4_channel *channel)
{
    bool moved = false;
    while (channel->posts.first != NULL) {
        c4_xfer *xfer = channel->posts.first;
        c4_status status = send_first_time(channel, xfer);
        if (status == C4_IN_PROGRESS && !xfer->handed_over)
            return moved;
        c4_verbs_channel_shift(channel);
        xfer->state = status;
        moved = true;
    }
    return moved;
}

static bool tell_pause(c4_channel *channel)
{
    c4_verbs_message message = {
        .kind = channel->paused ? C4_VERBS_PAUSE : C4_VERBS_RESUME, .comm = channel->comm, .tag = channel->tag};
    if (!channel->tell_pause || !c4_verbs_tx_may(channel->link, C4_VERBS_CREDITS_FOR_TICKETS))
        return false;
    channel->tell_pause = false;
    c4_verbs_tx_control(channel->link, &message);
    return true;
}

static bool still_waits(const c4_channel *channel)
{
    if (channel->writer)
        return channel->posts.first != NULL;
    return channel->tell_pause || !c4_verbs_tx_may(channel->link, C4_VERBS_CREDITS_FOR_TICKETS);
}

/* Each in turn, so that one that lacks a ticket keeps nobody. */
static bool service_channels(c4_verbs_link *link)
{
    bool moved = false;
    c4_channel *channel = link->waiting_first;
    link->waiting_first = link->waiting_last = NULL;
    while (channel != NULL) {
        c4_channel *next = channel->next_waiting;
        channel->waiting = false;
        if (channel->writer && link->again == NULL) {
            moved |= send_waiting(channel);
        } else if (!channel->writer) {
            moved |= tell_pause(channel);
            c4_verbs_rx_grant(channel);
        }
        if (still_waits(channel))
            c4_verbs_channel_waits_on(channel);
        channel = next;
    }
    return moved;
}

static void acknowledge(c4_verbs_link *link)
{
    c4_verbs_message message = {.kind = C4_VERBS_ACK};
    if (c4_verbs_tx_may(link, 0))
        c4_verbs_tx_control(link, &message);
}

bool c4_verbs_tx_service(c4_verbs_link *link)
{
    bool moved = false;
    if (!link->open || link->broken != 0)
        return false;
    while (link->again != NULL && send_again(link))
        moved = true;
    if (link->waiting_first != NULL)
        moved |= service_channels(link);
    if (link->ack_soon || c4_verbs_tx_owes(link))
        acknowledge(link);
    return moved;
}

void c4_verbs_tx_settle(c4_verbs_link *link)
{
    if (link->open && (uint32_t)link->received != link->told)
        acknowledge(link);
}

bool c4_verbs_tx_flush(c4_verbs_link *link)
{
    link->flushing = true;
    if (link->unsignaled > 0)
        acknowledge(link);
    return link->sq_room == C4_VERBS_SQ_DEPTH || link->broken != 0;
}

void c4_verbs_tx_hear(c4_verbs_link *link, const c4_verbs_message *message)
{
    bool ticket = message->kind == C4_VERBS_TICKET;
    c4_channel *channel = ticket ? c4_verbs_channel_incoming(link, message->comm, message->tag, true)
                                 : c4_verbs_channel_find(link, message->comm, message->tag, true);
    if (channel == NULL && !ticket)
        return; /* closed meanwhile */
    if (channel == NULL || (ticket && channel->ntickets == C4_VERBS_TICKETS)) {
        c4_verbs_link_break(link, channel == NULL ? ENOMEM : EPROTO);
        return;
    }
    if (!ticket) {
        channel->paused = message->kind == C4_VERBS_PAUSE;
    } else {
        channel->tickets[(channel->first_ticket + channel->ntickets++) % C4_VERBS_TICKETS] =
            (c4_verbs_ticket){.number = message->ticket,
                              .bytes = message->frame.bytes,
                              .rkey = message->rkey,
                              .address = message->address};
    }
    if (channel->posts.first != NULL)
        c4_verbs_channel_waits(channel);
}

/* ---- the end of a queue pair, of a channel, of all ---- */

void c4_verbs_tx_rewind(c4_verbs_link *link)
{
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next)
        if (channel->writer) {
            channel->first_ticket = channel->ntickets = 0;
            channel->announced = false;
            channel->paused = false; /* said again, if it is still so */
        }
    if (link->sent_first != NULL) {
        link->sent_last->next = link->again;
        link->again = link->sent_first;
    }
    link->sent_first = link->sent_last = NULL;
    link->sent = link->acked;
}

bool c4_verbs_tx_resume(c4_verbs_link *link, uint64_t received)
{
    while (link->acked < received && link->again != NULL) {
        c4_verbs_slot *slot = link->again;
        link->again = slot->next;
        link->acked++;
        release(link, slot, C4_OK);
    }
    link->sent = link->acked;
    return link->acked == received;
}

static c4_verbs_slot *find_span(const c4_verbs_link *link, const c4_xfer *xfer)
{
    c4_verbs_slot *const lists[] = {link->sent_first, link->again};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (c4_verbs_slot *slot = lists[i]; slot != NULL; slot = slot->next)
            if (slot->xfer == xfer)
                return slot;
    return NULL;
}

bool c4_verbs_tx_cancel(c4_verbs_link *link, const c4_xfer *xfer)
{
    c4_verbs_slot *slot = find_span(link, xfer);
    if (slot == NULL)
        return false;
    slot->xfer = NULL;
    link->nspans--;
    return true;
}

static bool forget_channel(c4_verbs_slot *list, const c4_channel *channel)
{
    bool span = false;
    for (c4_verbs_slot *slot = list; slot != NULL; slot = slot->next) {
        if (slot->channel != channel)
            continue;
        slot->channel = NULL;
        channel->link->nspans -= slot->xfer != NULL;
        span |= slot->xfer != NULL;
        slot->xfer = NULL;
    }
    return span;
}

bool c4_verbs_tx_forget(c4_channel *channel)
{
    bool again = forget_channel(channel->link->again, channel);
    return forget_channel(channel->link->sent_first, channel) || again;
}

void c4_verbs_tx_fini(c4_verbs_link *link, c4_status status)
{
    c4_verbs_tx_rewind(link);
    while (link->again != NULL) {
        c4_verbs_slot *slot = link->again;
        link->again = slot->next;
        release(link, slot, status);
    }
}
