/* The socket and its clients. */
#include "control/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/admin_internal.h"
#include "record/sockets.h"
#include "rendezvous/process.h"

#define MS 1000000ull

/* ---- forks: the child is not this rank, and a socket that it keeps would outlive it ---- */

static pthread_mutex_t forks_lock = PTHREAD_MUTEX_INITIALIZER; /* of the list, and of opening and closing descriptors */
static c4_admin *forks_first;
static pthread_once_t forks_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&forks_lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&forks_lock);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void after_fork_child(void)
{
    for (c4_admin *admin = forks_first; admin; admin = admin->next) {
        close_fd(&admin->listen_fd);
        close_fd(&admin->directory);
        for (int i = 0; i < C4_ADMIN_CLIENTS; i++)
            close_fd(&admin->clients[i].fd);
    }
    forks_first = NULL;
    pthread_mutex_unlock(&forks_lock);
}

static void forks_prepare(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static void forks_add(c4_admin *admin)
{
    pthread_once(&forks_once, forks_prepare);
    pthread_mutex_lock(&forks_lock);
    admin->next = forks_first;
    forks_first = admin;
    pthread_mutex_unlock(&forks_lock);
}

static void forks_remove(c4_admin *admin)
{
    pthread_mutex_lock(&forks_lock);
    c4_admin **at = &forks_first;
    while (*at && *at != admin)
        at = &(*at)->next;
    if (*at)
        *at = admin->next;
    close_fd(&admin->listen_fd);
    close_fd(&admin->directory);
    pthread_mutex_unlock(&forks_lock);
}

/* ---- clients ---- */

static uint64_t client_event(const c4_admin *admin, const c4_admin_client *client)
{
    return c4_event_pack(C4_EVENT_ADMIN, client->generation, (uint32_t)(client - admin->clients) + 1);
}

static void client_close(c4_admin *admin, c4_admin_client *client)
{
    epoll_ctl(admin->control->epoll_fd, EPOLL_CTL_DEL, client->fd, NULL); /* a fork may still have it */
    pthread_mutex_lock(&forks_lock);
    close_fd(&client->fd);
    pthread_mutex_unlock(&forks_lock);
    free(client->out);
    client->out = NULL;
    client->generation++;
}

static void client_expect(c4_admin *admin, c4_admin_client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = client_event(admin, client)};
    if (epoll_ctl(admin->control->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) < 0)
        client_close(admin, client);
}

static void client_send(c4_admin *admin, c4_admin_client *client)
{
    while (client->sent < client->out_bytes) {
        ssize_t sent =
            send(client->fd, client->out + client->sent, client->out_bytes - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            client_expect(admin, client, EPOLLOUT);
            return;
        }
        if (sent <= 0)
            break;
        client->sent += (size_t)sent;
    }
    client_close(admin, client);
}

