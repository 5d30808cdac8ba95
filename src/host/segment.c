#include "host/segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_segment_name(const char *name)
{
    const size_t prefix = sizeof C4_SEGMENT_PREFIX - 1;
    return strncmp(name, C4_SEGMENT_PREFIX, prefix) == 0 && strlen(name) == prefix + C4_SEGMENT_DIGITS &&
           strspn(name + prefix, "0123456789abcdef") == C4_SEGMENT_DIGITS;
}

/* The lock is held until `fd` is closed: a name is removed only while nobody can take the file for its own. */
static bool is_stale(int fd, struct stat *info)
{
    return fstat(fd, info) == 0 && S_ISREG(info->st_mode) && info->st_uid == geteuid() &&
           flock(fd, LOCK_EX | LOCK_NB) == 0;
}

size_t c4_segments_stale(const char *directory, bool remove, c4_segment_visit visit, void *context)
{
    size_t count = 0;
    DIR *dir = opendir(directory);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat info;
        int fd = is_segment_name(entry->d_name)
                     ? openat(dirfd(dir), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                     : -1;
        if (fd < 0)
            continue;
        if (is_stale(fd, &info)) {
            bool removed = remove && unlinkat(dirfd(dir), entry->d_name, 0) == 0;
            count++;
            if (visit)
                visit(context, entry->d_name, (uint64_t)info.st_blocks * 512, removed);
        }
        close(fd);
    }
    closedir(dir);
    return count;
}
