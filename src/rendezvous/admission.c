/* The door of rank 0: lets every rank of the job in and keeps strangers from standing in it.
 *
 * At most MAX_ENTRANTS connections are between accept and welcome, each for at most ENTRANT_MS. When all places are
 * taken and somebody knocks, the one that has shown the least for the longest goes, after EVICT_SILENT_MS (no hello yet)
 * or EVICT_MS at the earliest; a rank that this hits comes again. So half-open connections delay the job by milliseconds and cost constant memory. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/listener.h"
#include "rendezvous/rank_list.h"

enum { MAX_ENTRANTS = 64, ENTRANT_MS = 10000, EVICT_SILENT_MS = 200, EVICT_MS = 2000, MAX_REFUSALS_LOGGED = 3 };
enum { NDOORS = 2, FIRST_ENTRANT = NDOORS, FIRST_RANK = FIRST_ENTRANT + MAX_ENTRANTS };

/* Until JOINING it is anybody; from then on it has proved that it belongs to the job. */
typedef enum phase { FREE, SHAKING, JOINING, WELCOMING } phase;

typedef struct visitor {
    phase phase;
    bool local; /* came through the AF_UNIX door */
    uint64_t since_ns;
    c4_link link;
    c4_handshake handshake;
    unsigned char in[C4_PROCESS_BYTES];
    unsigned char out[C4_CONTROL_MESSAGE_MAX_BYTES]; /* welcome or fault */
    c4_control_header out_header;
    c4_process process;
    char from[C4_NET_ADDRESS_TEXT_BYTES];
} visitor;

typedef struct gate {
    c4_bootstrap *bootstrap;
    int doors[NDOORS]; /* TCP, AF_UNIX */
    int missing;       /* ranks not yet in */
    unsigned refused;
    bool exhausted; /* no descriptor for the next; cleared when an entrant is done */
    visitor *entrants;
    struct pollfd *watches;
    int *whose; /* of each watch: a door, FIRST_ENTRANT + place or FIRST_RANK + rank */
    nfds_t nwatches;
} gate;

/* ---- one entrant ---- */

static void entrant_leave(gate *door, visitor *entrant)
{
    c4_link_close(&entrant->link);
    entrant->phase = FREE;
    door->exhausted = false;
}

/* Says once or a few times that somebody was refused; what strangers do must not fill the log. */
static void refuse(gate *door, visitor *entrant, const char *reason)
{
    if (door->refused++ < MAX_REFUSALS_LOGGED)
        c4_log(C4_LOG_WARN, "rendezvous: refused a connection from %s: %s%s", entrant->from, reason,
               door->refused == MAX_REFUSALS_LOGGED ? "; further ones are not logged" : "");
    entrant_leave(door, entrant);
}

static void set_out(visitor *entrant, c4_control_kind kind, int rank, size_t bytes)
{
    entrant->out_header = (c4_control_header){kind, (uint32_t)bytes, (uint32_t)rank, 0};
    entrant->phase = WELCOMING;
}

static void set_out_fault(visitor *entrant, int rank, const c4_control_fault *fault)
{
    set_out(entrant, C4_CONTROL_FAULT, rank, c4_control_fault_pack(fault, entrant->out));
}

static bool has_left(const c4_link *link)
{
    struct pollfd watch = {.fd = link->fd, .events = POLLRDHUP};
    return poll(&watch, 1, 0) > 0;
}

/* The peer has joined properly: what will it be told? */
static void decide(gate *door, visitor *entrant)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    int rank = (int)entrant->handshake.peer_rank;
    c4_control_fault fault = {.status = C4_ERR_AUTH};
    if (bootstrap->fault.status < 0) {
        set_out_fault(entrant, bootstrap->fault_rank, &bootstrap->fault);
    } else if (c4_bootstrap_is_local(bootstrap) && !entrant->local) {
        snprintf(fault.text, sizeof fault.text, "rank 0 has no key and lets only processes of its user and host in; "
                                                "set C4_KEY_FILE on all ranks, or C4_INSECURE=1 on all");
        set_out_fault(entrant, rank, &fault);
    } else if (bootstrap->links[rank].fd >= 0 && !has_left(&bootstrap->links[rank])) {
        const c4_process *first = &bootstrap->processes[rank];
        fault.status = C4_ERR_ROOT;
        snprintf(fault.text, sizeof fault.text, "two processes have rank %d: pid %u on %s came first, pid %u on %s is "
                 "refused; check C4_RANK", rank, first->pid, first->host, entrant->process.pid, entrant->process.host);
        c4_log(C4_LOG_ERROR, "%s", fault.text);
        set_out_fault(entrant, rank, &fault);
    } else {
        c4_control_welcome welcome = {.has_key = bootstrap->has_key && !bootstrap->spec.key};
        if (welcome.has_key)
            memcpy(welcome.key, bootstrap->key, C4_KEY_BYTES);
        c4_control_welcome_pack(&welcome, entrant->out);
        set_out(entrant, C4_CONTROL_WELCOME, 0, C4_CONTROL_WELCOME_BYTES);
    }
}

