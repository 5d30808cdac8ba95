#include "host/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

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

/* One word of a file of cpu0's cache `index`, "" when there is none. */
static void read_cache_word(int index, const char *name, char word[16])
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    word[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    if (fscanf(file, "%15s", word) != 1) {
        word[0] = '\0';
    }
    fclose(file);
}

/* Bytes of cpu0's data or unified cache of one level as sysfs has it ("32768K"); 0 when it does not say. */
static size_t sysfs_cache_bytes(int level)
{
    enum { MAX_CACHES = 8 };
    for (int index = 0; index < MAX_CACHES; index++) {
        char word[16];
        read_cache_word(index, "level", word);
        if (word[0] == '\0') {
            return 0;
        }
        if (atoi(word) != level) {
            continue;
        }
        read_cache_word(index, "type", word);
        if (strcmp(word, "Instruction") == 0) {
            continue;
        }
        read_cache_word(index, "size", word);
        char *unit;
        size_t size = strtoul(word, &unit, 10);
        return size << (*unit == 'K' ? 10 : *unit == 'M' ? 20 : 0);
    }
    return 0;
}

/* sysfs first: on AMD, sysconf gives the L3 of the whole package (320 MiB on a machine whose cores share 32 MiB). */
static size_t cache_bytes(int level, int name, size_t fallback)
{
    size_t found = sysfs_cache_bytes(level);
    if (found > 0) {
        return found;
    }
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : fallback;
}

void c4_cpu_detect(c4_cpu *cpu)
{
    *cpu = (c4_cpu){.level = C4_CPU_SCALAR};
    detect_features(cpu);
    cpu->l1d_bytes = cache_bytes(1, _SC_LEVEL1_DCACHE_SIZE, (size_t)32 << 10);
    cpu->l2_bytes = cache_bytes(2, _SC_LEVEL2_CACHE_SIZE, (size_t)512 << 10);
    cpu->l3_bytes = cache_bytes(3, _SC_LEVEL3_CACHE_SIZE, cpu->l2_bytes);
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
            return c4_fail(C4_ERR_UNSUPPORTED, "C4_CPU=%s: this CPU has %s at most; set C4_CPU=auto", name,
                           level_names[cpu->level]);
        }
        *level = (c4_cpu_level)i;
        return C4_OK;
    }
    return C4_ERR_OPTION;
}
