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
};

const c4_option_table c4_tcp_option_table = {"tcp", specs, sizeof specs / sizeof specs[0]};
