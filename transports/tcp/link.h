/* The life of a link: down, up, lost, up again, ended by the peer, failed. */
#ifndef C4_TRANSPORTS_TCP_LINK_H
#define C4_TRANSPORTS_TCP_LINK_H

#include "transports/tcp/internal.h"

/* Makes the peer's links, once. */
c4_status c4_tcp_links_create(c4_module *module, int peer);
void c4_tcp_links_free(c4_module *module, int peer);

/* progress looks after the link from now on. */
void c4_tcp_link_activate(c4_tcp_link *link);
/* Something that progress must look after is pending. */
bool c4_tcp_link_busy(const c4_tcp_link *link);

/* The socket is gone: it is made again if anything is pending. */
void c4_tcp_link_lost(c4_tcp_link *link, int error);
/* `stream`, authenticated and greeted, is the link's now; the peer has `received` bytes of our stream. */
void c4_tcp_link_up(c4_tcp_link *link, c4_tcp_stream stream, uint64_t generation, uint64_t received);
/* An attempt to connect came to nothing. error 0: no fault, try again soon. */
void c4_tcp_link_attempt_failed(c4_tcp_link *link, int error);
/* For good: pending xfers get `status`, and progress reports it once. Whoever found the fact has logged it. */
void c4_tcp_link_fail(c4_tcp_link *link, c4_status status);
/* The peer has closed its module. */
void c4_tcp_link_ended(c4_tcp_link *link);
/* It has never been up and has nothing to send: an attempt is a courtesy to a peer that may be unable to connect, and its
 * failure is no error. */
bool c4_tcp_link_is_courteous(const c4_tcp_link *link);
/* While down: starts the next attempt when it is due. */
void c4_tcp_link_service(c4_tcp_link *link, uint64_t now_ns);

/* While down: when service has something to do; 0: never. */
uint64_t c4_tcp_link_wake_ns(const c4_tcp_link *link);

/* Bytes from the peer matter: a receive is posted, or an acknowledgement or permission is awaited. */
static inline bool c4_tcp_link_wants_read(const c4_tcp_link *link)
{
    return link->nposted > 0 || link->tx.nspans > 0 || link->npaused > 0 ||
           link->tx.retained_bytes >= C4_TCP_RETAIN_BYTES / 2 || link->module->closing;
}

#endif
