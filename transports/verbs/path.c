#include "transports/verbs/path.h"

#include <string.h>

#include "transports/verbs/internal.h"

/* Another label with the port of label 0: XOR of the low 14 bits with the high six gives 0 for both. */
#define LABEL_LIKE_0 0x4001u

uint32_t c4_verbs_flow_label(uint32_t wish, uint32_t qpn, uint32_t other_qpn)
{
    if (wish != 0)
        return wish;
    uint64_t low = qpn < other_qpn ? qpn : other_qpn, high = qpn < other_qpn ? other_qpn : qpn;
    uint64_t mixed = (low << 24 | high) * 0x9e3779b97f4a7c15u;
    uint32_t label = (uint32_t)(mixed >> 44);
    return label != 0 ? label : LABEL_LIKE_0;
}

uint16_t c4_verbs_sport_of_label(uint32_t flow_label)
{
    return (uint16_t)(((flow_label & 0x3fff) ^ (flow_label >> 14 & 0x3f)) | 0xc000);
}

void c4_verbs_path_settle(c4_verbs_link *link)
{
    c4_verbs_path *path = &link->path;
    const c4_verbs_rail *rail = link->rail;
    char why[96] = "";
    path->udp_sport = 0;
    path->source = C4_VERBS_SPORT_NONE;
    if (link->gid.kind != C4_VERBS_GID_ROCE_V2) {
        C4_VERBS_LOG(link->module, C4_TLOG_DEBUG, "verbs: link %u to rank %d on %s:%u: queue pair 0x%06x, no UDP port",
                     link->base.index, link->base.peer, rail->port.device, rail->port.number, link->qp->qp_num);
        return;
    }
    path->udp_sport = c4_verbs_sport_of_label(path->flow_label);
    int error = c4_verbs_calls_in_use->modify_qp_udp_sport(link->qp, path->udp_sport);
    path->source = error == 0 ? C4_VERBS_SPORT_SET : C4_VERBS_SPORT_EXPECTED;
    C4_VERBS_LOG(link->module, C4_TLOG_DEBUG,
                 "verbs: link %u to rank %d on %s:%u: queue pair 0x%06x, flow label 0x%05x, UDP source port %u %s%s%s",
                 link->base.index, link->base.peer, rail->port.device, rail->port.number, link->qp->qp_num,
                 path->flow_label, path->udp_sport,
                 error == 0 ? "set" : "expected of the driver, for the device takes no order (",
                 error == 0 ? "" : strerror_r(error, why, sizeof why), error == 0 ? "" : ")");
}
