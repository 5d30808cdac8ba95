/* The way in, for every rank but 0: connect (again and again, rank 0 may not listen yet), prove, join. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/file_store.h"
#include "rendezvous/listener.h"
#include "rendezvous/process.h"

enum { FIRST_PAUSE_MS = 5, LONGEST_PAUSE_MS = 250, CONNECT_MS = 5000 };

/* What the last attempt met, for the error at the deadline. */
typedef struct try_state {
    const c4_net_address *address;
    int error;                                 /* errno of the connection, 0: it was closed during the handshake */
    char unusable[C4_FILE_STORE_REASON_BYTES]; /* why the file does not tell an address; "" */
    char stranger[256];                        /* who answered at a guessed address and was not rank 0 of this job */
} try_state;

int c4_bootstrap_dial(const c4_bootstrap *bootstrap, const c4_net_address *address, uint32_t number, int *fd)
{
    return c4_ties_dial(c4_bootstrap_is_local(bootstrap), bootstrap->spec.job_id, address, number, fd);
}

/* Waits for a connection in progress, at most CONNECT_MS: the address may be a black hole, and there may be others. */
static c4_status await_connection(const c4_bootstrap *bootstrap, int fd, int *error)
{
    uint64_t give_up_ns = c4_now_ns() + CONNECT_MS * 1000000ull;
    struct pollfd watch = {.fd = fd, .events = POLLOUT};
    int ready = 0;
    while (ready <= 0) {
        ready = poll(&watch, 1, c4_bootstrap_tick(bootstrap));
        if (ready > 0)
            break;
        C4_TRY(c4_bootstrap_check(bootstrap));
        if (c4_now_ns() > give_up_ns) {
            *error = ETIMEDOUT;
            return C4_ERR_LINK;
        }
    }
    socklen_t bytes = sizeof *error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, error, &bytes) < 0)
        *error = errno;
    return *error ? C4_ERR_LINK : C4_OK;
}

static c4_status connect_once(c4_bootstrap *bootstrap, try_state *attempt, int *out)
{
    int fd = -1;
    attempt->error = c4_bootstrap_dial(bootstrap, attempt->address, attempt->address->port, &fd);
    if (fd < 0)
        return c4_bootstrap_fail(bootstrap, c4_status_from_errno(attempt->error), -1,
                                 "rank %d: socket for the rendezvous: %s", bootstrap->spec.rank,
                                 strerror(attempt->error));
    /* EAGAIN: the backlog of an AF_UNIX listener is full for now */
    c4_status status = attempt->error ? C4_ERR_LINK : C4_OK;
    if (attempt->error == EINPROGRESS)
        status = await_connection(bootstrap, fd, &attempt->error);
    if (status < 0) {
        close(fd);
        return status;
    }
    *out = fd;
    return C4_OK;
}

/* At a guessed address may be a program that never answers. */
static c4_status await_peer(c4_bootstrap *bootstrap, int fd, short events, uint64_t give_up_ns)
{
    struct pollfd watch = {.fd = fd, .events = events};
    while (poll(&watch, 1, c4_bootstrap_tick(bootstrap)) <= 0) {
        C4_TRY(c4_bootstrap_check(bootstrap));
        if (bootstrap->spec.guessed && c4_now_ns() > give_up_ns)
            return C4_ERR_LINK;
    }
    return C4_OK;
}

static c4_status explain_refusal(c4_bootstrap *bootstrap, c4_status status, try_state *attempt,
                                 const c4_handshake *handshake)
{
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    c4_net_address_format(attempt->address, text);
    if (bootstrap->spec.guessed && (handshake->other_job || status == C4_ERR_PROTOCOL)) {
        snprintf(attempt->stranger, sizeof attempt->stranger, "; at %s was somebody else: %s", text, handshake->reason);
        return C4_ERR_LINK;
    }
    const char *hint =
        status == C4_ERR_PROTOCOL ? "; another program may listen there: check C4_RENDEZVOUS or the id's address" : "";
    return c4_bootstrap_fail(bootstrap, status, 0, "rank %d: rendezvous with rank 0 at %s: %.160s%s",
                             bootstrap->spec.rank, text, handshake->reason, hint);
}

