#include "rendezvous/port.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "rendezvous/listener.h"
#include "rendezvous/ties.h"

enum {
    EVENTS = 64,
    MAX_ACCEPTS = 64,
    PATIENCE_MS = 5000,
    CROWDED_MS = 10,
    WAITED_MS = 2000, /* in an inbox, before another one may take the place */
    EXHAUSTED_MS = 100,
    LOG_MS = 10000
};
#define MS_NS 1000000ull

typedef struct door {
    int fd;
    c4_net_address at; /* family 0: AF_UNIX */
    uint32_t scope;
    bool any; /* stands for all addresses of its family */
} door;

/* A connection that has not said its hello, or waits in an inbox. */
typedef struct caller {
    int fd; /* -1: a free place */
    uint64_t since_ns;
} caller;

typedef struct inbox {
    c4_handshake_hello who;
    int event_fd;
    caller *waiting;                 /* since when they are in here */
    unsigned first, count, capacity; /* a ring */
} inbox;

struct c4_port {
    pthread_mutex_t lock;
    pid_t pid;
    uint16_t port_lo, port_hi;
    int epoll_fd;
    door doors[C4_PORT_DOORS];
    unsigned ndoors;
    caller callers[C4_PORT_PLACES];
    inbox **inboxes;
    size_t ninboxes;
    bool listening;        /* the doors are watched: not while all places are taken */
    uint64_t exhausted_ns; /* until then there are no descriptors; 0: there are */
    uint64_t refused, refused_unlogged, logged_ns;
};

/* What epoll hands back: a door's number, or FIRST_CALLER and more. */
enum { FIRST_CALLER = C4_PORT_DOORS };

/* ---- life ---- */

c4_status c4_port_create(uint16_t port_lo, uint16_t port_hi, c4_port **port)
{
    c4_port *made = calloc(1, sizeof *made);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "port of the job");
    made->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (made->epoll_fd < 0) {
        int error = errno;
        free(made);
        return c4_fail_errno(c4_status_from_errno(error), error, "port of the job: epoll_create1");
    }
    pthread_mutex_init(&made->lock, NULL);
    made->pid = getpid();
    made->port_lo = port_lo;
    made->port_hi = port_hi;
    made->listening = true;
    for (int i = 0; i < C4_PORT_PLACES; i++)
        made->callers[i].fd = -1;
    *port = made;
    return C4_OK;
}

static void inbox_free(inbox *box)
{
    for (; box->count > 0; box->count--, box->first = (box->first + 1) % box->capacity)
        close(box->waiting[box->first].fd);
    if (box->event_fd >= 0)
        close(box->event_fd);
    free(box->waiting);
    free(box);
}

void c4_port_destroy(c4_port *port)
{
    if (!port)
        return;
    for (size_t i = 0; i < port->ninboxes; i++)
        inbox_free(port->inboxes[i]);
    for (int i = 0; i < C4_PORT_PLACES; i++)
        if (port->callers[i].fd >= 0)
            close(port->callers[i].fd);
    for (unsigned i = 0; i < port->ndoors; i++)
        close(port->doors[i].fd);
    close(port->epoll_fd);
    if (port->pid == getpid()) /* else a thread that is not here may have held it */
        pthread_mutex_destroy(&port->lock);
    free(port->inboxes);
    free(port);
}

/* ---- doors ---- */

