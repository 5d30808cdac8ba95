/* Real faults against running jobs: one seed is one job of processes with one or several faults, and a verdict.
 *
 *     chaos_plan (pure: seed -> job and faults) -> chaos_job (forks ranks, injects, waits) -> chaos_judge (what was seen)
 *
 * A rank is a process of its own that loops over collectives and verifies every one that completes. It tells what
 * happened to it in memory that it shares with the driver. */
#ifndef C4_TESTS_CHAOS_CHAOS_H
#define C4_TESTS_CHAOS_CHAOS_H

#include <c4/c4.h>
#include <netinet/in.h>
#include <sys/types.h>

#include "tests/chaos/work.h"

enum { CHAOS_MAX_RANKS = 8, CHAOS_MAX_FAULTS = 3 };

typedef enum chaos_kind {
    CHAOS_KILL,           /* SIGKILL */
    CHAOS_STOP_SHORT,     /* SIGSTOP, SIGCONT before anybody may mind */
    CHAOS_STOP_LONG,      /* SIGSTOP for longer than C4_SILENT_MS, then SIGCONT */
    CHAOS_DATA_SOCKET,    /* shutdown(2) of a data connection */
    CHAOS_CONTROL_SOCKET, /* shutdown(2) of a control connection */
    CHAOS_CLOSE,          /* C4_HOOK's close: the rank loses a socket between two frames */
    CHAOS_TRUNCATE,       /* C4_HOOK's truncate: in the middle of one */
    CHAOS_DROP,           /* C4_HOOK's drop: a frame vanishes, the operations' deadline ends the wait */
    CHAOS_FAIL,           /* C4_HOOK's fail: a link fails for good */
    CHAOS_LINK_BLINK,     /* a host's link goes down and comes back */
    CHAOS_LINK_SLOW,      /* a host's link is narrow and long for a while */
    CHAOS_LINK_DOWN,      /* a host's link goes down and stays down */
    CHAOS_PARTITION,      /* hosts fall into two halves that do not hear one another */
    CHAOS_NKINDS
} chaos_kind;

typedef enum chaos_transport { CHAOS_SHM, CHAOS_TCP, CHAOS_BOTH, CHAOS_NTRANSPORTS } chaos_transport;

typedef enum chaos_outcome {
    CHAOS_SURVIVES, /* no error, right results */
    CHAOS_DEATH,    /* every survivor: C4_ERR_PEER_DEAD, naming a victim */
    CHAOS_SILENCE, /* every other rank: C4_ERR_PEER_SILENT, naming a victim, which learns it when it goes on: C4_ERR_EXCLUDED */
    CHAOS_SPLIT, /* both halves: C4_ERR_PEER_SILENT, naming a rank of the other half */
    CHAOS_ENDS   /* every rank: some error that names a rank */
} chaos_outcome;

typedef struct chaos_kind_info {
    const char *name;
    chaos_outcome outcome;
    int limit_ms;          /* from the fault to the naming on the last survivor */
    bool tcp, hook, net;   /* needs frames over TCP; is a rule of C4_HOOK; needs network name spaces */
    bool silence;          /* needs C4_HEARTBEAT_MS and C4_SILENT_MS */
    const char *hook_rule; /* "close=tcp@frame:%d#%d" */
    int kept_ms;           /* the job goes on for so long after it */
} chaos_kind_info;

extern const chaos_kind_info chaos_kinds[CHAOS_NKINDS];
extern const char *const chaos_transport_names[CHAOS_NTRANSPORTS]; /* as C4_TRANSPORTS takes them */

typedef struct chaos_fault {
    chaos_kind kind;
    int rank;                         /* victim; of a partition: the first rank of the second half */
    int after_ms;                     /* from the moment when all ranks work (setup: when the job starts) */
    int lasts_ms;                     /* till it is undone; 0: it is not */
    int number;                       /* frame of a hook rule, or which of the sockets */
    _Atomic int64_t at_ns, undone_ns; /* 0: not yet */
    bool missed;                      /* could not be injected */
} chaos_fault;

/* What this machine can do; kinds that need more are not planned. */
typedef struct chaos_abilities {
    bool name_spaces; /* mount and host name */
    bool net;         /* and network */
    bool sockets;     /* pidfd_getfd */
    const char *only; /* name of the one kind wanted, or NULL */
} chaos_abilities;

typedef struct chaos_plan {
    uint64_t seed;
    int nranks, nhosts; /* rank r is on host r * nhosts / nranks */
    chaos_transport transport;
    const char *backend; /* of shm */
    int window;          /* operations at once; 1: blocking calls */
    size_t max_count;
    bool setup;         /* the faults come while the job is set up */
    bool leave_at_once; /* survivors destroy their communicator without waiting for the others' errors */
    bool shrink;        /* survivors go on without the dead */
    bool thread;        /* C4_PROGRESS */
    int nfaults;
    chaos_fault faults[CHAOS_MAX_FAULTS];
} chaos_plan;

