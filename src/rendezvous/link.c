#include "rendezvous/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/status.h"

void c4_link_init(c4_link *link, int fd)
{
    memset(link, 0, sizeof *link);
    link->fd = fd;
}

void c4_link_close(c4_link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}

/* Receives until `*have` is `want`; `to` is where the first byte of all goes. */
static c4_status receive(int fd, unsigned char *to, size_t *have, size_t want)
{
    while (*have < want) {
        ssize_t got = recv(fd, to + *have, want - *have, MSG_DONTWAIT);
        if (got > 0)
            *have += (size_t)got;
        else if (got == 0) {
            errno = 0;
            return C4_ERR_LINK;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return C4_IN_PROGRESS;
        else if (errno != EINTR)
            return C4_ERR_LINK;
    }
    return C4_OK;
}

c4_status c4_link_receive_header(c4_link *link, uint32_t nranks)
{
    if (link->got >= C4_CONTROL_HEADER_BYTES)
        return C4_OK;
    c4_status status = receive(link->fd, link->head, &link->got, C4_CONTROL_HEADER_BYTES);
    if (status != C4_OK)
        return status;
    return c4_control_header_unpack(link->head, nranks, &link->header);
}

c4_status c4_link_receive_payload(c4_link *link, void *payload)
{
    size_t have = link->got - C4_CONTROL_HEADER_BYTES;
    c4_status status = receive(link->fd, payload, &have, link->header.bytes);
    link->got = status == C4_OK ? 0 : have + C4_CONTROL_HEADER_BYTES;
    return status;
}

c4_status c4_link_receive_parts(c4_link *link, const struct iovec *parts, size_t nparts)
{
    size_t before = 0; /* bytes of the parts before this one */
    for (size_t i = 0; i < nparts; i++) {
        size_t have = link->got - C4_CONTROL_HEADER_BYTES;
        if (have < before + parts[i].iov_len) {
            have -= before;
            c4_status status = receive(link->fd, parts[i].iov_base, &have, parts[i].iov_len);
            link->got = before + have + C4_CONTROL_HEADER_BYTES;
            if (status != C4_OK)
                return status;
        }
        before += parts[i].iov_len;
    }
    link->got = 0;
    return C4_OK;
}

c4_status c4_link_skip_payload(c4_link *link)
{
    unsigned char scratch[1024];
    size_t have = link->got - C4_CONTROL_HEADER_BYTES;
    c4_status status = C4_OK;
    while (status == C4_OK && have < link->header.bytes) {
        size_t left = link->header.bytes - have;
        size_t piece = 0;
        status = receive(link->fd, scratch, &piece, left < sizeof scratch ? left : sizeof scratch);
        have += piece;
    }
    link->got = status == C4_OK ? 0 : have + C4_CONTROL_HEADER_BYTES;
    return status;
}

c4_status c4_link_peek_kind(const c4_link *link, uint32_t nranks, c4_control_kind *kind)
{
    unsigned char head[C4_CONTROL_HEADER_BYTES];
    c4_control_header header;
    ssize_t got = recv(link->fd, head, sizeof head, MSG_DONTWAIT | MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return C4_IN_PROGRESS;
    if (got <= 0)
        return C4_ERR_LINK;
    if (got < (ssize_t)sizeof head)
        return C4_IN_PROGRESS;
    C4_TRY(c4_control_header_unpack(head, nranks, &header));
    *kind = header.kind;
    return C4_OK;
}

/* What of `parts` is left after `skip` bytes. Returns its size. */
static size_t remaining(const struct iovec *parts, size_t nparts, size_t skip, struct iovec *left)
{
    size_t total = 0;
    for (size_t i = 0; i < nparts; i++) {
        size_t done = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= done;
        left[i] = (struct iovec){(unsigned char *)parts[i].iov_base + done, parts[i].iov_len - done};
        total += left[i].iov_len;
    }
    return total;
}

c4_status c4_link_send_parts(c4_link *link, const c4_control_header *header, const struct iovec *parts, size_t nparts)
{
    unsigned char head[C4_CONTROL_HEADER_BYTES];
    struct iovec all[3] = {{head, sizeof head}};
    struct iovec left[3];
    c4_control_header_pack(header, head);
    for (size_t i = 0; i < nparts; i++)
        all[1 + i] = parts[i];
    while (remaining(all, 1 + nparts, link->sent, left) > 0) {
        struct msghdr message = {.msg_iov = left, .msg_iovlen = 1 + nparts};
        ssize_t done = sendmsg(link->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done >= 0)
            link->sent += (size_t)done;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return C4_IN_PROGRESS;
        else if (errno != EINTR)
            return C4_ERR_LINK;
    }
    link->sent = 0;
    return C4_OK;
}

c4_status c4_link_send(c4_link *link, const c4_control_header *header, const void *payload)
{
    struct iovec part = {(void *)payload, header->bytes};
    return c4_link_send_parts(link, header, &part, header->bytes ? 1 : 0);
}
