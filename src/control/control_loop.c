/* The thread, and how news reach the communicators. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/admin.h"
#include "control/control_internal.h"

enum { EVENTS_PER_WAIT = 64 };

/* ---- out of the core ---- */

int c4_control_member(const c4_control_attachment *attachment, int rank)
{
    for (int i = 0; i < attachment->nmembers; i++)
        if (attachment->members[i] == rank)
            return i;
    return -1;
}

static void core_send(void *shell, int neighbour, const c4_control_header *header, const void *payload)
{
    c4_control_send(shell, neighbour, header, payload);
}

static void core_close(void *shell, int neighbour)
{
    c4_control *control = shell;
    control->peers[neighbour].closing = true;
    control->any_closing = true;
}

static void core_describe(void *shell, int rank, bool silent, char *text, size_t bytes)
{
    c4_control *control = shell;
    if (silent)
        c4_control_describe_silence(control, &control->peers[rank], text, bytes);
    else
        c4_control_describe_end(&control->peers[rank], text, bytes);
}

static void core_name(void *shell, int rank, char *text, size_t bytes)
{
    c4_control *control = shell;
    const c4_process *process = &control->peers[rank].process;
    snprintf(text, bytes, "rank %d (pid %u on %s)", rank, process->pid, process->host);
}

static void core_say(void *shell, bool error, const char *text)
{
    (void)shell;
    c4_log(error ? C4_LOG_ERROR : C4_LOG_WARN, "%s", text);
}

static void core_died(void *shell, int rank, const c4_control_fault *fault)
{
    c4_control *control = shell;
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = c4_control_member(one, rank);
        if (member >= 0)
            one->on_fault(one->context, fault->status, member, fault->text);
    }
}

static void core_reported(void *shell, uint32_t comm, int rank, const c4_control_fault *fault)
{
    c4_control *control = shell;
    bool known = false;
    if (comm == 0) { /* of no communicator: an operator ends them all */
        c4_admin_abort_all(control, fault->text);
        return;
    }
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = one->comm == comm ? c4_control_member(one, rank) : -1;
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

static void core_left(void *shell, uint32_t comm, int rank)
{
    c4_control *control = shell;
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = comm == 0 || comm == one->comm ? c4_control_member(one, rank) : -1;
        if (member >= 0 && one->on_left)
            one->on_left(one->context, member);
    }
}

static c4_control_answer core_question(void *shell, uint32_t comm, int asker, uint64_t sequence,
                                       const unsigned char *card, unsigned char *reply)
{
    c4_control *control = shell;
    if (comm == 0) /* of no communicator: a probe, about the one that the number names */
        return c4_admin_testify(control, asker, (uint32_t)sequence, reply);
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = one->comm == comm ? c4_control_member(one, asker) : -1;
        if (member >= 0 && one->on_question)
            return one->on_question(one->context, member, sequence, card, reply);
    }
    return C4_ANSWER_UNKNOWN;
}

static void core_answered(void *shell, uint32_t comm, int rank, uint64_t sequence, c4_control_answer answer,
                          const unsigned char *reply)
{
    c4_control *control = shell;
    if (comm == 0)
        c4_admin_answered(control, rank, (uint32_t)sequence, answer, reply);
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        int member = one->comm == comm ? c4_control_member(one, rank) : -1;
        if (member >= 0 && one->on_reply)
            one->on_reply(one->context, member, sequence, answer, reply);
    }
}

static void core_decided(void *shell, c4_core_agree *agree)
{
    c4_control_attachment *attachment = c4_core_agree_context(agree);
    (void)shell;
    pthread_cond_broadcast(&attachment->agreed);
}

const c4_core_ops c4_control_core_ops = {.send = core_send,
                                         .close = core_close,
                                         .describe = core_describe,
                                         .name = core_name,
                                         .say = core_say,
                                         .died = core_died,
                                         .left = core_left,
                                         .reported = core_reported,
                                         .question = core_question,
                                         .answered = core_answered,
                                         .decided = core_decided};

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
    case C4_EVENT_PORT:
        control->port_next_ns = c4_port_serve(control->port);
        break;
    case C4_EVENT_ADMIN:
        c4_admin_on_event(control, index, (uint32_t)(event->data.u64 >> 32) & 0xffffff, event->events);
        break;
    case C4_EVENT_INBOX:
        c4_control_on_inbox(control);
        break;
    case C4_EVENT_KNOCK:
        c4_control_on_knock(control, index);
        break;
    }
}

/* Milliseconds to sleep: until the core's next deadline, or until stop must be over. */
static int next_timeout(c4_control *control)
{
    uint64_t now_ns = c4_now_ns();
    uint64_t admin_ns = c4_admin_tick(control, now_ns); /* before the core's: it may have asked */
    uint64_t next_ns = c4_core_tick(control->core, now_ns);
    c4_control_close_links(control);
    uint64_t repair_ns = c4_control_repair_tick(control);
    if (repair_ns < next_ns)
        next_ns = repair_ns;
    if (control->port && control->port_next_ns <= now_ns)
        control->port_next_ns = c4_port_serve(control->port);
    if (control->port && control->port_next_ns < next_ns)
        next_ns = control->port_next_ns;
    if (admin_ns < next_ns)
        next_ns = admin_ns;
    if (control->stopping && control->stop_by_ns < next_ns)
        next_ns = control->stop_by_ns;
    if (next_ns <= now_ns)
        return 0;
    uint64_t sleep_ms = (next_ns - now_ns) / 1000000u + 1;
    return next_ns == UINT64_MAX ? -1 : sleep_ms > INT_MAX ? INT_MAX : (int)sleep_ms;
}

/* A neighbour whose link is lost has not had the goodbye. */
static bool has_more_to_say(const c4_control *control)
{
    return !c4_control_is_flushed(control) || c4_control_is_mending(control);
}

void *c4_control_main(void *argument)
{
    c4_control *control = argument;
    struct epoll_event events[EVENTS_PER_WAIT];
    bool more = false;
    pthread_mutex_lock(&control->lock);
    while (!control->stopping || (has_more_to_say(control) && c4_now_ns() < control->stop_by_ns)) {
        int timeout_ms = more ? 0 : next_timeout(control); /* nobody is silent whose message waits to be read */
        pthread_mutex_unlock(&control->lock);
        int count = epoll_wait(control->epoll_fd, events, EVENTS_PER_WAIT, timeout_ms);
        pthread_mutex_lock(&control->lock);
        for (int i = 0; i < count; i++)
            dispatch(control, &events[i]);
        c4_control_close_links(control);
        more = count == EVENTS_PER_WAIT;
    }
    pthread_mutex_unlock(&control->lock);
    return NULL;
}
