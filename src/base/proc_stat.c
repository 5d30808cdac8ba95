#include "base/proc_stat.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Fields are counted after the command's closing parenthesis: the name before it may hold anything. */
bool c4_proc_stat_read(long pid, c4_proc_stat *stat)
{
    char path[64] = "/proc/self/stat", text[1024];
    *stat = (c4_proc_stat){0};
    if (pid)
        snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 3; at && field <= 52; field++) {
        at = strchr(at + 1, ' ');
        if (at && field == 3)
            stat->state = at[1];
        else if (at && field == 20)
            stat->nthreads = strtoull(at, NULL, 10);
        else if (at && field == 22)
            stat->start_ticks = strtoull(at, NULL, 10);
        else if (at && field == 52)
            stat->exit_code = (int)strtol(at, NULL, 10);
    }
    return stat->state != 0;
}

bool c4_proc_stat_has_ended(const c4_proc_stat *stat)
{
    return (stat->state == 'Z' && stat->nthreads <= 1) || stat->state == 'X' || stat->state == 0;
}
