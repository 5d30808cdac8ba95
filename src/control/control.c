#include "control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "control/admin.h"
#include "control/control_internal.h"
#include "rendezvous/process.h"

enum { STACK_BYTES = 256 * 1024, FIRST_WATCHES = 8 };

/* ---- start ---- */

static c4_status exchange_processes(c4_bootstrap *bootstrap, c4_control *control)
{
    unsigned char mine[C4_PROCESS_BYTES];
    size_t nranks = (size_t)control->nranks;
    unsigned char *all = malloc(nranks * C4_PROCESS_BYTES);
    if (!all)
        return c4_fail(C4_ERR_MEMORY, "control plane of %d ranks", control->nranks);
    c4_process self;
    c4_process_self(&self);
    c4_process_pack(&self, mine);
    c4_status status = c4_bootstrap_all_gather(bootstrap, mine, sizeof mine, all);
    for (size_t rank = 0; status == C4_OK && rank < nranks; rank++) {
        status = c4_process_unpack(all + rank * C4_PROCESS_BYTES, C4_PROCESS_BYTES, &control->peers[rank].process);
        if (status < 0)
            c4_fail(status, "rank %zu described its process wrongly", rank);
    }
    free(all);
    return status;
}

static c4_status take_connections(c4_bootstrap *bootstrap, c4_control *control)
{
    int *fds = malloc((size_t)control->nranks * sizeof *fds);
    if (!fds)
        return c4_fail(C4_ERR_MEMORY, "control plane of %d ranks", control->nranks);
    c4_bootstrap_take_connections(bootstrap, fds);
    c4_status status = C4_OK;
    for (int rank = 0; rank < control->nranks; rank++) {
        if (fds[rank] < 0)
            continue;
        if (status < 0)
            close(fds[rank]);
        else
            status = c4_control_open_link(control, rank, fds[rank]);
    }
    free(fds);
    return status;
}

static c4_status open_descriptors(c4_control *control)
{
    control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (control->epoll_fd < 0)
        return c4_fail_errno(c4_status_from_errno(errno), errno, "control plane: epoll_create1");
    control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = c4_event_pack(C4_EVENT_WAKE, 0, 0)};
    if (control->wake_fd < 0 || epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, control->wake_fd, &event) < 0)
        return c4_fail_errno(c4_status_from_errno(errno), errno, "control plane: eventfd");
    event.data.u64 = c4_event_pack(C4_EVENT_PORT, 0, 0);
    if (control->port && epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, c4_port_fd(control->port), &event) < 0)
        return c4_fail_errno(c4_status_from_errno(errno), errno, "control plane: port of the job");
    return C4_OK;
}

/* No signal of the program may land on this thread: its handlers expect the program's own threads. */
static c4_status start_thread(c4_control *control)
{
    sigset_t all;
    sigset_t old;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&control->thread, &attributes, c4_control_main, control);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (error)
        return c4_fail_thread(error, "the control thread");
    control->has_thread = true;
    pthread_setname_np(control->thread, "c4-control");
    return C4_OK;
}

static void control_free(c4_control *control)
{
    c4_admin_stop(control);
    c4_control_repair_close(control);
    for (int rank = 0; control->peers && rank < control->nranks; rank++) {
        c4_control_close_link(control, rank);
        if (control->peers[rank].pidfd >= 0)
            close(control->peers[rank].pidfd);
    }
    if (control->epoll_fd >= 0)
        close(control->epoll_fd);
    if (control->wake_fd >= 0)
        close(control->wake_fd);
    pthread_mutex_destroy(&control->lock);
    c4_core_destroy(control->core);
    free(control->watches);
    free(control->peers);
    free(control);
}

static c4_status create_core(c4_control *control)
{
    c4_core_spec spec = {.rank = control->rank,
                         .nranks = control->nranks,
                         .heartbeat_ns = (uint64_t)control->spec.heartbeat_ms * 1000000u,
                         .silent_ns = (uint64_t)control->spec.silent_ms * 1000000u,
                         .ops = &c4_control_core_ops,
                         .shell = control};
    c4_status status = c4_core_create(&spec, c4_now_ns(), &control->core);
    return status < 0 ? c4_fail(status, "control plane of %d ranks", control->nranks) : C4_OK;
}

