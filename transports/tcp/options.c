#include "transports/tcp/tcp.h"

static const c4_option_spec specs[] = {
    {"C4_TCP_SOCKETS", C4_OPTION_INT, C4_OPTION_AGREE, "2", "1..16", NULL,
     "TCP connections per peer; channels are spread over them."},
    {"C4_TCP_COPY_BYTES", C4_OPTION_BYTES, 0, "64K", "0..64K", NULL,
     "Frames up to this size are copied when sent over TCP, so that the sender need not wait for the acknowledgement."},
    {"C4_TCP_BUFFER_BYTES", C4_OPTION_BYTES, 0, "0", "0..1G", NULL,
     "Size of each TCP socket's send and receive buffer; 0 leaves it to the system."},
    {"C4_TCP_RETRY_MS", C4_OPTION_MS, 0, "10s", "0..3600000", NULL,
     "How long a lost or refused TCP connection is tried again before the link counts as failed."},
    {"C4_TLS", C4_OPTION_BOOL, C4_OPTION_AGREE, "0", NULL, NULL,
     "Data over TCP goes in TLS 1.3, with keys made from the job key; needs libssl (OpenSSL 3). UCX and verbs stay "
     "unprotected."},
    {"C4_PORT_RANGE", C4_OPTION_STRING, 0, "", NULL, NULL, "Ports to listen on, lo-hi; empty: any free port."},
    {"C4_SOCKET_IFNAME", C4_OPTION_STRING, 0, "", NULL, "NCCL_SOCKET_IFNAME",
     "Interfaces for TCP, comma separated: name prefix, address or CIDR; a leading ^ excludes, = matches names "
     "exactly."},
    {"C4_SOCKET_FAMILY", C4_OPTION_ENUM, 0, "auto", "auto|ipv4|ipv6", NULL, "Address family for TCP."},
};

const c4_option_table c4_tcp_option_table = {"tcp", specs, sizeof specs / sizeof specs[0]};
