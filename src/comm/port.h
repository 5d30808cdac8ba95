/* The job's port (rendezvous/port.h), as communicators use it and lend it to their transports. */
#ifndef C4_COMM_PORT_H
#define C4_COMM_PORT_H

#include "comm/internal.h"

/* After the bootstrap: its listening sockets become the job's port. */
c4_status c4_comm_port_create(c4_comm *comm);
/* What transports are lent; NULL without a port. Valid as long as `comm`. */
const c4_transport_port *c4_comm_port_lend(c4_comm *comm);

#endif