c4_status c4_control_start_with(c4_bootstrap *bootstrap, const c4_control_spec *spec, c4_port *port,
                                c4_control **control)
{
    c4_status status = C4_OK;
    c4_control *made = calloc(1, sizeof *made);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "control plane");
    made->spec = *spec;
    made->port = port;
    made->port_next_ns = UINT64_MAX;
    made->rank = c4_bootstrap_rank(bootstrap);
    made->nranks = c4_bootstrap_size(bootstrap);
    made->epoll_fd = made->wake_fd = -1;
    made->pid = getpid();
    pthread_mutex_init(&made->lock, NULL);
    made->peers = calloc((size_t)made->nranks, sizeof *made->peers);
    if (!made->peers)
        C4_TRY_GOTO(c4_fail(C4_ERR_MEMORY, "control plane of %d ranks", made->nranks), fail);
    for (int rank = 0; rank < made->nranks; rank++) {
        c4_link_init(&made->peers[rank].link, -1);
        made->peers[rank].pidfd = -1;
    }
    C4_TRY_GOTO(create_core(made), fail);
    C4_TRY_GOTO(open_descriptors(made), fail);
    /* The exchange comes last, when there is little left to fail here: after it the others rely on this rank. The thread
     * waits for the lock until all is in place. */
    pthread_mutex_lock(&made->lock);
    C4_TRY_GOTO(start_thread(made), unlock);
    C4_TRY_GOTO(exchange_processes(bootstrap, made), unlock);
    C4_TRY_GOTO(take_connections(bootstrap, made), unlock);
    C4_TRY_GOTO(c4_control_repair_open(made, bootstrap), unlock);
    c4_control_watch_processes(made);
    c4_admin_start(made, c4_bootstrap_job_id(bootstrap));
    pthread_mutex_unlock(&made->lock);
    *control = made;
    return C4_OK;
unlock:
    made->stopping = true;
    pthread_mutex_unlock(&made->lock);
    if (made->has_thread)
        pthread_join(made->thread, NULL);
fail:
    control_free(made);
    return status;
}

