/* Two (or more) tcp modules in one process, driven by one thread: tests see both sides of every link. */
#ifndef C4_TESTS_TRANSPORTS_TCP_PAIR_H
#define C4_TESTS_TRANSPORTS_TCP_PAIR_H

#include "tests/c4test.h"
#include "tests/conformance/host.h"
#include "transports/tcp/internal.h"

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

#endif