static void finish(gate *door, visitor *entrant)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    uint32_t rank = entrant->handshake.peer_rank;
    bool welcome = entrant->out_header.kind == C4_CONTROL_WELCOME;
    explicit_bzero(entrant->out, sizeof entrant->out);
    if (!welcome) {
        entrant_leave(door, entrant);
        return;
    }
    if (bootstrap->links[rank].fd < 0)
        door->missing--;
    c4_link_close(&bootstrap->links[rank]);
    c4_link_init(&bootstrap->links[rank], entrant->link.fd);
    bootstrap->processes[rank] = entrant->process;
    entrant->link.fd = -1;
    entrant_leave(door, entrant);
}

static c4_status receive_join(gate *door, visitor *entrant)
{
    uint32_t nranks = (uint32_t)door->bootstrap->spec.nranks;
    c4_status status = c4_link_receive_header(&entrant->link, nranks);
    if (status != C4_OK)
        return status;
    if (entrant->link.header.kind != C4_CONTROL_JOIN)
        return C4_ERR_PROTOCOL;
    status = c4_link_receive_payload(&entrant->link, entrant->in);
    if (status != C4_OK)
        return status;
    return c4_process_unpack(entrant->in, entrant->link.header.bytes, &entrant->process);
}

/* As far as the socket lets it go. */
static void entrant_step(gate *door, visitor *entrant)
{
    c4_status status = C4_OK;
    if (entrant->phase == SHAKING) {
        status = c4_handshake_step(&entrant->handshake, entrant->link.fd);
        if (status == C4_OK)
            entrant->phase = JOINING;
    }
    if (status == C4_OK && entrant->phase == JOINING) {
        status = receive_join(door, entrant);
        if (status == C4_OK)
            decide(door, entrant);
    }
    if (status == C4_OK && entrant->phase == WELCOMING) {
        status = c4_link_send(&entrant->link, &entrant->out_header, entrant->out);
        if (status == C4_OK)
            finish(door, entrant);
    }
    if (status == C4_ERR_LINK)
        refuse(door, entrant, entrant->phase == SHAKING ? "closed before it proved that it belongs to this job"
                                                        : "closed while joining");
    else if (status < 0)
        refuse(door, entrant, *entrant->handshake.reason ? entrant->handshake.reason : "malformed message");
}

/* ---- the door ---- */

/* No proper hello yet: most likely not a rank. */
static bool is_silent(const visitor *entrant)
{
    return entrant->phase == SHAKING && entrant->handshake.out_bytes == 0;
}

/* A place for one who knocks: a free one, or that of whoever has shown least for longest, when that was long enough; NULL:
 * none. */
static visitor *pick_place(gate *door)
{
    visitor *worst = NULL;
    for (int i = 0; i < MAX_ENTRANTS; i++) {
        visitor *entrant = &door->entrants[i];
        if (entrant->phase == FREE)
            return entrant;
        bool quieter = worst && is_silent(entrant) != is_silent(worst);
        if (!worst || (quieter ? is_silent(entrant) : entrant->since_ns < worst->since_ns))
            worst = entrant;
    }
    uint64_t patience_ms = is_silent(worst) ? EVICT_SILENT_MS : EVICT_MS;
    return c4_now_ns() - worst->since_ns < patience_ms * 1000000u ? NULL : worst;
}

static int count_entrants(const gate *door)
{
    int count = 0;
    for (int i = 0; i < MAX_ENTRANTS; i++)
        count += door->entrants[i].phase != FREE;
    return count;
}

