/* Microbenchmark of the windows: two pinned processes, no schedule, no engine. Not part of `make check`.
 *
 *     bench_shm [-s stores] [-r ring_bytes] [-n repeats] [-f from_bytes] [-m to_bytes]
 *
 * Each point: every rank writes its whole send buffer and reads its whole result before each timed call (buffers that
 * nobody touches stay in the reader's cache and lie), a barrier, the operation; reported is the median over iterations
 * of the later rank's time. The flag's one-way latency is measured before and after each point and says whether the
 * two cores were near (about 60 ns) or far (240 ns) during it; a point whose state changed is marked '?'. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/clock.h"
#include "tests/transports/shm/rig.h"
#include "transports/shm/module.h"

#define MAX_ITERATIONS 4096

typedef struct bench_board {
    rig_board rig;
    struct {
        uint64_t value __attribute__((aligned(128)));
    } flag[2], ready[2];
    double us[2][MAX_ITERATIONS];
    unsigned char handle[2][C4_MEMORY_HANDLE_BYTES];
} bench_board;

typedef struct bench {
    rig_rank rig;
    bench_board *board;
    int rank;
    c4_channel *out[2], *in[2]; /* [0] scatter or only, [1] gather */
    float *send, *result;
    uint64_t turns;
    const c4_transport_ops *ops;
    volatile float sink;
} bench;

static void flag_set(uint64_t *flag, uint64_t value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static void flag_wait(const uint64_t *flag, uint64_t value)
{
    while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) < value)
        ;
}

static void barrier(bench *b)
{
    b->turns++;
    flag_set(&b->board->ready[b->rank].value, b->turns);
    flag_wait(&b->board->ready[1 - b->rank].value, b->turns);
}

/* One way, minimum of medians being what the hardware does. */
static double flag_latency_ns(bench *b)
{
    double best = 1e9;
    barrier(b);
    for (int trial = 0; trial < 20; trial++) {
        uint64_t t0 = c4_tsc();
        for (uint64_t i = 1; i <= 50; i++) {
            uint64_t turn = (uint64_t)trial * 50 + i;
            if (b->rank == 0)
                flag_set(&b->board->flag[0].value, turn);
            flag_wait(&b->board->flag[1 - b->rank].value, turn);
            if (b->rank == 1)
                flag_set(&b->board->flag[1].value, turn);
        }
        double ns = (double)(c4_tsc() - t0) * 1e9 / (double)c4_tsc_hz() / 100;
        if (ns < best)
            best = ns;
    }
    barrier(b);
    flag_set(&b->board->flag[b->rank].value, 0);
    barrier(b);
    return best;
}

static void copy_to(void *to, const void *from, size_t bytes, unsigned stream)
{
#if defined(__x86_64__)
    if (stream) {
        for (size_t at = 0; at < bytes; at += 16)
            _mm_stream_si128((__m128i *)((char *)to + at), _mm_loadu_si128((const __m128i *)((const char *)from + at)));
        return;
    }
#endif
    (void)stream;
    memcpy(to, from, bytes);
}