static c4_status shake(c4_bootstrap *bootstrap, try_state *attempt, int fd)
{
    c4_handshake handshake;
    c4_handshake_identity identity = c4_bootstrap_identity(bootstrap, 0);
    uint64_t give_up_ns = c4_now_ns() + CONNECT_MS * 1000000ull;
    if (c4_bootstrap_is_local(bootstrap) && !c4_peer_is_same_user(fd))
        return c4_bootstrap_fail(bootstrap, C4_ERR_AUTH, 0,
                                 "rank %d: the rendezvous of port %u on this host is held by another user; give all "
                                 "ranks the same C4_KEY_FILE",
                                 bootstrap->spec.rank, attempt->address->port);
    C4_TRY(c4_handshake_init(&handshake, &identity, true));
    c4_status status = C4_IN_PROGRESS;
    while ((status = c4_handshake_step(&handshake, fd)) == C4_IN_PROGRESS) {
        const unsigned char *bytes = NULL;
        short events = c4_handshake_output(&handshake, &bytes) ? POLLIN | POLLOUT : POLLIN;
        C4_TRY(await_peer(bootstrap, fd, events, give_up_ns));
    }
    return status == C4_ERR_AUTH || status == C4_ERR_PROTOCOL ? explain_refusal(bootstrap, status, attempt, &handshake)
                                                              : status;
}

static c4_status send_join(c4_bootstrap *bootstrap, c4_link *link)
{
    unsigned char payload[C4_PROCESS_BYTES + C4_ENDPOINT_MAX_BYTES];
    c4_control_header header = {C4_CONTROL_JOIN, 0, (uint32_t)bootstrap->spec.rank, (uint32_t)bootstrap->spec.nranks};
    c4_process_pack(&bootstrap->self, payload);
    header.bytes = (uint32_t)(C4_PROCESS_BYTES + c4_endpoint_pack(&bootstrap->endpoint, payload + C4_PROCESS_BYTES));
    c4_status status = C4_OK;
    while ((status = c4_link_send(link, &header, payload)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLOUT));
    return status;
}

static c4_status await_welcome(c4_bootstrap *bootstrap, c4_link *link)
{
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_welcome welcome;
    c4_status status = C4_OK;
    while ((status = c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLIN));
    C4_TRY(status);
    c4_control_kind kind = link->header.kind;
    if (kind == C4_CONTROL_FAULT)
        return c4_bootstrap_take_fault(bootstrap, link);
    if (kind != C4_CONTROL_WELCOME || link->header.bytes > sizeof payload)
        return C4_ERR_PROTOCOL;
    while ((status = c4_link_receive_payload(link, payload)) == C4_IN_PROGRESS)
        C4_TRY(c4_bootstrap_wait(bootstrap, link->fd, POLLIN));
    C4_TRY(status);
    C4_TRY(c4_control_welcome_unpack(payload, link->header.bytes, &welcome));
    if (!bootstrap->has_key && welcome.has_key) {
        memcpy(bootstrap->key, welcome.key, C4_KEY_BYTES);
        bootstrap->has_key = true;
    }
    status = c4_bootstrap_take_nonce(bootstrap, welcome.nonce);
    explicit_bzero(&welcome, sizeof welcome);
    return status;
}

/* Instead of joining: rank 0 and, through it, the others hear at once why this rank does not. */
static c4_status report_fault(c4_bootstrap *bootstrap, c4_link *link)
{
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_control_fault told = bootstrap->fault;
    c4_control_header header = {C4_CONTROL_FAULT, 0, (uint32_t)bootstrap->spec.rank, 0};
    told.status = C4_ERR_PEER_ERROR;
    header.bytes = (uint32_t)c4_control_fault_pack(&told, payload);
    while (c4_link_send(link, &header, payload) == C4_IN_PROGRESS)
        if (c4_bootstrap_wait(bootstrap, link->fd, POLLOUT) < 0)
            break;
    return bootstrap->fault.status;
}

/* C4_ERR_LINK: worth another attempt. Other errors are final; those without a text yet get one from the caller. */
static c4_status enter_once(c4_bootstrap *bootstrap, try_state *attempt)
{
    int fd = -1;
    c4_link *link = &bootstrap->links[0];
    C4_TRY(connect_once(bootstrap, attempt, &fd));
    c4_link_init(link, fd);
    c4_status status = shake(bootstrap, attempt, fd);
    if (status == C4_OK && c4_bootstrap_listen(bootstrap) < 0)
        status = report_fault(bootstrap, link);
    if (status == C4_OK)
        status = send_join(bootstrap, link);
    if (status == C4_OK)
        status = await_welcome(bootstrap, link);
    if (status < 0)
        c4_link_close(link);
    return status;
}

/* Ranks that start together must not knock together: each pause is drawn from half to the whole of its step. */
static c4_status pause_before_retry(const c4_bootstrap *bootstrap, c4_rng *rng, int *pause_ms)
{
    int wait_ms = *pause_ms / 2 + (int)c4_rng_below(rng, (uint64_t)*pause_ms / 2 + 1);
    *pause_ms = *pause_ms * 2 < LONGEST_PAUSE_MS ? *pause_ms * 2 : LONGEST_PAUSE_MS;
    uint64_t until_ns = c4_now_ns() + (uint64_t)wait_ms * 1000000u;
    while (c4_now_ns() < until_ns) {
        C4_TRY(c4_bootstrap_check(bootstrap));
        int left_ms = (int)((until_ns - c4_now_ns()) / 1000000u) + 1;
        poll(NULL, 0, left_ms < C4_BOOTSTRAP_TICK_MS ? left_ms : C4_BOOTSTRAP_TICK_MS);
    }
    return c4_bootstrap_check(bootstrap);
}

