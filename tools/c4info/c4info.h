/* What the parts of c4info share: the command line, and the machine as `c4info host` shows it. */
#ifndef C4_TOOLS_C4INFO_C4INFO_H
#define C4_TOOLS_C4INFO_C4INFO_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stddef.h>

#include "host/cpu.h"
#include "host/limits.h"
#include "host/nic.h"
#include "host/topology.h"

#define C4INFO_SCHEMA_VERSION 1

typedef struct c4info_request {
    bool json;
    int nranks, ranks_per_host; /* of `algorithms`; 0: not given */
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

/* One of the two per command; each prints to standard output and returns the exit status. */
int c4info_options_text(const c4info_request *request);
int c4info_host_text(const c4info_request *request);
int c4info_transports_text(const c4info_request *request);
int c4info_algorithms_text(const c4info_request *request);
int c4info_options_json(const c4info_request *request);
int c4info_host_json(const c4info_request *request);
int c4info_transports_json(const c4info_request *request);
int c4info_algorithms_json(const c4info_request *request);

/* Says on standard error what failed; returns exit status 1. */
int c4info_complain(c4_status status, const char *what);

#endif
