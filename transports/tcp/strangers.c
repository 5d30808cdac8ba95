#include "transports/tcp/strangers.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* So many connections are looked at before data has its turn again. */
#define MAX_ACCEPTS 64

static void listen_again(c4_module *module, bool on)
{
    struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = NULL};
    if (module->listening == on)
        return;
    for (unsigned i = 0; i < module->nlisten_fds; i++)
        epoll_ctl(module->setup_fd, EPOLL_CTL_MOD, module->listen_fds[i], &event);
    module->listening = on;
}

void c4_tcp_strangers_left(c4_module *module)
{
    module->nstrangers--;
    listen_again(module, true);
}

uint64_t c4_tcp_stranger_deadline(const c4_tcp_attempt *attempt)
{
    if (attempt->module->nstrangers < C4_TCP_MAX_STRANGERS)
        return attempt->began_ns + C4_TCP_STRANGER_NS;
    return attempt->began_ns + (attempt->heard ? C4_TCP_CROWDED_STRANGER_NS : C4_TCP_CROWDED_SILENT_NS);
}

void c4_tcp_stranger_refuse(c4_tcp_attempt *attempt, const char *why)
{
    c4_module *module = attempt->module;
    char text[C4_TCP_ADDRESS_TEXT];
    uint64_t now = c4_now_ns();
    c4_tcp_address_text(&attempt->from, text);
    module->refused++;
    if (module->refused_logged_ns != 0 && now - module->refused_logged_ns < C4_TCP_REFUSED_LOG_NS) {
        module->refused_unlogged++;
        C4_TCP_LOG(module, C4_TLOG_DEBUG, "tcp: refused a connection from %s: %s", text, why);
    } else {
        C4_TCP_LOG(
            module, C4_TLOG_WARN,
            "tcp: refused a connection from %s: %s (%llu others since the last such line; the next in 10 s at the "
            "earliest)",
            text, why, (unsigned long long)module->refused_unlogged);
        module->refused_logged_ns = now;
        module->refused_unlogged = 0;
    }
    c4_tcp_attempt_drop(attempt);
}

/* The stranger whose time is up and who has waited longest; a silent one before one that speaks. */
static c4_tcp_attempt *find_victim(const c4_module *module)
{
    c4_tcp_attempt *victim = NULL;
    uint64_t now = c4_now_ns();
    for (c4_tcp_attempt *attempt = module->attempts; attempt != NULL; attempt = attempt->next) {
        if (attempt->link != NULL || now < c4_tcp_stranger_deadline(attempt))
            continue;
        if (victim == NULL || (victim->heard && !attempt->heard) ||
            (victim->heard == attempt->heard && attempt->began_ns < victim->began_ns))
            victim = attempt;
    }
    return victim;
}

static int accept_fd(const c4_module *module, int listen_fd, struct sockaddr_storage *name)
{
    socklen_t length = sizeof *name;
    if (module->port == NULL)
        return accept4(listen_fd, (struct sockaddr *)name, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int fd = module->port->take(module->port->context, listen_fd);
    *name = (struct sockaddr_storage){.ss_family = AF_INET};
    if (fd >= 0)
        getpeername(fd, (struct sockaddr *)name, &length); /* fails for one that has gone: soon seen */
    else
        errno = EAGAIN;
    return fd;
}

/* False when nobody waits at this listener. */
static bool accept_one(c4_module *module, int listen_fd, c4_tcp_attempt *victim)
{
    struct sockaddr_storage name;
    c4_tcp_address from;
    int fd = accept_fd(module, listen_fd, &name);
    if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
        return true;
    if (fd < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && module->refused++ == 0)
            c4_fail_errno(c4_status_from_errno(errno), errno, "tcp: accepting connections");
        return false;
    }
    if (victim != NULL)
        c4_tcp_stranger_refuse(victim, "did not authenticate in time, and others were waiting");
    c4_tcp_address_from(&name, &from);
    c4_tcp_attempt_accepted(module, fd, &from);
    return true;
}

void c4_tcp_strangers_accept(c4_module *module)
{
    unsigned accepts = 0;
    for (unsigned i = 0; i < module->nlisten_fds; i++) {
        c4_tcp_attempt *victim = NULL;
        do {
            bool full = module->nstrangers >= C4_TCP_MAX_STRANGERS;
            victim = full ? find_victim(module) : NULL;
            if (full && victim == NULL) {
                listen_again(module, false); /* until somebody's time is up */
                return;
            }
        } while (accepts++ < MAX_ACCEPTS && accept_one(module, module->listen_fds[i], victim));
    }
}
