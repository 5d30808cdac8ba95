#include "base/status.h"
#include "host/cpu.h"
#include "tests/c4test.h"

static void test_detect(void)
{
    c4_cpu cpu;
    c4_cpu_detect(&cpu);
    CU_ASSERT(c4_cpu_level_name(cpu.level) != NULL);
    CU_ASSERT(cpu.level < C4_CPU_AVX2 || (cpu.avx2 && cpu.f16c));
    CU_ASSERT(cpu.level < C4_CPU_AVX512 || (cpu.avx512f && cpu.avx512bw && cpu.avx512vl && cpu.avx512dq));
    /* Wide on purpose: from small embedded cores to 3D-stacked caches. */
    CU_ASSERT(cpu.l1d_bytes >= 4096 && cpu.l1d_bytes <= (size_t)1 << 20);
    CU_ASSERT(cpu.l2_bytes >= cpu.l1d_bytes && cpu.l2_bytes <= (size_t)256 << 20);
    CU_ASSERT(cpu.l3_bytes >= cpu.l1d_bytes && cpu.l3_bytes <= (size_t)4 << 30);
}

static void test_select(void)
{
    const c4_cpu old = {.level = C4_CPU_AVX2};
    c4_cpu_level level = C4_CPU_SCALAR;
    C4TEST_INT(c4_cpu_level_select(&old, NULL, &level), C4_OK);
    C4TEST_INT(level, C4_CPU_AVX2);
    C4TEST_INT(c4_cpu_level_select(&old, "scalar", &level), C4_OK);
    C4TEST_INT(level, C4_CPU_SCALAR);
    C4TEST_INT(c4_cpu_level_select(&old, "auto", &level), C4_OK);
    C4TEST_INT(level, C4_CPU_AVX2);
    C4TEST_INT(c4_cpu_level_select(&old, "avx512", &level), C4_ERR_UNSUPPORTED);
    C4TEST_CONTAINS(c4_fail_text(), "C4_CPU=avx512: this CPU has ");
    C4TEST_INT(c4_cpu_level_select(&old, "sse9", &level), C4_ERR_OPTION);
    C4TEST_INT(level, C4_CPU_AVX2);
}

static void test_names(void)
{
    C4TEST_STRING(c4_cpu_level_name(C4_CPU_SCALAR), "scalar");
    C4TEST_STRING(c4_cpu_level_name(C4_CPU_AVX2), "avx2");
    C4TEST_STRING(c4_cpu_level_name(C4_CPU_AVX512), "avx512");
    CU_ASSERT(c4_cpu_level_name(C4_CPU_NLEVELS) == NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(detect), C4TEST(select), C4TEST(names), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
