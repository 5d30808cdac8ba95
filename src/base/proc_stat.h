/* What /proc/PID/stat tells of a process. */
#ifndef C4_BASE_PROC_STAT_H
#define C4_BASE_PROC_STAT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct c4_proc_stat {
    char state;           /* field 3: R, S, D, T, t, Z, X, I */
    uint64_t nthreads;    /* field 20 */
    uint64_t start_ticks; /* field 22: since boot; tells a process from a later one with its pid */
    int exit_code;        /* field 52: of a zombie, as waitpid has it; 0 for who may not trace the process */
} c4_proc_stat;

/* `pid` 0: this process. False, and *stat is zeros: there is no such process, or no /proc. Neither allocates nor locks. */
bool c4_proc_stat_read(long pid, c4_proc_stat *stat);

/* Has it ended, whether its parent has taken notice or not? A main thread that has left the others to go on looks like a
 * zombie, too, but is not the only one. */
bool c4_proc_stat_has_ended(const c4_proc_stat *stat);

#endif
