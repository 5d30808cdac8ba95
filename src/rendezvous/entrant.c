/* One connection from accept on: handshake, join or link, and what it is told. */
#include "rendezvous/admission_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"

enum { MAX_REFUSALS_LOGGED = 3 };

void c4_entrant_leave(c4_door *door, c4_entrant *entrant)
{
    c4_link_close(&entrant->link);
    entrant->phase = C4_ENTRANT_FREE;
    door->exhausted = false;
}

void c4_entrant_refuse(c4_door *door, c4_entrant *entrant, const char *reason)
{
    if (door->refused++ < MAX_REFUSALS_LOGGED)
        c4_log(C4_LOG_WARN, "rendezvous: refused a connection from %s: %s%s", entrant->from, reason,
               door->refused == MAX_REFUSALS_LOGGED ? "; further ones are not logged" : "");
    c4_entrant_leave(door, entrant);
}

void c4_entrant_answer(c4_entrant *entrant, c4_control_kind kind, int rank, size_t bytes)
{
    entrant->out_header = (c4_control_header){kind, (uint32_t)bytes, (uint32_t)rank, 0};
    entrant->phase = C4_ENTRANT_ANSWERING;
}

static void set_out_fault(c4_entrant *entrant, int rank, const c4_control_fault *fault)
{
    c4_entrant_answer(entrant, C4_CONTROL_FAULT, rank, c4_control_fault_pack(fault, entrant->out));
}

static bool has_left(const c4_link *link)
{
    struct pollfd watch = {.fd = link->fd, .events = POLLRDHUP};
    return poll(&watch, 1, 0) > 0;
}

/* The peer has joined properly: what will it be told? */
static void decide(c4_door *door, c4_entrant *entrant)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    int rank = (int)entrant->handshake.peer_rank;
    c4_control_fault fault = {.status = C4_ERR_AUTH};
    if (bootstrap->fault.status < 0) {
        set_out_fault(entrant, bootstrap->fault_rank, &bootstrap->fault);
    } else if (c4_bootstrap_is_local(bootstrap) && !entrant->local) {
        snprintf(fault.text, sizeof fault.text,
                 "rank 0 has no key and lets only processes of its user and host in; "
                 "set C4_KEY_FILE on all ranks, or C4_INSECURE=1 on all");
        set_out_fault(entrant, rank, &fault);
    } else if (bootstrap->links[rank].fd >= 0 && !has_left(&bootstrap->links[rank])) {
        const c4_process *first = &bootstrap->processes[rank];
        fault.status = C4_ERR_ROOT;
        snprintf(fault.text, sizeof fault.text,
                 "two processes have rank %d: pid %u on %s came first, pid %u on %s is "
                 "refused; check C4_RANK, or that nothing of an earlier attempt still runs (C4_JOB_ID, new for each, "
                 "keeps it out)",
                 rank, first->pid, first->host, entrant->process.pid, entrant->process.host);
        c4_log(C4_LOG_ERROR, "%s", fault.text);
        set_out_fault(entrant, rank, &fault);
    } else {
        c4_control_welcome welcome = {.has_key = bootstrap->has_key && !bootstrap->spec.key};
        memcpy(welcome.nonce, bootstrap->nonce, sizeof welcome.nonce);
        if (welcome.has_key)
            memcpy(welcome.key, bootstrap->key, C4_KEY_BYTES);
        c4_control_welcome_pack(&welcome, entrant->out);
        c4_entrant_answer(entrant, C4_CONTROL_WELCOME, 0, C4_CONTROL_WELCOME_BYTES);
    }
}

static void finish(c4_door *door, c4_entrant *entrant)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    uint32_t rank = entrant->handshake.peer_rank;
    bool welcome = entrant->out_header.kind == C4_CONTROL_WELCOME;
    if (door->linked) {
        door->linked(door, entrant);
        return;
    }
    explicit_bzero(entrant->out, sizeof entrant->out);
    if (!welcome) {
        c4_entrant_leave(door, entrant);
        return;
    }
    if (bootstrap->links[rank].fd < 0)
        door->missing--;
    c4_link_close(&bootstrap->links[rank]);
    c4_link_init(&bootstrap->links[rank], entrant->link.fd);
    bootstrap->processes[rank] = entrant->process;
    bootstrap->endpoints[rank] = entrant->endpoint;
    entrant->link.fd = -1;
    c4_entrant_leave(door, entrant);
}

/* A rank that finds out that it cannot take part: the end of this set-up, unless somebody else has its place. */
static c4_status take_fault(c4_door *door, c4_entrant *entrant)
{
    c4_bootstrap *bootstrap = door->bootstrap;
    int rank = (int)entrant->handshake.peer_rank;
    c4_control_fault fault;
    C4_TRY(c4_control_fault_unpack(entrant->in, entrant->link.header.bytes, &fault));
    c4_entrant_leave(door, entrant);
    if (bootstrap->fault.status == C4_OK && bootstrap->links[rank].fd < 0)
        c4_bootstrap_fail(bootstrap, fault.status, rank, "%s", fault.text);
    return C4_OK;
}

