/* The bootstrap: before any transport exists, every rank meets rank 0 (the root), proves that it belongs to the job,
 * and exchanges small blobs with all the others.
 *
 *   check-in   a star: each rank connects to the root and tells where it listens; the root answers with the addresses
 *              of all, some 14 bytes a rank.
 *   links      each rank connects to its neighbours (overlay.h), proof by proof as at the root. Where that is not
 *              possible, the neighbour is asked through the root to connect the other way. Connections to the root that
 *              are edges of the overlay stay, the others end.
 *   exchange   all-gathers by Bruck over these links: log2 n rounds, no memory besides the result. What fails on one
 *              rank is told from neighbour to neighbour.
 *
 * c4_control_start takes the links over for the life of the job.
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

#include "wire/address_table.h"
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
    bool fixed; /* at addresses[0] the next job of these processes meets, too, perhaps while this one
                                      * lives: once all are in, the root leaves it for a port of port_lo .. port_hi (but
                                      * stays where none of these is free) */
    /* Where this rank listens for its neighbours; copied. nlisten 0: on the address of its connection to the root. Those
     * that cannot be used are left out, as long as one can. */
    const c4_net_address *listen;
    size_t nlisten; /* 0 .. 3 */
    /* Not the root, and with nlisten 0: says where, once the link to the root is there, so that the root hears of an error
     * (logged). *count: in 3, out 0: as without it. NULL: none. */
    c4_status (*choose_listen)(const void *context, c4_net_address *addresses, size_t *count);
    const void *choose_context;
    uint16_t port_lo, port_hi; /* ports for that; 0, 0: any */
    /* What the others are told instead, as behind a router that forwards ports; copied. */
    const c4_net_address *advertise;
    size_t nadvertise; /* 0 .. 3; 0: where this rank listens */
    int timeout_ms;    /* of check-in, of links, and of each all-gather */
    /* Instead of addresses: a file that all ranks can reach (file_store.h), which rank 0 writes and removes; valid during
     * open. Rank 0 listens on listen[0]. NULL: none. */
    const char *file;
    /* Instead of addresses, job_id, key and listen_fd: the caller's own all-gather of all ranks; 0: done. Called once, in
     * open, with 136 bytes a rank; it may block. Rank 0 listens on listen[0] and makes the key, so that what it carries
     * must not be read by strangers. NULL: none. */
    int (*all_gather)(void *context, const void *in, size_t bytes, void *out);
    void *all_gather_context;
    const atomic_int *abort_flag; /* not 0: end with C4_ERR_ABORTED within 50 ms; NULL: none */
    const char *abort_text;       /* what the others hear of it, as C4_ERR_PEER_ERROR; NULL: that it was aborted */
} c4_bootstrap_spec;

typedef struct c4_bootstrap c4_bootstrap;

/* Blocks until all ranks are in and have their links. Errors are logged and name the ranks that are missing, died or
 * were refused, and addresses that cannot be reached: C4_ERR_TIMEOUT, C4_ERR_AUTH, C4_ERR_PEER_DEAD,
 * C4_ERR_UNREACHABLE, C4_ERR_PROTOCOL, C4_ERR_ABORTED, and local resources. An error of one rank reaches all the others
 * with its text. */
c4_status c4_bootstrap_open(const c4_bootstrap_spec *spec, c4_bootstrap **bootstrap);

/* out[r * bytes ..] = rank r's `in`. All ranks call it equally often, with equal bytes <= 4096 (0: a barrier). Blocks.
 * After an error the bootstrap can only be closed. */
c4_status c4_bootstrap_all_gather(c4_bootstrap *bootstrap, const void *in, size_t bytes, void *out);

/* Tells all others why this rank gives up (best effort, at most 0.5 s); they end with C4_ERR_PEER_ERROR and this text.
 * After it the bootstrap can only be closed. */
void c4_bootstrap_give_up(c4_bootstrap *bootstrap, const char *text);

/* Key and id of this run of the job: derived from the spec's and from a nonce that the root has drawn, so that they differ
 * from those of every other run (a job of one rank has the spec's). The key is one that the root has made where the spec
 * has none; NULL when there is none (then tags are impossible: libcrypto is missing on the root). Valid until close. */
const unsigned char *c4_bootstrap_key(const c4_bootstrap *bootstrap);

int c4_bootstrap_rank(const c4_bootstrap *bootstrap);
int c4_bootstrap_size(const c4_bootstrap *bootstrap);
uint64_t c4_bootstrap_job_id(const c4_bootstrap *bootstrap);

/* Where a rank listens: its address number `index`, most useful first. false: it has not so many (none without a key:
 * then it listens on an AF_UNIX socket; none for a job of one rank). */
bool c4_bootstrap_address(const c4_bootstrap *bootstrap, int rank, size_t index, c4_net_address *address);

/* How long set-up took on this rank. */
typedef struct c4_bootstrap_times {
    uint64_t check_in_ns; /* from open until the addresses of all were known */
    uint64_t links_ns;    /* until all ranks had their links */
    uint64_t exchange_ns; /* in all-gathers since then */
    unsigned exchanges;
} c4_bootstrap_times;
void c4_bootstrap_get_times(const c4_bootstrap *bootstrap, c4_bootstrap_times *times);

/* Hands the connections over: fds[r] of each neighbour r (overlay.h), the others -1. The descriptors are non-blocking
 * and the caller's; the bootstrap can then only be asked and closed. */
void c4_bootstrap_take_connections(c4_bootstrap *bootstrap, int *fds);
/* Hands over the sockets on which this rank listens (those of c4_bootstrap_address, in order; AF_UNIX without a key, and
 * then at rank 0 also the TCP socket of which nobody made use). Returns their number, 0 .. 3. Those not taken are closed with the bootstrap. */
size_t c4_bootstrap_take_listeners(c4_bootstrap *bootstrap, int fds[C4_ENDPOINT_ADDRESSES]);

void c4_bootstrap_close(c4_bootstrap *bootstrap); /* NULL is allowed */

#endif
