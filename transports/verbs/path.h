/* Which way a queue pair's packets take: switches spread RoCE v2 over equal paths by the UDP source port, and that follows from
 * the flow label. Whoever knows the ports of all queue pairs can plan their paths. */
#ifndef C4_TRANSPORTS_VERBS_PATH_H
#define C4_TRANSPORTS_VERBS_PATH_H

#include <stdint.h>

typedef struct c4_verbs_link c4_verbs_link;

/* How sure it is that packets leave from that port. */
typedef enum c4_verbs_sport_source {
    C4_VERBS_SPORT_NONE, /* InfiniBand, RoCE v1: no UDP */
    C4_VERBS_SPORT_EXPECTED, /* drivers take it from the flow label, by the kernel's formula; old ones take one of their own */
    C4_VERBS_SPORT_SET /* the device has been told */
} c4_verbs_sport_source;

typedef struct c4_verbs_path {
    uint32_t flow_label; /* 0: none is sent */
    uint16_t udp_sport;  /* 0: there is none */
    c4_verbs_sport_source source;
} c4_verbs_path;

/* For a queue pair of these numbers; the same at both ends, never 0, with which each end would take another. `wish` if it is
 * not 0. */
uint32_t c4_verbs_flow_label(uint32_t wish, uint32_t qpn, uint32_t other_qpn);

/* 49152..65535, as the kernel computes it (rdma_flow_label_to_udp_sport, include/rdma/ib_verbs.h). */
uint16_t c4_verbs_sport_of_label(uint32_t flow_label);

/* The queue pair is connected, with link->path.flow_label: has the device told where it can be, and keeps in link->path what
 * has come of it. */
void c4_verbs_path_settle(c4_verbs_link *link);

#endif
