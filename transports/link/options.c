#include "transports/link/link.h"

static const c4_option_spec specs[] = {
    {"C4_TLS", C4_OPTION_BOOL, C4_OPTION_AGREE, "0", NULL, NULL,
     "Data over TCP goes in TLS 1.3, with keys made from the job key; needs libssl (OpenSSL 3). UCX and verbs stay "
     "unprotected."},
    {"C4_PORT_RANGE", C4_OPTION_STRING, 0, "", NULL, NULL, "Ports to listen on, lo-hi; empty: any free port."},
    {"C4_SOCKET_IFNAME", C4_OPTION_STRING, 0, "", NULL, "NCCL_SOCKET_IFNAME",
     "Interfaces for TCP, comma separated: name prefix, address or CIDR; a leading ^ excludes, = matches names "
     "exactly."},
    {"C4_SOCKET_FAMILY", C4_OPTION_ENUM, 0, "auto", "auto|ipv4|ipv6", NULL, "Address family for TCP."},
};

const c4_option_table c4_tlink_option_table = {"network", specs, sizeof specs / sizeof specs[0]};
