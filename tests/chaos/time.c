#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "tests/chaos/chaos.h"

int64_t chaos_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void chaos_sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        continue;
}

/* Second number of schedstat: time in the run queue. */
static int64_t thread_waited_ns(pid_t pid, const char *thread)
{
    char path[320];
    long long waited = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, thread);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %lld", &waited) != 1)
        waited = 0;
    if (file)
        fclose(file);
    return waited;
}

int64_t chaos_waited_ns(pid_t pid)
{
    char path[64];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            sum += thread_waited_ns(pid, entry->d_name);
    if (dir)
        closedir(dir);
    return sum;
}
