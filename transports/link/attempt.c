#include "transports/link/attempt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/link/greeting.h"
#include "transports/link/reach.h"
#include "transports/link/strangers.h"

#define MAX_EVENTS 32

/* ---- life ---- */

static c4_tlink_attempt *attempt_create(c4_tlink_hub *hub, c4_tlink *link, int fd)
{
    c4_tlink_attempt *attempt = calloc(1, sizeof *attempt);
    struct epoll_event event = {.events = link != NULL ? EPOLLOUT : EPOLLIN, .data.ptr = attempt};
    if (attempt == NULL || epoll_ctl(hub->setup_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(attempt);
        close(fd);
        return NULL;
    }
    attempt->hub = hub;
    attempt->link = link;
    attempt->stream.fd = fd;
    attempt->began_ns = c4_now_ns();
    attempt->next = hub->attempts;
    hub->attempts = attempt;
    if (link != NULL)
        link->nattempts++;
    else
        hub->nstrangers++;
    return attempt;
}

c4_tlink_stream c4_tlink_attempt_release(c4_tlink_attempt *attempt)
{
    c4_tlink_hub *hub = attempt->hub;
    c4_tlink_attempt **at = &hub->attempts;
    c4_tlink_stream stream = attempt->stream;
    while (*at != attempt)
        at = &(*at)->next;
    *at = attempt->next;
    epoll_ctl(hub->setup_fd, EPOLL_CTL_DEL, stream.fd, NULL);
    if (attempt->link != NULL)
        attempt->link->nattempts--;
    else
        c4_tlink_strangers_left(hub);
    free(attempt);
    return stream;
}

void c4_tlink_attempt_drop(c4_tlink_attempt *attempt)
{
    c4_tlink_stream stream = c4_tlink_attempt_release(attempt);
    c4_tlink_stream_close(&stream);
}

/* What is known of an attempt of ours that has failed. */
static void lost(c4_tlink_attempt *attempt, int error, c4_status status, const char *why)
{
    c4_tlink *link = attempt->link;
    unsigned address = attempt->address;
    /* Let in and closed before the peer has said a word: on the job's port that says nothing of the peer, which may be
     * computing while strangers crowd there. */
    if (attempt->hub->port != NULL && attempt->stage == C4_TLINK_HANDSHAKING && !attempt->heard && error == ECONNRESET)
        link->turned_away_ns = c4_now_ns();
    c4_tlink_attempt_drop(attempt);
    c4_tlink_reach_failed(link, address, error, status, why);
}

void c4_tlink_attempt_failed(c4_tlink_attempt *attempt, int error, const char *why)
{
    if (attempt->link == NULL)
        c4_tlink_stranger_refuse(attempt, why);
    else
        lost(attempt, error, C4_OK, NULL);
}

/* For a peer whose connection has crossed ours that is in order, and a stranger who leaves does no harm. */
void c4_tlink_attempt_closed(c4_tlink_attempt *attempt, int error)
{
    if (attempt->link != NULL) {
        lost(attempt, error, C4_OK, NULL);
        return;
    }
    C4_TLINK_LOG(attempt->hub, C4_TLOG_DEBUG, "%s: a connection was closed before it was set up",
                 attempt->hub->ops->name);
    c4_tlink_attempt_drop(attempt);
}

int c4_tlink_attempt_connect(c4_tlink *link, unsigned address)
{
    c4_tlink_hub *hub = link->hub;
    int fd = c4_tlink_socket_connect(&hub->peers[link->peer].contact.at[address], &hub->contact);
    if (fd < 0)
        return errno;
    c4_tlink_attempt *attempt = attempt_create(hub, link, fd);
    if (attempt == NULL)
        return ENOMEM;
    attempt->address = address;
    return 0;
}

void c4_tlink_attempts_drop_others(c4_tlink *link, const c4_tlink_attempt *but)
{
    for (c4_tlink_attempt *attempt = link->hub->attempts; attempt != NULL;) {
        c4_tlink_attempt *next = attempt->next;
        if (attempt->link == link && attempt != but)
            c4_tlink_attempt_drop(attempt);
        attempt = next;
    }
}

bool c4_tlink_attempts_heard(const c4_tlink *link)
{
    const c4_tlink_attempt *attempt = link->nattempts > 0 ? link->hub->attempts : NULL;
    while (attempt != NULL && (attempt->link != link || !attempt->heard))
        attempt = attempt->next;
    return attempt != NULL;
}

/* ---- the handshake ---- */

static c4_status handshake_start(c4_tlink_attempt *attempt)
{
    const c4_tlink_hub *hub = attempt->hub;
    const c4_tlink *link = attempt->link;
    const c4_handshake_identity identity = {
        .key = hub->host.key,
        .job_id = hub->host.job_id,
        .rank = (uint32_t)hub->host.rank,
        .peer_rank = link != NULL ? (uint32_t)link->peer : C4_HANDSHAKE_ANY_RANK,
        .nranks = (uint32_t)hub->host.nranks,
        .stream = link != NULL ? link->index : 0,
        .epoch = hub->host.epoch,
        .role = C4_HANDSHAKE_DATA,
        .transport = hub->ops->name,
        .tls = hub->tls != NULL,
    };
    attempt->stage = C4_TLINK_HANDSHAKING;
    return c4_handshake_init(&attempt->handshake, &identity, link != NULL);
}

/* False when the socket did not take it: a new one has room, so the peer is gone. */
static bool handshake_send(c4_tlink_attempt *attempt)
{
    const unsigned char *bytes;
    size_t pending = c4_handshake_output(&attempt->handshake, &bytes);
    if (pending == 0)
        return true;
    ssize_t sent = send(attempt->stream.fd, bytes, pending, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)pending)
        return false;
    c4_handshake_sent(&attempt->handshake, pending);
    return true;
}

