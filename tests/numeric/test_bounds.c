/* Kernels and copies neither read nor write outside their operands: each operand ends where an unreadable page begins,
 * or begins where one ends, so that a vector too far is a segmentation fault. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "numeric/numeric.h"
#include "tests/c4test.h"

enum { SOURCES = 3, MAX_BYTES = 4096 };

/* Accessible bytes between two unreadable pages. */
static unsigned char *map_guarded(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *p = mmap(NULL, MAX_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(p != MAP_FAILED);
    C4TEST_INT_FATAL(mprotect(p + page, MAX_BYTES, PROT_READ | PROT_WRITE), 0);
    return p + page;
}

typedef struct operands {
    unsigned char *src[SOURCES];
    unsigned char *dst;
    unsigned char *dst2;
    unsigned char expected[MAX_BYTES];
} operands;

static operands map_operands(void)
{
    operands o = {.dst = map_guarded(), .dst2 = map_guarded()};
    for (int j = 0; j < SOURCES; j++) {
        o.src[j] = map_guarded();
        for (int i = 0; i < MAX_BYTES; i++) {
            o.src[j][i] = (unsigned char)c4test_rand();
        }
    }
    return o;
}

static void check_at(operands *o, const c4_reducer *r, const c4_reducer *model, size_t count, size_t shift)
{
    const void *src[SOURCES];
    size_t bytes = count * r->element_bytes;
    for (int j = 0; j < SOURCES; j++) {
        src[j] = o->src[j] + shift;
    }
    for (unsigned flags = 0; flags < 4; flags++) {
        model->reduce2(o->expected, src[0], src[1], count, 0);
        r->reduce2(o->dst + shift, src[0], src[1], count, flags);
        c4_numeric_fence();
        CU_ASSERT(memcmp(o->dst + shift, o->expected, bytes) == 0);
        r->reduce2_dup(o->dst + shift, o->dst2 + shift, src[0], src[1], count, flags);
        c4_numeric_fence();
        CU_ASSERT(memcmp(o->dst2 + shift, o->expected, bytes) == 0);
        model->reduce_k(o->expected, NULL, src, SOURCES, count, 0);
        r->reduce_k(o->dst + shift, o->dst2 + shift, src, SOURCES, count, flags);
        c4_numeric_fence();
        CU_ASSERT(memcmp(o->dst + shift, o->expected, bytes) == 0);
        CU_ASSERT(memcmp(o->dst2 + shift, o->expected, bytes) == 0);
    }
    model->scale(o->expected, src[0], count, 3);
    r->scale(o->dst + shift, src[0], count, 3);
    CU_ASSERT(memcmp(o->dst + shift, o->expected, bytes) == 0);
    const unsigned char *scalar = o->src[1] + MAX_BYTES - r->element_bytes;
    model->premul(o->expected, src[0], scalar, count);
    r->premul(o->dst + shift, src[0], scalar, count);
    CU_ASSERT(memcmp(o->dst + shift, o->expected, bytes) == 0);
}

static void test_kernels(void)
{
    c4_cpu cpu;
    c4_cpu_detect(&cpu);
    operands o = map_operands();
    for (int dtype = 0; dtype < C4_NDTYPES; dtype++) {
        for (int level = 0; level <= (int)cpu.level; level++) {
            const c4_reducer *r = c4_reducer_get((c4_dtype)dtype, C4_SUM, (c4_cpu_level)level);
            const c4_reducer *model = c4_reducer_get((c4_dtype)dtype, C4_SUM, C4_CPU_SCALAR);
            for (size_t count = 0; count * r->element_bytes <= 600; count++) {
                check_at(&o, r, model, count, 0);
                check_at(&o, r, model, count, MAX_BYTES - count * r->element_bytes);
            }
            check_at(&o, r, model, MAX_BYTES / r->element_bytes, 0);
        }
    }
}

static void test_copies(void)
{
    operands o = map_operands();
    for (size_t bytes = 0; bytes <= MAX_BYTES; bytes += 1 + bytes / 100) {
        for (unsigned flags = 0; flags < 8; flags++) {
            size_t shift = flags & 4 ? MAX_BYTES - bytes : 0;
            c4_copy(o.dst + shift, o.src[0] + shift, bytes, flags & C4_NUMERIC_STREAM);
            c4_copy_dup(o.dst + shift, o.dst2 + shift, o.src[0] + shift, bytes, flags & 3);
            c4_numeric_fence();
            CU_ASSERT(memcmp(o.dst + shift, o.src[0] + shift, bytes) == 0);
            CU_ASSERT(memcmp(o.dst2 + shift, o.src[0] + shift, bytes) == 0);
        }
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(kernels, 60), C4TEST(copies), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
