/* A c4_transport_host for tests of transports, without the library around it: options come from the modules' tables
 * and from a text of overrides, the log goes to stderr. */
#ifndef C4_TESTS_CONFORMANCE_HOST_H
#define C4_TESTS_CONFORMANCE_HOST_H

#include <c4/transport.h>

#include "base/options.h"

typedef struct c4_test_host {
    c4_transport_host host;       /* give this to the transport */
    const c4_option_table *table; /* may be NULL */
    char overrides[512];          /* "C4_TCP_SOCKETS=3 C4_PORT_RANGE=5000-5001" */
    char value[256];
    int errors_logged, warnings_logged;
    char last_warning[512], last_info[512], last_debug[512];
} c4_test_host;

/* Job of `nranks` ranks on this host. `job_id` sets this job apart from others on the machine. */
void c4_test_host_init(c4_test_host *host, const c4_option_table *table, const char *overrides, uint64_t job_id,
                       int rank, int nranks);

#endif