static void authentication_failed(c4_tlink_attempt *attempt, c4_status status, const char *why)
{
    char reason[sizeof attempt->handshake.reason];
    snprintf(reason, sizeof reason, "%s", why); /* it may lie in the attempt */
    if (attempt->link == NULL)
        c4_tlink_stranger_refuse(attempt, reason);
    else
        lost(attempt, EACCES, status, reason);
}

static void secure_step(c4_tlink_attempt *attempt)
{
    char reason[128] = "";
    c4_status status = c4_tlink_tls_handshake(attempt->stream.tls, reason, sizeof reason);
    if (status == C4_OK)
        c4_tlink_greeting_begin(attempt);
    else if (status == C4_ERR_LINK)
        c4_tlink_attempt_closed(attempt, ECONNRESET);
    else if (status < 0)
        authentication_failed(attempt, status, reason);
}

static void handshake_finished(c4_tlink_attempt *attempt)
{
    static const char label[16] = "c4 tls psk";
    unsigned char secret[C4_TLINK_TLS_SECRET_BYTES];
    if (attempt->hub->tls == NULL) {
        c4_tlink_greeting_begin(attempt);
        return;
    }
    attempt->stage = C4_TLINK_SECURING;
    c4_status status = c4_handshake_secret(&attempt->handshake, label, secret);
    if (status >= 0)
        status = c4_tlink_tls_start(attempt->hub->tls, attempt->stream.fd, attempt->link != NULL, secret,
                                    &attempt->stream.tls);
    if (status >= 0)
        secure_step(attempt);
    else
        c4_tlink_attempt_failed(attempt, ENOMEM, "no memory for TLS");
}

/* From here on a peer has the time that anybody has for a handshake: what it took to begin has been granted. A stranger
 * gets no more by speaking. */
static void heard(c4_tlink_attempt *attempt)
{
    if (!attempt->heard && attempt->link != NULL)
        attempt->began_ns = c4_now_ns();
    attempt->heard = true;
}

static void handshake_read(c4_tlink_attempt *attempt)
{
    unsigned char bytes[C4_HANDSHAKE_MESSAGE_BYTES];
    ssize_t got = recv(attempt->stream.fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        c4_tlink_attempt_closed(attempt, got == 0 ? ECONNRESET : errno);
        return;
    }
    size_t used = 0;
    c4_handshake_input(&attempt->handshake, bytes, (size_t)got, &used);
    c4_status status = c4_handshake_status(&attempt->handshake);
    if (status < 0) {
        handshake_send(attempt); /* the refusal */
        authentication_failed(attempt, status, attempt->handshake.reason);
        return;
    }
    /* A peer waits for the last message before it greets: there is nothing behind it. */
    if (used != (size_t)got) {
        c4_tlink_attempt_failed(attempt, EPROTO, "bytes behind the handshake");
        return;
    }
    if (attempt->handshake.in_bytes == 0) /* a whole message that was in order */
        heard(attempt);
    if (!handshake_send(attempt))
        c4_tlink_attempt_closed(attempt, ECONNRESET);
    else if (c4_handshake_status(&attempt->handshake) == C4_OK)
        handshake_finished(attempt);
}

static void connected(c4_tlink_attempt *attempt)
{
    int error = 0;
    socklen_t length = sizeof error;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = attempt};
    getsockopt(attempt->stream.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
        c4_tlink_attempt_failed(attempt, error, NULL);
        return;
    }
    epoll_ctl(attempt->hub->setup_fd, EPOLL_CTL_MOD, attempt->stream.fd, &event);
    c4_status status = handshake_start(attempt);
    if (status < 0) {
        c4_tlink *link = attempt->link;
        c4_tlink_attempt_drop(attempt);
        c4_tlink_fail(link, status);
        return;
    }
    if (!handshake_send(attempt))
        c4_tlink_attempt_failed(attempt, ECONNRESET, NULL);
}

