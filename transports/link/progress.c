/* Moving links and attempts, and waiting while nothing moves. */
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "transports/link/attempt.h"

/* From so many active links on they are asked together: a recv that finds nothing costs as much as an epoll_wait. */
#define ASK_LINKS  3u
#define ASK_EVENTS 64
/* Of so many polls without an active link one looks at the clock, for those who connect. Few: a program that only tests its
 * requests now and then, every millisecond say, polls no more often. */
#define IDLE_POLLS 256u
/* Of what a link wants: bytes from the peer matter. */
#define READING ((unsigned)(C4_TLINK_RECV | C4_TLINK_SETTLE | C4_TLINK_READ))

static bool watch(c4_tlink *link, unsigned wants)
{
    struct epoll_event event = {.events = 0, .data.ptr = link};
    if (link->state != C4_TLINK_UP || link->hub->ops->guarded)
        return true;
    if ((wants & READING) != 0)
        event.events |= EPOLLIN;
    if ((wants & C4_TLINK_WRITE) != 0)
        event.events |= EPOLLOUT;
    if (event.events == link->watched)
        return true;
    int operation = link->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(link->hub->idle_fd, operation, link->stream.fd, &event) != 0)
        return false;
    link->registered = true;
    link->watched = event.events;
    return true;
}

static bool watch_active(c4_tlink_hub *hub)
{
    for (size_t i = 0; i < hub->nactive; i++) {
        c4_tlink *link = hub->active[i];
        if ((link->watched & EPOLLIN) != 0 || link->state != C4_TLINK_UP)
            continue;
        unsigned wants = hub->ops->wants(link);
        if ((wants & READING) != 0 && !watch(link, wants))
            return false;
    }
    return true;
}

/* Many links: one system call says which have something to read, instead of one each. True when all were asked so; then
 * those are marked. */
static bool ask_together(c4_tlink_hub *hub)
{
    struct epoll_event events[ASK_EVENTS];
    if (hub->nactive < ASK_LINKS || !watch_active(hub))
        return false;
    int n = epoll_wait(hub->idle_fd, events, ASK_EVENTS, 0);
    if (n < 0 || n == ASK_EVENTS)
        return false;
    for (int i = 0; i < n; i++)
        if (events[i].data.ptr != NULL) /* else connections being made, or a descriptor of the transport's */
            ((c4_tlink *)events[i].data.ptr)->readable = true;
    return true;
}

static bool links_progress(c4_tlink_hub *hub, bool *down)
{
    const c4_tlink_ops *ops = hub->ops;
    bool moved = false;
    uint64_t now = 0;
    bool asked = ops->guarded || ask_together(hub);
    for (size_t i = 0; i < hub->nactive;) {
        c4_tlink *link = hub->active[i];
        bool readable = !asked || link->readable || c4_tlink_stream_buffered(&link->stream);
        link->readable = false;
        if (link->state == C4_TLINK_UP)
            moved |= ops->progress(link, readable);
        if (link->state == C4_TLINK_DOWN) {
            now = now != 0 ? now : c4_now_ns();
            *down = true;
            c4_tlink_service(link, now);
        }
        if (c4_tlink_busy(link)) {
            i++;
            continue;
        }
        link->active = false;
        hub->active[i] = hub->active[--hub->nactive];
    }
    return moved;
}

/* Accepting and connecting cost a system call even when there is nothing to do: often only while a link is down. */
static bool setup_progress(c4_tlink_hub *hub, bool down)
{
    uint64_t now = c4_tsc();
    uint64_t period = down ? hub->setup_period_tsc / 16 : hub->setup_period_tsc;
    if (now - hub->setup_poll_tsc < period)
        return false;
    hub->setup_poll_tsc = now;
    return c4_tlink_attempts_poll(hub);
}

/* No link has anything to do, but a peer may have lost one and connect again: it waits for this side, which others may
 * be waiting for in turn. After a sleep it may have been that which ended it. */
static bool idle_progress(c4_tlink_hub *hub)
{
    bool look = hub->setup_poll_tsc == 0 || ++hub->idle_polls % IDLE_POLLS == 0;
    return look && setup_progress(hub, false);
}

c4_status c4_tlink_hub_progress(c4_tlink_hub *hub, int *peer)
{
    bool down = false;
    *peer = -1;
    if (hub->nactive == 0 && hub->failed == NULL)
        return idle_progress(hub) ? C4_OK : C4_IN_PROGRESS;
    bool moved = links_progress(hub, &down);
    moved |= setup_progress(hub, down);
    if (hub->failed != NULL) {
        c4_tlink *link = hub->failed;
        hub->failed = link->next_failed;
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

static void set_timer(c4_tlink_hub *hub, uint64_t at_ns)
{
    struct itimerspec when = {{0, 0}, {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)}};
    timerfd_settime(hub->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* True when what it waits for comes by its stream or by the timer. */
static bool may_sleep(c4_tlink *link)
{
    if (link->state > C4_TLINK_UP)
        return true;
    unsigned wants = link->hub->ops->wants(link);
    if ((wants & C4_TLINK_SOON) != 0 || (link->readable && link->hub->ops->guarded))
        return false;
    if (!watch(link, wants))
        return false; /* no memory to sleep with: keep polling */
    return (wants & READING) == 0 || !c4_tlink_stream_buffered(&link->stream); /* which epoll does not know of */
}

c4_status c4_tlink_hub_arm(c4_tlink_hub *hub, int *fd)
{
    uint64_t wake_ns = c4_tlink_attempts_deadline(hub);
    *fd = hub->idle_fd;
    if (hub->failed != NULL)
        return C4_OK;
    for (c4_tlink *link = c4_tlink_next(hub, NULL); link != NULL; link = c4_tlink_next(hub, link)) {
        if (!may_sleep(link))
            return C4_OK;
        wake_ns = earlier(wake_ns, c4_tlink_wake_ns(link));
    }
    set_timer(hub, wake_ns);
    return C4_IN_PROGRESS;
}

void c4_tlink_hub_disarm(c4_tlink_hub *hub)
{
    /* What was watched stays so: it costs nothing while nobody waits, and the next arm tells only what has changed. */
    hub->setup_poll_tsc = 0;
}
