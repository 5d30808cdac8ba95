/* Connections that are being made: ours to a peer (client), and those that a listener accepted (strangers until they
 * have authenticated). Connect, handshake, greeting; then the socket becomes a link's. */
#ifndef C4_TRANSPORTS_TCP_ATTEMPT_H
#define C4_TRANSPORTS_TCP_ATTEMPT_H

#include "transports/tcp/internal.h"

typedef enum c4_tcp_stage {
    C4_TCP_CONNECTING,
    C4_TCP_HANDSHAKING,
    C4_TCP_SECURING, /* with C4_TLS=on */
    C4_TCP_GREETING
} c4_tcp_stage;

struct c4_tcp_attempt {
    c4_tcp_attempt *next;
    c4_module *module;
    c4_tcp_link *link; /* client: whose it is; server: NULL */
    c4_tcp_stream stream;
    c4_tcp_stage stage;
    unsigned address;    /* client: which of the peer's */
    c4_tcp_address from; /* server: where it comes from */
    uint64_t began_ns;
    bool heard; /* the other side has taken part in the handshake */
    bool told;  /* client: the log has heard that the other side takes its time */
    c4_handshake handshake;
    unsigned char in[C4_TCP_HELLO_BYTES]; /* the greeting so far */
    size_t in_bytes;
};

/* Starts one, to this address of the peer. 0 or errno. */
int c4_tcp_attempt_connect(c4_tcp_link *link, unsigned address);
/* For a connection that has come in. */
void c4_tcp_attempt_accepted(c4_module *module, int fd, const c4_tcp_address *from);
/* Closes all of a link but one (NULL: all). */
void c4_tcp_attempts_drop_others(c4_tcp_link *link, const c4_tcp_attempt *but);
/* The other side of one of them has taken part in its handshake. */
bool c4_tcp_attempts_heard(const c4_tcp_link *link);
/* Closes without telling anybody. */
void c4_tcp_attempt_drop(c4_tcp_attempt *attempt);
/* Takes it out of the list; its connection, which is out of the epoll set, is the caller's. */
c4_tcp_stream c4_tcp_attempt_release(c4_tcp_attempt *attempt);
/* Ends it: a link of ours hears of it, a stranger is turned away. */
void c4_tcp_attempt_failed(c4_tcp_attempt *attempt, int error, const char *why);
/* The same when the other side has closed. */
void c4_tcp_attempt_closed(c4_tcp_attempt *attempt, int error);
/* Moves all attempts and accepts. True when anything happened. */
bool c4_tcp_attempts_poll(c4_module *module);
/* Earliest deadline; 0: none. */
uint64_t c4_tcp_attempts_deadline(const c4_module *module);

#endif