/* ---- polling ---- */

static void attempt_step(c4_tlink_attempt *attempt)
{
    switch (attempt->stage) {
    case C4_TLINK_CONNECTING:
        connected(attempt);
        break;
    case C4_TLINK_HANDSHAKING:
        handshake_read(attempt);
        break;
    case C4_TLINK_SECURING:
        secure_step(attempt);
        break;
    case C4_TLINK_GREETING:
        c4_tlink_greeting_read(attempt);
        break;
    }
}

void c4_tlink_attempt_accepted(c4_tlink_hub *hub, int fd, const c4_tlink_address *from)
{
    c4_tlink_attempt *attempt = attempt_create(hub, NULL, fd);
    if (attempt == NULL)
        return;
    attempt->from = *from;
    c4_tlink_socket_tune(fd, 0);
    if (handshake_start(attempt) < 0)
        c4_tlink_stranger_refuse(attempt, "no handshake possible");
    else
        handshake_read(attempt); /* an honest peer has spoken already */
}

/* Connecting takes no longer than this, and neither does a handshake once the other side takes part. But a peer that has
 * been reached and says nothing may be computing: its system has let us in, and its time will come. Whether it lives, the
 * control plane knows. */
static uint64_t attempt_deadline(const c4_tlink_attempt *attempt)
{
    if (attempt->link == NULL)
        return c4_tlink_stranger_deadline(attempt);
    bool patient = attempt->stage == C4_TLINK_HANDSHAKING && !attempt->heard;
    if (patient && attempt->told)
        return C4_TLINK_NEVER_NS;
    return attempt->began_ns + C4_TLINK_STRANGER_NS;
}

static void attempt_expired(c4_tlink_attempt *attempt)
{
    char text[C4_TLINK_ADDRESS_TEXT];
    if (attempt->link == NULL || attempt->stage != C4_TLINK_HANDSHAKING || attempt->heard) {
        c4_tlink_attempt_failed(attempt, ETIMEDOUT, "did not authenticate in time");
        return;
    }
    attempt->told = true;
    C4_TLINK_LOG(
        attempt->hub, C4_TLOG_INFO,
        "%s: the host of rank %d has accepted a connection at %s, the rank has not yet: it is computing, or it is "
        "not what listens there",
        attempt->hub->ops->name, attempt->link->peer,
        c4_tlink_address_text(&attempt->hub->peers[attempt->link->peer].contact.at[attempt->address], text));
}

static void expire(c4_tlink_hub *hub)
{
    uint64_t now = c4_now_ns();
    for (c4_tlink_attempt *attempt = hub->attempts; attempt != NULL;) {
        if (now < attempt_deadline(attempt)) {
            attempt = attempt->next;
            continue;
        }
        attempt_expired(attempt);
        attempt = hub->attempts; /* others may have gone with it */
    }
}

static bool attempt_lives(const c4_tlink_hub *hub, const c4_tlink_attempt *wanted)
{
    const c4_tlink_attempt *attempt = hub->attempts;
    while (attempt != NULL && attempt != wanted)
        attempt = attempt->next;
    return attempt != NULL;
}

/* Of a guarded link; an earlier event may have closed it. */
static void stream_speaks(c4_tlink *link)
{
    if (link->state != C4_TLINK_UP)
        return;
    link->readable = true;
    c4_tlink_activate(link);
}

bool c4_tlink_attempts_poll(c4_tlink_hub *hub)
{
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(hub->setup_fd, events, MAX_EVENTS, 0);
    for (int i = 0; i < n; i++) {
        c4_tlink_attempt *attempt = events[i].data.ptr;
        if (attempt == NULL)
            c4_tlink_strangers_accept(hub);
        else if ((events[i].data.u64 & C4_TLINK_GUARD) != 0)
            stream_speaks((c4_tlink *)(uintptr_t)(events[i].data.u64 - C4_TLINK_GUARD));
        else if (attempt_lives(hub, attempt)) /* an earlier event may have dropped it */
            attempt_step(attempt);
    }
    expire(hub);
    return n > 0;
}

uint64_t c4_tlink_attempts_deadline(const c4_tlink_hub *hub)
{
    uint64_t earliest = 0;
    for (const c4_tlink_attempt *attempt = hub->attempts; attempt != NULL; attempt = attempt->next)
        if (earliest == 0 || attempt_deadline(attempt) < earliest)
            earliest = attempt_deadline(attempt);
    return earliest;
}
