/* The ports of this machine's RDMA devices: which there are, which of them this process uses, and by which GID each is
 * addressed. Choosing is pure; listing asks the devices.
 *
 * A wish is the text of C4_VERBS_DEVICES, a comma separated list of
 *     mlx5       devices whose names begin so      =mlx5_0      exactly this one
 *     mlx5_0:2   its port 2 (else all its ports)
 * '^' at the beginning excludes; '^' or '=' at the very beginning goes for all items, as in NCCL. */
#ifndef C4_TRANSPORTS_VERBS_PORTS_H
#define C4_TRANSPORTS_VERBS_PORTS_H

#include <c4/c4.h>
#include <infiniband/verbs.h>
#include <stdbool.h>

#include "transports/verbs/calls.h"

#define C4_VERBS_MAX_PORTS 32u
#define C4_VERBS_MAX_GIDS  256u

typedef struct c4_verbs_port {
    char device[IBV_SYSFS_NAME_MAX];
    uint8_t number;
    bool active;
    bool ethernet;   /* RoCE; else InfiniBand */
    uint16_t lid;    /* InfiniBand */
    unsigned mtu;    /* bytes */
    double rate_bps; /* bits per second; 0: not told */
    bool software;   /* the kernel does its work, on these same cores (Soft-RoCE, Soft-iWARP) */
    int distance;    /* from this process's cores, see host/rdma.h */
} c4_verbs_port;

typedef enum c4_verbs_gid_kind { C4_VERBS_GID_IB, C4_VERBS_GID_ROCE_V1, C4_VERBS_GID_ROCE_V2 } c4_verbs_gid_kind;

typedef struct c4_verbs_gid {
    uint8_t raw[16];
    uint8_t index;
    c4_verbs_gid_kind kind;
} c4_verbs_gid;

/* All ports of all devices that are InfiniBand or RoCE. *count: in capacity, out number. On failure `reason` says what to mend: no device
 * (C4_ERR_UNREACHABLE), no permission (C4_ERR_SYSTEM). */
c4_status c4_verbs_ports_list(c4_verbs_port *ports, size_t *count, char *reason, size_t reason_bytes);

/* What the device says of the port now: its LID and MTU may be others when it comes back. 0 or errno, and nothing has changed. */
int c4_verbs_port_read(struct ibv_context *context, c4_verbs_port *port);

/* Moves those that fit the wish and are up to the front, the nearest to this process's cores first. When the wish names none
 * of them (it is empty, or only excludes), the nearest alone, and of these the fastest (two speeds side by side would run at
 * the lower one). Returns how many, at most `most`; 0 with a reason. */
size_t c4_verbs_ports_choose(c4_verbs_port *ports, size_t count, const char *wish, size_t most, char *reason,
                             size_t reason_bytes);

/* Why `port` is among the `chosen` that c4_verbs_ports_choose has put to the front, or why not; returns text. */
const char *c4_verbs_port_reason(const c4_verbs_port *port, const c4_verbs_port *chosen, size_t nchosen,
                                 const char *wish, char *text, size_t bytes);

/* The GID to use at a port: number `index` if that is >= 0, else the best by rule: RoCE v2 before v1, IPv4 before IPv6, global
 * before link-local; the first where it is InfiniBand. `family` 4 or 6 leaves out the other; 0: either.
 * C4_ERR_UNREACHABLE with a reason. */
c4_status c4_verbs_gid_choose(const struct ibv_gid_entry *entries, size_t count, uint8_t port, int index, int family,
                              c4_verbs_gid *gid, char *reason, size_t reason_bytes);

/* What the device says now; addresses come and go. Same failures. */
c4_status c4_verbs_gid_read(struct ibv_context *context, uint8_t port, int index, int family, c4_verbs_gid *gid,
                            char *reason, size_t reason_bytes);

/* "10.0.0.5 (RoCE v2)", "fe80::1 (RoCE v1)", "fe80:0000:...", returns text. */
#define C4_VERBS_GID_TEXT 64
const char *c4_verbs_gid_text(const c4_verbs_gid *gid, char text[C4_VERBS_GID_TEXT]);

unsigned c4_verbs_mtu_bytes(enum ibv_mtu mtu);
enum ibv_mtu c4_verbs_mtu_code(unsigned bytes);

#endif
