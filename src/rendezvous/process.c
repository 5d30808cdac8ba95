#include "rendezvous/process.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, size - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = '\0';
    return true;
}

typedef struct process_stat {
    char state;
    uint64_t nthreads;
    uint64_t start_ticks;
} process_stat;

/* Fields 3, 20 and 22 of /proc/PID/stat, counted after the command's closing parenthesis (which may hold anything). Zeros:
 * unknown. */
static process_stat read_stat(const char *path)
{
    char text[1024];
    process_stat stat = {0};
    if (!read_text(path, text, sizeof text))
        return stat;
    char *at = strrchr(text, ')');
    for (int field = 3; at && field <= 22; field++) {
        at = strchr(at + 1, ' ');
        if (at && field == 3)
            stat.state = at[1];
        else if (at && field == 20)
            stat.nthreads = strtoull(at, NULL, 10);
        else if (at && field == 22)
            stat.start_ticks = strtoull(at, NULL, 10);
    }
    return stat;
}

static process_stat read_stat_of(uint32_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    return read_stat(path);
}

static void parse_boot_id(const char *text, unsigned char out[16])
{
    size_t digits = 0;
    for (; *text && digits < 32; text++) {
        if (!isxdigit((unsigned char)*text))
            continue;
        int low = *text | 0x20; /* lower case */
        unsigned value = (unsigned)(low <= '9' ? low - '0' : low - 'a' + 10);
        out[digits / 2] = (unsigned char)(out[digits / 2] << 4 | value);
        digits++;
    }
}

void c4_process_self(c4_process *process)
{
    memset(process, 0, sizeof *process);
    process->pid = (uint32_t)getpid();
    process->uid = (uint32_t)geteuid();
    process->start_ticks = read_stat("/proc/self/stat").start_ticks;
    struct stat info;
    if (stat("/proc/self/ns/pid", &info) == 0)
        process->pid_namespace = info.st_ino;
    char text[64];
    if (read_text("/proc/sys/kernel/random/boot_id", text, sizeof text))
        parse_boot_id(text, process->boot_id);
    gethostname(process->host, sizeof process->host - 1);
    for (char *c = process->host; *c; c++)
        if (*c < 0x21 || *c > 0x7e)
            *c = '?';
}

bool c4_process_same_kernel(const c4_process *self, const c4_process *other)
{
    return self->pid_namespace && self->pid_namespace == other->pid_namespace && self->start_ticks &&
           other->start_ticks && memcmp(self->boot_id, other->boot_id, sizeof self->boot_id) == 0;
}

uint64_t c4_process_start_ticks(uint32_t pid)
{
    return read_stat_of(pid).start_ticks;
}

/* A main thread that has left the others to go on looks like a zombie, too, but is not the only one. */
bool c4_process_is_alive(const c4_process *process)
{
    process_stat stat = read_stat_of(process->pid);
    bool ended = (stat.state == 'Z' && stat.nthreads <= 1) || stat.state == 'X';
    return stat.start_ticks == process->start_ticks && !ended;
}
