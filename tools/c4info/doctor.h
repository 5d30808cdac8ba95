/* `c4info doctor`: facts about the machine and the job, checks that look at nothing else, and what they found. */
#ifndef C4_TOOLS_C4INFO_DOCTOR_H
#define C4_TOOLS_C4INFO_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/limits.h"
#include "host/netif.h"
#include "tools/c4info/c4info.h"

#define C4INFO_UNKNOWN      (-1) /* a number that the system does not tell */
#define C4INFO_MAX_NAMES    16
#define C4INFO_SYSTEM_BYTES 64

typedef enum c4info_severity { C4INFO_OK, C4INFO_NOTE, C4INFO_WARN, C4INFO_BAD, C4INFO_NSEVERITIES } c4info_severity;

/* ---- facts ---- */

/* Beside what the choice of an interface needs. */
typedef struct c4info_netif_facts {
    c4_netif netif;
    bool chosen;
    int64_t mtu, speed_mbps;       /* C4INFO_UNKNOWN: not told */
    int64_t rp_filter;             /* the stricter of `all` and its own */
    int listen_error, reach_error; /* errno of listening there, and of connecting to it from here; 0: works */
} c4info_netif_facts;

typedef struct c4info_name {
    char name[C4INFO_SYSTEM_BYTES], nearest[C4INFO_SYSTEM_BYTES]; /* nearest: "" when nothing is near */
} c4info_name;

/* The job, as options and the command line tell it. */
typedef struct c4info_job_facts {
    int nranks, local_nranks; /* local: on this host */
    char option_error[256];   /* an option does not parse; the rest are defaults then */
    bool wants_tcp, wants_verbs;
    bool shm_named; /* C4_SHM_BACKEND=file */
    int64_t shm_budget_bytes;
    bool record;
    int64_t record_bytes;
    char record_top[256], record_error[256]; /* record_error: why nothing can be recorded there */
    int64_t tcp_sockets, tcp_buffer_bytes;
    char ports[32], ifname[128], ifname_error[512];
    int port_lo, port_hi; /* 0: any */
    bool insecure, has_key;
    char key_file[256], key_error[256];
    size_t nunknown;
    c4info_name unknown[C4INFO_MAX_NAMES]; /* C4_* variables that C4 does not know */
} c4info_job_facts;

typedef struct c4info_system_facts {
    c4_limits limits;
    bool container;
    int64_t cores, cpus;                               /* that this process may use */
    int64_t memory_limit_bytes, memory_in_group_bytes; /* of the control group */
    double cpu_quota;                                  /* cores' worth of time; C4INFO_UNKNOWN: none */
    int64_t pids_limit, pids_in_group;
    int64_t file_size_limit;
    int64_t swap_bytes, swap_used_bytes;
    int64_t hugepages, hugepages_free, hugepage_bytes;
    char thp[16], thp_defrag[16]; /* "always", "madvise", "never"; "": not told */
    int64_t numa_nodes, numa_balancing;
    char clocksource[32], governor[32], cpu_driver[32];
    bool tsc_invariant, x86;
    int64_t clock_unsynchronised; /* 1: nobody sets this clock */
    int64_t tcp_rmem_max, tcp_wmem_max, rmem_max, wmem_max;
    int64_t local_port_lo, local_port_hi;
    int64_t conntrack_count, conntrack_max;
    int64_t firewall_rules;           /* input rules that drop or reject; C4INFO_UNKNOWN: cannot be read */
    bool netfilter;                   /* is loaded */
    char firewall[16];                /* "nft", "iptables"; "": none found */
    char name[256], name_address[64]; /* name_address: what the host's name resolves to; "": nothing */
    bool name_is_loopback;
    uint64_t stale_segments, stale_segment_bytes, stale_jobs, stale_job_bytes;
    char segment_directory[C4INFO_SYSTEM_BYTES];
} c4info_system_facts;

typedef struct c4info_facts {
    c4info_job_facts job;
    c4info_system_facts system;
    size_t nnetifs;
    c4info_netif_facts netifs[C4INFO_MAX_NETIFS];
    c4_netif_wish wish; /* `spec` points into job */
} c4info_facts;

/* Reads /proc and /sys below `root` ("" for the machine itself), with what else this process can ask the kernel. */
void c4info_facts_read_system(const char *root, c4info_system_facts *facts);
/* MTU, speed and rp_filter of one interface. */
void c4info_facts_read_netif(const char *root, c4info_netif_facts *netif);
/* Options, interfaces, leftovers of dead jobs. `nranks`, `local_nranks`: 0 for one rank per core. */
c4_status c4info_facts_read(int nranks, int local_nranks, c4info_facts *facts);
/* Listens on each chosen interface and connects to it: fills listen_error and reach_error. */
void c4info_facts_try_ports(c4info_facts *facts);

/* ---- findings ---- */

typedef struct c4info_finding {
    const char *check;
    c4info_severity severity;
    char what[400], fix[400]; /* fix: "" when it is ok */
} c4info_finding;

