/* Every dtype, operation and instruction-set level against the reference: byte-equal, and not a byte beyond. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numeric/numeric.h"
#include "tests/c4test.h"
#include "tests/numeric/reference.h"

enum {
    MAX_SOURCES = 17,
    SHORT_COUNT = 131,
    LONG_COUNT = 5000,
    MARGIN = 128, /* bytes around every output that must stay as they were */
    BUFFERS = MAX_SOURCES + 2,
};

static const unsigned all_flags[] = {0, C4_NUMERIC_STREAM, C4_NUMERIC_STREAM2, C4_NUMERIC_STREAM | C4_NUMERIC_STREAM2};

/* Sources, outputs and expected elements of one dtype. */
typedef struct fixture {
    c4_dtype dtype;
    size_t bytes; /* of an element */
    uint64_t values[MAX_SOURCES][LONG_COUNT];
    uint64_t expected[LONG_COUNT];
    char *room[BUFFERS];
} fixture;

static c4_cpu cpu;

static fixture *fixture_create(c4_dtype dtype)
{
    fixture *f = calloc(1, sizeof *f);
    CU_ASSERT_FATAL(f != NULL);
    f->dtype = dtype;
    f->bytes = c4_numeric_dtype_bytes(dtype);
    for (int j = 0; j < MAX_SOURCES; j++) {
        for (size_t i = 0; i < LONG_COUNT; i++) {
            f->values[j][i] = reference_sample(dtype, c4test_rand());
        }
    }
    for (int b = 0; b < BUFFERS; b++) {
        f->room[b] = aligned_alloc(64, ((LONG_COUNT + 1) * f->bytes + 2 * MARGIN + 64) / 64 * 64 + 64);
        CU_ASSERT_FATAL(f->room[b] != NULL);
    }
    return f;
}

static void fixture_destroy(fixture *f)
{
    for (int b = 0; b < BUFFERS; b++) {
        free(f->room[b]);
    }
    free(f);
}

static void expect_fold(fixture *f, size_t k, size_t count, c4_op op)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t column[MAX_SOURCES];
        for (size_t j = 0; j < k; j++) {
            column[j] = f->values[j][i];
        }
        f->expected[i] = reference_fold(column, k, f->dtype, op);
    }
}

/* Buffer b at `alignment` bytes after a 64-byte boundary, filled with source j's values. */
static void *place_source(fixture *f, int b, int j, size_t count, size_t alignment)
{
    char *p = f->room[b] + MARGIN + alignment;
    memset(f->room[b], 0x5a, MARGIN + alignment + count * f->bytes + MARGIN);
    for (size_t i = 0; i < count; i++) {
        reference_set(p, f->dtype, i, f->values[j][i]);
    }
    return p;
}

static void *place_output(fixture *f, int b, size_t count, size_t alignment)
{
    memset(f->room[b], 0x5a, MARGIN + alignment + count * f->bytes + MARGIN);
    return f->room[b] + MARGIN + alignment;
}

static int failures;

/* The first difference is printed, later ones only counted. */
static void check_output(const fixture *f, const void *output, size_t count, const c4_reducer *r, const char *what)
{
    const unsigned char *p = output;
    size_t wrong = count;
    for (size_t i = 0; i < count && wrong == count; i++) {
        if (reference_get(output, f->dtype, i) != f->expected[i]) {
            wrong = i;
        }
    }
    size_t torn = 0;
    for (size_t i = 1; i <= MARGIN / 2; i++) {
        torn += p[-(ptrdiff_t)i] != 0x5a || p[count * f->bytes + i - 1] != 0x5a;
    }
    if ((wrong < count || torn != 0) && failures++ == 0) {
        printf("dtype %d op %d %s %s count %zu: ", f->dtype, r->op, c4_cpu_level_name(r->level), what, count);
        if (wrong < count) {
            printf("element %zu is %llx, expected %llx; ", wrong,
                   (unsigned long long)reference_get(output, f->dtype, wrong), (unsigned long long)f->expected[wrong]);
        }
        printf("%zu bytes outside changed\n", torn);
    }
    CU_ASSERT(wrong == count && torn == 0);
}

/* Mostly aligned to elements, as the contract asks, but less must work too. */
static size_t random_alignment(const fixture *f)
{
    size_t unit = c4test_rand_below(4) == 0 ? 1 : f->bytes;
    return (size_t)c4test_rand_below(64 / unit) * unit;
}

