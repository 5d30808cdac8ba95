#include "transports/tcp/progress.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include "transports/tcp/attempt.h"
#include "transports/tcp/link.h"
#include "transports/tcp/rx.h"
#include "transports/tcp/tx.h"

#define FLUSH_NS 1000000000u
/* From so many active links on they are asked together: a recv that finds nothing costs as much as an epoll_wait. */
#define ASK_LINKS  3u
#define ASK_EVENTS 64
/* Of so many polls without an active link one looks at the clock, for those who connect. */
#define IDLE_POLLS 65536u

/* Tells the peer what has arrived, unless a frame that is about to start does. */
static void send_owed_ack(c4_tcp_link *link)
{
    const c4_tcp_out *last = link->tx.last_started;
    const c4_tcp_out *unstarted = last != NULL ? last->next : link->tx.head;
    if (unstarted == NULL && c4_tcp_tx_control(link, C4_TCP_ACK, 0, 0) < 0)
        return;
    if (!link->tx.blocked)
        c4_tcp_tx_flush(link);
}

static bool link_progress(c4_tcp_link *link, bool readable)
{
    bool moved = readable ? c4_tcp_rx_poll(link) : c4_tcp_rx_parse(link);
    if (c4_tcp_tx_pending(link))
        moved |= c4_tcp_tx_flush(link);
    if (link->rx.ack_owed && link->state == C4_TCP_UP)
        send_owed_ack(link);
    return moved;
}

static bool watch(c4_module *module, c4_tcp_link *link)
{
    struct epoll_event event = {.events = 0, .data.ptr = link};
    if (link->state != C4_TCP_UP)
        return true;
    if (c4_tcp_link_wants_read(link))
        event.events |= EPOLLIN;
    if (link->tx.blocked)
        event.events |= EPOLLOUT;
    if (event.events == link->watched)
        return true;
    int operation = link->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(module->idle_fd, operation, link->stream.fd, &event) != 0)
        return false;
    link->registered = true;
    link->watched = event.events;
    return true;
}

/* Many links: one system call says which have something to read, instead of one each. True when all were asked so; then
 * those are marked. */
static bool ask_together(c4_module *module)
{
    struct epoll_event events[ASK_EVENTS];
    if (module->nactive < ASK_LINKS)
        return false;
    for (size_t i = 0; i < module->nactive; i++) {
        c4_tcp_link *link = module->active[i];
        if (c4_tcp_link_wants_read(link) && !(link->watched & EPOLLIN) && !watch(module, link))
            return false;
    }
    int n = epoll_wait(module->idle_fd, events, ASK_EVENTS, 0);
    if (n < 0 || n == ASK_EVENTS)
        return false;
    for (int i = 0; i < n; i++)
        if (events[i].data.ptr != NULL) /* else connections being made */
            ((c4_tcp_link *)events[i].data.ptr)->readable = true;
    return true;
}

static bool links_progress(c4_module *module, bool *down)
{
    bool moved = false;
    uint64_t now = 0;
    bool together = ask_together(module);
    for (size_t i = 0; i < module->nactive;) {
        c4_tcp_link *link = module->active[i];
        bool readable = !together || link->readable || c4_tcp_stream_buffered(&link->stream);
        link->readable = false;
        if (link->state == C4_TCP_UP)
            moved |= link_progress(link, readable);
        if (link->state == C4_TCP_DOWN) {
            now = now != 0 ? now : c4_now_ns();
            *down = true;
            c4_tcp_link_service(link, now);
        }
        if (c4_tcp_link_busy(link)) {
            i++;
            continue;
        }
        link->active = false;
        module->active[i] = module->active[--module->nactive];
    }
    return moved;
}

/* Accepting and connecting cost a system call even when there is nothing to do: often only while a link is down. */
static bool setup_progress(c4_module *module, bool down)
{
    uint64_t now = c4_tsc();
    uint64_t period = down ? module->setup_period_tsc / 16 : module->setup_period_tsc;
    if (now - module->setup_poll_tsc < period)
        return false;
    module->setup_poll_tsc = now;
    return c4_tcp_attempts_poll(module);
}