void c4_control_wake(c4_control *control)
{
    if (write(control->wake_fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
        c4_log(C4_LOG_WARN, "control: eventfd: %s", strerror(errno));
}

void c4_control_stop(c4_control *control)
{
    if (!control)
        return;
    if (control->has_thread && control->pid == getpid()) {
        pthread_mutex_lock(&control->lock);
        c4_core_leave(control->core, 0, c4_now_ns());
        control->stopping = true;
        control->stop_by_ns = c4_now_ns() + C4_CONTROL_FLUSH_MS * 1000000ull;
        pthread_mutex_unlock(&control->lock);
        c4_control_wake(control);
        pthread_join(control->thread, NULL);
    }
    control_free(control);
}

/* ---- communicators ---- */

/* What this communicator has missed. */
static void tell_past(c4_control *control, c4_control_attachment *attachment)
{
    for (int i = 0; i < attachment->nmembers; i++) {
        const c4_control_peer *peer = &control->peers[attachment->members[i]];
        char text[C4_CONTROL_TEXT_MAX_BYTES];
        if (c4_core_rank_state(control->core, attachment->members[i]) != C4_CONTROL_DEAD)
            continue;
        snprintf(text, sizeof text,
                 attachment->members[i] == control->rank
                     ? "the other ranks gave this one, rank %d (pid %u on %s), up before this communicator was created"
                     : "rank %d (pid %u on %s) died before this communicator was created",
                 attachment->members[i], peer->process.pid, peer->process.host);
        attachment->on_fault(attachment->context, C4_ERR_PEER_DEAD, i, text);
    }
    for (int slot = 0; slot < C4_CONTROL_KEPT_REPORTS; slot++) {
        c4_control_kept *kept = &control->kept[slot];
        for (int i = 0; kept->fault.status < 0 && kept->comm == attachment->comm && i < attachment->nmembers; i++) {
            if (attachment->members[i] != kept->rank)
                continue;
            attachment->on_fault(attachment->context, kept->fault.status, i, kept->fault.text);
            kept->fault.status = C4_OK;
        }
    }
}

c4_status c4_control_attach(c4_control *control, uint32_t comm, const int *members, int nmembers,
                            c4_control_fault_fn on_fault, void *context, c4_control_attachment **attachment)
{
    c4_control_attachment *made = malloc(sizeof *made + (size_t)nmembers * sizeof *members);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "control plane of a communicator of %d ranks", nmembers);
    *made = (c4_control_attachment){
        .control = control, .comm = comm, .on_fault = on_fault, .context = context, .nmembers = nmembers};
    for (int i = 0; i < nmembers; i++) {
        if (members[i] < 0 || members[i] >= control->nranks) {
            free(made);
            return c4_fail(C4_ERR_INTERNAL, "communicator member %d is job rank %d of %d", i, members[i],
                           control->nranks);
        }
        made->members[i] = members[i];
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->agreed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_lock(&control->lock);
    made->nended = control->served ? control->nended : 0;
    made->next = control->attachments;
    control->attachments = made;
    tell_past(control, made);
    *attachment = made;
    pthread_mutex_unlock(&control->lock);
    return C4_OK;
}

void c4_control_watch_leavers(c4_control_attachment *attachment, c4_control_left_fn on_left)
{
    c4_control *control = attachment->control;
    pthread_mutex_lock(&control->lock);
    attachment->on_left = on_left;
    for (int i = 0; i < attachment->nmembers; i++)
        if (c4_core_rank_state(control->core, attachment->members[i]) == C4_CONTROL_LEFT)
            on_left(attachment->context, i);
    pthread_mutex_unlock(&control->lock);
}

void c4_control_serve_operator(c4_control_attachment *attachment, const c4_control_operator *functions)
{
    c4_control *control = attachment->control;
    char told[C4_CONTROL_TEXT_MAX_BYTES];
    pthread_mutex_lock(&control->lock);
    attachment->operator= functions;
    control->served = true;
    if (attachment->nended != control->nended) /* while it was being made */
        functions->end(attachment->context, control->ended_by, told);
    pthread_mutex_unlock(&control->lock);
}

void c4_control_leave(c4_control *control, uint32_t comm)
{
    if (comm == 0) /* would say that this rank leaves the job */
        return;
    pthread_mutex_lock(&control->lock);
    c4_core_leave(control->core, comm, c4_now_ns());
    pthread_mutex_unlock(&control->lock);
}

void c4_control_detach(c4_control_attachment *attachment)
{
    if (!attachment)
        return;
    c4_control *control = attachment->control;
    bool forked = control->pid != getpid(); /* the lock may have been held by a thread that is not here */
    if (!forked)
        pthread_mutex_lock(&control->lock);
    c4_control_attachment **at = &control->attachments;
    while (*at && *at != attachment)
        at = &(*at)->next;
    if (*at)
        *at = attachment->next;
    c4_core_agree_destroy(control->core, attachment->agree);
    if (!forked) {
        c4_core_forget_questions(control->core, attachment->comm);
        pthread_mutex_unlock(&control->lock);
        pthread_cond_destroy(&attachment->agreed);
    }
    free(attachment);
}

void c4_control_report(c4_control_attachment *attachment, c4_status status, const char *text)
{
    c4_control *control = attachment->control;
    c4_control_fault fault = {.status = status};
    snprintf(fault.text, sizeof fault.text, "%s", text);
    pthread_mutex_lock(&control->lock);
    c4_core_report(control->core, attachment->comm, &fault);
    pthread_mutex_unlock(&control->lock);
}

/* ---- descriptors ---- */

static c4_control_watch *find_watch(c4_control *control, int fd)
{
    for (size_t i = 0; i < control->nwatches; i++)
        if (control->watches[i].fd == fd)
            return &control->watches[i];
    return NULL;
}

static c4_control_watch *new_watch(c4_control *control)
{
    c4_control_watch *watch = find_watch(control, -1);
    if (watch)
        return watch;
    size_t count = control->nwatches ? 2 * control->nwatches : FIRST_WATCHES;
    c4_control_watch *watches = realloc(control->watches, count * sizeof *watches);
    if (!watches)
        return NULL;
    for (size_t i = control->nwatches; i < count; i++)
        watches[i] = (c4_control_watch){.fd = -1};
    watch = &watches[control->nwatches];
    control->watches = watches;
    control->nwatches = count;
    return watch;
}

static c4_status watch_fd(c4_control *control, int fd, c4_control_ready_fn ready, void *context)
{
    c4_control_watch *watch = find_watch(control, fd);
    bool known = watch != NULL;
    if (!known)
        watch = new_watch(control);
    if (!watch)
        return c4_fail(C4_ERR_MEMORY, "control plane: watches");
    if (!known)
        watch->generation++;
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLONESHOT,
        .data.u64 = c4_event_pack(C4_EVENT_WATCH, watch->generation, (uint32_t)(watch - control->watches))};
    watch->ready = ready;
    watch->context = context;
    if (epoll_ctl(control->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0) {
        watch->fd = -1;
        return c4_fail_errno(c4_status_from_errno(errno), errno, "control plane: watching descriptor %d", fd);
    }
    watch->fd = fd;
    return C4_OK;
}

c4_status c4_control_watch_fd(c4_control *control, int fd, c4_control_ready_fn ready, void *context)
{
    pthread_mutex_lock(&control->lock);
    c4_status status = watch_fd(control, fd, ready, context);
    pthread_mutex_unlock(&control->lock);
    return status;
}

void c4_control_unwatch_fd(c4_control *control, int fd)
{
    pthread_mutex_lock(&control->lock);
    c4_control_watch *watch = fd >= 0 ? find_watch(control, fd) : NULL;
    if (watch) {
        epoll_ctl(control->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        watch->fd = -1;
    }
    pthread_mutex_unlock(&control->lock);
}

/* ---- asking ---- */

const c4_process *c4_control_process(const c4_control *control, int rank)
{
    return rank >= 0 && rank < control->nranks ? &control->peers[rank].process : NULL;
}

int c4_control_same_host(const c4_control *control, int rank, int other)
{
    return c4_process_same_kernel(&control->peers[rank].process, &control->peers[other].process);
}
