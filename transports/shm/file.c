/* Files behind shared memory: memfd, or a named file in /dev/shm that is locked while its owner lives. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/status.h"
#include "host/segment.h"
#include "transports/shm/segment.h"

static int named_create(char *name)
{
    c4_segments_stale(C4_SEGMENT_DIRECTORY, true, NULL, NULL);
    for (int attempt = 0; attempt < 8; attempt++) {
        uint64_t random[2];
        if (c4_random_bytes(random, sizeof random) < 0)
            return -1;
        snprintf(name, C4_SHM_NAME_BYTES, "%s%016llx%016llx", C4_SEGMENT_PREFIX, (unsigned long long)random[0],
                 (unsigned long long)random[1]);
        char path[C4_SHM_NAME_BYTES + 16];
        snprintf(path, sizeof path, "%s/%s", C4_SEGMENT_DIRECTORY, name);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return -1;
        struct stat st;
        /* Another process's clean-up may have locked, and removed, the file before it was ours. */
        if (flock(fd, LOCK_SH | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
            return fd;
        close(fd);
    }
    errno = EAGAIN;
    return -1;
}

int c4_shm_file_create(int backend, const char *label, char *name)
{
    if (backend == C4_SHM_BACKEND_FILE)
        return named_create(name);
    return memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int c4_shm_file_resize(int fd, size_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur)
        return EFBIG;
    return ftruncate(fd, (off_t)bytes) < 0 ? errno : 0;
}

int c4_shm_file_allocate(int fd, size_t offset, size_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && offset + bytes > limit.rlim_cur)
        return EFBIG;
    /* Not posix_fallocate: where the file system lacks the call it writes a byte to each block, over live data. */
    while (fallocate(fd, 0, (off_t)offset, (off_t)bytes) < 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

c4_status c4_shm_no_room(int error, size_t bytes, size_t all_bytes)
{
    char text[C4_ERROR_TEXT_BYTES], size[64] = "", wanted[64] = "";
    struct statvfs fs;
    if (statvfs(C4_SEGMENT_DIRECTORY, &fs) == 0)
        snprintf(size, sizeof size, " (%llu KiB, %llu of them free)",
                 (unsigned long long)fs.f_blocks * fs.f_frsize / 1024,
                 (unsigned long long)fs.f_bavail * fs.f_frsize / 1024);
    if (all_bytes)
        snprintf(wanted, sizeof wanted, " to %zu MiB or more, for all ranks of this host", (all_bytes >> 20) + 1);
    snprintf(text, sizeof text,
             "shm: no room for the %zu KiB that this rank needs in " C4_SEGMENT_DIRECTORY
             "%s: raise its size%s (docker: --shm-size; mount -o remount,size=), or set C4_SHM_BACKEND=memfd: %s",
             (bytes + 1023) / 1024, size, wanted, strerror(error));
    c4_fail_advise(C4_ERR_SHM, text, sizeof text);
    c4_fail_keep(text);
    return C4_ERR_SHM;
}
