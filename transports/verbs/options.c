#include "transports/verbs/verbs.h"

static const c4_option_spec specs[] = {
    {"C4_VERBS_DEVICES", C4_OPTION_STRING, 0, "", NULL, "NCCL_IB_HCA",
     "RDMA devices to use, comma separated: name prefix, or name:port; a leading ^ excludes, = matches names exactly. "
     "Empty: the nearest active ones."},
    {"C4_VERBS_QPS_PER_PEER", C4_OPTION_INT, C4_OPTION_AGREE, "2", "1..16", "NCCL_IB_QPS_PER_CONNECTION",
     "Queue pairs per peer; channels are spread over them, and they over the rails."},
    {"C4_VERBS_GID_INDEX", C4_OPTION_INT, 0, "-1", "-1..255", "NCCL_IB_GID_INDEX",
     "Which GID of a port to use; -1: RoCE v2 before v1, IPv4 before IPv6."},
    {"C4_VERBS_TRAFFIC_CLASS", C4_OPTION_INT, 0, "0", "0..255", "NCCL_IB_TC",
     "Traffic class of RDMA packets (DSCP in its upper six bits)."},
    {"C4_VERBS_SERVICE_LEVEL", C4_OPTION_INT, 0, "0", "0..15", "NCCL_IB_SL", "InfiniBand service level."},
    {"C4_VERBS_FLOW_LABEL", C4_OPTION_INT, 0, "0", "0..1048575", NULL,
     "IPv6 flow label of RDMA packets, of which the device or the kernel makes their UDP source port, by which "
     "switches spread "
     "them; 0: another one for each queue pair."},
    {"C4_VERBS_TIMEOUT", C4_OPTION_INT, 0, "16", "1..31", "NCCL_IB_TIMEOUT",
     "When an RDMA packet that was not acknowledged is sent again: 4.096 us times 2 to this power."},
    {"C4_VERBS_RETRY_COUNT", C4_OPTION_INT, 0, "7", "0..7", "NCCL_IB_RETRY_CNT",
     "How often it is sent again before the queue pair counts as broken and another takes its place."},
    {"C4_VERBS_RETRY_MS", C4_OPTION_MS, 0, "10s", "0..3600000", NULL,
     "How long a lost or refused connection to a peer is tried again before the link counts as failed."},
    {"C4_VERBS_EAGER_BYTES", C4_OPTION_BYTES, C4_OPTION_AGREE, "8K", "1K..64K", NULL,
     "Frames up to this size are copied into a buffer that the receiver has posted; larger ones are written to where "
     "they "
     "belong."},
    {"C4_VERBS_CREDITS", C4_OPTION_INT, 0, "32", "8..1024", NULL,
     "Messages that each queue pair's peer may have under way: so many receive buffers of C4_VERBS_EAGER_BYTES are "
     "kept for "
     "it."},
};

const c4_option_table c4_verbs_option_table = {"verbs", specs, sizeof specs / sizeof specs[0]};