static c4_status receive_join(c4_door *door, c4_entrant *entrant)
{
    uint32_t nranks = (uint32_t)door->bootstrap->spec.nranks;
    c4_status status = c4_link_receive_header(&entrant->link, nranks);
    if (status != C4_OK)
        return status;
    c4_control_kind kind = entrant->link.header.kind;
    if (kind != C4_CONTROL_JOIN && kind != C4_CONTROL_FAULT)
        return C4_ERR_PROTOCOL;
    status = c4_link_receive_payload(&entrant->link, entrant->in);
    if (status != C4_OK)
        return status;
    if (kind == C4_CONTROL_FAULT)
        return take_fault(door, entrant);
    C4_TRY(c4_process_unpack(entrant->in, C4_PROCESS_BYTES, &entrant->process));
    C4_TRY(c4_endpoint_unpack(entrant->in + C4_PROCESS_BYTES, entrant->link.header.bytes - C4_PROCESS_BYTES,
                              &entrant->endpoint));
    decide(door, entrant);
    return C4_OK;
}

/* The other end chooses; it says so, or closes. */
static c4_status receive_link(c4_door *door, c4_entrant *entrant)
{
    c4_status status = c4_link_receive_header(&entrant->link, (uint32_t)door->bootstrap->spec.nranks);
    if (status != C4_OK)
        return status;
    if (entrant->link.header.kind != C4_CONTROL_LINK)
        return C4_ERR_PROTOCOL;
    C4_TRY(c4_link_receive_payload(&entrant->link, entrant->in));
    door->linked(door, entrant);
    return C4_OK;
}

/* One phase; C4_OK: on to the next, or the place is free. */
static c4_status step_once(c4_door *door, c4_entrant *entrant)
{
    c4_status status = C4_OK;
    switch (entrant->phase) {
    case C4_ENTRANT_SHAKING:
        status = c4_handshake_step(&entrant->handshake, entrant->link.fd);
        if (status == C4_OK && door->shaken)
            door->shaken(door, entrant);
        else if (status == C4_OK)
            entrant->phase = C4_ENTRANT_JOINING;
        return status;
    case C4_ENTRANT_JOINING:
        return receive_join(door, entrant);
    case C4_ENTRANT_LINKING:
        return receive_link(door, entrant);
    case C4_ENTRANT_ANSWERING:
        status = c4_link_send(&entrant->link, &entrant->out_header, entrant->out);
        if (status == C4_OK)
            finish(door, entrant);
        return status;
    case C4_ENTRANT_FREE:
        break;
    }
    return C4_OK;
}

void c4_entrant_step(c4_door *door, c4_entrant *entrant)
{
    c4_status status = C4_OK;
    while (status == C4_OK && entrant->phase != C4_ENTRANT_FREE)
        status = step_once(door, entrant);
    if (status == C4_ERR_LINK && entrant->phase == C4_ENTRANT_LINKING)
        c4_entrant_leave(door, entrant); /* the other end has chosen another connection */
    else if (status == C4_ERR_LINK)
        c4_entrant_refuse(door, entrant,
                          entrant->phase == C4_ENTRANT_SHAKING ? "closed before it proved that it belongs to this job"
                                                               : "closed while joining");
    else if (status < 0)
        c4_entrant_refuse(door, entrant, *entrant->handshake.reason ? entrant->handshake.reason : "malformed message");
}

void c4_entrant_start(c4_door *door, c4_entrant *entrant, int fd, bool local, const struct sockaddr *name)
{
    c4_net_address address;
    int on = 1;
    memset(entrant, 0, sizeof *entrant);
    c4_link_init(&entrant->link, fd);
    entrant->phase = C4_ENTRANT_SHAKING;
    entrant->since_ns = c4_now_ns();
    entrant->local = local;
    snprintf(entrant->from, sizeof entrant->from, "this host");
    if (!local && c4_net_address_from_sockaddr(name, &address)) {
        c4_net_address_format(&address, entrant->from);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    c4_handshake_identity identity = door->linked ? c4_bootstrap_run_identity(door->bootstrap, C4_HANDSHAKE_ANY_RANK)
                                                  : c4_bootstrap_identity(door->bootstrap, C4_HANDSHAKE_ANY_RANK);
    if (local && !c4_peer_is_same_user(fd))
        c4_entrant_refuse(door, entrant, "another user");
    else if (c4_handshake_init(&entrant->handshake, &identity, false) < 0)
        c4_entrant_refuse(door, entrant, c4_fail_text());
    else
        c4_entrant_step(door, entrant);
}

bool c4_entrant_is_silent(const c4_entrant *entrant)
{
    return entrant->phase == C4_ENTRANT_SHAKING && entrant->handshake.out_bytes == 0;
}