typedef struct c4info_report {
    size_t count, room;
    c4info_finding *findings; /* owned */
    const char *check;        /* of those that are being added */
} c4info_report;

/* One line each. `fix` is a format for what stands behind the format of `what`. */
void c4info_report_add(c4info_report *report, c4info_severity severity, const char *what, ...)
    __attribute__((format(printf, 3, 4)));
/* Of the finding that was added last. */
void c4info_report_fix(c4info_report *report, const char *fix, ...) __attribute__((format(printf, 2, 3)));
/* Worst first; equal ones keep their order. */
void c4info_report_sort(c4info_report *report);
c4info_severity c4info_report_worst(const c4info_report *report);
void c4info_report_fini(c4info_report *report);
const char *c4info_severity_name(c4info_severity severity);

/* A check adds what it finds, one "ok" line when all is well, and nothing where it does not apply. */
typedef struct c4info_check {
    const char *name;
    void (*run)(const c4info_facts *facts, c4info_report *report);
    const char *looks_at;
} c4info_check;

extern const c4info_check c4info_checks[];
extern const size_t c4info_nchecks;
void c4info_run_checks(const c4info_facts *facts, c4info_report *report);

void c4info_check_shm(const c4info_facts *facts, c4info_report *report);
void c4info_check_memory(const c4info_facts *facts, c4info_report *report);
void c4info_check_memlock(const c4info_facts *facts, c4info_report *report);
void c4info_check_file_size(const c4info_facts *facts, c4info_report *report);
void c4info_check_swap(const c4info_facts *facts, c4info_report *report);
void c4info_check_hugepages(const c4info_facts *facts, c4info_report *report);
void c4info_check_thp(const c4info_facts *facts, c4info_report *report);
void c4info_check_stale(const c4info_facts *facts, c4info_report *report);

void c4info_check_files(const c4info_facts *facts, c4info_report *report);
void c4info_check_processes(const c4info_facts *facts, c4info_report *report);
void c4info_check_cores(const c4info_facts *facts, c4info_report *report);
void c4info_check_cpu_quota(const c4info_facts *facts, c4info_report *report);
void c4info_check_governor(const c4info_facts *facts, c4info_report *report);
void c4info_check_numa_balancing(const c4info_facts *facts, c4info_report *report);
void c4info_check_ptrace(const c4info_facts *facts, c4info_report *report);
void c4info_check_clock(const c4info_facts *facts, c4info_report *report);
void c4info_check_clocksource(const c4info_facts *facts, c4info_report *report);

void c4info_check_options(const c4info_facts *facts, c4info_report *report);
void c4info_check_variables(const c4info_facts *facts, c4info_report *report);
void c4info_check_key(const c4info_facts *facts, c4info_report *report);
void c4info_check_record(const c4info_facts *facts, c4info_report *report);
void c4info_check_host_name(const c4info_facts *facts, c4info_report *report);

void c4info_check_interface(const c4info_facts *facts, c4info_report *report);
void c4info_check_faster_interface(const c4info_facts *facts, c4info_report *report);
void c4info_check_subnets(const c4info_facts *facts, c4info_report *report);
void c4info_check_rp_filter(const c4info_facts *facts, c4info_report *report);
void c4info_check_mtu(const c4info_facts *facts, c4info_report *report);
void c4info_check_listen(const c4info_facts *facts, c4info_report *report);
void c4info_check_port_range(const c4info_facts *facts, c4info_report *report);
void c4info_check_local_ports(const c4info_facts *facts, c4info_report *report);
void c4info_check_firewall(const c4info_facts *facts, c4info_report *report);
void c4info_check_conntrack(const c4info_facts *facts, c4info_report *report);
void c4info_check_tcp_buffers(const c4info_facts *facts, c4info_report *report);

/* ---- the command ---- */

/* Fills facts and report, worst first. -1, or the exit status when there is nothing to print. The report is to be freed in
 * either case. */
int c4info_doctor_gather(const c4info_request *request, c4info_facts *facts, c4info_report *report);
/* Exit status: 1 when something is bad or worth a warning. */
int c4info_doctor_status(const c4info_report *report);

/* ---- other hosts ---- */

/* The job's key, from C4_KEY or C4_KEY_FILE; false without one. The caller wipes it. */
bool c4info_read_key(const c4info_job_facts *job, unsigned char key[32]);

/* Waits for doctors of other hosts on the chosen interface for `seconds`, or until `count` have come; says where it listens.
 * Returns the exit status: 0 when somebody came and everybody who came got through, else 1; 2 without a key. */
int c4info_listen(const c4info_facts *facts, const c4info_request *request);
/* Connects to each of "HOST[:PORT],...", proves the key and moves data both ways; adds a finding each. Exit status 2 and a
 * message for a list that is none, else -1. */
int c4info_reach_peers(const c4info_facts *facts, const c4info_request *request, c4info_report *report);

#endif
