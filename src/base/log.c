#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* Set once by c4_log_configure; the rank may be set later by whichever communicator comes first. */
static struct {
    c4_log_level level;
    int fd;
    _Atomic int rank;
} logger = {C4_LOG_WARN, STDERR_FILENO, -1};

static const char *const level_names[] = {"none", "error", "warn", "info", "debug", "trace"};

bool c4_log_level_parse(const char *text, c4_log_level *level)
{
    if (strcasecmp(text, "version") == 0) {
        *level = C4_LOG_WARN;
        return true;
    }
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcasecmp(text, level_names[i]) == 0) {
            *level = (c4_log_level)i;
            return true;
        }
    }
    return false;
}

static void expand_name(const char *pattern, char *out, size_t size)
{
    size_t used = 0;
    for (; *pattern && used + 1 < size; pattern++) {
        if (pattern[0] != '%' || (pattern[1] != 'h' && pattern[1] != 'p')) {
            out[used++] = *pattern;
            continue;
        }
        pattern++;
        char part[HOST_NAME_MAX + 1] = "";
        if (*pattern == 'h')
            gethostname(part, sizeof part - 1);
        else
            snprintf(part, sizeof part, "%ld", (long)getpid());
        int printed = snprintf(out + used, size - used, "%s", part);
        used += printed > 0 ? (size_t)printed : 0;
    }
    out[used < size ? used : size - 1] = '\0';
}

void c4_log_configure(c4_log_level level, const char *file)
{
    logger.level = level;
    if (!file || !*file)
        return;
    char name[PATH_MAX];
    expand_name(file, name, sizeof name);
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0)
        logger.fd = fd;
    else
        c4_log(C4_LOG_WARN, "cannot open log file %s: %s; logging to stderr", name, strerror(errno));
}

void c4_log_set_rank(int rank)
{
    atomic_store_explicit(&logger.rank, rank, memory_order_relaxed);
}

bool c4_log_enabled(c4_log_level level)
{
    return level <= logger.level;
}

void c4_log(c4_log_level level, const char *format, ...)
{
    if (!c4_log_enabled(level))
        return;
    int saved_errno = errno;
    char line[1024];
    char host[HOST_NAME_MAX + 1] = "";
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &parts);
    gethostname(host, sizeof host - 1);
    int rank = atomic_load_explicit(&logger.rank, memory_order_relaxed);
    char who[24] = "";
    if (rank >= 0)
        snprintf(who, sizeof who, " rank %d", rank);
    size_t used =
        (size_t)snprintf(line, sizeof line, "c4 %02d:%02d:%02d.%03ld %.64s:%ld%s %s: ", parts.tm_hour, parts.tm_min,
                         parts.tm_sec, now.tv_nsec / 1000000, host, (long)getpid(), who, level_names[level]);
    va_list args;
    va_start(args, format);
    int printed = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    used += printed > 0 ? (size_t)printed : 0;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
    line[used++] = '\n';
    if (write(logger.fd, line, used) < 0)
        errno = saved_errno;
    errno = saved_errno;
}
