/* The door of rank 0: lets every rank of the job in and keeps strangers from standing in it. The other ranks let their
 * neighbours in through one, too (bootstrap_links.c).
 *
 * As many connections as ranks are to come, and C4_DOOR_PLACES more, are between accept and welcome, each for at most
 * ENTRANT_MS. When all places are taken and somebody knocks, the one that has shown the least for the longest goes, after
 * EVICT_SILENT_MS (no hello yet) or EVICT_MS at the earliest; a rank that this hits comes again. So half-open connections
 * delay the job by milliseconds and cost constant memory; and ranks that come all at once to a machine with few cores, each of
 * which may then wait longer than that for its turn, do not put one another out. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "rendezvous/admission_internal.h"
#include "rendezvous/file_store.h"
#include "rendezvous/listener.h"
#include "rendezvous/rank_list.h"

enum { ENTRANT_MS = 10000, EVICT_SILENT_MS = 200, EVICT_MS = 2000 };

/* A place for one who knocks: a free one, or that of whoever has shown least for longest, when that was long enough;
 * NULL: none. */
static c4_entrant *pick_place(c4_door *door)
{
    c4_entrant *worst = &door->entrants[0];
    for (int i = 0; i < door->nplaces; i++) {
        c4_entrant *entrant = &door->entrants[i];
        if (entrant->phase == C4_ENTRANT_FREE)
            return entrant;
        bool quieter = c4_entrant_is_silent(entrant) != c4_entrant_is_silent(worst);
        if (quieter ? c4_entrant_is_silent(entrant) : entrant->since_ns < worst->since_ns)
            worst = entrant;
    }
    uint64_t patience_ms = c4_entrant_is_silent(worst) ? EVICT_SILENT_MS : EVICT_MS;
    return c4_now_ns() - worst->since_ns < patience_ms * 1000000u ? NULL : worst;
}

static int count_entrants(const c4_door *door)
{
    int count = 0;
    for (int i = 0; i < door->nplaces; i++)
        count += door->entrants[i].phase != C4_ENTRANT_FREE;
    return count;
}

/* Out of descriptors: while some entrants are under way they may leave; else this is the end. */
static c4_status on_exhausted(c4_door *door, int error)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    door->exhausted = true;
    if (count_entrants(door) > 0)
        return C4_OK;
    if (bootstrap->fault.status < 0)
        return C4_ERR_FILES;
    if (door->linked)
        return c4_bootstrap_fail(bootstrap, c4_status_from_errno(error), bootstrap->spec.rank,
                                 "rank %d cannot take the connections of its neighbours: %s", bootstrap->spec.rank,
                                 strerror(error));
    return c4_bootstrap_fail(bootstrap, c4_status_from_errno(error), 0,
                             "rank 0 cannot let in more ranks (%d of %d are missing): %s; it needs one file descriptor "
                             "per rank and %d to spare",
                             door->missing, bootstrap->spec.nranks, strerror(error), C4_DOOR_PLACES);
}

