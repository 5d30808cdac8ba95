/* The bootstrap: before any transport exists, every rank meets rank 0 (the root), proves that it belongs to the job,
 * and exchanges small blobs with all the others. A star: n - 1 connections at the root, one elsewhere; 256 ranks
 * gather in a fraction of a second. c4_control_start takes its connections over for the life of the job.
 *
 * Three ways in, chosen by the spec and equal on all ranks:
 *   a key       TCP, mutual proof by key.
 *   no key      only processes of the same user on the same host: an AF_UNIX socket whose both ends ask the kernel who
 *               the other is. Every rank then receives a fresh key, so that data connections are protected, too.
 *   insecure    no key and C4_INSECURE=1: TCP, anybody who reaches the port. */
#ifndef C4_RENDEZVOUS_BOOTSTRAP_H
#define C4_RENDEZVOUS_BOOTSTRAP_H

#include <c4/c4.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "wire/control_message.h"
#include "wire/net_address.h"

typedef struct c4_bootstrap_spec {
    int rank, nranks;
    uint64_t job_id;
    uint16_t epoch;
    const unsigned char *key; /* C4_KEY_BYTES or NULL; copied */
    bool insecure;
    const c4_net_address *addresses; /* of the root, most useful first; copied */
    size_t naddresses;               /* 1 .. 3 */
    bool guessed;                    /* derived, not told: at some of them another job or program may answer, or nobody,
                                      * and then the others are tried */
    int listen_fd;                   /* root: a listening TCP socket, taken in any case; -1: the one kept for this job
                                      * by c4_unique_id_listen, else listen on addresses[0] */
    int timeout_ms;                  /* of open, and of each all-gather */
    const atomic_int *abort_flag;    /* not 0: end with C4_ERR_ABORTED within 50 ms; NULL: none */
} c4_bootstrap_spec;

typedef struct c4_bootstrap c4_bootstrap;

/* Blocks until this rank has been let in (root: until all ranks have). Errors are logged and name the ranks that are
 * missing, died or were refused: C4_ERR_TIMEOUT, C4_ERR_AUTH, C4_ERR_PEER_DEAD, C4_ERR_PROTOCOL, C4_ERR_ABORTED, and
 * local resources. An error of the root reaches all the others with its text. */
c4_status c4_bootstrap_open(const c4_bootstrap_spec *spec, c4_bootstrap **bootstrap);

/* out[r * bytes ..] = rank r's `in`. All ranks call it equally often, with equal bytes <= 4096 (0: a barrier). Blocks.
 * After an error the bootstrap can only be closed. */
c4_status c4_bootstrap_all_gather(c4_bootstrap *bootstrap, const void *in, size_t bytes, void *out);

/* Tells all others why this rank gives up (best effort, at most 0.5 s); they end with C4_ERR_PEER_ERROR and this text.
 * After it the bootstrap can only be closed. */
void c4_bootstrap_give_up(c4_bootstrap *bootstrap, const char *text);

/* The job's key: the spec's, or the one that the root has made. NULL when there is none (then tags are impossible:
 * libcrypto is missing on the root). Valid until close. */
const unsigned char *c4_bootstrap_key(const c4_bootstrap *bootstrap);

int c4_bootstrap_rank(const c4_bootstrap *bootstrap);
int c4_bootstrap_size(const c4_bootstrap *bootstrap);
uint64_t c4_bootstrap_job_id(const c4_bootstrap *bootstrap);

/* Hands the connections over: at the root fds[1 .. n-1] of the ranks, elsewhere fds[0] of the root, the others -1. The
 * descriptors are non-blocking and the caller's; the bootstrap can then only be asked and closed. */
void c4_bootstrap_take_connections(c4_bootstrap *bootstrap, int *fds);

void c4_bootstrap_close(c4_bootstrap *bootstrap); /* NULL is allowed */

#endif
