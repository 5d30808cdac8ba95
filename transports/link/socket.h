/* Sockets: making, tuning, listening in a port range, addresses as text. */
#ifndef C4_TRANSPORTS_LINK_SOCKET_H
#define C4_TRANSPORTS_LINK_SOCKET_H

#include <c4/c4.h>
#include <netinet/in.h>
#include <stdint.h>

#include "base/rng.h"
#include "transports/link/contact.h"

#define C4_TLINK_ADDRESS_TEXT 80

typedef struct c4_port_range {
    uint16_t lo, hi; /* 0, 0: any free port */
} c4_port_range;

/* "5000-5010" or "5000"; empty: any. C4_ERR_OPTION (logged) when malformed. */
c4_status c4_port_range_parse(const char *text, c4_port_range *range);

/* Binds to the address (its port is filled in) and listens. `who` (a transport) is for the log. C4_ERR_PORTS,
 * C4_ERR_FILES, C4_ERR_SYSTEM (logged). */
c4_status c4_tlink_socket_listen(const char *who, c4_tlink_address *address, c4_port_range range, c4_rng *rng, int *fd);

/* Starts to connect, without waiting; from the address of `local` that alone is of the peer's kind, else from the one that
 * the system chooses. errno is set on failure. -1 or the descriptor. */
int c4_tlink_socket_connect(const c4_tlink_address *peer, const c4_tlink_contact *local);

/* Options of a data connection; best effort. buffer_bytes 0: the system's. */
void c4_tlink_socket_tune(int fd, size_t buffer_bytes);

/* Who is at the other end, as accept has told. */
void c4_tlink_address_from(const struct sockaddr_storage *name, c4_tlink_address *address);

/* "10.0.0.5:5000", "[fe80::1]:5000"; returns text. */
const char *c4_tlink_address_text(const c4_tlink_address *address, char text[C4_TLINK_ADDRESS_TEXT]);

/* Number equal for processes that share a loopback interface: hash of boot id and network namespace. */
uint64_t c4_tlink_host_number(void);

#endif