static c4_status let_knock(c4_door *door, int which)
{
    c4_entrant *entrant = NULL;
    while (!door->exhausted && (entrant = pick_place(door)) != NULL) {
        struct sockaddr_storage name;
        socklen_t bytes = sizeof name;
        int fd = accept4(door->doors[which], (struct sockaddr *)&name, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
            return on_exhausted(door, errno);
        if (fd < 0)
            return C4_OK; /* nobody any more */
        if (entrant->phase != C4_ENTRANT_FREE)
            c4_entrant_refuse(door, entrant, "too slow while others wait");
        c4_entrant_start(door, entrant, fd, door->local[which], (struct sockaddr *)&name);
    }
    return C4_OK; /* the rest waits in the backlog */
}

void c4_door_expire(c4_door *door)
{
    uint64_t now_ns = c4_now_ns();
    for (int i = 0; i < door->nplaces; i++) {
        c4_entrant *entrant = &door->entrants[i];
        if (entrant->phase != C4_ENTRANT_FREE && now_ns - entrant->since_ns > ENTRANT_MS * 1000000ull)
            c4_entrant_refuse(door, entrant, "did not complete the handshake in time");
    }
}

/* Only what is open is watched: poll refuses more entries than the process may have descriptors. */
void c4_door_watch(c4_door *door, int fd, short events, int who)
{
    if (fd < 0)
        return;
    door->watches[door->nwatches] = (struct pollfd){.fd = fd, .events = events};
    door->whose[door->nwatches++] = who;
}

void c4_door_watch_all(c4_door *door)
{
    door->nwatches = 0;
    for (int i = 0; i < door->nplaces; i++) {
        c4_entrant *entrant = &door->entrants[i];
        const unsigned char *bytes = NULL;
        bool writes = entrant->phase == C4_ENTRANT_ANSWERING ||
                      (entrant->phase == C4_ENTRANT_SHAKING && c4_handshake_output(&entrant->handshake, &bytes));
        if (entrant->phase != C4_ENTRANT_FREE)
            c4_door_watch(door, entrant->link.fd, writes ? POLLIN | POLLOUT : POLLIN, C4_FIRST_ENTRANT + i);
    }
    for (int i = 0; i < C4_NDOORS && !door->exhausted && pick_place(door); i++)
        c4_door_watch(door, door->doors[i], POLLIN, i);
}

c4_status c4_door_serve(c4_door *door, nfds_t i)
{
    int who = door->whose[i];
    if (who < C4_FIRST_ENTRANT)
        return let_knock(door, who);
    c4_entrant *entrant = &door->entrants[who - C4_FIRST_ENTRANT];
    if (entrant->phase != C4_ENTRANT_FREE)
        c4_entrant_step(door, entrant);
    return C4_OK;
}

/* Waits for the next event and handles all that are there. */
static c4_status door_step(c4_door *door)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    c4_door_watch_all(door);
    for (int rank = 1; bootstrap->fault.status == C4_OK && rank < bootstrap->spec.nranks; rank++)
        c4_door_watch(door, bootstrap->links[rank].fd, POLLRDHUP, c4_door_first_other(door) + rank);
    int ready = poll(door->watches, door->nwatches, c4_bootstrap_tick(bootstrap));
    if (ready < 0 && errno != EINTR)
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rendezvous: poll: %s", strerror(errno));
    c4_door_expire(door);
    for (nfds_t i = 0; ready > 0 && i < door->nwatches; i++) {
        if (!door->watches[i].revents)
            continue;
        if (door->whose[i] >= c4_door_first_other(door))
            return c4_bootstrap_peer_left(bootstrap, door->whose[i] - c4_door_first_other(door));
        C4_TRY(c4_door_serve(door, i));
    }
    return C4_OK;
}

/* ---- opening and closing ---- */