static c4_status add_door(c4_port *port, int fd)
{
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    door *made = &port->doors[port->ndoors];
    struct epoll_event event = {.events = port->listening ? EPOLLIN : 0, .data.u32 = port->ndoors};
    static const unsigned char zeros[16];
    if (port->ndoors == C4_PORT_DOORS)
        return c4_fail(C4_ERR_INTERNAL, "port of the job: more than %d listening sockets", C4_PORT_DOORS);
    if (getsockname(fd, (struct sockaddr *)&name, &bytes) < 0 ||
        epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return c4_fail_errno(c4_status_from_errno(errno), errno, "port of the job: listening socket");
    *made = (door){.fd = fd};
    if (c4_net_address_from_sockaddr((struct sockaddr *)&name, &made->at))
        made->any = memcmp(made->at.bytes, zeros, sizeof zeros) == 0;
    if (name.ss_family == AF_INET6)
        made->scope = ((struct sockaddr_in6 *)&name)->sin6_scope_id;
    port->ndoors++;
    return C4_OK;
}

c4_status c4_port_adopt(c4_port *port, int fd)
{
    pthread_mutex_lock(&port->lock);
    c4_status status = add_door(port, fd);
    pthread_mutex_unlock(&port->lock);
    if (status < 0)
        close(fd);
    return status;
}

static const door *find_door(const c4_port *port, const c4_net_address *address, uint32_t scope)
{
    for (unsigned i = 0; i < port->ndoors; i++) {
        const door *one = &port->doors[i];
        bool same = memcmp(one->at.bytes, address->bytes, sizeof address->bytes) == 0 && one->scope == scope;
        if (one->at.family == address->family && (one->any || same))
            return one;
    }
    return NULL;
}

static c4_status listen_at(c4_port *port, c4_net_address *address, uint32_t scope)
{
    const door *known = find_door(port, address, scope);
    int fd = -1;
    if (known) {
        address->port = known->at.port;
        return C4_OK;
    }
    c4_listen_spec spec = {.bind = *address, .port_lo = port->port_lo, .port_hi = port->port_hi, .scope = scope};
    spec.bind.port = 0;
    for (unsigned i = 0; i < port->ndoors && !spec.prefer; i++)
        spec.prefer = port->doors[i].at.port;
    C4_TRY(c4_listener_open(&spec, &fd, address));
    c4_status status = add_door(port, fd);
    if (status < 0)
        close(fd);
    return status;
}

c4_status c4_port_listen(c4_port *port, c4_net_address *address, uint32_t scope)
{
    pthread_mutex_lock(&port->lock);
    c4_status status = listen_at(port, address, scope);
    pthread_mutex_unlock(&port->lock);
    return status;
}

bool c4_port_address(c4_port *port, unsigned index, c4_net_address *address, uint32_t *scope)
{
    bool found = false;
    pthread_mutex_lock(&port->lock);
    for (unsigned i = 0; i < port->ndoors && !found; i++) {
        const door *one = &port->doors[i];
        if (!one->at.family || one->any || index-- > 0)
            continue;
        *address = one->at;
        *scope = one->scope;
        found = true;
    }
    pthread_mutex_unlock(&port->lock);
    return found;
}

/* ---- inboxes ---- */

static c4_status add_inbox(c4_port *port, const c4_handshake_hello *who, unsigned capacity, int *fd)
{
    inbox **inboxes = realloc(port->inboxes, (port->ninboxes + 1) * sizeof(inbox *));
    inbox *box = calloc(1, sizeof *box);
    if (inboxes)
        port->inboxes = inboxes;
    if (!inboxes || !box) {
        free(box);
        return c4_fail(C4_ERR_MEMORY, "port of the job: inbox");
    }
    *box = (inbox){.who = *who, .event_fd = -1, .capacity = capacity};
    box->waiting = calloc(capacity, sizeof *box->waiting);
    if (!box->waiting) {
        inbox_free(box);
        return c4_fail(C4_ERR_MEMORY, "port of the job: inbox for %u connections", capacity);
    }
    box->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (box->event_fd < 0) {
        int error = errno;
        inbox_free(box);
        return c4_fail_errno(c4_status_from_errno(error), error, "port of the job: eventfd");
    }
    port->inboxes[port->ninboxes++] = box;
    *fd = box->event_fd;
    return C4_OK;
}

c4_status c4_port_open_inbox(c4_port *port, const c4_handshake_hello *who, unsigned capacity, int *fd)
{
    pthread_mutex_lock(&port->lock);
    c4_status status = add_inbox(port, who, capacity, fd);
    pthread_mutex_unlock(&port->lock);
    return status;
}

static size_t find_inbox(const c4_port *port, int fd)
{
    size_t i = 0;
    while (i < port->ninboxes && port->inboxes[i]->event_fd != fd)
        i++;
    return i;
}

int c4_port_take(c4_port *port, int fd)
{
    uint64_t count;
    int taken = -1;
    pthread_mutex_lock(&port->lock);
    size_t i = find_inbox(port, fd);
    inbox *box = i < port->ninboxes ? port->inboxes[i] : NULL;
    if (box && box->count > 0) {
        taken = box->waiting[box->first].fd;
        box->first = (box->first + 1) % box->capacity;
        box->count--;
    }
    if (box && box->count == 0)
        (void)!read(box->event_fd, &count, sizeof count);
    pthread_mutex_unlock(&port->lock);
    return taken;
}

void c4_port_close_inbox(c4_port *port, int fd)
{
    pthread_mutex_lock(&port->lock);
    size_t i = find_inbox(port, fd);
    if (i < port->ninboxes) {
        inbox_free(port->inboxes[i]);
        port->inboxes[i] = port->inboxes[--port->ninboxes];
    }
    pthread_mutex_unlock(&port->lock);
}

/* ---- callers ---- */

static void leave(c4_port *port, caller *one)
{
    close(one->fd); /* leaves the epoll set by itself */
    one->fd = -1;
    port->exhausted_ns = 0;
}

/* Strangers must not fill the log. */
static void refuse(c4_port *port, caller *one, const char *why)
{
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    c4_net_address from;
    char text[C4_NET_ADDRESS_TEXT_BYTES] = "this host";
    uint64_t now_ns = c4_now_ns();
    port->refused++;
    if (port->logged_ns && now_ns - port->logged_ns < LOG_MS * MS_NS) {
        port->refused_unlogged++;
    } else {
        if (getpeername(one->fd, (struct sockaddr *)&name, &bytes) == 0 &&
            c4_net_address_from_sockaddr((struct sockaddr *)&name, &from))
            c4_net_address_format(&from, text);
        c4_log(C4_LOG_INFO, "refused a connection from %s: %s (%llu others since the last such line)", text, why,
               (unsigned long long)port->refused_unlogged);
        port->logged_ns = now_ns;
        port->refused_unlogged = 0;
    }
    leave(port, one);
}

static bool is_for(const inbox *box, const c4_handshake_hello *hello)
{
    return box->who.job_id == hello->job_id && box->who.role == hello->role &&
           strcmp(box->who.transport, hello->transport) == 0;
}

static bool has_ended(int fd)
{
    struct pollfd watch = {.fd = fd, .events = POLLRDHUP};
    return poll(&watch, 1, 0) > 0 && (watch.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* A hello proves nothing, and the owner of an inbox may compute for an hour: who fills it meanwhile must not keep others
 * out. So whoever has gone makes room, and then whoever has waited longest and long enough. False: no room. */
static bool make_room(c4_port *port, inbox *box)
{
    unsigned kept = 0;
    if (box->count < box->capacity)
        return true;
    for (unsigned i = 0; i < box->count; i++) {
        caller *one = &box->waiting[(box->first + i) % box->capacity];
        if (has_ended(one->fd))
            leave(port, one);
        else
            box->waiting[(box->first + kept++) % box->capacity] = *one;
    }
    box->count = kept;
    if (kept < box->capacity)
        return true;
    caller *victim = &box->waiting[box->first];
    if (c4_now_ns() - victim->since_ns < WAITED_MS * MS_NS)
        return false;
    refuse(port, victim, "was not let in for long, and others were waiting");
    box->first = (box->first + 1) % box->capacity;
    box->count--;
    return true;
}

static void hand_over(c4_port *port, caller *one, const c4_handshake_hello *hello)
{
    inbox *box = NULL;
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    int at_once = 1;
    for (size_t i = 0; i < port->ninboxes && !box; i++)
        if (is_for(port->inboxes[i], hello))
            box = port->inboxes[i];
    if (!box) {
        refuse(port, one, "not meant for a communicator of this process");
        return;
    }
    if (!make_room(port, box)) {
        refuse(port, one, "too many others wait to be let in");
        return;
    }
    epoll_ctl(port->epoll_fd, EPOLL_CTL_DEL, one->fd, NULL);
    if (getsockname(one->fd, (struct sockaddr *)&name, &bytes) == 0 && name.ss_family != AF_UNIX)
        setsockopt(one->fd, SOL_SOCKET, SO_RCVLOWAT, &at_once, sizeof at_once);
    box->waiting[(box->first + box->count++) % box->capacity] = (caller){one->fd, c4_now_ns()};
    one->fd = -1;
    (void)!write(box->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* Looks at what it has said; true: its place is free now. */
static bool look(c4_port *port, caller *one)
{
    unsigned char bytes[C4_HANDSHAKE_MESSAGE_BYTES];
    c4_handshake_hello hello;
    ssize_t got = recv(one->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    c4_status status = got > 0 ? c4_handshake_look(bytes, (size_t)got, &hello) : C4_IN_PROGRESS;
    if (status == C4_IN_PROGRESS && (got <= 0 || has_ended(one->fd))) {
        leave(port, one);
        return true;
    }
    if (status == C4_IN_PROGRESS)
        return false;
    if (status < 0)
        refuse(port, one, "these are not the first bytes of a C4 handshake of this version");
    else
        hand_over(port, one, &hello);
    return true;
}

static caller *oldest(c4_port *port)
{
    caller *found = &port->callers[0];
    for (int i = 1; i < C4_PORT_PLACES; i++)
        if (port->callers[i].since_ns < found->since_ns)
            found = &port->callers[i];
    return found;
}

/* A free place, or that of whoever has been here longest and too long; NULL: none. */
static caller *find_place(c4_port *port)
{
    for (int i = 0; i < C4_PORT_PLACES; i++)
        if (port->callers[i].fd < 0)
            return &port->callers[i];
    caller *victim = oldest(port);
    if (c4_now_ns() - victim->since_ns < CROWDED_MS * MS_NS)
        return NULL;
    if (!look(port, victim)) /* this thread may be late, not the caller */
        refuse(port, victim, "said nothing while others were waiting");
    return victim;
}

static void watch_doors(c4_port *port, bool on)
{
    if (port->listening == on)
        return;
    for (unsigned i = 0; i < port->ndoors; i++) {
        struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.u32 = i};
        epoll_ctl(port->epoll_fd, EPOLL_CTL_MOD, port->doors[i].fd, &event);
    }
    port->listening = on;
}

static bool out_of_descriptors(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* Wakes this thread for a whole hello, not for each piece of it: so a slow one costs no more than a silent one. (By edges:
 * a piece that stays where it is must not keep the thread awake.) */
static void begin(c4_port *port, caller *place, const door *from, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
                                .data.u32 = FIRST_CALLER + (uint32_t)(place - port->callers)};
    int whole = C4_HANDSHAKE_MESSAGE_BYTES;
    *place = (caller){fd, c4_now_ns()};
    if (from->at.family)
        setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &whole, sizeof whole);
    if (!from->at.family && !c4_peer_is_same_user(fd))
        refuse(port, place, "another user");
    else if (epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        leave(port, place);
    else
        look(port, place); /* an honest peer has spoken already */
}

static void accept_all(c4_port *port, const door *from)
{
    for (int i = 0; i < MAX_ACCEPTS; i++) {
        caller *place = find_place(port);
        if (!place) {
            watch_doors(port, false);
            return;
        }
        int fd = accept4(from->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0) {
            port->exhausted_ns = out_of_descriptors(errno) ? c4_now_ns() + EXHAUSTED_MS * MS_NS : 0;
            watch_doors(port, port->exhausted_ns == 0);
            return;
        }
        begin(port, place, from, fd);
    }
}

/* Who took too long goes. Returns when the next one does, or the doors are to be watched again. */
static uint64_t expire(c4_port *port)
{
    uint64_t now_ns = c4_now_ns(), next_ns = UINT64_MAX;
    bool full = true;
    for (int i = 0; i < C4_PORT_PLACES; i++) {
        caller *one = &port->callers[i];
        if (one->fd >= 0 && now_ns - one->since_ns >= PATIENCE_MS * MS_NS && !look(port, one))
            refuse(port, one, "did not say who it is in time");
        if (one->fd >= 0 && one->since_ns + PATIENCE_MS * MS_NS < next_ns)
            next_ns = one->since_ns + PATIENCE_MS * MS_NS;
        full = full && one->fd >= 0;
    }
    uint64_t crowded_ns = full ? oldest(port)->since_ns + CROWDED_MS * MS_NS : 0;
    uint64_t again_ns = port->exhausted_ns > crowded_ns ? port->exhausted_ns : crowded_ns;
    watch_doors(port, again_ns <= now_ns);
    return !port->listening && again_ns < next_ns ? again_ns : next_ns;
}

/* ---- the thread that serves ---- */

int c4_port_fd(const c4_port *port)
{
    return port->epoll_fd;
}

uint64_t c4_port_serve(c4_port *port)
{
    struct epoll_event events[EVENTS];
    pthread_mutex_lock(&port->lock);
    expire(port);
    int count = epoll_wait(port->epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < count; i++) {
        uint32_t who = events[i].data.u32;
        caller *one = who >= FIRST_CALLER ? &port->callers[who - FIRST_CALLER] : NULL;
        if (!one)
            accept_all(port, &port->doors[who]);
        else if (one->fd >= 0) /* else, or somebody else's now: looking does no harm */
            look(port, one);
    }
    uint64_t next_ns = expire(port);
    pthread_mutex_unlock(&port->lock);
    return next_ns;
}

uint64_t c4_port_refused(c4_port *port)
{
    pthread_mutex_lock(&port->lock);
    uint64_t refused = port->refused;
    pthread_mutex_unlock(&port->lock);
    return refused;
}
