#include "host/limits.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

static c4_limit read_limit(__rlimit_resource_t resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return (c4_limit){C4_UNLIMITED, C4_UNLIMITED};
    return (c4_limit){limit.rlim_cur == RLIM_INFINITY ? C4_UNLIMITED : limit.rlim_cur,
                      limit.rlim_max == RLIM_INFINITY ? C4_UNLIMITED : limit.rlim_max};
}

static void read_memory(c4_limits *limits)
{
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        unsigned long long kib;
        if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
            limits->memory_bytes = kib << 10;
        else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            limits->memory_available_bytes = kib << 10;
    }
    if (file)
        fclose(file);
}

static int read_ptrace_scope(void)
{
    int scope = -1;
    FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    if (!file)
        return -1;
    if (fscanf(file, "%d", &scope) != 1)
        scope = -1;
    fclose(file);
    return scope;
}

void c4_limits_read(c4_limits *limits)
{
    struct statvfs shm;
    struct utsname name;
    *limits = (c4_limits){.memlock = read_limit(RLIMIT_MEMLOCK),
                          .nofile = read_limit(RLIMIT_NOFILE),
                          .nproc = read_limit(RLIMIT_NPROC),
                          .ptrace_scope = read_ptrace_scope()};
    limits->has_shm = statvfs("/dev/shm", &shm) == 0;
    if (limits->has_shm) {
        limits->shm_bytes = (uint64_t)shm.f_blocks * shm.f_frsize;
        limits->shm_free_bytes = (uint64_t)shm.f_bavail * shm.f_frsize;
    }
    read_memory(limits);
    if (uname(&name) == 0)
        snprintf(limits->kernel, sizeof limits->kernel, "%.71s", name.release);
}