static void check_reduce2(fixture *f, const c4_reducer *r, size_t count, unsigned flags)
{
    void *a = place_source(f, 0, 0, count, random_alignment(f));
    void *b = place_source(f, 1, 1, count, random_alignment(f));
    void *dst = place_output(f, 2, count, random_alignment(f));
    void *dst2 = place_output(f, 3, count, random_alignment(f));
    r->reduce2(dst, a, b, count, flags);
    c4_numeric_fence();
    check_output(f, dst, count, r, "reduce2");
    dst = place_output(f, 2, count, random_alignment(f));
    r->reduce2(dst, b, a, count, flags);
    c4_numeric_fence();
    check_output(f, dst, count, r, "reduce2 swapped");
    dst = place_output(f, 2, count, random_alignment(f));
    r->reduce2_dup(dst, dst2, a, b, count, flags);
    c4_numeric_fence();
    check_output(f, dst, count, r, "reduce2_dup dst");
    check_output(f, dst2, count, r, "reduce2_dup dst2");
    r->reduce2(a, a, b, count, flags);
    c4_numeric_fence();
    check_output(f, a, count, r, "reduce2 into a");
    a = place_source(f, 0, 0, count, random_alignment(f));
    dst2 = place_output(f, 3, count, random_alignment(f));
    r->reduce2_dup(b, dst2, a, b, count, flags);
    c4_numeric_fence();
    check_output(f, b, count, r, "reduce2_dup into b");
    check_output(f, dst2, count, r, "reduce2_dup into b, dst2");
}

static void check_reduce_k(fixture *f, const c4_reducer *r, size_t k, size_t count, unsigned flags)
{
    const void *src[MAX_SOURCES];
    for (int j = 0; j < (int)k; j++) {
        src[j] = place_source(f, j, j, count, random_alignment(f));
    }
    void *dst = place_output(f, BUFFERS - 2, count, random_alignment(f));
    r->reduce_k(dst, NULL, src, k, count, flags);
    c4_numeric_fence();
    check_output(f, dst, count, r, "reduce_k");
    dst = place_output(f, BUFFERS - 2, count, random_alignment(f));
    void *dst2 = place_output(f, BUFFERS - 1, count, random_alignment(f));
    r->reduce_k(dst, dst2, src, k, count, flags);
    c4_numeric_fence();
    check_output(f, dst, count, r, "reduce_k dst");
    check_output(f, dst2, count, r, "reduce_k dst2");
    size_t in_place = (size_t)c4test_rand_below(k);
    dst2 = place_output(f, BUFFERS - 1, count, random_alignment(f));
    r->reduce_k((void *)(uintptr_t)src[in_place], dst2, src, k, count, flags);
    c4_numeric_fence();
    check_output(f, src[in_place], count, r, "reduce_k in place");
    check_output(f, dst2, count, r, "reduce_k in place, dst2");
}

/* Calls check for every valid (op, level) of the dtype. */
static void for_each_reducer(fixture *f, void (*check)(fixture *, const c4_reducer *))
{
    for (int level = 0; level <= (int)cpu.level; level++) {
        for (int op = 0; op < C4_NOPS; op++) {
            const c4_reducer *r = c4_reducer_get(f->dtype, (c4_op)op, (c4_cpu_level)level);
            if (r != NULL) {
                check(f, r);
            }
        }
    }
}

static void reduce2_lengths(fixture *f, const c4_reducer *r)
{
    expect_fold(f, 2, LONG_COUNT, r->op);
    for (size_t count = 0; count < SHORT_COUNT; count++) {
        for (int i = 0; i < 4; i++) {
            check_reduce2(f, r, count, all_flags[i]);
        }
    }
    for (int repeat = 0; repeat < 4; repeat++) {
        for (int i = 0; i < 4; i++) {
            check_reduce2(f, r, LONG_COUNT - (size_t)c4test_rand_below(200), all_flags[i]);
        }
    }
}

static void reduce_k_sources(fixture *f, const c4_reducer *r)
{
    for (size_t k = 1; k <= MAX_SOURCES; k++) {
        expect_fold(f, k, 700, r->op);
        for (int repeat = 0; repeat < 12; repeat++) {
            check_reduce_k(f, r, k, (size_t)c4test_rand_below(repeat < 10 ? SHORT_COUNT : 700), all_flags[repeat % 4]);
        }
    }
}

static void scale_and_premul(fixture *f, const c4_reducer *r)
{
    static const size_t divisors[] = {1, 2, 3, 7, 8, 255, 1000, 65537, (1 << 24) - 1};
    if (r->op != C4_AVG) {
        return;
    }
    for (size_t d = 0; d < sizeof divisors / sizeof divisors[0]; d++) {
        for (size_t i = 0; i < LONG_COUNT; i++) {
            f->expected[i] = reference_scale(f->values[0][i], f->dtype, divisors[d]);
        }
        for (int repeat = 0; repeat < 20; repeat++) {
            size_t count = (size_t)c4test_rand_below(repeat < 19 ? SHORT_COUNT : LONG_COUNT);
            void *src = place_source(f, 0, 0, count, random_alignment(f));
            void *dst = place_output(f, 1, count, random_alignment(f));
            r->scale(dst, src, count, divisors[d]);
            check_output(f, dst, count, r, "scale");
            r->scale(src, src, count, divisors[d]);
            check_output(f, src, count, r, "scale in place");
        }
    }
    for (int repeat = 0; repeat < 200; repeat++) {
        uint64_t scalar = reference_sample(f->dtype, c4test_rand());
        size_t count = (size_t)c4test_rand_below(SHORT_COUNT);
        for (size_t i = 0; i < count; i++) {
            f->expected[i] = reference_fold((uint64_t[]){f->values[0][i], scalar}, 2, f->dtype, C4_PROD);
        }
        void *src = place_source(f, 0, 0, count, random_alignment(f));
        void *dst = place_output(f, 1, count, random_alignment(f));
        r->premul(dst, src, &scalar, count);
        check_output(f, dst, count, r, "premul");
        r->premul(src, src, &scalar, count);
        check_output(f, src, count, r, "premul in place");
    }
}

