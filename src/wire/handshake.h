/* The mutual challenge-response with which every connection starts, as a pure state machine: no I/O, no clock.
 *
 *     client                          server
 *     hello      (nonce C)       ->
 *                                <-   challenge (nonce S, tag "server")
 *     proof      (tag "client")  ->
 *                                <-   accept    (tag "accept")         or at any point: refuse (reason)
 *
 * All messages have one size. A tag is HMAC-SHA-256 with the job key over a label, everything the two sides have agreed
 * on (version, role, epoch, both ranks, rank count, stream, job, transport, TLS) and both nonces. The label makes a tag
 * useless in the other direction (no reflection), the nonces on any other connection (no replay), the rest between
 * other ranks or for another purpose. The server proves itself first, so that a client never talks to a stranger; a
 * 256-bit key leaves nothing to guess from the tags. Both sides end in C4_OK, or in an error: it fails closed.
 *
 * Without a key (`key` NULL on both sides; C4_INSECURE=1) the tags are empty and only the fields are compared: this
 * keeps jobs from running into one another by accident, and nobody out. A key on one side only is refused.
 *
 *     c4_handshake_init(&h, &identity, true);
 *     while ((status = c4_handshake_status(&h)) == C4_IN_PROGRESS) {
 *         write what c4_handshake_output names, c4_handshake_sent(&h, written);
 *         read into a buffer, c4_handshake_input(&h, buffer, got, &consumed);   // the rest is the next protocol's
 *     }
 *     on an error: write what is pending (the refusal) without waiting, log h.reason (bounded!), close.
 *
 * Bytes after `consumed` belong to whatever follows the handshake. */
#ifndef C4_WIRE_HANDSHAKE_H
#define C4_WIRE_HANDSHAKE_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/hmac.h"

#define C4_HANDSHAKE_VERSION         2u
#define C4_HANDSHAKE_MESSAGE_BYTES   112u
#define C4_HANDSHAKE_NONCE_BYTES     32u
#define C4_KEY_BYTES                 32u
#define C4_HANDSHAKE_ANY_RANK        UINT32_MAX
#define C4_HANDSHAKE_TRANSPORT_BYTES 8u

typedef enum c4_handshake_role { C4_HANDSHAKE_CONTROL = 1, C4_HANDSHAKE_DATA = 2 } c4_handshake_role;

/* What this side is and whom it expects. Copied, but for the key, which must outlive the handshake. */
typedef struct c4_handshake_identity {
    const unsigned char *key; /* C4_KEY_BYTES; NULL: open */
    uint64_t job_id;
    uint32_t rank;          /* of this process */
    uint32_t peer_rank;     /* client: of the server; server: expected client or C4_HANDSHAKE_ANY_RANK */
    uint32_t nranks;        /* of the job; both must agree; ranks are below it */
    uint32_t stream;        /* client: a number of its choice, such as the socket's index; server: ignored */
    uint16_t epoch;         /* membership epoch; both must agree */
    c4_handshake_role role; /* both must agree */
    bool tls;               /* TLS follows; both must agree */
    const char *transport;  /* up to 8 bytes, "tcp"; both must agree */
} c4_handshake_identity;

typedef struct c4_handshake {
    /* results, valid once the status is C4_OK */
    uint32_t peer_rank;
    uint32_t stream;
    /* on error: one sentence, for the log */
    char reason[128];
    bool other_job; /* the peer belongs to another job, or says so: nothing proves it */
    /* private */
    c4_handshake_identity self;
    c4_status status;
    bool client;
    unsigned char expect; /* type of the next message */
    unsigned char own_nonce[C4_HANDSHAKE_NONCE_BYTES];
    unsigned char client_nonce[C4_HANDSHAKE_NONCE_BYTES];
    unsigned char server_nonce[C4_HANDSHAKE_NONCE_BYTES];
    unsigned char fields[40]; /* the agreed part, as it is on the wire */
    unsigned char in[C4_HANDSHAKE_MESSAGE_BYTES];
    unsigned char out[C4_HANDSHAKE_MESSAGE_BYTES];
    size_t in_bytes, out_bytes, sent_bytes;
} c4_handshake;

/* Draws the nonce; a client has its hello ready afterwards. C4_ERR_SYSTEM without random bytes, C4_ERR_UNSUPPORTED
 * when there is a key and no libcrypto (both logged). */
c4_status c4_handshake_init(c4_handshake *handshake, const c4_handshake_identity *identity, bool client);

/* How many bytes wait to be sent, and where they are; c4_handshake_sent tells how many were. */
size_t c4_handshake_output(const c4_handshake *handshake, const unsigned char **bytes);
void c4_handshake_sent(c4_handshake *handshake, size_t bytes);

/* Takes received bytes, in pieces of any size. Returns the status below; after an error input is ignored.
 * Never logs: what strangers send must not fill the log. */
c4_status c4_handshake_input(c4_handshake *handshake, const void *bytes, size_t nbytes, size_t *consumed);

/* C4_IN_PROGRESS; C4_OK: the peer is who it says, and nothing is left to send; C4_ERR_AUTH: wrong key, job, rank or
 * purpose; C4_ERR_PROTOCOL: malformed, or another version. */
c4_status c4_handshake_status(const c4_handshake *handshake);

/* Who knocks: what a client's hello says of itself, before anything is proved. */
typedef struct c4_handshake_hello {
    uint64_t job_id;
    c4_handshake_role role;
    char transport[C4_HANDSHAKE_TRANSPORT_BYTES + 1];
} c4_handshake_hello;

/* Looks at the first bytes of a connection and changes nothing, so that whom they are meant for can begin the handshake
 * with them. C4_OK: a hello; C4_IN_PROGRESS: perhaps, when there is more of it; C4_ERR_PROTOCOL (not logged): none of this
 * version. */
c4_status c4_handshake_look(const unsigned char *bytes, size_t nbytes, c4_handshake_hello *hello);

/* A secret that only the two sides of this very handshake can compute, once it has ended in C4_OK: HMAC with the job
 * key over `label`, everything agreed on and both nonces. For the key of the protocol that follows. Labels that the
 * handshake uses itself begin with "c4 server" or "c4 client". C4_ERR_ARGUMENT without a key. */
c4_status c4_handshake_secret(const c4_handshake *handshake, const char label[16], unsigned char secret[C4_HMAC_BYTES]);

#endif