/* No link has anything to do, but a peer may have lost one and connect again: it waits for this side, which others may
 * be waiting for in turn. After a sleep it may have been that which ended it. */
static bool idle_progress(c4_module *module)
{
    bool look = module->setup_poll_tsc == 0 || ++module->idle_polls % IDLE_POLLS == 0;
    return look && setup_progress(module, false);
}

c4_status c4_tcp_progress(c4_module *module, int *peer)
{
    bool down = false;
    *peer = -1;
    if (module->nactive == 0 && module->failed == NULL)
        return idle_progress(module) ? C4_OK : C4_IN_PROGRESS;
    bool moved = links_progress(module, &down);
    moved |= setup_progress(module, down);
    if (module->failed != NULL) {
        c4_tcp_link *link = module->failed;
        module->failed = link->next_failed;
        *peer = link->peer;
        return link->status;
    }
    return moved ? C4_OK : C4_IN_PROGRESS;
}

/* ---- idle waiting ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void set_timer(c4_module *module, uint64_t at_ns)
{
    struct itimerspec when = {{0, 0}, {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)}};
    timerfd_settime(module->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

c4_status c4_tcp_arm(c4_module *module, int *fd)
{
    uint64_t wake_ns = c4_tcp_attempts_deadline(module);
    *fd = module->idle_fd;
    if (module->failed != NULL)
        return C4_OK;
    for (int peer = 0; peer < module->host.nranks; peer++) {
        c4_tcp_link *links = module->peers[peer].links;
        for (unsigned i = 0; links != NULL && i < module->nsockets; i++) {
            if (!watch(module, &links[i]))
                return C4_OK; /* no memory to sleep with: keep polling */
            if (links[i].rx.held_since_ns != 0)
                return C4_OK; /* soon put aside */
            if (c4_tcp_stream_buffered(&links[i].stream) && c4_tcp_link_wants_read(&links[i]))
                return C4_OK; /* epoll does not know of it */
            wake_ns = earlier(wake_ns, c4_tcp_link_wake_ns(&links[i]));
        }
    }
    set_timer(module, wake_ns);
    return C4_IN_PROGRESS;
}

void c4_tcp_disarm(c4_module *module)
{
    /* What was watched stays so: it costs nothing while nobody waits, and the next arm tells only what has changed. */
    module->setup_poll_tsc = 0;
}

/* ---- closing ---- */

static bool link_flushed(const c4_tcp_link *link)
{
    int queued = 0;
    if (link->state == C4_TCP_FAILED || link->state == C4_TCP_ENDED)
        return true;
    if (c4_tcp_tx_pending(link))
        return false;
    return link->state != C4_TCP_UP || ioctl(link->stream.fd, SIOCOUTQ, &queued) != 0 || queued == 0;
}

static bool all_flushed(const c4_module *module)
{
    for (int peer = 0; peer < module->host.nranks; peer++) {
        const c4_tcp_link *links = module->peers[peer].links;
        for (unsigned i = 0; links != NULL && i < module->nsockets; i++)
            if (!link_flushed(&links[i]))
                return false;
    }
    return true;
}

static void say_bye(c4_module *module)
{
    for (int peer = 0; peer < module->host.nranks; peer++) {
        c4_tcp_link *links = module->peers[peer].links;
        for (unsigned i = 0; links != NULL && i < module->nsockets; i++) {
            if (links[i].state == C4_TCP_UP || (links[i].state == C4_TCP_DOWN && c4_tcp_tx_pending(&links[i])))
                c4_tcp_tx_control(&links[i], C4_TCP_BYE, 0, 0);
        }
    }
}

void c4_tcp_flush_all(c4_module *module)
{
    uint64_t deadline = c4_now_ns() + FLUSH_NS;
    int peer;
    say_bye(module);
    while (c4_tcp_progress(module, &peer), !all_flushed(module) && c4_now_ns() < deadline) {
        struct pollfd waiter = {.fd = -1, .events = POLLIN};
        if (c4_tcp_arm(module, &waiter.fd) == C4_IN_PROGRESS)
            poll(&waiter, 1, 1);
    }
}
