/* Shared by bootstrap*.c only. */
#ifndef C4_RENDEZVOUS_BOOTSTRAP_INTERNAL_H
#define C4_RENDEZVOUS_BOOTSTRAP_INTERNAL_H

#include "rendezvous/bootstrap.h"
#include "rendezvous/link.h"
#include "rendezvous/overlay.h"
#include "rendezvous/ties.h"
#include "wire/handshake.h"
#include "wire/unique_id.h"

enum {
    C4_BOOTSTRAP_TICK_MS = 50,    /* how often a waiting rank looks at its abort flag */
    C4_BOOTSTRAP_GRACE_MS = 2000, /* others wait this much longer than the root, which knows who is missing */
    C4_BOOTSTRAP_LINGER_MS = 500  /* how long a failed root tells latecomers why */
};

struct c4_bootstrap {
    c4_bootstrap_spec spec; /* its pointers lead to the fields below */
    c4_net_address addresses[C4_UNIQUE_ID_ADDRESSES];
    c4_net_address listen[C4_ENDPOINT_ADDRESSES];
    c4_net_address advertise[C4_ENDPOINT_ADDRESSES];
    unsigned char given_key[C4_KEY_BYTES]; /* spec.key */
    unsigned char key[C4_KEY_BYTES];       /* of this run: from the given one, or made by the root */
    unsigned char nonce[C4_JOB_NONCE_BYTES];
    uint64_t job_id; /* of this run: from the spec's */
    bool has_key;
    c4_process self;
    c4_link *links; /* one per rank; closed but for neighbours, and at check-in for the root and by the root */
    int neighbours[C4_OVERLAY_MAX_NEIGHBOURS];
    int nneighbours;
    int listen_fds[C4_ENDPOINT_ADDRESSES];
    size_t nlisten_fds;
    c4_endpoint endpoint;   /* where this rank listens */
    c4_process *processes;  /* root: who the ranks are, and */
    c4_endpoint *endpoints; /* where they listen; NULL elsewhere */
    unsigned char *table;   /* where all listen; NULL: not yet known */
    size_t table_bytes;
    uint32_t round; /* all-gathers so far */
    uint64_t deadline_ns;
    c4_bootstrap_times times;
    c4_control_fault fault; /* status < 0 once failed */
    int fault_rank;         /* -1: none in particular */
};

static inline bool c4_bootstrap_is_root(const c4_bootstrap *bootstrap)
{
    return bootstrap->spec.rank == 0;
}

/* Only same-user processes of this host are let in. */
static inline bool c4_bootstrap_is_local(const c4_bootstrap *bootstrap)
{
    return !bootstrap->spec.key && !bootstrap->spec.insecure;
}

void c4_bootstrap_start_clock(c4_bootstrap *bootstrap, int extra_ms);
/* C4_OK while there is time; C4_ERR_ABORTED; C4_ERR_TIMEOUT. Not logged. */
c4_status c4_bootstrap_check(const c4_bootstrap *bootstrap);
/* Milliseconds for the next poll. */
int c4_bootstrap_tick(const c4_bootstrap *bootstrap);
/* Waits until `fd` has one of the poll events; not logged. */
c4_status c4_bootstrap_wait(const c4_bootstrap *bootstrap, int fd, short events);
/* One c4_fail for what ended the set-up; the text is kept for the others. Returns `status`. */
c4_status c4_bootstrap_fail(c4_bootstrap *bootstrap, c4_status status, int rank, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a failure that has been logged already, with rank and process before its text (c4_fail_text). */
c4_status c4_bootstrap_pass_on(c4_bootstrap *bootstrap, c4_status status);

/* At check-in. */
c4_handshake_identity c4_bootstrap_identity(const c4_bootstrap *bootstrap, uint32_t peer_rank);
/* Of everything after it. The job id that was given may come again, with the same key (a job that is started anew by its
 * batch system), while a process of the earlier run still lives. So the root draws a nonce, and with it in key and job id
 * nobody of another run gets in. */
c4_handshake_identity c4_bootstrap_run_identity(const c4_bootstrap *bootstrap, uint32_t peer_rank);
c4_status c4_bootstrap_take_nonce(c4_bootstrap *bootstrap, const unsigned char nonce[C4_JOB_NONCE_BYTES]);

/* "rank 3 (pid 4711 on node7)", or without the parentheses while that is not known. Returns text. */
enum { C4_BOOTSTRAP_RANK_TEXT_BYTES = 112 };
const char *c4_bootstrap_rank_text(const c4_bootstrap *bootstrap, int rank, char text[C4_BOOTSTRAP_RANK_TEXT_BYTES]);

/* Takes the fault whose header has come on `link`, word for word: C4_ERR_LINK or C4_ERR_PROTOCOL when it does not. */
c4_status c4_bootstrap_take_fault(c4_bootstrap *bootstrap, c4_link *link);
/* Sends the fault to all with a connection to this rank. Best effort, does not wait. */
void c4_bootstrap_spread_fault(c4_bootstrap *bootstrap);
/* This rank's connection has ended: its last words, or that it died. Always an error. */
c4_status c4_bootstrap_peer_left(c4_bootstrap *bootstrap, int rank);

/* By the caller's all-gather: what the others need to know of rank 0. The caller owns *listen_fd (root; else -1), also
 * after an error. */
c4_status c4_bootstrap_invite(const c4_bootstrap_spec *spec, c4_unique_id_fields *fields, int *listen_fd);

/* Root: lets all others in. */
c4_status c4_bootstrap_admit_all(c4_bootstrap *bootstrap);
/* Others: gets in. */
c4_status c4_bootstrap_connect(c4_bootstrap *bootstrap);

/* Opens the sockets for the neighbours; the link to the root is there. What fails is logged, and is the fault. */
c4_status c4_bootstrap_listen(c4_bootstrap *bootstrap);
/* Root: hands out the addresses, carries requests until all have their links. */
c4_status c4_bootstrap_switch(c4_bootstrap *bootstrap);
/* Others: get the addresses and connect to their neighbours. */
c4_status c4_bootstrap_link_up(c4_bootstrap *bootstrap);

/* A non-blocking connection to `address`, or without a key to the AF_UNIX socket `number` of this job. *fd is -1 when
 * there is none. Returns 0, EINPROGRESS or what went wrong. */
int c4_bootstrap_dial(const c4_bootstrap *bootstrap, const c4_net_address *address, uint32_t number, int *fd);

#endif
