/* Two (or more) tcp modules in one process, driven by one thread: tests see both sides of every link. */
#ifndef C4_TESTS_TRANSPORTS_TCP_PAIR_H
#define C4_TESTS_TRANSPORTS_TCP_PAIR_H

#include "tests/c4test.h"
#include "tests/conformance/host.h"
#include "transports/link/attempt.h"
#include "transports/tcp/internal.h"
#include "transports/tcp/tcp.h"

#define PAIR_MAX 3

typedef struct pair {
    int n;
    c4_test_host hosts[PAIR_MAX];
    c4_module *modules[PAIR_MAX];
    c4_status errors[PAIR_MAX]; /* last error of progress, and whom it named */
    int named[PAIR_MAX];
} pair;

/* Opens n modules with these options and tells each the others' addresses. */
static inline void pair_open(pair *p, int n, const char *overrides)
{
    p->n = n;
    for (int rank = 0; rank < n; rank++) {
        c4_test_host_init(&p->hosts[rank], &c4_tcp_option_table, overrides, (uint64_t)getpid(), rank, n);
        C4TEST_OK_FATAL(c4_tcp_ops.open(&p->hosts[rank].host, &p->modules[rank]));
        p->errors[rank] = C4_OK;
        p->named[rank] = -1;
    }
    for (int rank = 0; rank < n; rank++)
        for (int peer = 0; peer < n; peer++) {
            unsigned char address[C4_ADDRESS_MAX_BYTES];
            size_t bytes = sizeof address;
            char reason[256] = "";
            if (peer == rank)
                continue;
            C4TEST_OK(c4_tcp_ops.address(p->modules[peer], address, &bytes));
            C4TEST_OK(c4_tcp_ops.add_peer(p->modules[rank], peer, address, bytes, reason, sizeof reason));
        }
}

static inline void pair_progress(pair *p)
{
    for (int rank = 0; rank < p->n; rank++) {
        int peer = -1;
        if (p->modules[rank] == NULL)
            continue;
        c4_status status = c4_tcp_ops.progress(p->modules[rank], &peer);
        if (status < 0) {
            p->errors[rank] = status;
            p->named[rank] = peer;
        }
    }
}

static inline void pair_close(pair *p)
{
    for (int rank = 0; rank < p->n; rank++)
        if (p->modules[rank] != NULL)
            c4_tcp_ops.close(p->modules[rank]);
}

/* The end of `rank` of the channel writer -> reader. */
static inline c4_channel *pair_channel(pair *p, int rank, uint32_t tag, int writer, int reader)
{
    const c4_channel_spec spec = {sizeof spec, 1, tag, writer, &reader, 1, 0};
    c4_channel *channel = NULL;
    C4TEST_OK_FATAL(c4_tcp_ops.channel_open(p->modules[rank], &spec, &channel));
    return channel;
}

static inline void pair_wait(pair *p, c4_xfer *xfer)
{
    while (xfer->state == C4_IN_PROGRESS)
        pair_progress(p);
}

/* One exchange: both sides send `bytes` and receive as much. */
static inline void exchange(pair *p, c4_channel *out[2], c4_channel *in[2], size_t bytes, unsigned char *memory)
{
    c4_xfer send[2], receive[2];
    for (int rank = 0; rank < 2; rank++) {
        send[rank] = (c4_xfer){.pointer = memory, .bytes = bytes};
        receive[rank] = (c4_xfer){.pointer = memory + (size_t)(rank + 1) * bytes, .bytes = bytes};
        CU_ASSERT(c4_tcp_ops.recv(in[rank], &receive[rank]) >= 0);
        CU_ASSERT(c4_tcp_ops.send(out[rank], &send[rank]) >= 0);
    }
    for (int rank = 0; rank < 2; rank++) {
        pair_wait(p, &receive[rank]);
        pair_wait(p, &send[rank]);
        C4TEST_INT(receive[rank].state, C4_OK);
    }
}

static inline void open_both(pair *p, c4_channel *out[2], c4_channel *in[2])
{
    for (int rank = 0; rank < 2; rank++) {
        out[rank] = pair_channel(p, rank, 1, rank, 1 - rank);
        in[rank] = pair_channel(p, rank, 1, 1 - rank, rank);
    }
}

#endif
