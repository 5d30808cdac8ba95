/* What the parts of launcher detection share: the table of launchers, and how each finds rank 0. */
#ifndef C4_RENDEZVOUS_LAUNCHER_INTERNAL_H
#define C4_RENDEZVOUS_LAUNCHER_INTERNAL_H

#include "rendezvous/launcher.h"

/* Ports that launchers' jobs derive, above the system's ephemeral ones (32768..60999 unless changed). */
enum { C4_LAUNCH_FIRST_PORT = 61440, C4_LAUNCH_PORTS = 4094, C4_LAUNCH_TRIES = 3 };
_Static_assert(C4_LAUNCH_FIRST_PORT + C4_LAUNCH_PORTS - 1 + C4_LAUNCH_TRIES - 1 <= UINT16_MAX, "ports");
_Static_assert(C4_LAUNCH_TRIES <= C4_UNIQUE_ID_ADDRESSES, "addresses");

typedef enum c4_host_source {
    C4_HOST_NONE,       /* the launcher tells nobody where rank 0 runs */
    C4_HOST_MASTER,     /* MASTER_ADDR */
    C4_HOST_SLURM,      /* first of the node list */
    C4_HOST_KUBERNETES, /* pod 0 of this pod's job */
} c4_host_source;

typedef struct c4_launcher {
    const char *name;
    const char *detect[4]; /* variables that are all set under it */
    /* Of these the first that is set is read. */
    const char *rank[2], *nranks[3], *local_rank[3], *local_nranks[3], *nhosts[3];
    const char *job[4]; /* variables that, together with the name, tell this job from all others on its hosts */
    c4_host_source host;
    const char *set; /* how to give a variable to every rank, for messages; "NAME=VALUE" in it is to be replaced */
} c4_launcher;

/* The launcher that has started this process; NULL: none. */
const c4_launcher *c4_launcher_find(void);
#define C4_LAUNCHER_REASON_BYTES 256
/* Number `index` of the table, and why it has or has not started this process; NULL past the end. */
const c4_launcher *c4_launcher_explain(size_t index, char reason[C4_LAUNCHER_REASON_BYTES]);
/* The first of `names` (ended by NULL or `limit`) that is set, and its value; NULL: none. */
const char *c4_launcher_variable(const char *const *names, size_t limit, const char **value);

/* The job's identity, equal on all its ranks and different for other jobs on these hosts: C4_JOB_ID if it is set, else
 * from the launcher's variables. False when there is nothing to take it from. */
bool c4_launcher_job_id(const c4_launcher *launcher, uint64_t *job_id);

/* The parts of c4_launch_detect that ask nobody but the environment: who this process is (not asked for by PMIx alone: then
 * nranks stays 0), the key, the job's identity. */
c4_status c4_launch_read_ranks(const c4_launcher *launcher, c4_launch *launch);
c4_status c4_launch_read_key(const c4_options *options, c4_launch *launch);
c4_status c4_launch_identify(const c4_launcher *launcher, c4_launch *launch);
/* The text behind "start the program with". */
extern const char c4_launch_how_to_start[];

/* Where rank 0 is by the launcher's word. */
typedef struct c4_launch_plan {
    bool pmix;                 /* the PMIx server knows; the rest is not set */
    char host[256];            /* a name or an address */
    uint16_t port_lo, port_hi; /* rank 0 takes the first of them that is free */
} c4_launch_plan;
/* Errors as c4_launch_locate, which then does it. Blocks for the pod's own name in Kubernetes. */
c4_status c4_launch_make_plan(const c4_launcher *launcher, const c4_options *options, c4_launch *launch,
                              c4_launch_plan *plan);

/* Fills in addresses and, on rank 0, the listener, for a launcher that gives no C4_RENDEZVOUS: see launcher.h. */
c4_status c4_launch_locate(const c4_launcher *launcher, const c4_options *options, c4_launch *launch);

/* The name of rank 0's host in the network of a Kubernetes indexed job: the pod's own name "train-7" (of index 7) turned
 * into "train-0", with the service appended. False when it is not such a name or does not fit. */
bool c4_kubernetes_first(const char *pod, const char *index, const char *service, char *host, size_t bytes);

#endif
