/* Exchange over tcp between two processes on two cores: what the transport itself costs, without an engine above it.
 *
 *     bench_tcp [max_bytes] [OPTION=value ...]      prints one line per size: bytes, median, minimum of one exchange
 *
 * exchange: both ranks send and receive `bytes` at once. reduce: the receive adds floats. stream: rank 0 sends only.
 * Not a test: nothing is asserted about time. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/conformance/host.h"
#include "transports/tcp/tcp.h"

#define CHUNK ((size_t)4 << 20)

struct side {
    c4_module *module;
    c4_channel *out, *in;
    int rank;
    float *source, *sink, *operand;
};

static void add_floats(void *dst, const void *a, const void *b, size_t count, unsigned flags)
{
    float *d = dst;
    const float *x = a, *y = b;
    (void)flags;
    for (size_t i = 0; i < count; i++)
        d[i] = x[i] + y[i];
}
static const c4_reduction sum = {add_floats, sizeof(float)};

static void check(c4_status status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, c4_status_name(status));
    _exit(1);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void open_side(struct side *side, int pair, const char *overrides)
{
    static c4_test_host host;
    unsigned char mine[C4_ADDRESS_MAX_BYTES], theirs[C4_ADDRESS_MAX_BYTES];
    char reason[256];
    size_t bytes = sizeof mine;
    c4_test_host_init(&host, &c4_tcp_option_table, overrides, 77, side->rank, 2);
    check(c4_tcp_ops.open(&host.host, &side->module), "open");
    check(c4_tcp_ops.address(side->module, mine, &bytes), "address");
    if (write(pair, mine, bytes) != (ssize_t)bytes || read(pair, theirs, bytes) != (ssize_t)bytes)
        exit(1);
    check(c4_tcp_ops.add_peer(side->module, 1 - side->rank, theirs, bytes, reason, sizeof reason), reason);
    for (int writer = 0; writer < 2; writer++) {
        int reader = 1 - writer;
        c4_channel_spec spec = {sizeof spec, 1, 0, writer, &reader, 1, 0};
        check(c4_tcp_ops.channel_open(side->module, &spec, writer == side->rank ? &side->out : &side->in), "channel");
    }
}

static void exchange(struct side *side, size_t bytes, bool send, bool recv, bool reduce)
{
    c4_xfer sends[32] = {0}, recvs[32] = {0};
    size_t chunks = (bytes + CHUNK - 1) / CHUNK;
    int peer;
    for (size_t i = 0; i < chunks; i++) {
        size_t part = bytes - i * CHUNK < CHUNK ? bytes - i * CHUNK : CHUNK;
        size_t at = i * CHUNK / sizeof(float);
        recvs[i] = (c4_xfer){.pointer = side->sink + at, .bytes = part};
        if (reduce) {
            recvs[i].reduce = &sum;
            recvs[i].operand = side->operand + at;
        }
        if (recv)
            check(c4_tcp_ops.recv(side->in, &recvs[i]), "recv");
    }
    for (size_t i = 0; i < chunks; i++) {
        size_t part = bytes - i * CHUNK < CHUNK ? bytes - i * CHUNK : CHUNK;
        sends[i] = (c4_xfer){.pointer = side->source + i * CHUNK / sizeof(float), .bytes = part};
        if (send)
            check(c4_tcp_ops.send(side->out, &sends[i]), "send");
    }
    for (size_t i = 0; i < chunks; i++)
        while ((recv && recvs[i].state == C4_IN_PROGRESS) || (send && sends[i].state == C4_IN_PROGRESS))
            check(c4_tcp_ops.progress(side->module, &peer), "progress");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct side *side, const char *name, size_t bytes, bool one_way, bool reduce)
{
    static double times[2000];
    size_t runs = bytes <= 65536 ? 2000 : bytes <= 1 << 20 ? 200 : 20;
    for (size_t i = 0; i < runs; i++) {
        exchange(side, 8, true, true, false); /* barrier */
        uint64_t start = c4_now_ns();
        exchange(side, bytes, !one_way || side->rank == 0, !one_way || side->rank == 1, reduce);
        times[i] = (double)(c4_now_ns() - start) * 1e-3;
    }
    qsort(times, runs, sizeof times[0], by_value);
    if (side->rank == 1)
        printf("%-8s %9zu B  median %9.2f us  min %9.2f us  %6.2f GB/s\n", name, bytes, times[runs / 2], times[0],
               (double)bytes / times[runs / 2] * 1e-3);
    fflush(stdout);
}

static void run(int rank, int pair, size_t max_bytes, const char *overrides)
{
    struct side side = {.rank = rank};
    pin(rank);
    open_side(&side, pair, overrides);
    for (float **buffer = &side.source; buffer <= &side.operand; buffer++) {
        *buffer = aligned_alloc(4096, max_bytes < 4096 ? 4096 : max_bytes);
        memset(*buffer, 0, max_bytes);
    }
    for (size_t bytes = 8; bytes <= max_bytes; bytes *= bytes < 512 ? 8 : bytes < 65536 ? 2 : 4)
        measure(&side, "exchange", bytes, false, false);
    for (size_t bytes = 4096; bytes <= max_bytes; bytes *= 4)
        measure(&side, "reduce", bytes, false, true);
    for (size_t bytes = 65536; bytes <= max_bytes; bytes *= 4)
        measure(&side, "stream", bytes, true, false);
    c4_tcp_ops.close(side.module);
}

int main(int argc, char **argv)
{
    int pair[2];
    char overrides[512] = "";
    size_t max_bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : (size_t)64 << 20;
    for (int i = 2; i < argc; i++) {
        strncat(overrides, argv[i], sizeof overrides - strlen(overrides) - 2);
        strcat(overrides, " ");
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    pid_t child = fork();
    run(child == 0, pair[child == 0], max_bytes, overrides);
    if (child != 0)
        waitpid(child, NULL, 0);
    return 0;
}
