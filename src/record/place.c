/* The directories of records: whose they are, and that nobody else can plant anything in them. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/internal.h"

bool c4_record_expand_top(const char *pattern, char *top)
{
    size_t length = strlen(pattern);
    bool numbered = length >= 2 && strcmp(pattern + length - 2, "%u") == 0;
    int wrote = numbered ? snprintf(top, C4_RECORD_TOP_BYTES, "%.*s%ld", (int)(length - 2), pattern, (long)geteuid())
                         : snprintf(top, C4_RECORD_TOP_BYTES, "%s", pattern);
    if (wrote < 0 || wrote >= C4_RECORD_TOP_BYTES) {
        errno = ENAMETOOLONG;
        return false;
    }
    while (wrote > 1 && top[wrote - 1] == '/')
        top[--wrote] = '\0';
    return true;
}

__attribute__((format(printf, 2, 3))) static void reason_set(c4_record_reason *reason, const char *format, ...)
{
    if (!reason)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(reason->text, sizeof reason->text, format, args);
    va_end(args);
}

/* `make` and open by name below at_fd, then look at what was opened: nothing can be exchanged in between. */
static int open_own(int at_fd, const char *name, bool make, c4_record_reason *reason)
{
    if (make && mkdirat(at_fd, name, 0700) < 0 && errno != EEXIST) {
        reason_set(reason, "cannot make directory %s: %s (make room there, or set C4_RECORD_DIR)", name,
                   strerror(errno));
        return -1;
    }
    int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        if (error == ELOOP || error == ENOTDIR)
            reason_set(reason, "%s is a symbolic link or no directory (remove it, or set C4_RECORD_DIR)", name);
        else
            reason_set(reason, "cannot open directory %s: %s (set C4_RECORD_DIR)", name, strerror(error));
        errno = error;
        return -1;
    }
    struct stat info;
    if (fstat(fd, &info) < 0)
        reason_set(reason, "cannot stat directory %s: %s", name, strerror(errno));
    else if (info.st_uid != geteuid())
        reason_set(reason, "%s belongs to user %ld, this process runs as %ld (set C4_RECORD_DIR to a place of its own)",
                   name, (long)info.st_uid, (long)geteuid());
    else if (info.st_mode & (S_IWGRP | S_IWOTH))
        reason_set(reason, "%s has mode %04o: others may write there (chmod go-w, or set C4_RECORD_DIR)", name,
                   (unsigned)info.st_mode & 07777);
    else
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

int c4_record_open_top(const char *top, bool make, c4_record_reason *reason)
{
    return open_own(AT_FDCWD, top, make, reason);
}

int c4_record_open_job(int top_fd, const char *job, bool make, c4_record_reason *reason)
{
    return open_own(top_fd, job, make, reason);
}

DIR *c4_record_list(int fd)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    if (!dir && own >= 0)
        close(own);
    return dir;
}