static void start_entrant(gate *door, visitor *entrant, int fd, bool local, const struct sockaddr *name)
{
    c4_net_address address;
    int on = 1;
    memset(entrant, 0, sizeof *entrant);
    c4_link_init(&entrant->link, fd);
    entrant->phase = SHAKING;
    entrant->since_ns = c4_now_ns();
    entrant->local = local;
    snprintf(entrant->from, sizeof entrant->from, "this host");
    if (!local && c4_net_address_from_sockaddr(name, &address)) {
        c4_net_address_format(&address, entrant->from);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    c4_handshake_identity identity = c4_bootstrap_identity(door->bootstrap, C4_HANDSHAKE_ANY_RANK);
    if (local && !c4_peer_is_same_user(fd))
        refuse(door, entrant, "another user");
    else if (c4_handshake_init(&entrant->handshake, &identity, false) < 0)
        refuse(door, entrant, c4_fail_text());
    else
        entrant_step(door, entrant);
}

/* Out of descriptors: while some entrants are under way they may leave; else this is the end. */
static c4_status on_exhausted(gate *door, int error)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    door->exhausted = true;
    if (count_entrants(door) > 0)
        return C4_OK;
    if (bootstrap->fault.status < 0)
        return C4_ERR_FILES;
    return c4_bootstrap_fail(bootstrap, c4_status_from_errno(error), 0,
                             "rank 0 cannot let in more ranks (%d of %d are missing): %s; it needs one file descriptor "
                             "per rank and %d to spare", door->missing, bootstrap->spec.nranks, strerror(error),
                             MAX_ENTRANTS);
}

static c4_status let_knock(gate *door, int which)
{
    visitor *entrant = NULL;
    while (!door->exhausted && (entrant = pick_place(door)) != NULL) {
        struct sockaddr_storage name;
        socklen_t bytes = sizeof name;
        int fd = accept4(door->doors[which], (struct sockaddr *)&name, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
            return on_exhausted(door, errno);
        if (fd < 0)
            return C4_OK; /* nobody any more */
        if (entrant->phase != FREE)
            refuse(door, entrant, "too slow while others wait");
        start_entrant(door, entrant, fd, which == 1, (struct sockaddr *)&name);
    }
    return C4_OK; /* the rest waits in the backlog */
}

static void expire_entrants(gate *door)
{
    uint64_t now_ns = c4_now_ns();
    for (int i = 0; i < MAX_ENTRANTS; i++) {
        visitor *entrant = &door->entrants[i];
        if (entrant->phase != FREE && now_ns - entrant->since_ns > ENTRANT_MS * 1000000ull)
            refuse(door, entrant, "did not complete the handshake in time");
    }
}

/* Only what is open is watched: poll refuses more entries than the process may have descriptors. */
static void watch(gate *door, int fd, short events, int who)
{
    if (fd < 0)
        return;
    door->watches[door->nwatches] = (struct pollfd){.fd = fd, .events = events};
    door->whose[door->nwatches++] = who;
}

static void watch_all(gate *door)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    door->nwatches = 0;
    for (int i = 0; i < MAX_ENTRANTS; i++) {
        visitor *entrant = &door->entrants[i];
        const unsigned char *bytes = NULL;
        bool writes = entrant->phase == WELCOMING ||
                      (entrant->phase == SHAKING && c4_handshake_output(&entrant->handshake, &bytes));
        if (entrant->phase != FREE)
            watch(door, entrant->link.fd, writes ? POLLIN | POLLOUT : POLLIN, FIRST_ENTRANT + i);
    }
    for (int rank = 1; bootstrap->fault.status == C4_OK && rank < bootstrap->spec.nranks; rank++)
        watch(door, bootstrap->links[rank].fd, POLLRDHUP, FIRST_RANK + rank);
    for (int i = 0; i < NDOORS && !door->exhausted && pick_place(door); i++)
        watch(door, door->doors[i], POLLIN, i);
}

/* Waits for the next event and handles all that are there. */
static c4_status door_step(gate *door)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    watch_all(door);
    int ready = poll(door->watches, door->nwatches, c4_bootstrap_tick(bootstrap));
    if (ready < 0 && errno != EINTR)
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rendezvous: poll: %s", strerror(errno));
    expire_entrants(door);
    for (nfds_t i = 0; ready > 0 && i < door->nwatches; i++) {
        int who = door->whose[i];
        if (!door->watches[i].revents)
            continue;
        if (who < FIRST_ENTRANT)
            C4_TRY(let_knock(door, who));
        else if (who >= FIRST_RANK)
            return c4_bootstrap_rank_left(bootstrap, who - FIRST_RANK);
        else if (door->entrants[who - FIRST_ENTRANT].phase != FREE)
            entrant_step(door, &door->entrants[who - FIRST_ENTRANT]);
    }
    return C4_OK;
}

/* ---- opening and closing ---- */

