#include "transports/link/strangers.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* So many connections are looked at before data has its turn again. */
#define MAX_ACCEPTS 64

static void listen_again(c4_tlink_hub *hub, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = NULL};
    if (hub->listening == on)
        return;
    for (unsigned i = 0; i < hub->nlisten_fds; i++)
        epoll_ctl(hub->setup_fd, EPOLL_CTL_MOD, hub->listen_fds[i], &event);
    hub->listening = on;
}

void c4_tlink_strangers_left(c4_tlink_hub *hub)
{
    hub->nstrangers--;
    listen_again(hub, true);
}

uint64_t c4_tlink_stranger_deadline(const c4_tlink_attempt *attempt)
{
    if (attempt->hub->nstrangers < C4_TLINK_MAX_STRANGERS)
        return attempt->began_ns + C4_TLINK_STRANGER_NS;
    return attempt->began_ns + (attempt->heard ? C4_TLINK_CROWDED_STRANGER_NS : C4_TLINK_CROWDED_SILENT_NS);
}

void c4_tlink_stranger_refuse(c4_tlink_attempt *attempt, const char *why)
{
    c4_tlink_hub *hub = attempt->hub;
    char text[C4_TLINK_ADDRESS_TEXT];
    uint64_t now = c4_now_ns();
    c4_tlink_address_text(&attempt->from, text);
    hub->refused++;
    if (hub->refused_logged_ns != 0 && now - hub->refused_logged_ns < C4_TLINK_REFUSED_LOG_NS) {
        hub->refused_unlogged++;
        C4_TLINK_LOG(hub, C4_TLOG_DEBUG, "%s: refused a connection from %s: %s", hub->ops->name, text, why);
    } else {
        C4_TLINK_LOG(
            hub, C4_TLOG_WARN,
            "%s: refused a connection from %s: %s (%llu others since the last such line; the next in 10 s at the "
            "earliest)",
            hub->ops->name, text, why, (unsigned long long)hub->refused_unlogged);
        hub->refused_logged_ns = now;
        hub->refused_unlogged = 0;
    }
    c4_tlink_attempt_drop(attempt);
}

/* The stranger whose time is up and who has waited longest; a silent one before one that speaks. */
static c4_tlink_attempt *find_victim(const c4_tlink_hub *hub)
{
    c4_tlink_attempt *victim = NULL;
    uint64_t now = c4_now_ns();
    for (c4_tlink_attempt *attempt = hub->attempts; attempt != NULL; attempt = attempt->next) {
        if (attempt->link != NULL || now < c4_tlink_stranger_deadline(attempt))
            continue;
        if (victim == NULL || (victim->heard && !attempt->heard) ||
            (victim->heard == attempt->heard && attempt->began_ns < victim->began_ns))
            victim = attempt;
    }
    return victim;
}

static int accept_fd(const c4_tlink_hub *hub, int listen_fd, struct sockaddr_storage *name)
{
    socklen_t length = sizeof *name;
    if (hub->port == NULL)
        return accept4(listen_fd, (struct sockaddr *)name, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int fd = hub->port->take(hub->port->context, listen_fd);
    *name = (struct sockaddr_storage){.ss_family = AF_INET};
    if (fd >= 0)
        getpeername(fd, (struct sockaddr *)name, &length); /* fails for one that has gone: soon seen */
    else
        errno = EAGAIN;
    return fd;
}

/* False when nobody waits at this listener. */
static bool accept_one(c4_tlink_hub *hub, int listen_fd, c4_tlink_attempt *victim)
{
    struct sockaddr_storage name;
    c4_tlink_address from;
    int fd = accept_fd(hub, listen_fd, &name);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
        return true;
    if (fd < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && hub->refused++ == 0)
            c4_fail_errno(c4_status_from_errno(errno), errno, "%s: accepting connections", hub->ops->name);
        return false;
    }
    if (victim != NULL)
        c4_tlink_stranger_refuse(victim, "did not authenticate in time, and others were waiting");
    c4_tlink_address_from(&name, &from);
    c4_tlink_attempt_accepted(hub, fd, &from);
    return true;
}

void c4_tlink_strangers_accept(c4_tlink_hub *hub)
{
    unsigned accepts = 0;
    for (unsigned i = 0; i < hub->nlisten_fds; i++) {
        c4_tlink_attempt *victim = NULL;
        do {
            bool full = hub->nstrangers >= C4_TLINK_MAX_STRANGERS;
            victim = full ? find_victim(hub) : NULL;
            if (full && victim == NULL) {
                listen_again(hub, false); /* until somebody's time is up */
                return;
            }
        } while (accepts++ < MAX_ACCEPTS && accept_one(hub, hub->listen_fds[i], victim));
    }
}
