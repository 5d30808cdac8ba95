/* Connections of the control plane: queues, messages in,
 * to and from the core. */
#include <errno.h>
#include <linux/pkt_sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "control/control_internal.h"

/* What has to be told within a second shall not stand behind bulk data in this host's queues. */
void c4_control_prefer(int fd)
{
    int interactive = TC_PRIO_INTERACTIVE;
    setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &interactive, sizeof interactive); /* best effort */
}

/* ---- out ---- */

static void arm(c4_control *control, int rank)
{
    c4_control_peer *peer = &control->peers[rank];
    struct epoll_event event = {.events = EPOLLIN | (peer->queued ? EPOLLOUT : 0),
                                .data.u64 = c4_event_pack(C4_EVENT_LINK, 0, (uint32_t)rank)};
    epoll_ctl(control->epoll_fd, EPOLL_CTL_MOD, peer->link.fd, &event);
}

/* What cannot be sent because the connection has ended is dropped: reading will find the end, and the next link begins with
 * what matters of it. */
static void flush(c4_control_peer *peer)
{
    size_t done = 0;
    while (done < peer->queued) {
        ssize_t sent = send(peer->link.fd, peer->queue + done, peer->queued - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            done += (size_t)sent;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR) {
            done = peer->queued;
            peer->cut = true;
        }
    }
    peer->queued -= done;
    if (peer->queued)
        memmove(peer->queue, peer->queue + done, peer->queued);
}

static bool make_room(c4_control_peer *peer, size_t bytes)
{
    size_t need = peer->queued + bytes;
    if (need <= peer->capacity)
        return true;
    size_t capacity = peer->capacity ? peer->capacity : 1024;
    while (capacity < need)
        capacity *= 2;
    unsigned char *queue = need <= C4_CONTROL_QUEUE_MAX_BYTES ? realloc(peer->queue, capacity) : NULL;
    if (!queue)
        return false;
    peer->queue = queue;
    peer->capacity = capacity;
    return true;
}

void c4_control_send(c4_control *control, int rank, const c4_control_header *header, const void *payload)
{
    c4_control_peer *peer = &control->peers[rank];
    if (peer->link.fd < 0)
        return;
    bool waiting = peer->queued > 0;
    if (!make_room(peer, C4_CONTROL_HEADER_BYTES + header->bytes)) {
        c4_log(C4_LOG_WARN, "control: rank %d does not read; a message to it is dropped", rank);
        return;
    }
    c4_control_header_pack(header, peer->queue + peer->queued);
    if (header->bytes)
        memcpy(peer->queue + peer->queued + C4_CONTROL_HEADER_BYTES, payload, header->bytes);
    peer->queued += C4_CONTROL_HEADER_BYTES + header->bytes;
    flush(peer);
    if (waiting != (peer->queued > 0))
        arm(control, rank);
}

bool c4_control_is_flushed(const c4_control *control)
{
    for (int rank = 0; rank < control->nranks; rank++)
        if (control->peers[rank].link.fd >= 0 && (control->peers[rank].queued || control->peers[rank].cut))
            return false;
    return true;
}

c4_status c4_control_open_link(c4_control *control, int rank, int fd)
{
    c4_control_peer *peer = &control->peers[rank];
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = c4_event_pack(C4_EVENT_LINK, 0, (uint32_t)rank)};
    c4_status status = C4_OK;
    c4_link_init(&peer->link, fd);
    c4_control_prefer(fd);
    peer->in = malloc(c4_overlay_max_bytes((uint32_t)control->nranks));
    if (!peer->in)
        status = c4_fail(C4_ERR_MEMORY, "control plane of %d ranks", control->nranks);
    else if (epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        status = c4_fail_errno(c4_status_from_errno(errno), errno, "control plane: epoll_ctl");
    if (status < 0)
        c4_control_close_link(control, rank);
    else
        c4_core_link_up(control->core, rank, c4_now_ns());
    return status;
}

void c4_control_close_link(c4_control *control, int rank)
{
    c4_control_peer *peer = &control->peers[rank];
    /* By hand: a child made by fork may hold it, which keeps it in the set. In that child the set is the parent's. */
    if (peer->link.fd >= 0 && control->pid == getpid())
        epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, peer->link.fd, NULL);
    c4_link_close(&peer->link);
    free(peer->in);
    free(peer->queue);
    peer->in = peer->queue = NULL;
    peer->queued = peer->capacity = 0;
    peer->closing = peer->cut = false;
}

void c4_control_close_links(c4_control *control)
{
    if (!control->any_closing)
        return;
    control->any_closing = false;
    for (int rank = 0; rank < control->nranks; rank++)
        if (control->peers[rank].closing)
            c4_control_close_link(control, rank);
}

/* ---- in ---- */

static c4_status on_message(c4_control *control, int from)
{
    const c4_control_header *header = &control->peers[from].link.header;
    if (header->kind == C4_CONTROL_FAULT) /* a rank gives up while the others start: its link will close */
        return C4_OK;
    return c4_core_message(control->core, from, header, control->peers[from].in, c4_now_ns());
}

void c4_control_lose_link(c4_control *control, int rank, c4_core_loss loss)
{
    c4_control_close_link(control, rank);
    c4_core_link_down(control->core, rank, loss, control->peers[rank].pidfd >= 0, c4_now_ns());
}

/* Takes one message; C4_IN_PROGRESS when there is no whole one. */
static c4_status receive_one(c4_control *control, int rank)
{
    c4_control_peer *peer = &control->peers[rank];
    c4_status status = c4_link_receive_header(&peer->link, (uint32_t)control->nranks);
    if (status != C4_OK)
        return status;
    if (peer->link.header.bytes > c4_overlay_max_bytes((uint32_t)control->nranks))
        return C4_ERR_PROTOCOL;
    status = c4_link_receive_payload(&peer->link, peer->in);
    if (status != C4_OK)
        return status;
    return on_message(control, rank);
}

void c4_control_on_link_event(c4_control *control, int rank, uint32_t events)
{
    c4_control_peer *peer = &control->peers[rank];
    if (peer->link.fd >= 0 && (events & EPOLLOUT)) {
        flush(peer);
        arm(control, rank);
    }
    c4_status status = C4_OK;
    while (status == C4_OK && peer->link.fd >= 0 && (events & ~(uint32_t)EPOLLOUT))
        status = receive_one(control, rank);
    bool whole = errno == 0 && peer->link.got == 0; /* closed between two messages */
    if (status >= 0)
        return;
    if (status != C4_ERR_LINK)
        c4_log(C4_LOG_ERROR,
               "control: rank %d (pid %u on %s) sent a malformed control message; its connection is closed", rank,
               peer->process.pid, peer->process.host);
    c4_control_lose_link(control, rank, status == C4_ERR_LINK && whole ? C4_LOSS_END : C4_LOSS_BREAK);
}
