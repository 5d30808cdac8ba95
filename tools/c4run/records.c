#include "tools/c4run/records.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/options.h"
#include "record/place.h"
#include "record/recorder.h"

#define MAX_ENTRIES 100000 /* of all jobs' directories together */

typedef struct search {
    const c4run_job *job;
    c4_record_file **files;
    char top[C4_RECORD_TOP_BYTES];
    char own[C4_RECORD_NAME_BYTES]; /* the directory of this job's launch */
    uint64_t started_wall_ns;
    int entries; /* still to be looked at */
    int found;
} search;

/* C4_RECORD_DIR of the ranks, unless a configuration file names another. */
static const char *record_directory(void)
{
    const char *named = c4_env_get("C4_RECORD_DIR");
    for (size_t i = 0; !named && i < c4_record_option_table.count; i++)
        if (strcmp(c4_record_option_table.specs[i].name, "C4_RECORD_DIR") == 0)
            named = c4_record_option_table.specs[i].def;
    return named ? named : "";
}

static int child_of(const search *s, const char *name, bool own)
{
    const c4run_job *job = s->job;
    char *rest;
    long rank = strtol(name, &rest, 10),
         pid = *rest == '-' || *rest == 'x' ? strtol(rest + (*rest == 'x') + 1, NULL, 10) : 0;
    pid_t group = pid > 1 ? getpgid((pid_t)pid) : -1;
    for (int i = 0; i < job->nchildren && pid > 1; i++)
        if (job->children[i].pid == pid || (group > 0 && job->children[i].pid == group))
            return i;
    bool local = rest != name && rank >= job->first_rank && rank < job->first_rank + job->nchildren;
    return own && local ? (int)rank - job->first_rank : -1;
}

/* What an earlier process of the same number left behind is older than the job. */
static void take(search *s, const char *folder, const char *name, int child)
{
    char path[C4_RECORD_TOP_BYTES + 600];
    c4_record_file *file, **kept = &s->files[child];
    snprintf(path, sizeof path, "%s/%s/%s", s->top, folder, name);
    if (c4_record_file_open(path, &file) < 0)
        return;
    if (c4_record_file_header(file)->wall_ns_0 < s->started_wall_ns ||
        (*kept && c4_record_file_header(*kept)->ticks_0 > c4_record_file_header(file)->ticks_0)) {
        c4_record_file_close(file);
        return;
    }
    s->found += *kept == NULL;
    c4_record_file_close(*kept);
    *kept = file;
}

static DIR *open_directory(int fd)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

static void look_in(search *s, int top_fd, const char *folder)
{
    struct dirent *entry;
    DIR *dir = open_directory(c4_record_open_job(top_fd, folder, false, NULL));
    while (dir && s->entries > 0 && (entry = readdir(dir))) {
        s->entries--;
        size_t length = strlen(entry->d_name), suffix = sizeof C4_RECORD_SUFFIX - 1;
        if (length <= suffix || strcmp(entry->d_name + length - suffix, C4_RECORD_SUFFIX) != 0)
            continue;
        int child = child_of(s, entry->d_name, strcmp(folder, s->own) == 0);
        if (child >= 0)
            take(s, folder, entry->d_name, child);
    }
    if (dir)
        closedir(dir);
}

/* A program that makes a unique id of its own has its records under that, so every job's directory is looked into. */
int c4run_records_open(const c4run_job *job, c4_record_file **files)
{
    search s = {.job = job, .files = files, .entries = MAX_ENTRIES};
    const char *id = job->id[0] ? job->id : job->rendezvous;
    struct timespec wall;
    struct dirent *entry;
    if (!c4_record_expand_top(record_directory(), s.top) || !s.top[0])
        return 0;
    snprintf(s.own, sizeof s.own, "%016llx", (unsigned long long)c4_hash_bytes(C4_HASH_INIT, id, strlen(id)));
    clock_gettime(CLOCK_REALTIME, &wall);
    s.started_wall_ns = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec - (c4_now_ns() - job->started_ns);
    int top_fd = c4_record_open_top(s.top, false, NULL);
    DIR *dir = open_directory(top_fd);
    while (dir && s.entries > 0 && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            look_in(&s, top_fd, entry->d_name);
    if (dir)
        closedir(dir);
    return s.found;
}