/* All 65,536 pairs of bytes; for wider dtypes as many sampled pairs. */
static void all_pairs(fixture *f, const c4_reducer *r)
{
    for (uint64_t first = 0; first < 256; first += 16) {
        size_t count = 16 * 256;
        for (size_t i = 0; i < count; i++) {
            f->values[0][i] = f->bytes == 1 ? first + i / 256 : reference_sample(f->dtype, c4test_rand());
            f->values[1][i] = f->bytes == 1 ? i % 256 : reference_sample(f->dtype, c4test_rand());
        }
        expect_fold(f, 2, count, r->op);
        check_reduce2(f, r, count, 0);
    }
}

static void run_on(c4_dtype dtype, void (*check)(fixture *, const c4_reducer *))
{
    c4_cpu_detect(&cpu);
    fixture *f = fixture_create(dtype);
    for_each_reducer(f, check);
    C4TEST_INT(failures, 0);
    fixture_destroy(f);
}

static void test_dtype(void)
{
    c4_dtype dtype = *(const c4_dtype *)c4test_arg();
    run_on(dtype, reduce2_lengths);
    run_on(dtype, reduce_k_sources);
    run_on(dtype, scale_and_premul);
    run_on(dtype, all_pairs);
}

static void test_levels_found(void)
{
    c4_cpu_detect(&cpu);
    printf("highest level: %s\n", c4_cpu_level_name(cpu.level));
    CU_ASSERT(c4_reducer_get(C4_FLOAT32, C4_SUM, cpu.level) != NULL);
}

static void test_validity(void)
{
    for (int dtype = -1; dtype <= C4_NDTYPES; dtype++) {
        bool known = dtype >= 0 && dtype < C4_NDTYPES;
        bool integer = known && dtype <= C4_UINT64;
        for (int op = -1; op <= C4_NOPS; op++) {
            bool valid = known && op >= 0 && (op < C4_BAND || (op < C4_NOPS && integer));
            CU_ASSERT_EQUAL(c4_numeric_op_valid((c4_op)op, (c4_dtype)dtype), valid);
            const c4_reducer *r = c4_reducer_get((c4_dtype)dtype, (c4_op)op, C4_CPU_SCALAR);
            CU_ASSERT_EQUAL(r != NULL, valid);
            if (r != NULL) {
                C4TEST_INT(r->dtype, dtype);
                C4TEST_INT(r->op, op);
                C4TEST_INT(r->element_bytes, c4_numeric_dtype_bytes((c4_dtype)dtype));
            }
        }
        CU_ASSERT_EQUAL(c4_numeric_op_valid(C4_OP_USER, (c4_dtype)dtype), known);
        CU_ASSERT_EQUAL(c4_numeric_dtype_bytes((c4_dtype)dtype) != 0, known);
    }
    CU_ASSERT(c4_reducer_get(C4_FLOAT32, C4_OP_USER, C4_CPU_SCALAR) ==
              c4_reducer_get(C4_FLOAT32, C4_SUM, C4_CPU_SCALAR));
}

int main(int argc, char **argv)
{
    static const c4_dtype dtypes[] = {C4_INT8,    C4_UINT8,   C4_INT32,   C4_UINT32,   C4_INT64,       C4_UINT64,
                                      C4_FLOAT16, C4_FLOAT32, C4_FLOAT64, C4_BFLOAT16, C4_FLOAT8_E4M3, C4_FLOAT8_E5M2};
    static const c4test_case cases[] = {
        C4TEST(levels_found),
        C4TEST(validity),
        C4TEST_WITH("int8", test_dtype, 60, &dtypes[0]),
        C4TEST_WITH("uint8", test_dtype, 60, &dtypes[1]),
        C4TEST_WITH("int32", test_dtype, 60, &dtypes[2]),
        C4TEST_WITH("uint32", test_dtype, 60, &dtypes[3]),
        C4TEST_WITH("int64", test_dtype, 60, &dtypes[4]),
        C4TEST_WITH("uint64", test_dtype, 60, &dtypes[5]),
        C4TEST_WITH("float16", test_dtype, 60, &dtypes[6]),
        C4TEST_WITH("float32", test_dtype, 60, &dtypes[7]),
        C4TEST_WITH("float64", test_dtype, 60, &dtypes[8]),
        C4TEST_WITH("bfloat16", test_dtype, 60, &dtypes[9]),
        C4TEST_WITH("float8_e4m3", test_dtype, 60, &dtypes[10]),
        C4TEST_WITH("float8_e5m2", test_dtype, 60, &dtypes[11]),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
