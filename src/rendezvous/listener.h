/* Listening sockets, and the unique ids that name those of rank 0. */
#ifndef C4_RENDEZVOUS_LISTENER_H
#define C4_RENDEZVOUS_LISTENER_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/net_address.h"

typedef struct c4_listen_spec {
    c4_net_address bind;       /* interface; its port is used when port_lo is 0, and 0 then means any free port */
    uint16_t port_lo, port_hi; /* C4_PORT_RANGE; 0, 0: none */
    const char *range;         /* what the range is, for the message; NULL: "C4_PORT_RANGE" */
    uint32_t scope;            /* of a link-local IPv6 address; 0: none */
    uint16_t prefer;           /* port to try before all others; 0: none. Outside the range it is not tried. */
    bool told;                 /* the address is where the others look for rank 0, and not found out on this host */
} c4_listen_spec;

/* Binds and listens; non-blocking, close-on-exec. *bound has the port. C4_ERR_PORTS, C4_ERR_FILES, C4_ERR_INTERFACE
 * or C4_ERR_SYSTEM, logged with address and mend. */
c4_status c4_listener_open(const c4_listen_spec *spec, int *fd, c4_net_address *bound);
/* The same for one address of several: 0, or errno in silence, which c4_listener_fail tells with the same words. */
int c4_listener_try(const c4_listen_spec *spec, int *fd, c4_net_address *bound);
c4_status c4_listener_fail(int error, const c4_listen_spec *spec);

/* The same-user door of a job without a key: an AF_UNIX socket in the abstract name space (per network namespace,
 * leaves no file), named after user, job and a number: rank 0's port, above 65535 for the others. C4_ERR_PORTS when
 * taken. */
c4_status c4_listener_open_local(uint64_t job_id, uint32_t number, int *fd);
socklen_t c4_local_name(uint64_t job_id, uint32_t number, struct sockaddr_storage *name);

/* Makes key and job id, listens, and keeps the descriptor until c4_listener_take in this process (or a child made by
 * fork). At most 64 ids may wait for their communicator: C4_ERR_FILES. Any thread. */
c4_status c4_unique_id_listen(const c4_listen_spec *spec, c4_unique_id *id);
/* The descriptor of the id made here for this job, now the caller's; -1 when there is none. */
int c4_listener_take(uint64_t job_id);

#endif
