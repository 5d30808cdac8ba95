/* Not a test: what tests/comm/test_many_ranks.sh and `make bench-start` start as every rank. One line: rank, result right
 * (1/0), private memory written by creating the communicator (KiB), milliseconds of that and of one all-reduce, and what
 * both together have added to this process's mappings and open files. */
#include <c4/c4.h>
#include <dirent.h>
#include <stdio.h>
#include <time.h>

/* Private_Dirty of this process in KiB; -1: not to be had. */
static long private_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Private_Dirty: %ld kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

static int count_mappings(void)
{
    int lines = 0, c;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && (c = getc(maps)) != EOF)
        lines += c == '\n';
    if (maps)
        fclose(maps);
    return lines;
}

static int count_files(void)
{
    int count = 0;
    DIR *files = opendir("/proc/self/fd");
    while (files && readdir(files))
        count++;
    if (files)
        closedir(files);
    return count;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

int main(void)
{
    c4_comm *comm;
    int rank, nranks;
    (void)private_kib(); /* the stream's own buffers are there before it counts */
    int mappings = count_mappings(), files = count_files();
    long before = private_kib();
    double start = now_ms();
    if (c4_comm_create_from_env(NULL, NULL, &comm) != C4_OK)
        return 1;
    double created = now_ms();
    long after = private_kib();
    if (c4_comm_rank(comm, &rank) != C4_OK || c4_comm_size(comm, &nranks) != C4_OK)
        return 1;
    int64_t value = rank + 1, expected = (int64_t)nranks * (nranks + 1) / 2;
    double call = now_ms();
    if (c4_all_reduce(&value, &value, 1, C4_INT64, C4_SUM, comm, NULL) != C4_OK)
        return 1;
    double done = now_ms();
    printf("many_ranks %d %d %ld %.1f %.1f %d %d\n", rank, value == expected,
           before < 0 || after < 0 ? -1 : after - before, created - start, done - call, count_mappings() - mappings,
           count_files() - files);
    fflush(stdout);
    return c4_comm_destroy(comm) == C4_OK ? 0 : 1;
}
