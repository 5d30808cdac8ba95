/* What the flight recorder costs: the same all_reduce with and without it, alternating.
 *
 *     c4run -n 2 bench-recorder [PAIRS]
 *
 * Four communicators in the same processes: on, off, off, on, so that neither has the better memory. Blocks of calls on
 * one with and on one without follow one another within a millisecond, in turns which of the two is first, and each
 * such pair gives one ratio: what the machine does to both (other work, cores that move) is not in it. Printed is the
 * median of the ratios and its 95 % interval from order statistics; and, as a control, the same for the two communicators
 * without a recorder: what is not 0 there is the error of the method. */
#include <c4/c4.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NCOMMS = 4, DEFAULT_PAIRS = 1000, BLOCK_NS = 400000, WARMUP_CALLS = 50 };

static const bool recorded[NCOMMS] = {true, false, false, true};

typedef struct bench {
    c4_comm *first; /* set-up and agreement only */
    c4_comm *comms[NCOMMS];
    int rank, nranks, pairs;
    float *send, *recv;
    double *ratios, *off_ns;
} bench;

static void require(c4_status status, const char *what)
{
    if (status == C4_OK)
        return;
    fprintf(stderr, "bench-recorder: %s: %s: %s\n", what, c4_status_name(status), c4_last_error(NULL));
    exit(1);
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void open_comms(bench *b)
{
    require(c4_comm_create_from_env(NULL, NULL, &b->first), "c4_comm_create_from_env");
    require(c4_comm_rank(b->first, &b->rank), "c4_comm_rank");
    require(c4_comm_size(b->first, &b->nranks), "c4_comm_size");
    for (int i = 0; i < NCOMMS; i++) {
        c4_comm_config config = {.struct_size = sizeof config, .options = recorded[i] ? "C4_RECORD=1" : "C4_RECORD=0"};
        c4_unique_id id = {{0}};
        if (b->rank == 0)
            require(c4_unique_id_create(&id), "c4_unique_id_create");
        require(c4_broadcast(&id, &id, sizeof id, C4_UINT8, 0, b->first, NULL), "c4_broadcast");
        require(c4_comm_create(&id, b->nranks, b->rank, &config, NULL, &b->comms[i]), "c4_comm_create");
    }
}

/* Nanoseconds of one call. The call before the clock starts brings the ranks together. */
static double block(bench *b, c4_comm *comm, size_t count, int calls)
{
    double begin = 0;
    for (int i = -1; i < calls; i++) {
        if (i == 0)
            begin = now_ns();
        require(c4_all_reduce(b->send, b->recv, count, C4_FLOAT32, C4_SUM, comm, NULL), "c4_all_reduce");
    }
    return (now_ns() - begin) / calls;
}

/* Calls a block: rank 0 measures, all agree. */
static int calibrate(bench *b, size_t count)
{
    for (int i = 0; i < NCOMMS; i++)
        block(b, b->comms[i], count, WARMUP_CALLS);
    int32_t calls = (int32_t)(BLOCK_NS / block(b, b->comms[1], count, WARMUP_CALLS)) + 1;
    require(c4_broadcast(&calls, &calls, 1, C4_INT32, 0, b->first, NULL), "c4_broadcast");
    return calls;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Pair i: first[i % 2] against second[i % 2]. Leaves the sorted ratios of first to second, and second's times. */
static void run_pairs(bench *b, size_t count, int calls, const int *first, const int *second)
{
    for (int i = 0; i < b->pairs; i++) {
        double ns[2];
        for (int turn = 0; turn < 2; turn++) {
            int which = turn ^ (i >> 1 & 1);
            ns[which] = block(b, b->comms[which ? second[i & 1] : first[i & 1]], count, calls);
        }
        b->ratios[i] = ns[0] / ns[1];
        b->off_ns[i] = ns[1];
    }
    qsort(b->ratios, (size_t)b->pairs, sizeof *b->ratios, compare);
    qsort(b->off_ns, (size_t)b->pairs, sizeof *b->off_ns, compare);
}

static void print_ratio(const bench *b)
{
    int middle = b->pairs / 2, half_width = (int)ceil(0.98 * sqrt(b->pairs));
    int low = middle > half_width ? middle - half_width : 0;
    int high = middle + half_width < b->pairs ? middle + half_width : b->pairs - 1;
    printf("  %+7.2f %% (%+6.2f .. %+6.2f)", 100 * (b->ratios[middle] - 1), 100 * (b->ratios[low] - 1),
           100 * (b->ratios[high] - 1));
}

static void measure(bench *b, size_t bytes)
{
    static const int on[] = {0, 3}, off[] = {1, 2}, swapped[] = {2, 1};
    size_t count = bytes / sizeof(float);
    int calls = calibrate(b, count);
    run_pairs(b, count, calls, on, off);
    if (b->rank == 0) {
        printf("%10zu  %9.3f us", bytes, b->off_ns[b->pairs / 2] / 1e3);
        print_ratio(b);
    }
    run_pairs(b, count, calls, off, swapped);
    if (b->rank == 0) {
        print_ratio(b);
        printf("\n");
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {8, 4096, 65536, 1 << 20};
    enum { NSIZES = sizeof sizes / sizeof sizes[0], MAX_BYTES = 1 << 20 };
    bench b = {.pairs = argc > 1 ? atoi(argv[1]) : DEFAULT_PAIRS};
    if (argc > 2 || b.pairs < 1) {
        fprintf(stderr, "usage: c4run -n 2 bench-recorder [PAIRS]\n");
        return 2;
    }
    b.send = aligned_alloc(4096, MAX_BYTES);
    b.recv = aligned_alloc(4096, MAX_BYTES);
    b.ratios = calloc((size_t)b.pairs, sizeof *b.ratios);
    b.off_ns = calloc((size_t)b.pairs, sizeof *b.off_ns);
    if (!b.send || !b.recv || !b.ratios || !b.off_ns)
        return 1;
    memset(b.send, 0, MAX_BYTES);
    memset(b.recv, 0, MAX_BYTES);
    open_comms(&b);
    if (b.rank == 0)
        printf("Flight recorder: all_reduce on %d ranks, medians of %d pairs (95 %% intervals)\n"
               "%10s  %12s  %28s  %28s\n",
               b.nranks, b.pairs, "bytes", "without", "with it", "without, control");
    for (size_t i = 0; i < NSIZES; i++)
        measure(&b, sizes[i]);
    for (int i = 0; i < NCOMMS; i++)
        require(c4_comm_destroy(b.comms[i]), "c4_comm_destroy");
    require(c4_comm_destroy(b.first), "c4_comm_destroy");
    free(b.send);
    free(b.recv);
    free(b.ratios);
    free(b.off_ns);
    return 0;
}