static c4_status open_doors(gate *door)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    c4_bootstrap_spec *spec = &bootstrap->spec;
    door->doors[0] = door->doors[1] = -1;
    if (spec->listen_fd < 0)
        spec->listen_fd = c4_listener_take(spec->job_id);
    if (spec->listen_fd < 0) {
        c4_listen_spec listen = {.bind = bootstrap->addresses[0]};
        c4_net_address bound;
        C4_TRY(c4_listener_open(&listen, &spec->listen_fd, &bound));
    }
    door->doors[0] = spec->listen_fd;
    int flags = fcntl(spec->listen_fd, F_GETFL); /* an inherited one may be blocking */
    if (flags < 0 || fcntl(spec->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rendezvous: listening descriptor %d: %s",
                                 spec->listen_fd, strerror(errno));
    if (!c4_bootstrap_is_local(bootstrap))
        return C4_OK;
    return c4_listener_open_local(spec->job_id, bootstrap->addresses[0].port, &door->doors[1]);
}

static bool is_missing(const void *context, int rank)
{
    const c4_bootstrap *bootstrap = context;
    return rank > 0 && bootstrap->links[rank].fd < 0;
}

static c4_status explain_end(c4_bootstrap *bootstrap, c4_status status, unsigned refused)
{
    char ranks[160];
    char address[C4_NET_ADDRESS_TEXT_BYTES];
    if (status == C4_ERR_ABORTED)
        return c4_bootstrap_fail(bootstrap, status, 0, "rank 0: aborted while the job was set up");
    c4_rank_list(bootstrap->spec.nranks, is_missing, bootstrap, ranks, sizeof ranks);
    char strangers[64] = "";
    if (refused)
        snprintf(strangers, sizeof strangers, "; %u connections were refused", refused);
    return c4_bootstrap_fail(bootstrap, status, -1, "%s not connected after %d ms to %s (C4_SETUP_TIMEOUT_MS)%s", ranks,
                             bootstrap->spec.timeout_ms, c4_net_address_format(&bootstrap->addresses[0], address),
                             strangers);
}

/* Out of descriptors, latecomers can be told only in the place of those who know already. What these have sent is read
 * first: closing over unread bytes would take back the fault. */
static void release_links(c4_bootstrap *bootstrap)
{
    unsigned char buffer[C4_CONTROL_BLOB_MAX_BYTES];
    for (int rank = 1; rank < bootstrap->spec.nranks; rank++) {
        c4_link *link = &bootstrap->links[rank];
        while (link->fd >= 0 && recv(link->fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0)
            continue;
        c4_link_close(link);
    }
}

/* Tells those who are in, and for a short while those who come, why there will be no job. */
static void tell_everybody(gate *door)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    c4_bootstrap_spread_fault(bootstrap);
    if (bootstrap->fault.status == C4_ERR_FILES) {
        release_links(bootstrap);
        door->exhausted = false;
    }
    int timeout_ms = bootstrap->spec.timeout_ms;
    bootstrap->spec.timeout_ms = C4_BOOTSTRAP_LINGER_MS;
    c4_bootstrap_start_clock(bootstrap, 0);
    bootstrap->spec.timeout_ms = timeout_ms;
    while (c4_bootstrap_check(bootstrap) == C4_OK && door_step(door) == C4_OK)
        continue;
}

c4_status c4_bootstrap_admit_all(c4_bootstrap *bootstrap)
{
    int nranks = bootstrap->spec.nranks;
    gate door = {.bootstrap = bootstrap, .doors = {-1, -1}, .missing = nranks - 1};
    c4_status status = C4_OK;
    door.entrants = calloc(MAX_ENTRANTS, sizeof *door.entrants);
    door.watches = calloc(FIRST_RANK + (size_t)nranks, sizeof *door.watches);
    door.whose = calloc(FIRST_RANK + (size_t)nranks, sizeof *door.whose);
    if (!door.entrants || !door.watches || !door.whose)
        C4_TRY_GOTO(c4_fail(C4_ERR_MEMORY, "rendezvous of %d ranks", nranks), out);
    C4_TRY_GOTO(open_doors(&door), out);
    while (status == C4_OK && door.missing > 0) {
        status = c4_bootstrap_check(bootstrap);
        if (status == C4_OK)
            status = door_step(&door);
    }
    if (status < 0 && bootstrap->fault.status == C4_OK)
        status = explain_end(bootstrap, status, door.refused);
    if (status < 0)
        tell_everybody(&door);
out:
    for (int i = 0; door.entrants && i < MAX_ENTRANTS; i++)
        if (door.entrants[i].phase != FREE)
            entrant_leave(&door, &door.entrants[i]);
    if (door.doors[1] >= 0)
        close(door.doors[1]);
    free(door.entrants);
    free(door.watches);
    free(door.whose);
    return status;
}
