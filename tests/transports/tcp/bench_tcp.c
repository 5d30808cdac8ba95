/* Exchange over tcp between two processes on two cores: what the transport itself costs, without an engine above it.
 *
 *     bench_tcp [-k kind] [-s bytes[,bytes...]] [-c chunk_bytes] [OPTION=value ...]
 *
 * prints one line per size: bytes, median, minimum of one exchange. Kinds: exchange, both ranks send and receive at
 * once; reduce, the same and the receive adds floats; stream, rank 0 sends only; all_reduce, reduce up to 16 KiB, above
 * that halves are reduced and then exchanged. Every rank writes what it sends and reads what it got, untimed.
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

#define MAX_CHUNKS 1024

static size_t chunk_bytes = (size_t)1 << 20;

struct side {
    c4_module *module;
    c4_channel *out, *in;
    int rank;
    float *source, *sink;
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

/* Posts chunks of `source` and into `sink`; sums with `operand` unless that is NULL. Either may be 0 bytes. */
static void exchange(struct side *side, const float *source, size_t send_bytes, float *sink, size_t recv_bytes,
                     const float *operand)
{
    static c4_xfer sends[MAX_CHUNKS], recvs[MAX_CHUNKS];
    size_t nsends = 0, nrecvs = 0;
    int peer;
    for (size_t at = 0; at < recv_bytes; at += chunk_bytes) {
        size_t part = recv_bytes - at < chunk_bytes ? recv_bytes - at : chunk_bytes;
        recvs[nrecvs] = (c4_xfer){.pointer = sink + at / sizeof *sink, .bytes = part};
        if (operand != NULL) {
            recvs[nrecvs].reduce = &sum;
            recvs[nrecvs].operand = operand + at / sizeof *operand;
        }
        check(c4_tcp_ops.recv(side->in, &recvs[nrecvs++]), "recv");
    }
    for (size_t at = 0; at < send_bytes; at += chunk_bytes) {
        size_t part = send_bytes - at < chunk_bytes ? send_bytes - at : chunk_bytes;
        sends[nsends] = (c4_xfer){.pointer = (void *)(uintptr_t)(source + at / sizeof *source), .bytes = part};
        check(c4_tcp_ops.send(side->out, &sends[nsends++]), "send");
    }
    for (size_t i = 0; i < nrecvs; i++)
        while (recvs[i].state == C4_IN_PROGRESS)
            check(c4_tcp_ops.progress(side->module, &peer), "progress");
    for (size_t i = 0; i < nsends; i++)
        while (sends[i].state == C4_IN_PROGRESS)
            check(c4_tcp_ops.progress(side->module, &peer), "progress");
}

static void run_exchange(struct side *side, size_t bytes)
{
    exchange(side, side->source, bytes, side->sink, bytes, NULL);
}

static void run_reduce(struct side *side, size_t bytes)
{
    exchange(side, side->source, bytes, side->sink, bytes, side->source);
}

static void run_stream(struct side *side, size_t bytes)
{
    exchange(side, side->source, side->rank == 0 ? bytes : 0, side->sink, side->rank == 1 ? bytes : 0, NULL);
}

static void run_all_reduce(struct side *side, size_t bytes)
{
    if (bytes <= 16384) {
        run_reduce(side, bytes);
        return;
    }
    size_t half = bytes / 2;
    size_t mine = side->rank == 0 ? 0 : half / sizeof(float), theirs = side->rank == 0 ? half / sizeof(float) : 0;
    exchange(side, side->source + theirs, half, side->sink + mine, half, side->source + mine);
    exchange(side, side->sink + mine, half, side->sink + theirs, half, NULL);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static volatile float seen;

/* As an application does: untouched buffers would stay in the other core's cache. */
static void touch(struct side *side, size_t bytes, size_t round)
{
    float total = 0;
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        total += side->sink[i];
    seen = total;
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        side->source[i] = (float)(round + i);
}

static void measure(struct side *side, const char *kind, void (*run)(struct side *, size_t), size_t bytes)
{
    static double times[2000];
    size_t runs = bytes <= 65536 ? 2000 : bytes <= 1 << 20 ? 200 : 20;
    for (size_t i = 0; i < runs; i++) {
        touch(side, bytes, i);
        run_exchange(side, 8); /* barrier */
        run_exchange(side, 8);
        uint64_t start = c4_now_ns();
        run(side, bytes);
        times[i] = (double)(c4_now_ns() - start) * 1e-3;
    }
    qsort(times, runs, sizeof times[0], by_value);
    if (side->rank == 1)
        printf("%-10s %9zu B  median %9.2f us  min %9.2f us  %6.2f GB/s\n", kind, bytes, times[runs / 2], times[0],
               (double)bytes / times[runs / 2] * 1e-3);
    fflush(stdout);
}

static const struct {
    const char *name;
    void (*run)(struct side *, size_t);
} kinds[] = {
    {"exchange", run_exchange}, {"reduce", run_reduce}, {"stream", run_stream}, {"all_reduce", run_all_reduce}};

static void run(int rank, int pair, const char *kind, const char *sizes, const char *overrides)
{
    struct side side = {.rank = rank};
    const size_t most = (size_t)64 << 20;
    pin(rank);
    open_side(&side, pair, overrides);
    side.source = aligned_alloc(4096, most);
    side.sink = aligned_alloc(4096, most);
    memset(side.source, 0, most);
    memset(side.sink, 0, most);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kind != NULL && strcmp(kind, kinds[i].name) != 0)
            continue;
        for (const char *at = sizes; *at != '\0'; at += strcspn(at, ",") + (strchr(at, ',') != NULL))
            measure(&side, kinds[i].name, kinds[i].run, strtoull(at, NULL, 0));
    }
    c4_tcp_ops.close(side.module);
}

int main(int argc, char **argv)
{
    int pair[2], option;
    char overrides[512] = "";
    const char *kind = NULL, *sizes = "8,64,512,4096,16384,65536,262144,1048576,4194304,16777216,67108864";
    while ((option = getopt(argc, argv, "k:s:c:")) != -1) {
        if (option == 'k')
            kind = optarg;
        else if (option == 's')
            sizes = optarg;
        else if (option == 'c')
            chunk_bytes = strtoull(optarg, NULL, 0);
        else
            return 2;
    }
    for (int i = optind; i < argc; i++) {
        strncat(overrides, argv[i], sizeof overrides - strlen(overrides) - 2);
        strcat(overrides, " ");
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    pid_t child = fork();
    run(child == 0, pair[child == 0], kind, sizes, overrides);
    if (child != 0)
        waitpid(child, NULL, 0);
    return 0;
}