static c4_status open_doors(c4_door *door)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    c4_bootstrap_spec *spec = &bootstrap->spec;
    if (spec->listen_fd < 0)
        spec->listen_fd = c4_listener_take(spec->job_id);
    if (spec->listen_fd < 0) {
        c4_listen_spec listen = {.bind = bootstrap->addresses[0], .told = true};
        if (spec->file)
            listen = (c4_listen_spec){.bind = bootstrap->listen[0], .port_lo = spec->port_lo, .port_hi = spec->port_hi};
        c4_net_address bound;
        C4_TRY(c4_listener_open(&listen, &spec->listen_fd, &bound));
        bootstrap->addresses[0] = bound;
        if (spec->file)
            spec->naddresses = 1;
    }
    door->doors[0] = spec->listen_fd;
    int flags = fcntl(spec->listen_fd, F_GETFL); /* an inherited one may be blocking */
    if (flags < 0 || fcntl(spec->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return c4_bootstrap_fail(bootstrap, C4_ERR_SYSTEM, -1, "rendezvous: listening descriptor %d: %s",
                                 spec->listen_fd, strerror(errno));
    if (!c4_bootstrap_is_local(bootstrap))
        return C4_OK;
    door->local[1] = true;
    return c4_listener_open_local(spec->job_id, bootstrap->addresses[0].port, &door->doors[1]);
}

c4_status c4_door_init(c4_door *door, c4_bootstrap *bootstrap, int nexpected, size_t nothers)
{
    *door = (c4_door){.bootstrap = bootstrap, .doors = {-1, -1, -1}, .nplaces = C4_DOOR_PLACES + nexpected};
    size_t nwatches = (size_t)c4_door_first_other(door) + nothers;
    door->entrants = calloc((size_t)door->nplaces, sizeof *door->entrants);
    door->watches = calloc(nwatches, sizeof *door->watches);
    door->whose = calloc(nwatches, sizeof *door->whose);
    if (door->entrants && door->watches && door->whose)
        return C4_OK;
    return c4_bootstrap_fail(bootstrap, C4_ERR_MEMORY, bootstrap->spec.rank, "rank %d: rendezvous of %d ranks",
                             bootstrap->spec.rank, bootstrap->spec.nranks);
}

void c4_door_fini(c4_door *door)
{
    for (int i = 0; door->entrants && i < door->nplaces; i++)
        if (door->entrants[i].phase != C4_ENTRANT_FREE)
            c4_entrant_leave(door, &door->entrants[i]);
    free(door->entrants);
    free(door->watches);
    free(door->whose);
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
    if (status == C4_ERR_ABORTED && bootstrap->spec.abort_text)
        return c4_bootstrap_fail(bootstrap, C4_ERR_PEER_ERROR, 0, "rank 0: %s", bootstrap->spec.abort_text);
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
static void tell_everybody(c4_door *door)
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
    bootstrap->spec.abort_flag = NULL; /* who comes to an aborted root must hear so, too */
    while (c4_bootstrap_check(bootstrap) == C4_OK && door_step(door) == C4_OK)
        continue;
}

/* Tells by the file where this rank listens, when there is one. */
static c4_status publish(c4_bootstrap *bootstrap, c4_file_store_entry *entry)
{
    const c4_bootstrap_spec *spec = &bootstrap->spec;
    const c4_net_address *told = spec->nadvertise ? bootstrap->advertise : bootstrap->addresses;
    if (!spec->file)
        return C4_OK;
    *entry =
        (c4_file_store_entry){.job_id = spec->job_id, .nranks = (uint32_t)spec->nranks, .process = bootstrap->self};
    entry->naddresses = spec->nadvertise ? spec->nadvertise : spec->naddresses;
    for (size_t i = 0; i < entry->naddresses; i++)
        entry->addresses[i] = told[i];
    c4_status status = c4_file_store_publish(spec->file, entry);
    return status < 0 ? c4_bootstrap_pass_on(bootstrap, status) : C4_OK;
}

c4_status c4_bootstrap_admit_all(c4_bootstrap *bootstrap)
{
    c4_door door;
    c4_file_store_entry entry;
    c4_status status = C4_OK;
    C4_TRY_GOTO(c4_door_init(&door, bootstrap, bootstrap->spec.nranks, (size_t)bootstrap->spec.nranks), out);
    door.missing = bootstrap->spec.nranks - 1;
    C4_TRY_GOTO(open_doors(&door), out);
    C4_TRY_GOTO(publish(bootstrap, &entry), out);
    while (status == C4_OK && door.missing > 0) {
        status = c4_bootstrap_check(bootstrap);
        if (status == C4_OK)
            status = door_step(&door);
        if (status == C4_OK)
            status = bootstrap->fault.status; /* one of those who came has brought one */
    }
    if (status < 0 && bootstrap->fault.status == C4_OK)
        status = explain_end(bootstrap, status, door.refused);
    if (status == C4_OK)
        status = c4_bootstrap_keep_door(bootstrap, &door);
    if (status < 0)
        tell_everybody(&door);
    if (bootstrap->spec.file)
        c4_file_store_remove(bootstrap->spec.file, &entry);
out:
    if (door.doors[1] >= 0)
        close(door.doors[1]);
    c4_door_fini(&door);
    return status;
}
