/* The port of a job in this process: the sockets on which the bootstrap listened stay open for as long as the job, and
 * every connection of its ranks, control or data, comes in there. So one port per process is what a firewall must let
 * through, and C4_PORT_RANGE needs as many ports as a host has ranks.
 * (Rank 0 leaves an address that the environment names, at which the next communicator will meet, for a port of the range.)
 *
 * Why this object and not the transport owns the sockets: a transport is driven by the thread that calls collectives, which
 * may compute for an hour, while control connections and strangers have to be served all the time. So the control
 * thread accepts, looks at the first message of the handshake (c4_handshake_look: without taking it), and puts the
 * connection in the inbox of whoever takes those for that job, role and transport. It knows nothing else of a handshake:
 * who takes a connection does all of it, as on one that it has accepted itself.
 *
 * Strangers: C4_PORT_PLACES connections may be here that have not said a whole hello, each for 5 s; while all places are
 * taken, for 10 ms, oldest first. An inbox holds no more than its owner has asked for. When it is full, whoever has gone is
 * dropped, then whoever has waited longest, if for 2 s; else who comes is closed: an honest peer comes again.
 *
 * Threads: any may call any of this but create and destroy; nothing blocks. In the child of a fork only destroy. */
#ifndef C4_RENDEZVOUS_PORT_H
#define C4_RENDEZVOUS_PORT_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/handshake.h"
#include "wire/net_address.h"

enum { C4_PORT_DOORS = 8, C4_PORT_PLACES = 64 };

typedef struct c4_port c4_port;

/* port_lo, port_hi: C4_PORT_RANGE; 0, 0: any. Listens nowhere yet. */
c4_status c4_port_create(uint16_t port_lo, uint16_t port_hi, c4_port **port);
/* Closes everything. NULL is allowed. */
void c4_port_destroy(c4_port *port);

/* Takes a listening socket, TCP or AF_UNIX, in any case; it must be non-blocking. */
c4_status c4_port_adopt(c4_port *port, int fd);
/* Listens on the address of this host, if it does not yet, with the same port number as elsewhere where that is free.
 * address->port is filled in. C4_ERR_PORTS and others, logged. */
c4_status c4_port_listen(c4_port *port, c4_net_address *address, uint32_t scope);
/* Address number `index` on which it listens; false past the last. Those that stand for all addresses, and AF_UNIX, are
 * left out. */
bool c4_port_address(c4_port *port, unsigned index, c4_net_address *address, uint32_t *scope);

/* From now on connections for this job, role and transport wait in an inbox, at most `capacity` of them. *fd becomes
 * readable when one comes; it names the inbox below. */
c4_status c4_port_open_inbox(c4_port *port, const c4_handshake_hello *who, unsigned capacity, int *fd);
/* The next connection: non-blocking, nothing read from it; the caller's. -1: none. */
int c4_port_take(c4_port *port, int inbox);
/* Closes what waits, and the descriptor. */
void c4_port_close_inbox(c4_port *port, int inbox);

/* Readable when c4_port_serve has something to do. */
int c4_port_fd(const c4_port *port);
/* Accepts, looks, hands over. Returns when to call again at the latest (c4_now_ns; UINT64_MAX: not before the descriptor
 * is readable). */
uint64_t c4_port_serve(c4_port *port);

/* Connections turned away so far. */
uint64_t c4_port_refused(c4_port *port);

#endif
