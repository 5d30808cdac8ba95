/* This machine's devices: opened by name, and told of. */
#ifndef C4_TRANSPORTS_VERBS_DEVICE_H
#define C4_TRANSPORTS_VERBS_DEVICE_H

#include <c4/transport.h>

#include "transports/verbs/ports.h"

/* NULL with errno. */
struct ibv_context *c4_verbs_device_open(const char *name);

/* The ports that a module would use, in *ports, the first *count of *there. On failure `reason` says what to mend. */
c4_status c4_verbs_device_choose(const c4_transport_host *host, c4_verbs_port ports[C4_VERBS_MAX_PORTS], size_t *there,
                                 size_t *count, char *reason, size_t reason_bytes);
/* 4 or 6 where C4_SOCKET_FAMILY asks for one, else 0. */
int c4_verbs_device_family(const c4_transport_host *host);

/* The slot of c4_transport_ops. */
c4_status c4_verbs_device(const c4_transport_host *host, size_t index, c4_transport_device *device);

#endif
