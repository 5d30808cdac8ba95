#include "rendezvous/process.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/proc_stat.h"

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
    c4_proc_stat running;
    struct stat info;
    c4_proc_stat_read(0, &running);
    process->start_ticks = running.start_ticks;
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
    c4_proc_stat stat;
    c4_proc_stat_read(pid, &stat);
    return stat.start_ticks;
}

bool c4_process_is_alive(const c4_process *process)
{
    c4_proc_stat stat;
    return c4_proc_stat_read(process->pid, &stat) && stat.start_ticks == process->start_ticks &&
           !c4_proc_stat_has_ended(&stat);
}
