/* Traffic bound of a 2-rank all_reduce: each core adds its half of two private inputs into its half of two private
 * results. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* gcc's -O2 leaves the loops over buffers scalar; clang's does not */
#endif

#include "tests/bench/bench_limits.h"
#include "tests/bench/bench_sync.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define REPETITIONS   9
#define VECTOR_FLOATS 16

struct stream_side {
    struct stream_pair *pair;
    int index;
    float *inputs[2];
    float *results[2];
    double times_ns[2][REPETITIONS]; /* nontemporal, plain */
    float sink;
};

struct stream_pair {
    struct stream_side sides[2];
    size_t count; /* elements of each input and result half */
    double ns_per_tick;
    _Alignas(128) _Atomic unsigned arrived;
};

typedef void stream_kernel(const struct stream_side *side, size_t count);

static void add_plain(const struct stream_side *side, size_t count)
{
    const float *a = side->inputs[0];
    const float *b = side->inputs[1];
    float *restrict c = side->results[0];
    float *restrict d = side->results[1];
    for (size_t i = 0; i < count; i++) {
        float sum = a[i] + b[i];
        c[i] = sum;
        d[i] = sum;
    }
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void add_nontemporal_512(const struct stream_side *side, size_t count)
{
    for (size_t i = 0; i < count; i += VECTOR_FLOATS) {
        __m512 sum = _mm512_add_ps(_mm512_load_ps(side->inputs[0] + i), _mm512_load_ps(side->inputs[1] + i));
        _mm512_stream_ps(side->results[0] + i, sum);
        _mm512_stream_ps(side->results[1] + i, sum);
    }
    _mm_sfence();
}

static void add_nontemporal(const struct stream_side *side, size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        __m128 sum = _mm_add_ps(_mm_load_ps(side->inputs[0] + i), _mm_load_ps(side->inputs[1] + i));
        _mm_stream_ps(side->results[0] + i, sum);
        _mm_stream_ps(side->results[1] + i, sum);
    }
    _mm_sfence();
}

static stream_kernel *kernel_nontemporal(void)
{
    return __builtin_cpu_supports("avx512f") ? add_nontemporal_512 : add_nontemporal;
}
#else
static stream_kernel *kernel_nontemporal(void)
{
    return add_plain;
}
#endif

static void pair_barrier(struct stream_pair *pair)
{
    unsigned target = (atomic_fetch_add(&pair->arrived, 1) / 2 + 1) * 2;
    while (atomic_load(&pair->arrived) < target) {
    }
}

static void side_touch(struct stream_side *side, size_t count, int repetition)
{
    float sum = 0.0f;
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < count; i++) {
            side->inputs[k][i] = (float)(repetition + k);
            sum += side->results[k][i];
        }
    }
    side->sink = sum;
}

static void *side_run(void *argument)
{
    struct stream_side *side = argument;
    struct stream_pair *pair = side->pair;
    bench_pin(side->index);
    for (int kind = 0; kind < 2; kind++) {
        stream_kernel *kernel = kind == 0 ? kernel_nontemporal() : add_plain;
        for (int repetition = -1; repetition < REPETITIONS; repetition++) {
            side_touch(side, pair->count, repetition);
            pair_barrier(pair);
            uint64_t begin = bench_ticks();
            kernel(side, pair->count);
            uint64_t end = bench_ticks();
            if (repetition >= 0) {
                side->times_ns[kind][repetition] = (double)(end - begin) * pair->ns_per_tick;
            }
            pair_barrier(pair);
        }
    }
    return NULL;
}

static int side_init(struct stream_side *side, struct stream_pair *pair, int index)
{
    side->pair = pair;
    side->index = index;
    for (int k = 0; k < 2; k++) {
        void *input = NULL;
        void *result = NULL;
        if (posix_memalign(&input, 4096, pair->count * sizeof(float)) != 0 ||
            posix_memalign(&result, 4096, pair->count * sizeof(float)) != 0) {
            free(input);
            return -1;
        }
        memset(input, 0, pair->count * sizeof(float));
        memset(result, 0, pair->count * sizeof(float));
        side->inputs[k] = input;
        side->results[k] = result;
    }
    return 0;
}

static void side_fini(struct stream_side *side)
{
    for (int k = 0; k < 2; k++) {
        free(side->inputs[k]);
        free(side->results[k]);
    }
}

int limits_stream(size_t bytes, double ns_per_tick, double *nontemporal_ns, double *plain_ns)
{
    struct stream_pair pair = {.ns_per_tick = ns_per_tick};
    double *outputs[2] = {nontemporal_ns, plain_ns};
    pthread_t thread;
    pair.count = (bytes / 2 / sizeof(float) + VECTOR_FLOATS - 1) / VECTOR_FLOATS * VECTOR_FLOATS;
    int failed = side_init(&pair.sides[0], &pair, 0) != 0 || side_init(&pair.sides[1], &pair, 1) != 0 ||
                 pthread_create(&thread, NULL, side_run, &pair.sides[1]) != 0;
    if (!failed) {
        side_run(&pair.sides[0]);
        pthread_join(thread, NULL);
        for (int kind = 0; kind < 2; kind++) {
            double slower[REPETITIONS];
            for (int i = 0; i < REPETITIONS; i++) {
                double first = pair.sides[0].times_ns[kind][i];
                double second = pair.sides[1].times_ns[kind][i];
                slower[i] = first > second ? first : second;
            }
            *outputs[kind] = limits_median(slower, REPETITIONS);
        }
    }
    side_fini(&pair.sides[0]);
    side_fini(&pair.sides[1]);
    return failed ? -1 : 0;
}
