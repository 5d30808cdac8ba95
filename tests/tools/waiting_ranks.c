/* Not a test: what test_c4run_waiting.c starts as every rank. After one all_reduce, waiting_ranks MODE:
 *
 *     absent  rank 2 does not enter the second, ever
 *     killed  rank 1 waits until all others are in the second, and dies of SIGKILL
 *     exited  rank 1 the same, but leaves with exit status 3
 *     interrupt  rank 1 the same, but sends SIGTERM to its parent
 *     alone   rank 1 ends with exit status 4 while the others, through with the first, compute
 *     peer    rank 0 receives from rank 1, which sends nothing */
#include <c4/c4.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diag/sources/standing.h"

#define MAX_COUNT 1000

/* Ranks of the one job below C4_RECORD_DIR that are in collective `sequence`, or are through with it as their last. */
static int count_in(const char *job, uint32_t sequence, bool running)
{
    char path[1200];
    int count = 0;
    struct dirent *entry;
    DIR *dir = opendir(job);
    while (dir && (entry = readdir(dir))) {
        c4_record_file *file;
        c4_standing at;
        snprintf(path, sizeof path, "%s/%s", job, entry->d_name);
        if (entry->d_name[0] == '.' || c4_record_file_open(path, &file) < 0)
            continue;
        c4_standing_read(file, &at);
        count += at.has_operation && at.operation.sequence == sequence &&
                 (at.operation.state == C4_RECORD_RUNNING) == running;
        c4_record_file_close(file);
    }
    if (dir)
        closedir(dir);
    return count;
}

static void await_ranks(int least, uint32_t sequence, bool running)
{
    const char *top = getenv("C4_RECORD_DIR");
    char job[1000] = "";
    struct dirent *entry;
    DIR *dir = top ? opendir(top) : NULL;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && entry->d_type != DT_SOCK)
            snprintf(job, sizeof job, "%s/%s", top, entry->d_name);
    if (dir)
        closedir(dir);
    while (count_in(job, sequence, running) < least)
        usleep(2000);
}

static void leave(const char *mode, int nranks)
{
    await_ranks(nranks - 1, 2, true);
    if (strcmp(mode, "killed") == 0)
        raise(SIGKILL);
    if (strcmp(mode, "exited") == 0)
        exit(3);
    kill(getppid(), SIGTERM);
    pause();
}

int main(int argc, char **argv)
{
    static float values[MAX_COUNT];
    const char *mode = argc > 1 ? argv[1] : "";
    c4_comm *comm;
    int rank, nranks;
    if (c4_comm_create_from_env(NULL, NULL, &comm) != C4_OK || c4_comm_rank(comm, &rank) != C4_OK ||
        c4_comm_size(comm, &nranks) != C4_OK ||
        c4_all_reduce(values, values, MAX_COUNT, C4_FLOAT32, C4_SUM, comm, NULL) != C4_OK)
        return 1;
    if (strcmp(mode, "absent") == 0 && rank == 2)
        pause();
    if (strcmp(mode, "peer") == 0 && rank == 0)
        return c4_recv(values, 1, C4_FLOAT32, 1, comm, NULL) == C4_OK ? 0 : 1;
    if (strcmp(mode, "peer") == 0)
        pause();
    if (strcmp(mode, "alone") == 0 && rank == 1) {
        await_ranks(nranks, 1, false);
        return 4;
    }
    if (strcmp(mode, "alone") == 0)
        pause();
    if (rank == 1 && strcmp(mode, "absent") != 0)
        leave(mode, nranks);
    if (c4_all_reduce(values, values, 100, C4_FLOAT32, C4_SUM, comm, NULL) != C4_OK)
        return 1;
    return c4_comm_destroy(comm) == C4_OK ? 0 : 1;
}
