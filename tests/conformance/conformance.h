/* One suite for every transport: each sentence of c4/transport.h is a check. A transport needs a few lines:
 *
 *     #include "tests/conformance/conformance.h"
 *     #include "transports/shm/shm.h"
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const c4_conformance fixture = {.ops = &c4_shm_ops, .options = &c4_shm_option_table};
 *         return c4_conformance_main(argc, argv, &fixture);
 *     }
 *
 * and links tests/conformance/libconformance.la. Cases for what caps do not promise check that the slots say
 * C4_ERR_UNSUPPORTED. */
#ifndef C4_TESTS_CONFORMANCE_CONFORMANCE_H
#define C4_TESTS_CONFORMANCE_CONFORMANCE_H

#include <c4/transport.h>
#include <stdbool.h>

#include "base/options.h"

typedef struct c4_conformance {
    const c4_transport_ops *ops;
    const c4_option_table *options; /* NULL: the transport has none */
    const char *overrides;          /* "C4_TCP_SOCKETS=3 ..."; NULL: none */
    bool threads;                   /* ranks are threads of one process; false: processes */
    bool survives_faults;           /* "close_socket" and "truncate" may be injected and cost nothing but time */
    bool loses_sockets;             /* by its overrides: what a rank has sent may need its help until it has arrived */
} c4_conformance;

int c4_conformance_main(int argc, char **argv, const c4_conformance *fixture);

#endif
