#include "rendezvous/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

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
        else if (got == 0)
            return C4_ERR_LINK;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
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

/* What is left of header and payload after `sent` bytes. */
static size_t remaining(const unsigned char *head, const c4_control_header *header, const void *payload, size_t sent,
                        struct iovec parts[2])
{
    size_t head_sent = sent < C4_CONTROL_HEADER_BYTES ? sent : C4_CONTROL_HEADER_BYTES;
    size_t payload_sent = sent - head_sent;
    parts[0] = (struct iovec){(void *)(head + head_sent), C4_CONTROL_HEADER_BYTES - head_sent};
    parts[1] = (struct iovec){(unsigned char *)payload + payload_sent, header->bytes - payload_sent};
    return parts[0].iov_len + parts[1].iov_len;
}

c4_status c4_link_send(c4_link *link, const c4_control_header *header, const void *payload)
{
    unsigned char head[C4_CONTROL_HEADER_BYTES];
    struct iovec parts[2];
    c4_control_header_pack(header, head);
    while (remaining(head, header, payload ? payload : head, link->sent, parts) > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = header->bytes ? 2 : 1};
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
