/* One line per event on stderr or in C4_LOG_FILE: "c4 12:00:00.123 host:pid rank 3 error: text". */
#ifndef C4_BASE_LOG_H
#define C4_BASE_LOG_H

#include <stdbool.h>

typedef enum c4_log_level {
    C4_LOG_NONE,
    C4_LOG_ERROR,
    C4_LOG_WARN,
    C4_LOG_INFO,
    C4_LOG_DEBUG,
    C4_LOG_TRACE
} c4_log_level;

/* Level and file (NULL: stderr; "%h" host, "%p" pid are replaced); called once, before the first thread. */
void c4_log_configure(c4_log_level level, const char *file);
/* Rank shown in the prefix of this process's lines; -1: none. */
void c4_log_set_rank(int rank);
bool c4_log_enabled(c4_log_level level);
/* Writes one line with one write(2); safe from any thread. */
void c4_log(c4_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "error", "warn", "info", "debug", "trace" or NCCL's "WARN", "INFO", "TRACE", "VERSION"; false when unknown. */
bool c4_log_level_parse(const char *text, c4_log_level *level);

#endif
