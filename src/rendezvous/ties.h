/* What ranks that have met need to connect to one another again: who they are, how they prove it, where they listen. Used
 * by the bootstrap itself and by the control thread (control_repair.c). */
#ifndef C4_RENDEZVOUS_TIES_H
#define C4_RENDEZVOUS_TIES_H

#include <stdbool.h>

#include "rendezvous/bootstrap.h"
#include "wire/handshake.h"

typedef struct c4_ties {
    bool local; /* over AF_UNIX, between processes of one user */
    bool has_key;
    unsigned char key[C4_KEY_BYTES];
    uint64_t job_id;  /* of this run */
    uint64_t door_id; /* in the names of AF_UNIX sockets, which are older than the run's */
    uint16_t epoch;
    int rank, nranks;
} c4_ties;

/* After c4_bootstrap_open. The key is to be wiped by the caller. */
void c4_bootstrap_get_ties(const c4_bootstrap *bootstrap, c4_ties *ties);
/* Where a rank listens. */
void c4_bootstrap_endpoint(const c4_bootstrap *bootstrap, int rank, c4_endpoint *endpoint);

/* For a handshake of a control connection; `ties` must outlive it. */
c4_handshake_identity c4_ties_identity(const c4_ties *ties, uint32_t peer_rank);
/* A non-blocking connection to `address`, or when local to the AF_UNIX socket `number` of the job. *fd is -1 when there is
 * none. Returns 0, EINPROGRESS or what went wrong. */
int c4_ties_dial(bool local, uint64_t job_id, const c4_net_address *address, uint32_t number, int *fd);

/* One non-blocking step of a handshake over a socket: C4_IN_PROGRESS, C4_OK, C4_ERR_LINK (closed), or its own errors
 * (after which the refusal has been sent as far as the socket took it). */
c4_status c4_handshake_step(c4_handshake *handshake, int fd);
/* Is the process behind this AF_UNIX socket this user's? */
bool c4_peer_is_same_user(int fd);

#endif