void c4_admin_finish(c4_admin *admin, c4_admin_client *client, c4_json *json)
{
    static const char failed[] = "{\"schema_version\":1,\"error\":\"no memory for the answer, or more than 16 MiB\"}\n";
    char *whole = json->failed ? NULL : realloc(json->text, json->bytes + 2);
    client->answered = true;
    client->probes = false;
    client->deadline_ns = c4_now_ns() + C4_ADMIN_TAKE_MS * MS;
    if (whole) {
        client->out_bytes = json->bytes + 1;
        whole[json->bytes] = '\n';
        client->out = whole;
        client_send(admin, client);
        return;
    }
    c4_json_fini(json);
    send(client->fd, failed, sizeof failed - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    client_close(admin, client);
}

static void client_refuse(c4_admin *admin, c4_admin_client *client, const char *text)
{
    c4_json json;
    c4_json_init(&json, C4_ADMIN_ANSWER_BYTES);
    c4_admin_error(&json, "%s", text);
    c4_admin_finish(admin, client, &json);
}

static void client_request(c4_admin *admin, c4_admin_client *client, size_t bytes)
{
    char error[C4_ADMIN_ERROR_BYTES];
    c4_json json;
    if (!c4_admin_request_parse(client->line, bytes, &client->request, error)) {
        client_refuse(admin, client, error);
        return;
    }
    c4_json_init(&json, C4_ADMIN_ANSWER_BYTES);
    if (client->request.command != C4_ADMIN_PROBE) {
        bool aborts = c4_admin_answer(admin, client, &json);
        c4_admin_finish(admin, client, &json);
        if (aborts) /* once the answer has gone */
            c4_admin_abort(admin, client);
    } else if (!c4_admin_check_selection(admin, &client->request, &json)) {
        c4_admin_finish(admin, client, &json);
    } else if (!c4_admin_probe_start(admin, c4_now_ns())) {
        client_refuse(admin, client, "no memory for a probe");
    } else {
        client->probes = true;
        client->deadline_ns = UINT64_MAX; /* the probe has its own */
        client_expect(admin, client, 0);  /* its end is always told */
    }
}

static void client_receive(c4_admin *admin, c4_admin_client *client)
{
    ssize_t got = recv(client->fd, client->line + client->got, sizeof client->line - client->got, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0 || (got == 0 && client->got == 0)) {
        client_close(admin, client);
        return;
    }
    client->got += (size_t)got;
    const char *end = memchr(client->line, '\n', client->got);
    if (end || got == 0 || client->got == sizeof client->line) /* a line without newline ends where nothing follows */
        client_request(admin, client, end ? (size_t)(end - client->line) : client->got);
}

/* ---- the door ---- */

static c4_admin_client *free_client(c4_admin *admin)
{
    for (int i = 0; i < C4_ADMIN_CLIENTS; i++)
        if (admin->clients[i].fd < 0)
            return &admin->clients[i];
    return NULL;
}

static void send_away(int fd, const char *text)
{
    char line[C4_ADMIN_ERROR_BYTES];
    int bytes = snprintf(line, sizeof line, "{\"schema_version\":%d,\"error\":\"%s\"}\n", C4_ADMIN_VERSION, text);
    send(fd, line, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void admit(c4_admin *admin, int fd)
{
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t bytes = sizeof who;
    c4_admin_client *client = free_client(admin);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) < 0 || (who.uid != 0 && who.uid != geteuid())) {
        c4_log(C4_LOG_WARN, "admin socket: refused process %ld of user %ld", (long)who.pid, (long)who.uid);
        send_away(fd, "permission denied: this process belongs to another user");
        return;
    }
    if (!client) {
        send_away(fd, "busy: 8 clients are connected; try again");
        return;
    }
    uint32_t generation = client->generation;
    *client = (c4_admin_client){.fd = -1,
                                .generation = generation,
                                .pid = who.pid,
                                .uid = who.uid,
                                .deadline_ns = c4_now_ns() + C4_ADMIN_REQUEST_MS * MS};
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = client_event(admin, client)};
    if (epoll_ctl(admin->control->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        send_away(fd, "no memory for another client");
    else
        client->fd = fd;
}

static void door_expect(const c4_admin *admin, bool open)
{
    struct epoll_event event = {.events = open ? EPOLLIN : 0, .data.u64 = c4_event_pack(C4_EVENT_ADMIN, 0, 0)};
    epoll_ctl(admin->control->epoll_fd, EPOLL_CTL_MOD, admin->listen_fd, &event);
}

/* One client a turn: links and timers come first. */
static void on_knock(c4_admin *admin)
{
    pthread_mutex_lock(&forks_lock);
    int fd = accept4(admin->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int error = errno;
    if (fd >= 0)
        admit(admin, fd);
    pthread_mutex_unlock(&forks_lock);
    if (fd >= 0 || error == EAGAIN || error == EINTR || error == ECONNABORTED)
        return;
    admin->unmute_ns = c4_now_ns() + C4_ADMIN_MUTE_MS * MS; /* EMFILE would be told again and again */
    door_expect(admin, false);
}

void c4_admin_on_event(c4_control *control, uint32_t index, uint32_t generation, uint32_t events)
{
    c4_admin *admin = control->admin;
    if (!admin || index > C4_ADMIN_CLIENTS)
        return;
    if (index == 0) {
        on_knock(admin);
        return;
    }
    c4_admin_client *client = &admin->clients[index - 1];
    if (client->fd < 0 || (client->generation & 0xffffff) != generation)
        return;
    if (client->answered && (events & EPOLLOUT))
        client_send(admin, client);
    else if (!client->answered && !client->probes && (events & (EPOLLIN | EPOLLHUP)))
        client_receive(admin, client);
    else if (events & (EPOLLHUP | EPOLLERR))
        client_close(admin, client);
}

uint64_t c4_admin_tick(c4_control *control, uint64_t now_ns)
{
    c4_admin *admin = control->admin;
    uint64_t next_ns = UINT64_MAX;
    if (!admin)
        return next_ns;
    next_ns = c4_admin_probe_tick(admin, now_ns);
    for (int i = 0; i < C4_ADMIN_CLIENTS; i++) {
        c4_admin_client *client = &admin->clients[i];
        if (client->fd >= 0 && now_ns >= client->deadline_ns && client->answered)
            client_close(admin, client);
        else if (client->fd >= 0 && now_ns >= client->deadline_ns)
            client_refuse(admin, client, "no request came within 5 s");
        if (client->fd >= 0 && client->deadline_ns < next_ns)
            next_ns = client->deadline_ns;
    }
    if (admin->unmute_ns && now_ns >= admin->unmute_ns) {
        admin->unmute_ns = 0;
        door_expect(admin, true);
    }
    return admin->unmute_ns && admin->unmute_ns < next_ns ? admin->unmute_ns : next_ns;
}

/* ---- life ---- */

/* One of the ranks of a host looks after what dead jobs have left there: the others have nothing to add. */
static bool is_first_here(const c4_control *control)
{
    for (int rank = 0; rank < control->rank; rank++)
        if (c4_process_same_kernel(&control->peers[control->rank].process, &control->peers[rank].process))
            return false;
    return true;
}

static c4_admin *admin_create(c4_control *control, uint64_t job_id)
{
    c4_admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return NULL;
    admin->control = control;
    admin->listen_fd = admin->directory = -1;
    admin->job_id = job_id;
    admin->started_ns = c4_now_ns();
    for (int i = 0; i < C4_ADMIN_CLIENTS; i++)
        admin->clients[i].fd = -1;
    c4_admin_name name = {job_id, control->rank, (long)getpid(), c4_admin_host()};
    c4_admin_name_format(&name, admin->name);
    return admin;
}

static bool open_door(c4_admin *admin, const char *top, c4_record_reason *reason)
{
    admin->directory = c4_record_open_top(top, true, reason);
    if (admin->directory < 0)
        return false;
    if (is_first_here(admin->control))
        c4_admin_sockets_stale(admin->directory, admin->job_id, true, NULL, NULL);
    admin->listen_fd = c4_admin_listen(admin->directory, admin->name);
    if (admin->listen_fd < 0) {
        snprintf(reason->text, sizeof reason->text, "cannot listen at %s/%s: %s", top, admin->name, strerror(errno));
        return false;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = c4_event_pack(C4_EVENT_ADMIN, 0, 0)};
    if (epoll_ctl(admin->control->epoll_fd, EPOLL_CTL_ADD, admin->listen_fd, &event) == 0)
        return true;
    snprintf(reason->text, sizeof reason->text, "epoll_ctl: %s", strerror(errno));
    unlinkat(admin->directory, admin->name, 0);
    return false;
}

void c4_admin_start(c4_control *control, uint64_t job_id)
{
    char top[C4_RECORD_TOP_BYTES];
    c4_record_reason reason = {"no memory"};
    if (!control->spec.admin_top || !*control->spec.admin_top)
        return;
    c4_admin *admin = admin_create(control, job_id);
    if (admin)
        forks_add(admin);
    if (!c4_record_expand_top(control->spec.admin_top, top))
        snprintf(reason.text, sizeof reason.text, "C4_RECORD_DIR is too long");
    else if (admin && open_door(admin, top, &reason)) {
        control->admin = admin;
        return;
    }
    c4_log(C4_LOG_WARN, "no admin socket: %s; `c4info job` will not reach this rank (C4_ADMIN=off for none)",
           reason.text);
    if (admin)
        forks_remove(admin);
    free(admin);
}

void c4_admin_stop(c4_control *control)
{
    c4_admin *admin = control->admin;
    if (!admin)
        return;
    bool forked = control->pid != getpid();
    if (!forked) {
        for (int i = 0; i < C4_ADMIN_CLIENTS; i++)
            if (admin->clients[i].fd >= 0)
                client_close(admin, &admin->clients[i]);
        unlinkat(admin->directory, admin->name, 0);
        forks_remove(admin);
    }
    for (int i = 0; i < C4_ADMIN_CLIENTS; i++)
        free(admin->clients[i].out);
    c4_admin_probe_end(admin);
    free(admin);
    control->admin = NULL;
}
