/* The job as this c4run sees it: its children, which are ranks, or (with --hosts) one ssh per host. */
#ifndef C4_TOOLS_C4RUN_JOB_H
#define C4_TOOLS_C4RUN_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "tools/c4run/options.h"
#include "tools/c4run/output.h"
#include "wire/unique_id.h"

#define C4RUN_KEY_TEXT_BYTES    (2 * C4_KEY_BYTES + 1)
#define C4RUN_ID_TEXT_BYTES     (2 * C4_UNIQUE_ID_BYTES + 1)
#define C4RUN_SOCKET_NAME_BYTES 48
#define C4RUN_CALLER_LINE_BYTES 512
#define C4RUN_CALLERS           16

/* A connection to the socket of --join: see join.h. */
typedef struct c4run_caller {
    int fd;    /* -1: none */
    int count; /* > 0: a group of so many ranks that wait to join */
    uint64_t since_ns;
    size_t used;
    char line[C4RUN_CALLER_LINE_BYTES];
} c4run_caller;

typedef struct c4run_child {
    int rank;         /* of the job; with --hosts: number of the host */
    const char *host; /* NULL: a rank on this host */
    pid_t pid;
    bool running;
    bool fresh; /* ended, and nobody has looked at why yet */
    int status; /* waitpid's, once ended */
    uint64_t started_ns, ended_ns;
    int orders; /* standard input of a c4run on another host; -1: none */
    c4run_stream out, err;
} c4run_child;

typedef struct c4run_job {
    const c4run_options *options;
    char host[256];
    char key[C4RUN_KEY_TEXT_BYTES];            /* "": the job has none, or the ranks find it themselves */
    char id[64];                               /* "": C4_RENDEZVOUS tells jobs apart */
    char rendezvous[320];                      /* HOST:PORT; "": not needed */
    int listen_fd;                             /* rank 0's; -1: none */
    int first_rank;                            /* on this host */
    int total_ranks;                           /* of the job */
    int join_fd;                               /* listens for those who join and for rank 0's questions; -1: none */
    char socket_name[C4RUN_SOCKET_NAME_BYTES]; /* "": none */
    c4run_caller callers[C4RUN_CALLERS];
    char unique_id[C4RUN_ID_TEXT_BYTES]; /* --join: of the growth; "": none */
    int nchildren;
    c4run_child *children;
    char *host_names; /* that children[].host point into */
    char *topology;   /* C4_TOPOLOGY; NULL: unknown */
    struct c4_topology *cores;
    int *core_of;      /* [nchildren], index into cores; NULL: not bound */
    sigset_t old_mask; /* for the children */
    struct rlimit old_files;
    int signal_fd;
    int guard_fd; /* pipe to the guard, see guard.h */
    pid_t guard_pid;
    int exec_fds[2]; /* children report here that PROGRAM cannot be started */
    uint64_t started_ns;
    long oom_kills; /* of /proc/vmstat at the start; -1: unknown */
    c4run_output out, err;
    /* how it ends */
    int exit_status;
    bool failed;      /* exit_status is set by a rank */
    bool ending;      /* SIGTERM was sent because of a death or the timeout */
    bool interrupted; /* the user has sent a signal that ends programs */
    uint64_t kill_ns; /* when SIGKILL follows; 0: never */
} c4run_job;

/* Prints "c4run: ..." as one line on standard error, in order with the ranks' lines. */
void c4run_say(c4run_job *job, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* First rank of `node` when nranks are shared out evenly over nnodes; of node nnodes: nranks. */
int c4run_first_rank(int nranks, int nnodes, int node);

#endif