/* dst = dst2 = a + b; either destination may be streamed. */
__attribute__((target("avx2"))) static void add_to(float *dst, float *dst2, const float *a, const float *b,
                                                   size_t bytes, unsigned stream, unsigned stream2)
{
    size_t count = bytes / sizeof(float), i = 0;
    for (; i + 16 <= count; i += 16) {
        __m256 low = _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        __m256 high = _mm256_add_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8));
        if (stream) {
            _mm256_stream_ps(dst + i, low);
            _mm256_stream_ps(dst + i + 8, high);
        } else {
            _mm256_storeu_ps(dst + i, low);
            _mm256_storeu_ps(dst + i + 8, high);
        }
        if (dst2 && stream2) {
            _mm256_stream_ps(dst2 + i, low);
            _mm256_stream_ps(dst2 + i + 8, high);
        } else if (dst2) {
            _mm256_storeu_ps(dst2 + i, low);
            _mm256_storeu_ps(dst2 + i + 8, high);
        }
    }
    for (; i < count; i++) {
        dst[i] = a[i] + b[i];
        if (dst2)
            dst2[i] = dst[i];
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Result past which its stores go around the cache. */
#define STREAM_RESULT_BYTES ((size_t)8 << 20)

static void one_shot(bench *b, size_t bytes, size_t chunk)
{
    size_t sent = 0, received = 0;
    c4_window window;
    unsigned stream_result = bytes >= STREAM_RESULT_BYTES;
    while (sent < bytes || received < bytes) {
        size_t want = least(chunk, bytes - sent);
        if (want && b->ops->reserve(b->out[0], want, &window) == C4_OK) {
            copy_to(window.pointer, (char *)b->send + sent, want, window.stream);
            c4_frame frame = {.comm = 1, .bytes = (uint32_t)want, .offset = sent};
            b->ops->commit(b->out[0], &frame);
            sent += want;
        }
        if (received < bytes && b->ops->peek(b->in[0], &window) == C4_OK) {
            add_to(b->result + received / 4, NULL, b->send + received / 4, window.pointer, window.bytes, stream_result,
                   0);
            received += window.bytes;
            b->ops->consume(b->in[0]);
        }
    }
}

/* Half each way; the reduction writes the result and the gather's ring in one pass. */
static void scatter_gather(bench *b, size_t bytes, size_t chunk)
{
    size_t half = bytes / 2, mine = (size_t)b->rank * half, theirs = half - mine;
    size_t sent = 0, reduced = 0, gathered = 0;
    unsigned stream_result = bytes >= STREAM_RESULT_BYTES;
    c4_window window, next;
    while (sent < half || reduced < half || gathered < half) {
        size_t want = least(chunk, half - sent);
        if (want && b->ops->reserve(b->out[0], want, &window) == C4_OK) {
            copy_to(window.pointer, (char *)b->send + theirs + sent, want, window.stream);
            c4_frame frame = {.comm = 1, .bytes = (uint32_t)want, .offset = sent};
            b->ops->commit(b->out[0], &frame);
            sent += want;
        }
        if (reduced < half && b->ops->peek(b->in[0], &window) == C4_OK &&
            b->ops->reserve(b->out[1], window.bytes, &next) == C4_OK) {
            size_t at = (mine + reduced) / 4;
            add_to(b->result + at, next.pointer, b->send + at, window.pointer, window.bytes, stream_result,
                   next.stream);
            c4_frame frame = {.comm = 1, .bytes = (uint32_t)window.bytes, .offset = reduced};
            b->ops->commit(b->out[1], &frame);
            reduced += window.bytes;
            b->ops->consume(b->in[0]);
        }
        if (gathered < half && b->ops->peek(b->in[1], &window) == C4_OK) {
            copy_to((char *)b->result + theirs + gathered, window.pointer, window.bytes, stream_result);
            gathered += window.bytes;
            b->ops->consume(b->in[1]);
        }
    }
}

typedef struct point {
    size_t bytes, chunk;
    void (*run)(bench *b, size_t bytes, size_t chunk);
    const char *name;
} point;

static void touch(bench *b, size_t bytes, int iteration)
{
    float sum = 0;
    for (size_t i = 0; i < (bytes + 3) / 4; i++) {
        b->send[i] = (float)((i + (size_t)iteration) % 1000 + (size_t)b->rank);
        sum += b->result[i];
    }
    b->sink = sum;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int check(const bench *b, size_t bytes, int iteration)
{
    for (size_t i = 0; i < bytes / 4; i++)
        if (b->result[i] != (float)(2 * ((i + (size_t)iteration) % 1000) + 1))
            return 1;
    return 0;
}

static void measure(bench *b, const point *p, int repeat)
{
    (void)repeat;
    int iterations = p->bytes <= 65536 ? 2000 : (int)(200000000 / p->bytes);
    iterations = iterations > 2000 ? 2000 : iterations < 8 ? 8 : iterations;
    for (int i = 0; i < iterations / 4; i++)
        p->run(b, p->bytes, p->chunk);
    double before = flag_latency_ns(b);
    int wrong = 0;
    for (int i = 0; i < iterations; i++) {
        touch(b, p->bytes, i);
        barrier(b);
        uint64_t t0 = c4_tsc();
        p->run(b, p->bytes, p->chunk);
        b->board->us[b->rank][i] = (double)(c4_tsc() - t0) * 1e6 / (double)c4_tsc_hz();
        if (i % 97 == 0)
            wrong |= check(b, p->bytes, i);
    }
    barrier(b);
    double after = flag_latency_ns(b);
    if (wrong)
        printf("rank %d: WRONG RESULT %s %zu\n", b->rank, p->name, p->bytes);
    if (b->rank == 0) {
        double later[MAX_ITERATIONS];
        for (int i = 0; i < iterations; i++)
            later[i] = b->board->us[0][i] > b->board->us[1][i] ? b->board->us[0][i] : b->board->us[1][i];
        qsort(later, (size_t)iterations, sizeof later[0], by_value);
        const char *state = before < 130 && after < 130 ? "near" : before > 170 && after > 170 ? "far" : "?";
        const c4_shm_distance *seen = &b->rig.module->peers[1]->distance;
        printf("%-8s %9zu B chunk %7zu  median %9.3f  p10 %9.3f us  flag %3.0f %3.0f ns %s  (module: %s, %u ns, %u "
               "windows)\n",
               p->name, p->bytes, p->chunk, later[iterations / 2], later[iterations / 10], before, after, state,
               seen->far ? "far" : "near", (unsigned)c4_tsc_to_ns(c4_shm_distance_ticks(seen->measured)),
               seen->measured >> 20);
        fflush(stdout);
    }
    barrier(b);
}

/* A frame to and fro: one-way latency of the windows themselves. */
static void ping(bench *b, size_t bytes, size_t chunk)
{
    c4_window window;
    c4_frame frame = {.comm = 1, .bytes = (uint32_t)chunk};
    (void)bytes;
    for (int turn = 0; turn < 2; turn++) {
        if (turn == b->rank) {
            while (b->ops->reserve(b->out[0], chunk, &window) != C4_OK)
                ;
            copy_to(window.pointer, b->send, chunk, window.stream);
            b->ops->commit(b->out[0], &frame);
            continue;
        }
        while (b->ops->peek(b->in[0], &window) != C4_OK)
            ;
        memcpy(b->result, window.pointer, window.bytes);
        b->ops->consume(b->in[0]);
    }
}

static void bench_ping(bench *b, size_t bytes)
{
    double best = 1e9;
    double before = flag_latency_ns(b);
    for (int trial = 0; trial < 50; trial++) {
        barrier(b);
        uint64_t t0 = c4_tsc();
        for (int i = 0; i < 200; i++)
            ping(b, 0, bytes);
        double ns = (double)(c4_tsc() - t0) * 1e9 / (double)c4_tsc_hz() / 400;
        if (ns < best)
            best = ns;
    }
    double after = flag_latency_ns(b);
    if (b->rank == 0)
        printf("one-way  %9zu B  %.0f ns  flag %.0f %.0f\n", bytes, best, before, after);
}

/* What each call on mappable memory pays. */
static void bench_memory(bench *b)
{
    enum { CALLS = 1000000 };
    c4_memory_handle handle;
    void *memory = NULL, *mapped = NULL;
    uint64_t ticks[3];
    ticks[0] = c4_tsc();
    for (int i = 0; i < CALLS; i++)
        b->sink += (float)b->ops->mem_export(b->send, 8, &handle);
    ticks[0] = c4_tsc() - ticks[0];
    if (b->ops->mem_alloc(1 << 20, &memory) != C4_OK)
        return;
    ticks[1] = c4_tsc();
    for (int i = 0; i < CALLS; i++)
        b->ops->mem_export(memory, 1 << 20, &handle);
    ticks[1] = c4_tsc() - ticks[1];
    barrier(b);
    memcpy(b->board->handle[b->rank], &handle, sizeof handle);
    barrier(b);
    memcpy(&handle, b->board->handle[1 - b->rank], sizeof handle);
    ticks[2] = c4_tsc();
    for (int i = 0; i < CALLS; i++)
        b->ops->mem_map(b->rig.module, 1 - b->rank, &handle, &mapped);
    ticks[2] = c4_tsc() - ticks[2];
    barrier(b);
    b->ops->mem_free(memory);
    if (b->rank == 0)
        printf("export of other memory %.1f ns, of c4_mem_alloc memory %.1f ns, map again %.1f ns\n",
               (double)c4_tsc_to_ns(ticks[0]) / CALLS, (double)c4_tsc_to_ns(ticks[1]) / CALLS,
               (double)c4_tsc_to_ns(ticks[2]) / CALLS);
}

static const point points[] = {
    {8, 4096, one_shot, "oneshot"},
    {64, 4096, one_shot, "oneshot"},
    {512, 4096, one_shot, "oneshot"},
    {2048, 4096, one_shot, "oneshot"},
    {4096, 4096, one_shot, "oneshot"},
    {8192, 4096, one_shot, "oneshot"},
    {16384, 8192, one_shot, "oneshot"},
    {16384, 4096, scatter_gather, "rs+ag"},
    {32768, 4096, scatter_gather, "rs+ag"},
    {65536, 16384, scatter_gather, "rs+ag"},
    {262144, 65536, scatter_gather, "rs+ag"},
    {1 << 20, 65536, scatter_gather, "rs+ag"},
    {4 << 20, 65536, scatter_gather, "rs+ag"},
    {16 << 20, 262144, scatter_gather, "rs+ag"},
    {64 << 20, 262144, scatter_gather, "rs+ag"},
};

static int rank_main(bench_board *board, int rank, const rig_options *options, int repeats, size_t smallest,
                     size_t largest)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(rank, &set);
    sched_setaffinity(0, sizeof set, &set);
    bench b = {.board = board, .rank = rank, .ops = &c4_shm_ops};
    if (rig_open(&b.rig, &board->rig, rank, 2, options) < 0)
        return 1;
    if (largest < 4096)
        largest = 4096;
    for (uint32_t tag = 0; tag < 2; tag++) {
        b.out[tag] = rig_channel(&b.rig, tag, rank, 1 - rank, 0);
        b.in[tag] = rig_channel(&b.rig, tag, 1 - rank, rank, 0);
    }
    b.send = aligned_alloc(4096, largest);
    b.result = aligned_alloc(4096, largest);
    if (!b.send || !b.result || !b.out[1] || !b.in[1])
        return 1;
    memset(b.send, 0, largest);
    memset(b.result, 0, largest);
    for (size_t bytes = 8; bytes <= 4096 && smallest <= 8; bytes *= 8)
        bench_ping(&b, bytes);
    bench_memory(&b);
    for (int repeat = 0; repeat < repeats; repeat++)
        for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
            if (points[i].bytes >= smallest && points[i].bytes <= largest)
                measure(&b, &points[i], repeat);
    rig_close(&b.rig);
    free(b.send);
    free(b.result);
    return 0;
}

int main(int argc, char **argv)
{
    rig_options options = rig_defaults();
    int repeats = 1;
    size_t smallest = 8, largest = 64 << 20;
    for (int option; (option = getopt(argc, argv, "s:r:n:f:m:")) != -1;) {
        long long value = atoll(optarg);
        if (option == 's')
            options.stores = value;
        else if (option == 'r')
            options.ring_bytes = value;
        else if (option == 'n')
            repeats = (int)value;
        else if (option == 'f')
            smallest = (size_t)value;
        else if (option == 'm')
            largest = (size_t)value;
        else
            return 2;
    }
    bench_board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 1;
    pid_t child = fork();
    if (child == 0)
        _exit(rank_main(board, 1, &options, repeats, smallest, largest));
    int failed = rank_main(board, 0, &options, repeats, smallest, largest), status = 0;
    waitpid(child, &status, 0);
    return failed || status;
}
