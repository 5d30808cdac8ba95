/* Talking to a doctor on another host: the library's handshake with the job's key, then data in both directions. The name
 * "doctor" is bound into the handshake, so that no job and no doctor can be taken for one another. */
#ifndef C4_TOOLS_C4INFO_REACH_H
#define C4_TOOLS_C4INFO_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "host/netif.h"

/* Full-sized packets each way: where an MTU on the path is wrong, the handshake passes and these vanish. */
#define C4INFO_REACH_BYTES (256u * 1024)

typedef enum c4info_reach_stage {
    C4INFO_REACH_CONNECT,
    C4INFO_REACH_HANDSHAKE,
    C4INFO_REACH_DATA,
    C4INFO_REACH_DONE
} c4info_reach_stage;

typedef struct c4info_reach {
    c4info_reach_stage stage; /* that it came to */
    int error;                /* errno; 0: `reason` says it */
    bool refused;             /* by the handshake: the key differs, or it is no doctor */
    char reason[160];
    char local[64]; /* address that the connection left by */
    double connect_ms, data_ms;
} c4info_reach;

/* A listening socket at the interface, on a port lo..hi, or any with 0, 0. Returns it and the port, or -1 with errno. */
int c4info_listen_at(const c4_netif *netif, int lo, int hi, int *port);
socklen_t c4info_netif_sockaddr(const c4_netif *netif, int port, struct sockaddr_storage *address);
/* Connects within `timeout_ms`; -1 with errno. Non-blocking. */
int c4info_connect(const struct sockaddr_storage *address, int timeout_ms);

/* Both sides; `key` NULL: none. */
void c4info_reach_run(const struct sockaddr_storage *address, const unsigned char *key, int timeout_ms,
                      c4info_reach *result);
void c4info_reach_serve(int fd, const unsigned char *key, int timeout_ms, c4info_reach *result);

#endif
