/* What the parts of c4info share: the command line, and the machine as `c4info host` shows it. */
#ifndef C4_TOOLS_C4INFO_C4INFO_H
#define C4_TOOLS_C4INFO_C4INFO_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/cpu.h"
#include "host/limits.h"
#include "host/netif.h"
#include "host/nic.h"
#include "host/topology.h"

#define C4INFO_SCHEMA_VERSION 1

typedef struct c4info_request {
    bool json;
    int nranks, ranks_per_host; /* of `algorithms` and `doctor`; 0: not given */
    bool all;                   /* doctor: what is in order, too */
    bool colour;                /* doctor: may colour a terminal */
    bool listen;                /* doctor: be the other end */
    const char *peers;          /* doctor: "HOST[:PORT],..."; NULL: none */
    int port, seconds, count; /* doctor --listen; port 0: from C4_PORT_RANGE, or any; count 0: until the time is over */
    bool dry_run;             /* clean: list only */
    int64_t older_ms;         /* clean: only what was left so long ago */
    const char *words[2];     /* job: what, and which job; NULL: not given */
    const char *comm;         /* job: --communicator; NULL: all */
    const char *reason;       /* job abort; NULL: none */
} c4info_request;

typedef struct c4info_machine {
    char name[256];
    c4_cpu cpu;
    c4_topology topology;
    c4_limits limits;
    size_t nnics;
    c4_nic *nics;
} c4info_machine;

c4_status c4info_machine_init(c4info_machine *machine);
void c4info_machine_fini(c4info_machine *machine);

#define C4INFO_MAX_NETIFS 64

/* The addresses of this host as the choice of an interface sees them, for a job of several hosts. */
typedef struct c4info_interfaces {
    char ifname[256]; /* C4_SOCKET_IFNAME */
    c4_netif_wish wish;
    size_t count;
    c4_netif list[C4INFO_MAX_NETIFS];
    const c4_netif *chosen; /* NULL: none fits */
} c4info_interfaces;

c4_status c4info_interfaces_read(c4info_interfaces *interfaces);

/* One of the two per command; each prints to standard output and returns the exit status. */
int c4info_options_text(const c4info_request *request);
int c4info_host_text(const c4info_request *request);
int c4info_launcher_text(const c4info_request *request);
int c4info_transports_text(const c4info_request *request);
int c4info_algorithms_text(const c4info_request *request);
int c4info_doctor_text(const c4info_request *request);
int c4info_clean_text(const c4info_request *request);
int c4info_options_json(const c4info_request *request);
int c4info_host_json(const c4info_request *request);
int c4info_launcher_json(const c4info_request *request);
int c4info_transports_json(const c4info_request *request);
int c4info_algorithms_json(const c4info_request *request);
int c4info_doctor_json(const c4info_request *request);
int c4info_clean_json(const c4info_request *request);
int c4info_jobs_text(const c4info_request *request);
int c4info_jobs_json(const c4info_request *request);
int c4info_job_text(const c4info_request *request);
int c4info_job_json(const c4info_request *request);

/* Says on standard error what failed; returns exit status 1. */
int c4info_complain(c4_status status, const char *what);

#endif
