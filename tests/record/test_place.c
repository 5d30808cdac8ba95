/* Where flight records lie: whose directories are accepted, names, and what is removed by age and by size. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "record/recorder.h"
#include "tests/c4test.h"

#define DAY 86400

static const char *top(void)
{
    return c4test_path("records");
}

static const char *job_path(uint64_t job_id)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%016llx", top(), (unsigned long long)job_id);
    return path;
}

static bool exists(uint64_t job_id)
{
    struct stat info;
    return lstat(job_path(job_id), &info) == 0;
}

/* The only file of a job. */
static const char *record_path(uint64_t job_id)
{
    static char path[1024];
    DIR *dir = opendir(job_path(job_id));
    struct dirent *entry;
    path[0] = '\0';
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            snprintf(path, sizeof path, "%s/%s", job_path(job_id), entry->d_name);
    if (dir)
        closedir(dir);
    return path;
}

static void set_age(const char *path, long seconds)
{
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){.tv_sec = now.tv_sec - seconds};
    C4TEST_INT(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void age_job(uint64_t job_id, long seconds)
{
    set_age(record_path(job_id), seconds);
    set_age(job_path(job_id), seconds);
}

/* What a process that crashed `seconds` ago left; `gone`: with the start time of another process than this one. */
static void leave_job(uint64_t job_id, bool gone, long seconds)
{
    c4_recorder_spec spec = {.directory = top(), .bytes = 65536, .job_id = job_id, .rank = 0};
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    CU_ASSERT_FATAL(recorder != NULL);
    c4_recorder_release(recorder, false);
    if (gone) {
        uint64_t ticks = 1;
        int fd = open(record_path(job_id), O_WRONLY | O_CLOEXEC);
        C4TEST_INT(pwrite(fd, &ticks, sizeof ticks, offsetof(c4_record_header, pid_start_ticks)), sizeof ticks);
        close(fd);
    }
    age_job(job_id, seconds);
}

/* Another job starts and ends: what it removes on the way. */
static void clean(uint64_t keep_s, uint64_t keep_bytes)
{
    c4_recorder_spec spec = {
        .directory = top(), .bytes = 65536, .job_id = 0xc1ea, .keep_s = keep_s, .keep_bytes = keep_bytes};
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    CU_ASSERT_FATAL(recorder != NULL);
    c4_recorder_release(recorder, true);
    CU_ASSERT(!exists(0xc1ea));
}

static void test_age(void)
{
    leave_job(1, true, DAY + 60);
    leave_job(2, true, DAY - 60);  /* young */
    leave_job(3, false, DAY + 60); /* this process's: alive */
    leave_job(4, true, DAY + 60);  /* its file is young, its directory is not */
    set_age(record_path(4), 10);
    leave_job(5, true, DAY + 60); /* beside the record something of unknown use */
    char strange[600];
    snprintf(strange, sizeof strange, "%s/notes", job_path(5));
    C4TEST_INT(mkdir(strange, 0700), 0);
    set_age(job_path(5), DAY + 60);
    leave_job(6, true, DAY + 60); /* not a record */
    C4TEST_INT(truncate(record_path(6), 100), 0);
    age_job(6, DAY + 60);
    clean(0, 0);
    CU_ASSERT(exists(1) && exists(2) && exists(3) && exists(4) && exists(5) && exists(6));
    clean(DAY, 0);
    CU_ASSERT(!exists(1));
    CU_ASSERT(exists(2));
    CU_ASSERT(exists(3));
    CU_ASSERT(exists(4));
    CU_ASSERT(exists(5) && access(record_path(5), F_OK) == 0);
    CU_ASSERT(exists(6));
}

/* A writer of another pid namespace: its number says nothing here, its lock does. */
static void test_locked(void)
{
    leave_job(1, true, DAY + 60);
    int fd = open(record_path(1), O_RDONLY | O_CLOEXEC);
    C4TEST_INT(flock(fd, LOCK_EX | LOCK_NB), 0);
    clean(DAY, 1);
    CU_ASSERT(exists(1));
    close(fd);
    /* and a recorder that is open holds it */
    c4_recorder_spec spec = {.directory = top(), .bytes = 65536, .job_id = 2, .rank = 0};
    c4_recorder *recorder = c4_recorder_acquire(&spec);
    CU_ASSERT_FATAL(recorder != NULL);
    fd = open(record_path(2), O_RDONLY | O_CLOEXEC);
    CU_ASSERT(fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    c4_recorder_release(recorder, false);
    C4TEST_INT(flock(fd, LOCK_SH | LOCK_NB), 0);
    close(fd);
    clean(DAY, 0);
    CU_ASSERT(!exists(1));
}

static void test_size(void)
{
    struct stat info;
    for (uint64_t job = 1; job <= 4; job++)
        leave_job(job, true, (long)(1000 * job)); /* 4 is the oldest */
    leave_job(5, false, 9000);                    /* alive: neither counted nor removed */
    C4TEST_INT(stat(record_path(1), &info), 0);
    uint64_t each = (uint64_t)info.st_blocks * 512;
    clean(0, 4 * each);
    CU_ASSERT(exists(1) && exists(2) && exists(3) && exists(4));
    clean(DAY, 2 * each + each / 2);
    CU_ASSERT(exists(1) && exists(2) && !exists(3) && !exists(4));
    clean(0, 1);
    CU_ASSERT(!exists(1) && !exists(2) && exists(5));
}

/* No more than 4096 entries are looked at: of a job that has more nothing is known. */
static void test_bounded(void)
{
    char first[1024], path[600];
    leave_job(1, true, 2 * DAY);
    snprintf(first, sizeof first, "%s", record_path(1));
    for (int i = 0; i < 5000; i++) {
        snprintf(path, sizeof path, "%s/%04d-1-%016x.c4rec", job_path(1), i, i);
        C4TEST_INT_FATAL(link(first, path), 0);
    }
    set_age(job_path(1), 2 * DAY);
    clean(DAY, 1);
    CU_ASSERT(exists(1));
}

/* ---- what is refused ---- */

/* The warning of an acquire that must fail. */
static const char *refusal(const char *directory)
{
    static char text[4096];
    char log[512];
    snprintf(log, sizeof log, "%s", c4test_path("log"));
    unlink(log);
    c4_log_configure(C4_LOG_WARN, log);
    c4_recorder_spec spec = {.directory = directory, .bytes = 65536, .job_id = 7, .rank = 0, .keep_s = 1};
    CU_ASSERT(c4_recorder_acquire(&spec) == NULL);
    c4_log_configure(C4_LOG_WARN, "");
    FILE *file = fopen(log, "r");
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[got] = '\0';
    if (file)
        fclose(file);
    return text;
}

static void test_refused(void)
{
    char link_path[600], slash[608], text[64];
    C4TEST_INT(mkdir(top(), 0700), 0);
    C4TEST_INT(chmod(top(), 0770), 0);
    C4TEST_CONTAINS(refusal(top()), "has mode 0770: others may write there");
    C4TEST_INT(chmod(top(), 01707), 0);
    C4TEST_CONTAINS(refusal(top()), "has mode 1707: others may write there");
    C4TEST_INT(chmod(top(), 0755), 0);
    snprintf(link_path, sizeof link_path, "%s", c4test_path("link"));
    C4TEST_INT(symlink(top(), link_path), 0);
    C4TEST_CONTAINS(refusal(link_path), "is a symbolic link or no directory");
    snprintf(slash, sizeof slash, "%s/", link_path);
    C4TEST_CONTAINS(refusal(slash), "is a symbolic link or no directory");
    C4TEST_INT(mkdir(c4test_path("elsewhere"), 0700), 0);
    C4TEST_INT(symlink(c4test_path("elsewhere"), job_path(7)), 0);
    C4TEST_CONTAINS(refusal(top()), "0000000000000007 is a symbolic link or no directory");
    C4TEST_INT(unlink(job_path(7)), 0);
    C4TEST_INT(mkdir(job_path(7), 0700), 0);
    C4TEST_INT(chmod(job_path(7), 0722), 0);
    C4TEST_CONTAINS(refusal(top()), "0000000000000007 has mode 0722");
    C4TEST_INT(chmod(job_path(7), 0700), 0);
    snprintf(text, sizeof text, "this process runs as %ld", (long)geteuid());
    if (geteuid() == 0) {
        C4TEST_INT(chown(job_path(7), 12345, (gid_t)-1), 0);
        C4TEST_CONTAINS(refusal(top()), "0000000000000007 belongs to user 12345");
        C4TEST_INT(chown(top(), 12345, (gid_t)-1), 0);
        C4TEST_CONTAINS(refusal(top()), text);
    } else {
        C4TEST_CONTAINS(refusal("/usr"), text);
    }
}

/* A link that looks like a dead job, or like a record, leads nowhere. */
static void test_links_stay(void)
{
    char hidden[600], record[1024];
    leave_job(1, true, 2 * DAY);
    snprintf(hidden, sizeof hidden, "%s", c4test_path("hidden"));
    C4TEST_INT(rename(job_path(1), hidden), 0);
    C4TEST_INT(symlink(hidden, job_path(1)), 0);
    set_age(job_path(1), 2 * DAY);
    leave_job(2, true, 2 * DAY);
    snprintf(record, sizeof record, "%s", record_path(2));
    C4TEST_INT(rename(record, c4test_path("victim")), 0);
    C4TEST_INT(symlink(c4test_path("victim"), record), 0);
    age_job(2, 2 * DAY);
    clean(DAY, 1);
    CU_ASSERT(exists(1) && exists(2));
    CU_ASSERT(record_path(1)[0] != '\0'); /* the file behind it */
    CU_ASSERT(access(c4test_path("victim"), F_OK) == 0);
}

static void test_name(void)
{
    static const int ranks[] = {12, -1};
    for (int i = 0; i < 2; i++) {
        char expected[64];
        c4_recorder_spec spec = {.directory = top(), .bytes = 65536, .job_id = 9, .rank = ranks[i]};
        c4_recorder *recorder = c4_recorder_acquire(&spec);
        CU_ASSERT_FATAL(recorder != NULL);
        const char *name = strrchr(record_path(9), '/') + 1;
        snprintf(expected, sizeof expected, "%s-%ld-", i ? "x" : "12", (long)getpid());
        C4TEST_INT(strncmp(name, expected, strlen(expected)), 0);
        name += strlen(expected);
        C4TEST_INT(strspn(name, "0123456789abcdef"), 16);
        C4TEST_STRING(name + 16, ".c4rec");
        c4_recorder_release(recorder, true);
        CU_ASSERT(!exists(9));
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(age),     C4TEST(locked),     C4TEST(size), C4TEST(bounded),
                                        C4TEST(refused), C4TEST(links_stay), C4TEST(name), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
