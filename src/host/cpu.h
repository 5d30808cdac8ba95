/* What this processor can do and how large its caches are. Read once, by the caller that sets the process up; nothing
 * here reads the environment. */
#ifndef C4_HOST_CPU_H
#define C4_HOST_CPU_H

#include <stdbool.h>
#include <stddef.h>

#include "c4/c4.h"

/* Instruction-set levels of the numeric kernels. Every level gives the same bits; a higher one is faster. */
typedef enum c4_cpu_level {
    C4_CPU_SCALAR = 0, /* plain C, any processor */
    C4_CPU_AVX2 = 1,   /* x86-64 with AVX2 and F16C */
    C4_CPU_AVX512 = 2, /* x86-64 with AVX-512 F, BW, VL and DQ */
    C4_CPU_NLEVELS = 3
} c4_cpu_level;

typedef struct c4_cpu {
    bool avx2;
    bool f16c;
    bool avx512f;
    bool avx512bw;
    bool avx512vl;
    bool avx512dq;
    c4_cpu_level level; /* the highest level whose features the processor has and the kernel saves */
    size_t l1d_bytes;   /* per core; a plausible default where the system does not say */
    size_t l2_bytes;    /* per core */
    size_t l3_bytes;    /* shared by the cores of one cache domain; equals l2_bytes where there is no L3 */
} c4_cpu;

/* Fills *cpu. Does not allocate; reads cpuid, sysfs and, where that says nothing, sysconf. Cannot fail. */
void c4_cpu_detect(c4_cpu *cpu);

/* "scalar", "avx2", "avx512"; NULL for an unknown level. Static string. */
const char *c4_cpu_level_name(c4_cpu_level level);

/* The level that `name` asks for ("auto" or NULL: the highest). C4_ERR_OPTION: unknown name.
 * C4_ERR_UNSUPPORTED: this processor lacks it. *level is written on success only. */
c4_status c4_cpu_level_select(const c4_cpu *cpu, const char *name, c4_cpu_level *level);

#endif
