/* The thread, and how news reach the communicators. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/control_internal.h"

enum { EVENTS_PER_WAIT = 64 };

/* ---- news ---- */

static int member_index(const c4_control_attachment *attachment, int rank)
{
    for (int i = 0; i < attachment->nmembers; i++)
        if (attachment->members[i] == rank)
            return i;
    return -1;
}

void c4_control_declare_dead(c4_control *control, int rank, int from, const c4_control_fault *fault)
{
    c4_control_peer *peer = &control->peers[rank];
    if (peer->dead || peer->left || rank == control->rank)
        return;
    peer->dead = true;
    c4_log(C4_LOG_ERROR, "%s", fault->text);
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = member_index(one, rank);
        if (member >= 0)
            one->on_fault(one->context, fault->status, member, fault->text);
    }
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_header header = {C4_CONTROL_DEATH, 0, (uint32_t)rank, 0};
    header.bytes = (uint32_t)c4_control_fault_pack(fault, payload);
    if (control->rank == 0)
        c4_control_forward(control, &header, payload, rank, from);
    else if (from == control->rank)
        c4_control_send(control, 0, &header, payload);
}

void c4_control_deliver_report(c4_control *control, uint32_t comm, int rank, const c4_control_fault *fault)
{
    bool known = false;
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = one->comm == comm ? member_index(one, rank) : -1;
        if (member < 0)
            continue;
        known = true;
        one->on_fault(one->context, fault->status, member, fault->text);
    }
    if (known)
        return;
    c4_control_kept *kept = &control->kept[control->nkept++ % C4_CONTROL_KEPT_REPORTS];
    kept->comm = comm;
    kept->rank = rank;
    kept->fault = *fault;
}

void c4_control_deliver_leave(c4_control *control, uint32_t comm, int rank)
{
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = comm == 0 || comm == one->comm ? member_index(one, rank) : -1;
        if (member >= 0 && one->on_left)
            one->on_left(one->context, member);
    }
}

/* ---- the thread ---- */

static void drain_wake(c4_control *control)
{
    uint64_t count;
    while (read(control->wake_fd, &count, sizeof count) < 0 && errno == EINTR)
        continue;
}

static void on_watch(c4_control *control, uint32_t index, uint32_t generation)
{
    if (index >= control->nwatches)
        return;
    c4_control_watch *watch = &control->watches[index];
    if (watch->fd >= 0 && (watch->generation & 0xffffff) == generation) /* else it is not watched any more */
        watch->ready(watch->context);
}

static void dispatch(c4_control *control, const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64;
    switch ((c4_control_event)(event->data.u64 >> 56)) {
    case C4_EVENT_WAKE:
        drain_wake(control);
        break;
    case C4_EVENT_LINK:
        if (control->peers[index].link.fd >= 0)
            c4_control_on_link_event(control, (int)index, event->events);
        break;
    case C4_EVENT_PROCESS:
        if (!control->peers[index].ended)
            c4_control_on_process_end(control, (int)index);
        break;
    case C4_EVENT_WATCH:
        on_watch(control, index, (uint32_t)(event->data.u64 >> 32) & 0xffffff);
        break;
    }
}

/* Milliseconds to sleep: until the next verdict, or until stop must be over. */
static int next_timeout(c4_control *control)
{
    int timeout_ms = c4_control_judge(control);
    if (!control->stopping)
        return timeout_ms;
    uint64_t now_ns = c4_now_ns();
    return now_ns >= control->stop_by_ns ? 0 : (int)((control->stop_by_ns - now_ns) / 1000000u) + 1;
}

void *c4_control_main(void *argument)
{
    c4_control *control = argument;
    struct epoll_event events[EVENTS_PER_WAIT];
    pthread_mutex_lock(&control->lock);
    while (!control->stopping || (!c4_control_is_flushed(control) && c4_now_ns() < control->stop_by_ns)) {
        int timeout_ms = next_timeout(control);
        pthread_mutex_unlock(&control->lock);
        int count = epoll_wait(control->epoll_fd, events, EVENTS_PER_WAIT, timeout_ms);
        pthread_mutex_lock(&control->lock);
        for (int i = 0; i < count; i++)
            dispatch(control, &events[i]);
    }
    pthread_mutex_unlock(&control->lock);
    return NULL;
}
