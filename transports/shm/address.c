/* Who may share a file with whom. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/status.h"
#include "host/segment.h"
#include "transports/shm/segment.h"

/* The kernel's boot id names the host, also inside containers. */
static void boot_id_read(unsigned char id[16])
{
    char text[64] = "";
    memset(id, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    int nibbles = 0;
    for (ssize_t i = 0; i < got && nibbles < 32; i++) {
        const char *digit = text[i] ? strchr("0123456789abcdef", text[i]) : NULL;
        if (!digit)
            continue;
        unsigned value = (unsigned)(digit - strchr("0123456789abcdef", '0')) & 15u;
        id[nibbles / 2] = (unsigned char)(nibbles % 2 ? id[nibbles / 2] | value : value << 4);
        nibbles++;
    }
}

/* memfd needs /proc/<pid>/fd, also for the peers; looking at one's own is the best test before peers are known. But a
 * process that may not be traced (prctl(PR_SET_DUMPABLE), file capabilities) keeps others of the same user out of it, and
 * nobody could move into its segment. */
static int backend_resolve(int backend)
{
    if (backend != C4_SHM_BACKEND_AUTO)
        return backend;
    if (prctl(PR_GET_DUMPABLE) != 1)
        return C4_SHM_BACKEND_FILE;
    int fd = c4_shm_file_create(C4_SHM_BACKEND_MEMFD, "c4-probe", NULL);
    if (fd < 0)
        return C4_SHM_BACKEND_FILE;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0)
        close(again);
    close(fd);
    return again >= 0 ? C4_SHM_BACKEND_MEMFD : C4_SHM_BACKEND_FILE;
}

/* Containers of one host have a /dev/shm each unless they are told to share it. */
static uint64_t place_of(uint32_t backend)
{
    struct stat st;
    if (backend == C4_SHM_BACKEND_FILE)
        return stat(C4_SEGMENT_DIRECTORY, &st) == 0 ? (uint64_t)st.st_dev : 0;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

c4_status c4_shm_address_init(c4_shm_address *address, int backend, int rank)
{
    *address = (c4_shm_address){.magic = C4_SHM_MAGIC, .struct_bytes = sizeof *address, .rank = rank};
    address->backend = (uint32_t)backend_resolve(backend);
    boot_id_read(address->boot_id);
    address->place = place_of(address->backend);
    address->pid = getpid();
    address->fd = -1;
    address->uid = geteuid();
    return c4_random_bytes(address->nonce, sizeof address->nonce);
}

const char *c4_shm_address_mismatch(const c4_shm_address *address, const c4_shm_address *own)
{
    if (address->magic != C4_SHM_MAGIC || address->struct_bytes != sizeof *address)
        return "another version of the shm transport: install the same C4 on all ranks";
    if (memcmp(address->boot_id, own->boot_id, sizeof own->boot_id) != 0)
        return "on another host";
    if (address->backend != own->backend)
        return "the two ranks use different backends (auto takes file where /proc/self/fd is closed to others, memfd "
               "elsewhere): set the same C4_SHM_BACKEND on all ranks";
    if (address->backend == C4_SHM_BACKEND_MEMFD && address->place != own->place)
        return "in another pid namespace: set C4_SHM_BACKEND=file on all ranks and share /dev/shm (docker: --ipc)";
    if (address->place != own->place)
        return "with another /dev/shm: let the containers share it (docker: --ipc)";
    if (address->uid != own->uid)
        return "run by another user: run all ranks as one user";
    if (address->backend == C4_SHM_BACKEND_FILE && strchr(address->name, '/'))
        return "malformed address";
    if (address->bytes < C4_SHM_PAGE || address->bytes > (uint64_t)1 << 46)
        return "malformed address";
    return NULL;
}