void chaos_plan_make(uint64_t seed, const chaos_abilities *abilities, chaos_plan *plan);
void chaos_plan_print(const chaos_plan *plan);
static inline int chaos_host_of(const chaos_plan *plan, int rank)
{
    return rank * plan->nhosts / plan->nranks;
}

/* ---- what a rank tells ---- */

typedef enum chaos_phase { CHAOS_STARTING, CHAOS_RUNNING, CHAOS_FAILED, CHAOS_DONE } chaos_phase;

typedef struct chaos_report {
    _Atomic int phase;
    _Atomic int size;                     /* of the communicator, shrinking */
    _Atomic int64_t failed_ns, waited_ns; /* waited: for a processor, by then, all threads together */
    chaos_count count;
    int status;        /* of the first call that failed; C4_OK: none did */
    char text[512];    /* c4_last_error then */
    int shrink_status; /* of what came after, until the end */
    char shrink_text[512];
} chaos_report;

typedef struct chaos_shared {
    _Atomic int stop; /* ranks agree to end soon after it is set */
    int id_pipe[2];
    int64_t waited_ns[CHAOS_MAX_RANKS]; /* for a processor, when the first fault came */
    chaos_report reports[CHAOS_MAX_RANKS];
} chaos_shared;

/* The whole life of one rank; returns its process's exit status. */
int chaos_rank_main(const chaos_plan *plan, chaos_shared *shared, int rank, const char *directory);

/* ---- sockets of other processes ---- */

/* Shuts down connection number `number` (modulo how many there are) of process `pid`: a data connection, or one of the
 * control plane, which the priority tells apart. Looks in the process's own network name space. False: there is none. */
bool chaos_socket_shutdown(pid_t pid, bool data, int number);
bool chaos_socket_supported(void);
/* Where these processes listen for TCP; those on IPv6 are taken for its loopback's IPv4 side. Returns how many. */
int chaos_socket_doors(const pid_t *pids, int npids, struct sockaddr_in *doors, int limit);

/* ---- name spaces ---- */

/* A mount name space of this process's own, with an empty /dev/shm; false: not permitted here. */
bool chaos_spaces_enter(void);
/* Makes this process believe that it runs on host `host` of its own. */
bool chaos_spaces_become_host(int host);
/* Two switches joined by a link, host h < nhosts / 2 at the first, the others at the second; host h has 10.77.0.h+1. */
bool chaos_net_up(int nhosts);
void chaos_net_down(void);
bool chaos_net_enter(int host);
bool chaos_net_link(int host, bool up);
bool chaos_net_slow(int host, bool slow);
bool chaos_net_partition(bool parted);

/* ---- verdict ---- */

/* `late`: the culprit named, but after the limit; `excused`: the same, but the ranks had to wait for a processor so long
 * that the machine's load explains it. */
typedef struct chaos_tally {
    int jobs, injected, hangs, wrong, spurious, unnamed, late, excused, left_behind;
    double slowest_ms;
} chaos_tally;

typedef chaos_tally chaos_tallies[CHAOS_NKINDS][CHAOS_NTRANSPORTS];

/* `statuses`: of waitpid, -1 for a rank that had to be killed. Adds to `tally` and prints what is wrong; true when nothing
 * is. */
bool chaos_judge(const chaos_plan *plan, const chaos_shared *shared, const int *statuses, int left_behind,
                 chaos_tally *tally);

/* Runs one plan; `directory` is empty and stays so. */
bool chaos_job_run(const chaos_plan *plan, const char *directory, chaos_tally *tally);

/* What was left out, for the table. */
typedef struct chaos_omission {
    const char *what, *why;
} chaos_omission;

enum { CHAOS_MAX_OMISSIONS = 4 };

typedef struct chaos_run {
    unsigned long long first;
    int done, failures;
    double seconds;
    int nomissions;
    chaos_omission omissions[CHAOS_MAX_OMISSIONS];
    chaos_tallies tallies;
} chaos_run;

void chaos_table_print(const chaos_run *run);
/* Writes the table as JSON to `path`; false with errno. */
bool chaos_table_write(const chaos_run *run, const char *path);
/* One result per line of the table to the file that C4_TEST_RESULTS names, if it does. */
void chaos_table_report(const chaos_run *run);

/* ---- time ---- */

int64_t chaos_now_ns(void);
void chaos_sleep_ms(int ms);
/* How long the threads of a process have been ready to run without a processor, all together; 0: the kernel does not tell. */
int64_t chaos_waited_ns(pid_t pid);

#endif
