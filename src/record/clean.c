/* What crashed jobs left behind goes by age and by size. Several processes, also of other pid namespaces, may share
 * the directory: only a job all of whose records are readable, this user's, and of processes that are gone is touched. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/proc_stat.h"
#include "record/clean.h"
#include "record/internal.h"

#define MAX_ENTRIES 4096

typedef struct cleaner {
    int top_fd;
    bool local;       /* the files can only be of this host */
    char host[64];    /* as in a record's header */
    unsigned entries; /* still to be looked at */
    c4_record_dead_job *jobs;
    size_t njobs, room;
} cleaner;

uint64_t c4_record_start_ticks(long pid)
{
    c4_proc_stat stat;
    c4_proc_stat_read(pid, &stat);
    return stat.start_ticks;
}

static bool is_job_name(const char *name)
{
    return strlen(name) == C4_RECORD_JOB_DIGITS && strspn(name, "0123456789abcdef") == C4_RECORD_JOB_DIGITS;
}

static bool is_record_name(const char *name)
{
    size_t length = strlen(name), suffix = sizeof C4_RECORD_SUFFIX - 1;
    return length > suffix && strcmp(name + length - suffix, C4_RECORD_SUFFIX) == 0;
}

/* The next entry but . and ..; NULL at the end and when enough was looked at (*whole becomes false). */
static const char *next_name(cleaner *c, DIR *dir, bool *whole)
{
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (c->entries == 0) {
            *whole = false;
            return NULL;
        }
        c->entries--;
        return entry->d_name;
    }
    return NULL;
}

/* A record of a process that is certainly gone. */
static bool is_dead(const cleaner *c, int fd, const struct stat *info)
{
    c4_record_header header;
    if (!S_ISREG(info->st_mode) || info->st_uid != geteuid() ||
        pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header || header.magic != C4_RECORD_MAGIC ||
        header.pid == 0 || header.pid_start_ticks == 0)
        return false;
    if (!c->local && strncmp(header.host, c->host, sizeof header.host) != 0)
        return false;
    /* The writer holds a lock: it tells apart a process of another pid namespace from one that is gone. */
    if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return false;
    return c4_record_start_ticks(header.pid) != header.pid_start_ticks;
}

/* One entry of a job's directory: dead, and then what it adds to the job. */
static bool look_at_file(const cleaner *c, int job_fd, const char *name, c4_record_dead_job *job)
{
    struct stat info;
    int fd = is_record_name(name) ? openat(job_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    bool dead = fstat(fd, &info) == 0 && is_dead(c, fd, &info);
    close(fd);
    if (!dead)
        return false;
    job->bytes += (uint64_t)info.st_blocks * 512;
    if (info.st_mtime > job->newest)
        job->newest = info.st_mtime;
    return true;
}

/* True when every record in the directory is dead; fills *job. */
static bool look_at_job(cleaner *c, const char *name, c4_record_dead_job *job)
{
    struct stat info;
    int fd = c4_record_open_job(c->top_fd, name, false, NULL);
    if (fd < 0)
        return false;
    DIR *dir = fstat(fd, &info) == 0 ? c4_record_list(fd) : NULL;
    bool dead = dir != NULL;
    *job = (c4_record_dead_job){.newest = dir ? info.st_mtime : 0};
    memcpy(job->name, name, sizeof job->name);
    const char *file;
    while (dead && (file = next_name(c, dir, &dead)))
        dead = look_at_file(c, fd, file, job);
    if (dir)
        closedir(dir);
    close(fd);
    return dead;
}

static void collect(cleaner *c)
{
    bool whole = true;
    const char *name;
    c4_record_dead_job job;
    DIR *dir = c4_record_list(c->top_fd);
    while (dir && (name = next_name(c, dir, &whole))) {
        if (!is_job_name(name) || !look_at_job(c, name, &job))
            continue;
        if (c->njobs == c->room) {
            size_t room = c->room ? 2 * c->room : 64;
            c4_record_dead_job *jobs = realloc(c->jobs, room * sizeof *jobs);
            if (!jobs)
                break;
            c->jobs = jobs;
            c->room = room;
        }
        c->jobs[c->njobs++] = job;
    }
    if (dir)
        closedir(dir);
}

/* Again one by one: a process of the same job may have come meanwhile; then the directory is not empty and stays. */
static bool remove_job(cleaner *c, const char *name)
{
    bool whole = true;
    c4_record_dead_job job = {.bytes = 0};
    const char *file;
    int fd = c4_record_open_job(c->top_fd, name, false, NULL);
    DIR *dir = fd < 0 ? NULL : c4_record_list(fd);
    c->entries = MAX_ENTRIES;
    while (dir && (file = next_name(c, dir, &whole)))
        if (look_at_file(c, fd, file, &job))
            unlinkat(fd, file, 0);
    if (dir)
        closedir(dir);
    if (fd >= 0)
        close(fd);
    bool removed = unlinkat(c->top_fd, name, AT_REMOVEDIR) == 0;
    if (removed)
        c4_log(C4_LOG_DEBUG, "flight recorder: removed what job %s left, %llu bytes", name,
               (unsigned long long)job.bytes);
    return removed;
}

static int compare_age(const void *a, const void *b)
{
    const c4_record_dead_job *x = a, *y = b;
    return x->newest < y->newest ? -1 : x->newest > y->newest;
}

/* False when nothing can be known: without /proc nothing is known of any process. */
static bool cleaner_init(cleaner *c, int top_fd, unsigned entries)
{
    struct statfs system;
    *c = (cleaner){.top_fd = top_fd, .entries = entries};
    c->local = fstatfs(top_fd, &system) == 0 && system.f_type == TMPFS_MAGIC;
    gethostname(c->host, sizeof c->host - 1);
    return c4_record_start_ticks(getpid()) != 0;
}

static void collect_by_age(cleaner *c)
{
    collect(c);
    if (c->njobs > 0)
        qsort(c->jobs, c->njobs, sizeof *c->jobs, compare_age);
}

void c4_record_clean(int top_fd, uint64_t keep_s, uint64_t keep_bytes)
{
    cleaner c;
    uint64_t total = 0;
    int lock = keep_s || keep_bytes ? openat(top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (lock < 0)
        return;
    /* One cleaner at a time: the others have nothing to add. */
    if (cleaner_init(&c, top_fd, MAX_ENTRIES) && flock(lock, LOCK_EX | LOCK_NB) == 0) {
        collect_by_age(&c);
        for (size_t i = 0; i < c.njobs; i++)
            total += c.jobs[i].bytes;
        int64_t oldest = keep_s ? (int64_t)time(NULL) - (int64_t)keep_s : INT64_MIN;
        for (size_t i = 0; i < c.njobs; i++) {
            /* An empty directory frees nothing, and may be a job's that is just starting. */
            bool over = keep_bytes && total > keep_bytes && c.jobs[i].bytes > 0;
            if (c.jobs[i].newest >= oldest && !over)
                continue;
            remove_job(&c, c.jobs[i].name);
            total -= c.jobs[i].bytes;
        }
        free(c.jobs);
    }
    close(lock);
}

size_t c4_record_dead_jobs(int top_fd, c4_record_dead_job **jobs)
{
    cleaner c;
    *jobs = NULL;
    if (!cleaner_init(&c, top_fd, UINT_MAX))
        return 0;
    collect_by_age(&c);
    *jobs = c.jobs;
    return c.njobs;
}

bool c4_record_remove_dead(int top_fd, const char *name)
{
    cleaner c;
    return is_job_name(name) && cleaner_init(&c, top_fd, MAX_ENTRIES) && remove_job(&c, name);
}
