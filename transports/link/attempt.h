/* Connections that are being made: ours to a peer (client), and those that a listener accepted (strangers until they
 * have authenticated). Connect, handshake, greeting; then the socket becomes a link's. */
#ifndef C4_TRANSPORTS_LINK_ATTEMPT_H
#define C4_TRANSPORTS_LINK_ATTEMPT_H

#include "transports/link/internal.h"

typedef enum c4_tlink_stage {
    C4_TLINK_CONNECTING,
    C4_TLINK_HANDSHAKING,
    C4_TLINK_SECURING, /* with C4_TLS=on */
    C4_TLINK_GREETING
} c4_tlink_stage;

struct c4_tlink_attempt {
    c4_tlink_attempt *next;
    c4_tlink_hub *hub;
    c4_tlink *link; /* client: whose it is; server: NULL */
    c4_tlink_stream stream;
    c4_tlink_stage stage;
    unsigned address;      /* client: which of the peer's */
    c4_tlink_address from; /* server: where it comes from */
    uint64_t began_ns;
    bool heard; /* the other side has taken part in the handshake */
    bool told;  /* client: the log has heard that the other side takes its time */
    c4_handshake handshake;
    unsigned char in[C4_TLINK_HELLO_BYTES + C4_TLINK_WORDS_MAX]; /* the greeting so far */
    size_t in_bytes;
};

/* Starts one, to this address of the peer. 0 or errno. */
int c4_tlink_attempt_connect(c4_tlink *link, unsigned address);
/* For a connection that has come in. */
void c4_tlink_attempt_accepted(c4_tlink_hub *hub, int fd, const c4_tlink_address *from);
/* Closes all of a link but one (NULL: all). */
void c4_tlink_attempts_drop_others(c4_tlink *link, const c4_tlink_attempt *but);
/* The other side of one of them has taken part in its handshake. */
bool c4_tlink_attempts_heard(const c4_tlink *link);
/* Closes without telling anybody. */
void c4_tlink_attempt_drop(c4_tlink_attempt *attempt);
/* Takes it out of the list; its connection, which is out of the epoll set, is the caller's. */
c4_tlink_stream c4_tlink_attempt_release(c4_tlink_attempt *attempt);
/* Ends it: a link of ours hears of it, a stranger is turned away. */
void c4_tlink_attempt_failed(c4_tlink_attempt *attempt, int error, const char *why);
/* The same when the other side has closed. */
void c4_tlink_attempt_closed(c4_tlink_attempt *attempt, int error);
/* Moves all attempts and accepts. True when anything happened. */
bool c4_tlink_attempts_poll(c4_tlink_hub *hub);
/* Earliest deadline; 0: none. */
uint64_t c4_tlink_attempts_deadline(const c4_tlink_hub *hub);

#endif
