/* GB/s of every kernel against plain loops and memcpy, on one core, at sizes that live in L1, L2, L3 and memory.
 *
 *     bench-numeric          copies, and sums of fp32 at every level
 *     bench-numeric all      also every dtype and operation at the highest level
 *
 * A figure counts the bytes of one output (as peers and nccl-tests do): a reduction of two sources moves three times as
 * much. Candidates alternate within a row, the best of several rounds is printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "numeric/numeric.h"

/* Buffers start SKEW_BYTES apart modulo the page: nine streams at one page offset would fight for eight L1 ways. */
enum { SOURCES = 8, ROUNDS = 7, MAX_CANDIDATES = 8, SKEW_BYTES = 320 };

static const size_t sizes[] = {8, 64, 200, 512, 4096, 65536, 1 << 20, 4 << 20, 64 << 20};
static const size_t max_bytes = (size_t)64 << 20;

typedef struct arena {
    char *src[SOURCES];
    char *dst;
    char *dst2;
} arena;

/* What one candidate does once with `bytes` of output. */
typedef struct candidate {
    const char *name;
    void (*run)(const struct candidate *c, const arena *a, size_t bytes);
    const c4_reducer *reducer;
    size_t k;
    unsigned flags;
    unsigned shift; /* log2 of the element's size: a division would be measured too */
} candidate;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static char *map_buffer(int index)
{
    size_t skew = (size_t)index * SKEW_BYTES;
    char *p = mmap(NULL, max_bytes + skew, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    memset(p, index + 60, max_bytes + skew);
    return p + skew;
}

static void run_memcpy(const candidate *c, const arena *a, size_t bytes)
{
    (void)c;
    memcpy(a->dst, a->src[0], bytes);
}

static void run_copy(const candidate *c, const arena *a, size_t bytes)
{
    c4_copy(a->dst, a->src[0], bytes, c->flags);
    if (c->flags != 0) {
        c4_numeric_fence();
    }
}

static void run_copy_dup(const candidate *c, const arena *a, size_t bytes)
{
    c4_copy_dup(a->dst, a->dst2, a->src[0], bytes, c->flags);
    if (c->flags != 0) {
        c4_numeric_fence();
    }
}

/* What the compiler makes of the obvious loop, without the contract on NaN. */
__attribute__((noinline)) static void plain_loop(float *restrict d, const float *restrict x, const float *restrict y,
                                                 size_t count)
{
    for (size_t i = 0; i < count; i++) {
        d[i] = x[i] + y[i];
    }
}

static void run_loop(const candidate *c, const arena *a, size_t bytes)
{
    (void)c;
    plain_loop((float *)(void *)a->dst, (const float *)(void *)a->src[0], (const float *)(void *)a->src[1], bytes / 4);
}

static void run_reduce2(const candidate *c, const arena *a, size_t bytes)
{
    c->reducer->reduce2(a->dst, a->src[0], a->src[1], bytes >> c->shift, c->flags);
    if (c->flags != 0) {
        c4_numeric_fence();
    }
}

static void run_reduce2_dup(const candidate *c, const arena *a, size_t bytes)
{
    c->reducer->reduce2_dup(a->dst, a->dst2, a->src[0], a->src[1], bytes >> c->shift, c->flags);
    if (c->flags != 0) {
        c4_numeric_fence();
    }
}

static void run_reduce_k(const candidate *c, const arena *a, size_t bytes)
{
    c->reducer->reduce_k(a->dst, NULL, (const void *const *)a->src, c->k, bytes >> c->shift, c->flags);
}

static void run_scale(const candidate *c, const arena *a, size_t bytes)
{
    c->reducer->scale(a->dst, a->src[0], bytes >> c->shift, 3);
}

static double time_s(const candidate *c, const arena *a, size_t bytes, size_t iterations)
{
    c->run(c, a, bytes);
    double start = now_s();
    for (size_t i = 0; i < iterations; i++) {
        c->run(c, a, bytes);
        __asm__ volatile("" ::: "memory");
    }
    return (now_s() - start) / (double)iterations;
}

static void print_row(const char *label, const arena *a, const candidate *list, int n, size_t bytes)
{
    double best[MAX_CANDIDATES];
    size_t iterations = bytes < 4096 ? 40000 : ((size_t)(bytes < 1 << 20 ? 16 : 128) << 20) / bytes + 1;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < n; i++) {
            double s = time_s(&list[i], a, bytes, iterations);
            best[i] = round == 0 || s < best[i] ? s : best[i];
        }
    }
    printf("%-22s %9zu", label, bytes);
    for (int i = 0; i < n; i++) {
        if (bytes < 4096) {
            printf("  %11.1f ns", best[i] * 1e9);
        } else {
            printf("  %9.1f GB/s", (double)bytes / best[i] * 1e-9);
        }
    }
    printf("\n");
}

