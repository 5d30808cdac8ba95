#include "transports/verbs/progress.h"

#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>

#include "transports/verbs/link.h"
#include "transports/verbs/rx.h"
#include "transports/verbs/tx.h"

#define FLUSH_NS 1000000000u
/* Of so many polls one looks after what is not a message, ports and connections: that costs more than a message does. */
#define REST_POLLS 16u
/* Of so many polls one leaves the core to whoever does a software device's work, if nothing has come. At each one, what comes would
 * wait for the system call: 18.3 us for 8 bytes over Soft-RoCE instead of 17.3. */
#define YIELD_POLLS 64u

/* The descriptors of a device that was taken away are readable for ever (ib_uverbs_event_poll says EPOLLERR): nobody could sleep. */
static void stop_watching(const c4_module *module, const c4_verbs_rail *rail)
{
    epoll_ctl(module->hub.idle_fd, EPOLL_CTL_DEL, rail->wake->fd, NULL);
    epoll_ctl(module->hub.idle_fd, EPOLL_CTL_DEL, rail->context->async_fd, NULL);
}

static void look_at_rails(c4_module *module)
{
    module->events_tsc = c4_tsc();
    for (unsigned i = 0; i < module->nrails; i++)
        if (c4_verbs_rail_events(&module->rails[i], &module->hub.host)) {
            c4_verbs_rail *rail = &module->rails[i];
            if (rail->up)
                c4_verbs_link_return_to_rail(module, rail);
            else
                c4_verbs_link_leave_rail(module, rail);
            if (rail->gone)
                stop_watching(module, rail);
        }
}

/* What the user has taken back must not stay registered longer than need be. */
static void look_at_memory(c4_module *module)
{
    const c4_transport_host *host = &module->hub.host;
    if (host->memory_taken_back == NULL)
        return;
    uint64_t now = host->memory_taken_back(host->context);
    if (now == module->taken_back)
        return;
    module->taken_back = now;
    c4_verbs_memory_sweep(&module->memory, host);
}

static bool service(c4_module *module)
{
    bool moved = false;
    c4_verbs_link *link = module->busy;
    module->busy = NULL;
    while (link != NULL) {
        c4_verbs_link *next = link->next_busy;
        link->busy = false;
        if (link->broken != 0 && link->base.state == C4_TLINK_UP) {
            c4_tlink_lost(&link->base, link->broken);
            moved = true;
        } else {
            moved |= c4_verbs_tx_service(link);
        }
        link = next;
    }
    return moved;
}

/* Without a queue pair nothing can be wrong with one: a module that nobody uses makes no system call. After a sleep one is
 * made all the same. */
static bool linked(const c4_module *module)
{
    bool any = module->events_tsc == 0;
    for (unsigned i = 0; i < module->nrails; i++)
        any |= module->rails[i].nlinks > 0;
    return any;
}

static bool poll_rails(c4_module *module)
{
    bool moved = module->moved;
    module->moved = false;
    for (unsigned i = 0; i < module->nrails; i++)
        if (module->rails[i].ncqs > 0)
            moved |= c4_verbs_rx_poll(module, &module->rails[i]);
    if (module->busy != NULL)
        moved |= service(module);
    return moved;
}

/* Ports, and memory that was taken back. */
static void look_around(c4_module *module)
{
    if (!linked(module) || c4_tsc() - module->events_tsc < module->events_period_tsc)
        return;
    look_at_rails(module);
    look_at_memory(module);
}

c4_status c4_verbs_progress(c4_module *module, int *peer)
{
    bool moved = poll_rails(module);
    bool due = ++module->polls % REST_POLLS == 0 || module->events_tsc == 0;
    if (due)
        look_around(module);
    if (module->software && !moved && module->polls % YIELD_POLLS == 0 && linked(module))
        sched_yield();
    *peer = -1;
    bool skip = !due && module->hub.nactive > 0 && module->hub.failed == NULL;
    c4_status status = skip ? C4_IN_PROGRESS : c4_tlink_hub_progress(&module->hub, peer);
    return status == C4_IN_PROGRESS && moved ? C4_OK : status;
}

c4_status c4_verbs_arm(c4_module *module, int *fd)
{
    bool armed = true;
    for (c4_tlink *base = c4_tlink_next(&module->hub, NULL); base != NULL; base = c4_tlink_next(&module->hub, base))
        c4_verbs_tx_settle(c4_verbs_link_of(base));
    for (unsigned i = 0; i < module->nrails; i++) {
        armed &= c4_verbs_rail_arm(&module->rails[i]);
        module->moved |= c4_verbs_rx_poll(module, &module->rails[i]); /* what came before it was armed rings nothing */
    }
    c4_status status = c4_tlink_hub_arm(&module->hub, fd);
    return module->moved || module->busy != NULL || !armed ? C4_OK : status;
}

void c4_verbs_disarm(c4_module *module)
{
    for (unsigned i = 0; i < module->nrails; i++)
        c4_verbs_rail_disarm(&module->rails[i]);
    module->events_tsc = 0; /* it may have been a rail that ended the sleep */
    c4_tlink_hub_disarm(&module->hub);
}

/* ---- closing ---- */

static bool flushed(c4_verbs_link *link)
{
    if (link->base.state >= C4_TLINK_ENDED)
        return true;
    if (link->nqueued > 0 || link->again != NULL)
        return false;
    return link->base.state != C4_TLINK_UP || !link->open || c4_verbs_tx_flush(link);
}

static bool all_flushed(c4_module *module)
{
    bool done = true;
    for (c4_tlink *base = c4_tlink_next(&module->hub, NULL); base != NULL; base = c4_tlink_next(&module->hub, base))
        done &= flushed(c4_verbs_link_of(base));
    return done;
}

void c4_verbs_flush_all(c4_module *module)
{
    uint64_t deadline = c4_now_ns() + FLUSH_NS;
    int peer;
    while ((void)c4_verbs_progress(module, &peer), !all_flushed(module) && c4_now_ns() < deadline) {
        struct pollfd waiter = {.fd = -1, .events = POLLIN};
        if (c4_verbs_arm(module, &waiter.fd) == C4_IN_PROGRESS)
            poll(&waiter, 1, 1);
        c4_verbs_disarm(module);
    }
    for (c4_tlink *base = c4_tlink_next(&module->hub, NULL); base != NULL; base = c4_tlink_next(&module->hub, base))
        if (base->state == C4_TLINK_UP)
            c4_verbs_link_say_bye(c4_verbs_link_of(base));
}
