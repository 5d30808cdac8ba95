#include "host/cpu.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
static void detect_features(c4_cpu *cpu)
{
    /* The compiler's run-time check also asks XGETBV whether the kernel saves the wide registers. */
    __builtin_cpu_init();
    cpu->avx2 = __builtin_cpu_supports("avx2") != 0;
    cpu->avx512f = __builtin_cpu_supports("avx512f") != 0;
    cpu->avx512bw = __builtin_cpu_supports("avx512bw") != 0;
    cpu->avx512vl = __builtin_cpu_supports("avx512vl") != 0;
    cpu->avx512dq = __builtin_cpu_supports("avx512dq") != 0;
    /* F16C is not among the names that clang 14 knows: CPUID.1:ECX bit 29, usable when AVX2 is. */
    unsigned eax = 1, ebx = 0, ecx = 0, edx = 0;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    cpu->f16c = cpu->avx2 && (ecx >> 29 & 1) != 0;
    /* BMI2 comes with every processor that has AVX2 but one (VIA); the AVX-512 kernels use it for masks. */
    bool bmi2 = __builtin_cpu_supports("bmi2") != 0;
    if (cpu->avx2 && cpu->f16c) {
        cpu->level = C4_CPU_AVX2;
    }
    if (cpu->level == C4_CPU_AVX2 && bmi2 && cpu->avx512f && cpu->avx512bw && cpu->avx512vl && cpu->avx512dq) {
        cpu->level = C4_CPU_AVX512;
    }
}
#else
static void detect_features(c4_cpu *cpu)
{
    cpu->level = C4_CPU_SCALAR;
}
#endif

/* Bytes of cpu0's data or unified cache of one level as sysfs has it ("32768K"); 0 when it does not say. */
static size_t sysfs_cache_bytes(int level)
{
    for (int index = 0; index < 8; index++) {
        char path[96];
        char type[16] = "";
        int found = 0;
        size_t kib = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", index);
        FILE *file = fopen(path, "re");
        if (file == NULL) {
            return 0;
        }
        int fields = fscanf(file, "%d", &found);
        fclose(file);
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/type", index);
        file = fields == 1 && found == level ? fopen(path, "re") : NULL;
        if (file == NULL) {
            continue;
        }
        fields = fscanf(file, "%15s", type);
        fclose(file);
        if (fields != 1 || strcmp(type, "Instruction") == 0) {
            continue;
        }
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
        file = fopen(path, "re");
        if (file == NULL) {
            continue;
        }
        fields = fscanf(file, "%zuK", &kib);
        fclose(file);
        return fields == 1 ? kib * 1024 : 0;
    }
    return 0;
}

static size_t cache_bytes(int name, int level, size_t fallback)
{
    long bytes = sysconf(name);
    if (bytes > 0) {
        return (size_t)bytes;
    }
    size_t found = sysfs_cache_bytes(level);
    return found > 0 ? found : fallback;
}

void c4_cpu_detect(c4_cpu *cpu)
{
    *cpu = (c4_cpu){.level = C4_CPU_SCALAR};
    detect_features(cpu);
    cpu->l1d_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 1, (size_t)32 << 10);
    cpu->l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 2, (size_t)512 << 10);
    cpu->l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 3, cpu->l2_bytes);
}

static const char *const level_names[C4_CPU_NLEVELS] = {"scalar", "avx2", "avx512"};

const char *c4_cpu_level_name(c4_cpu_level level)
{
    return (unsigned)level < C4_CPU_NLEVELS ? level_names[level] : NULL;
}

c4_status c4_cpu_level_select(const c4_cpu *cpu, const char *name, c4_cpu_level *level)
{
    if (name == NULL || strcmp(name, "auto") == 0) {
        *level = cpu->level;
        return C4_OK;
    }
    for (int i = 0; i < C4_CPU_NLEVELS; i++) {
        if (strcmp(name, level_names[i]) != 0) {
            continue;
        }
        if ((c4_cpu_level)i > cpu->level) {
            return C4_ERR_UNSUPPORTED;
        }
        *level = (c4_cpu_level)i;
        return C4_OK;
    }
    return C4_ERR_OPTION;
}