static c4_status explain(c4_bootstrap *bootstrap, c4_status status, const try_state *attempt)
{
    char address[C4_NET_ADDRESS_TEXT_BYTES];
    int rank = bootstrap->spec.rank;
    c4_net_address_format(attempt->address, address);
    if (bootstrap->fault.status < 0)
        return status; /* said where it was found */
    if (status == C4_ERR_ABORTED && *attempt->unusable)
        return c4_bootstrap_fail(bootstrap, status, -1,
                                 "rank %d: aborted while it waited for rank 0 at the file %.120s: %s", rank,
                                 bootstrap->spec.file, attempt->unusable);
    if (status == C4_ERR_ABORTED)
        return c4_bootstrap_fail(bootstrap, status, -1, "rank %d: aborted while joining the job at %s", rank, address);
    if (status == C4_ERR_PROTOCOL)
        return c4_bootstrap_fail(bootstrap, status, 0, "rank %d: rank 0 at %s answered with bytes that make no sense",
                                 rank, address);
    if (status != C4_ERR_TIMEOUT)
        return status;
    if (*attempt->unusable)
        return c4_bootstrap_fail(bootstrap, status, 0,
                                 "rank %d: no rank 0 through the file %.120s within %d ms (C4_SETUP_TIMEOUT_MS): %s",
                                 rank, bootstrap->spec.file, bootstrap->spec.timeout_ms, attempt->unusable);
    const char *local = c4_bootstrap_is_local(bootstrap)
                            ? "; this rank has no key and so looks only for a rank 0 without key, of the same user on "
                              "this host: set C4_KEY_FILE on all ranks for anything else"
                            : "";
    return c4_bootstrap_fail(bootstrap, status, 0,
                             "rank %d: rank 0 at %s did not let this rank in within %d ms "
                             "(C4_SETUP_TIMEOUT_MS): %s%s%s",
                             rank, address, bootstrap->spec.timeout_ms,
                             attempt->error ? strerror(attempt->error) : "no answer", attempt->stranger, local);
}

/* The file's word on where rank 0 is; C4_ERR_LINK: none yet. */
static c4_status look_up(c4_bootstrap *bootstrap, try_state *attempt)
{
    c4_bootstrap_spec *spec = &bootstrap->spec;
    c4_file_store_entry entry;
    attempt->unusable[0] = '\0';
    if (!spec->file)
        return C4_OK;
    c4_status status = c4_file_store_read(spec->file, spec->job_id, (uint32_t)spec->nranks, &entry, attempt->unusable);
    if (status < 0)
        return c4_bootstrap_pass_on(bootstrap, status);
    if (status == C4_IN_PROGRESS)
        return C4_ERR_LINK;
    if (c4_bootstrap_is_local(bootstrap) && !c4_process_same_kernel(&bootstrap->self, &entry.process)) {
        snprintf(attempt->unusable, sizeof attempt->unusable,
                 "rank 0 is on %.40s, and without a key only ranks of one host meet: set C4_KEY_FILE on all ranks",
                 entry.process.host);
        return C4_ERR_LINK;
    }
    memcpy(bootstrap->addresses, entry.addresses, sizeof entry.addresses);
    spec->naddresses = entry.naddresses;
    spec->guessed = true; /* it may have been left by a dead job on another host */
    return C4_OK;
}

c4_status c4_bootstrap_connect(c4_bootstrap *bootstrap)
{
    c4_rng rng;
    int pause_ms = FIRST_PAUSE_MS;
    try_state attempt = {.address = &bootstrap->addresses[0]};
    C4_TRY(c4_random_bytes(&rng, sizeof rng));
    if (bootstrap->spec.key)
        c4_hmac_available(); /* opens libcrypto (5 ms) before it costs the root time; what fails shows in the handshake */
    c4_bootstrap_start_clock(bootstrap, C4_BOOTSTRAP_GRACE_MS);
    for (size_t i = 0;; i++) {
        c4_status status = look_up(bootstrap, &attempt);
        if (status == C4_OK) {
            attempt.address = &bootstrap->addresses[i % bootstrap->spec.naddresses];
            status = enter_once(bootstrap, &attempt);
        }
        if (status == C4_ERR_LINK && bootstrap->fault.status == C4_OK) /* and not a fault that says so */
            status = pause_before_retry(bootstrap, &rng, &pause_ms);
        else if (status == C4_OK)
            return C4_OK;
        if (status < 0)
            return explain(bootstrap, status, &attempt);
    }
}
