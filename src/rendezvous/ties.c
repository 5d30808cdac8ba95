#include "rendezvous/ties.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/listener.h"

/* ---- handshake over a socket ---- */

static c4_status send_pending(c4_handshake *handshake, int fd)
{
    const unsigned char *bytes = NULL;
    size_t pending = 0;
    while ((pending = c4_handshake_output(handshake, &bytes)) > 0) {
        ssize_t sent = send(fd, bytes, pending, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            c4_handshake_sent(handshake, (size_t)sent);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return C4_IN_PROGRESS;
        else if (errno != EINTR)
            return C4_ERR_LINK;
    }
    return C4_OK;
}

c4_status c4_handshake_step(c4_handshake *handshake, int fd)
{
    c4_status status = C4_IN_PROGRESS;
    while (status == C4_IN_PROGRESS) {
        c4_status sent = send_pending(handshake, fd);
        if (sent != C4_OK)
            return sent;
        status = c4_handshake_status(handshake);
        if (status != C4_IN_PROGRESS)
            break;
        /* Never more than one message, so that nothing of the next protocol is taken. */
        unsigned char buffer[C4_HANDSHAKE_MESSAGE_BYTES];
        ssize_t got = recv(fd, buffer, sizeof buffer - handshake->in_bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return C4_IN_PROGRESS;
        if (got <= 0)
            return C4_ERR_LINK;
        size_t consumed = 0;
        c4_handshake_input(handshake, buffer, (size_t)got, &consumed);
        status = C4_IN_PROGRESS; /* once more, to send what that has caused */
        if (c4_handshake_status(handshake) < 0) {
            send_pending(handshake, fd);
            status = c4_handshake_status(handshake);
        }
    }
    return status;
}

bool c4_peer_is_same_user(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.uid == geteuid();
}

/* ---- ties ---- */

void c4_bootstrap_get_ties(const c4_bootstrap *bootstrap, c4_ties *ties)
{
    *ties = (c4_ties){.local = c4_bootstrap_is_local(bootstrap),
                      .has_key = bootstrap->has_key,
                      .job_id = bootstrap->job_id,
                      .door_id = bootstrap->spec.job_id,
                      .epoch = bootstrap->spec.epoch,
                      .rank = bootstrap->spec.rank,
                      .nranks = bootstrap->spec.nranks};
    if (ties->has_key)
        memcpy(ties->key, bootstrap->key, sizeof ties->key);
}

void c4_bootstrap_endpoint(const c4_bootstrap *bootstrap, int rank, c4_endpoint *endpoint)
{
    c4_table_rank entry = {0};
    if (bootstrap->table)
        c4_address_table_find(bootstrap->table, bootstrap->table_bytes, (size_t)rank, &entry);
    *endpoint = entry.endpoint;
}

c4_handshake_identity c4_ties_identity(const c4_ties *ties, uint32_t peer_rank)
{
    return (c4_handshake_identity){.key = ties->has_key ? ties->key : NULL,
                                   .job_id = ties->job_id,
                                   .rank = (uint32_t)ties->rank,
                                   .peer_rank = peer_rank,
                                   .nranks = (uint32_t)ties->nranks,
                                   .epoch = ties->epoch,
                                   .role = C4_HANDSHAKE_CONTROL,
                                   .transport = "control"};
}

int c4_ties_dial(bool local, uint64_t job_id, const c4_net_address *address, uint32_t number, int *fd)
{
    struct sockaddr_storage name;
    socklen_t bytes = local ? c4_local_name(job_id, number, &name) : c4_net_address_to_sockaddr(address, &name);
    int on = 1;
    *fd = socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return errno;
    if (!local)
        setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a loss costs time only */
    return connect(*fd, (struct sockaddr *)&name, bytes) < 0 ? errno : 0;
}