static void print_table(const char *label, const arena *a, const candidate *list, int n, size_t min_bytes)
{
    printf("%-22s %9s", label, "bytes");
    for (int i = 0; i < n; i++) {
        printf("  %14s", list[i].name);
    }
    printf("\n");
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        if (sizes[s] >= min_bytes) {
            print_row(label, a, list, n, sizes[s]);
        }
    }
}

static void bench_copies(const arena *a)
{
    const candidate list[] = {
        {.name = "memcpy", .run = run_memcpy},
        {.name = "c4_copy", .run = run_copy},
        {.name = "stream", .run = run_copy, .flags = C4_NUMERIC_STREAM},
        {.name = "dup", .run = run_copy_dup},
        {.name = "dup stream2", .run = run_copy_dup, .flags = C4_NUMERIC_STREAM2},
        {.name = "dup stream both", .run = run_copy_dup, .flags = C4_NUMERIC_STREAM | C4_NUMERIC_STREAM2},
    };
    print_table("copy", a, list, 6, 0);
}

static void bench_reducer(const arena *a, const c4_reducer *r, size_t min_bytes)
{
    char label[64];
    static const char *const dtypes[C4_NDTYPES] = {"i8",  "u8",  "i32", "u32",  "i64",  "u64",
                                                   "f16", "f32", "f64", "bf16", "e4m3", "e5m2"};
    static const char *const ops[C4_NOPS] = {"sum", "prod", "max", "min", "avg", "band", "bor", "bxor"};
    snprintf(label, sizeof label, "%s %s %s", dtypes[r->dtype], ops[r->op], c4_cpu_level_name(r->level));
    unsigned shift = (unsigned)__builtin_ctzl(r->element_bytes);
    const candidate list[] = {
        {.name = r->dtype == C4_FLOAT32 ? "plain loop" : "memcpy",
         .run = r->dtype == C4_FLOAT32 ? run_loop : run_memcpy},
        {.name = "reduce2", .run = run_reduce2, .reducer = r, .shift = shift},
        {.name = "stream", .run = run_reduce2, .reducer = r, .shift = shift, .flags = C4_NUMERIC_STREAM},
        {.name = "dup", .run = run_reduce2_dup, .reducer = r, .shift = shift},
        {.name = "dup stream2", .run = run_reduce2_dup, .reducer = r, .shift = shift, .flags = C4_NUMERIC_STREAM2},
        {.name = "k=4", .run = run_reduce_k, .reducer = r, .shift = shift, .k = 4},
        {.name = "k=8", .run = run_reduce_k, .reducer = r, .shift = shift, .k = 8},
        {.name = "scale", .run = run_scale, .reducer = r, .shift = shift},
    };
    print_table(label, a, list, 8, min_bytes);
}

int main(int argc, char **argv)
{
    c4_cpu cpu;
    c4_cpu_detect(&cpu);
    bool all = argc > 1 && strcmp(argv[1], "all") == 0;
    printf("level %s, L1d %zu, L2 %zu, L3 %zu\n", c4_cpu_level_name(cpu.level), cpu.l1d_bytes, cpu.l2_bytes,
           cpu.l3_bytes);
    arena a = {.dst = map_buffer(SOURCES), .dst2 = map_buffer(SOURCES + 1)};
    for (int i = 0; i < SOURCES; i++) {
        a.src[i] = map_buffer(i);
    }
    bench_copies(&a);
    for (int level = C4_CPU_SCALAR; level <= (int)cpu.level; level++) {
        bench_reducer(&a, c4_reducer_get(C4_FLOAT32, C4_SUM, (c4_cpu_level)level), 0);
    }
    for (int dtype = 0; all && dtype < C4_NDTYPES; dtype++) {
        for (int op = 0; op < C4_BAND; op++) {
            bench_reducer(&a, c4_reducer_get((c4_dtype)dtype, (c4_op)op, cpu.level), 4096);
        }
    }
    return 0;
}
