/* Shared memory of dead owners: what is found, what is removed, and what never is. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/segment.h"
#include "tests/c4test.h"

#define NAME(digit) C4_SEGMENT_PREFIX "0123456789abcdef0123456789abcde" digit

static void make(const char *name)
{
    int fd = open(c4test_path(name), O_RDWR | O_CREAT | O_EXCL, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT(write(fd, name, strlen(name)) > 0);
    close(fd);
}

static bool there(const char *name)
{
    return access(c4test_path(name), F_OK) == 0;
}

typedef struct seen {
    size_t count, removed;
    uint64_t bytes;
    char last[64];
} seen;

static void see(void *context, const char *name, uint64_t bytes, bool removed)
{
    seen *got = context;
    got->count++;
    got->removed += removed;
    got->bytes += bytes;
    snprintf(got->last, sizeof got->last, "%s", name);
}

static void test_dead_owner(void)
{
    seen got = {0};
    make(NAME("0"));
    C4TEST_INT((long long)c4_segments_stale(c4test_dir(), false, see, &got), 1);
    CU_ASSERT(there(NAME("0")));
    C4TEST_STRING(got.last, NAME("0"));
    CU_ASSERT(got.bytes > 0 && got.removed == 0);
    got = (seen){0};
    C4TEST_INT((long long)c4_segments_stale(c4test_dir(), true, see, &got), 1);
    CU_ASSERT(!there(NAME("0")));
    C4TEST_INT((long long)got.removed, 1);
    C4TEST_INT((long long)c4_segments_stale(c4test_dir(), true, NULL, NULL), 0);
    C4TEST_INT((long long)c4_segments_stale("/nonexistent", true, NULL, NULL), 0);
}

/* Holds the lock until it is killed; tells through the pipe when it has it. */
static void own(int ready)
{
    int fd = open(c4test_path(NAME("1")), O_RDWR);
    if (fd < 0 || flock(fd, LOCK_SH) != 0 || write(ready, "x", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static void test_living_owner(void)
{
    int pipe_fds[2];
    char byte;
    make(NAME("1"));
    CU_ASSERT_FATAL(pipe(pipe_fds) == 0);
    pid_t owner = fork();
    if (owner == 0)
        own(pipe_fds[1]);
    CU_ASSERT_FATAL(owner > 0 && read(pipe_fds[0], &byte, 1) == 1);
    C4TEST_INT((long long)c4_segments_stale(c4test_dir(), true, NULL, NULL), 0);
    CU_ASSERT(there(NAME("1")));
    kill(owner, SIGKILL);
    CU_ASSERT(waitpid(owner, NULL, 0) == owner);
    C4TEST_INT((long long)c4_segments_stale(c4test_dir(), true, NULL, NULL), 1);
    CU_ASSERT(!there(NAME("1")));
}

/* Names that only look alike, and things that are no regular files. */
static void test_strange_files(void)
{
    static const char *const names[] = {"c4-shm-", "c4-shm-0123", "c4-shm-0123456789abcdef0123456789abcdeX",
                                        "c4-shm-0123456789abcdef0123456789abcdef0", "other"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        make(names[i]);
    CU_ASSERT(symlink(c4test_path("other"), c4test_path(NAME("2"))) == 0);
    CU_ASSERT(mkfifo(c4test_path(NAME("3")), 0600) == 0);
    CU_ASSERT(mkdir(c4test_path(NAME("4")), 0700) == 0);
    C4TEST_INT((long long)c4_segments_stale(c4test_dir(), true, NULL, NULL), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CU_ASSERT(there(names[i]));
    CU_ASSERT(there(NAME("2")) && there(NAME("3")) && there(NAME("4")));
}

static void test_other_user(void)
{
    if (geteuid() != 0)
        C4TEST_SKIP("only root can give a file away");
    make(NAME("5"));
    CU_ASSERT_FATAL(chown(c4test_path(NAME("5")), 65534, 65534) == 0);
    C4TEST_INT((long long)c4_segments_stale(c4test_dir(), true, NULL, NULL), 0);
    CU_ASSERT(there(NAME("5")));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(dead_owner), C4TEST(living_owner), C4TEST(strange_files),
                                        C4TEST(other_user), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
