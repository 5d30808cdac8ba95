/* Opening other processes' arenas. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "transports/shm/arena.h"

static int address_open(const c4_shm_address *address)
{
    char path[C4_SHM_NAME_BYTES + 32];
    if (address->backend == C4_SHM_BACKEND_FILE)
        snprintf(path, sizeof path, "/dev/shm/%.*s", C4_SHM_NAME_BYTES - 1, address->name);
    else
        snprintf(path, sizeof path, "/proc/%d/fd/%d", address->pid, address->fd);
    return open(path, O_RDWR | O_CLOEXEC | (address->backend == C4_SHM_BACKEND_FILE ? O_NOFOLLOW : 0));
}

/* A pid or a name may have passed to another process since the address was written: only the nonce proves identity. */
static bool head_matches(const c4_shm_head *head, const c4_shm_address *address)
{
    return head->magic == C4_SHM_MAGIC && head->bytes == address->bytes &&
           memcmp(head->nonce, address->nonce, sizeof head->nonce) == 0;
}

static const char *mismatch(const c4_shm_address *address, const c4_shm_address *own)
{
    if (address->magic != C4_SHM_MAGIC || address->struct_bytes != sizeof *address)
        return "another version of the shm transport: install the same C4 on all ranks";
    if (memcmp(address->boot_id, own->boot_id, sizeof own->boot_id) != 0)
        return "on another host";
    if (address->backend != own->backend)
        return "the two ranks use different backends: set the same C4_SHM_BACKEND on all ranks";
    if (address->backend == C4_SHM_BACKEND_MEMFD && address->pid_namespace != own->pid_namespace)
        return "in another pid namespace: set C4_SHM_BACKEND=file on all ranks and share /dev/shm (docker: --ipc)";
    if (address->backend == C4_SHM_BACKEND_FILE && strchr(address->name, '/'))
        return "malformed address";
    if (address->bytes < C4_SHM_PAGE || address->bytes > (uint64_t)1 << 46)
        return "malformed address";
    return NULL;
}

c4_status c4_shm_address_check(const c4_shm_address *address, const c4_shm_address *own, char *reason,
                               size_t reason_bytes)
{
    const char *why = mismatch(address, own);
    if (why) {
        snprintf(reason, reason_bytes, "%s", why);
        return C4_ERR_UNREACHABLE;
    }
    int fd = address_open(address);
    if (fd < 0) {
        snprintf(reason, reason_bytes, "cannot open shared memory of process %d (user %u): %s%s", address->pid,
                 address->uid, strerror(errno),
                 errno == EACCES || errno == EPERM
                     ? "; run all ranks as one user, or set C4_SHM_BACKEND=file where /proc is restricted"
                     : "");
        return C4_ERR_UNREACHABLE;
    }
    c4_shm_head head;
    ssize_t got = pread(fd, &head, sizeof head, 0);
    close(fd);
    if (got != (ssize_t)sizeof head || !head_matches(&head, address)) {
        snprintf(reason, reason_bytes,
                 "process %d does not hold the memory that its address names: it has restarted, "
                 "or /proc shows another pid namespace",
                 address->pid);
        return C4_ERR_UNREACHABLE;
    }
    return C4_OK;
}

c4_status c4_shm_mapping_open(const c4_shm_address *address, c4_shm_mapping *mapping)
{
    int fd = address_open(address);
    if (fd < 0)
        return c4_fail_errno(errno == EMFILE || errno == ENFILE ? C4_ERR_FILES : C4_ERR_PEER_DEAD, errno,
                             "shm: opening the memory of rank %d (process %d)", address->rank, address->pid);
    struct stat st = {0};
    void *base = MAP_FAILED;
    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size >= address->bytes)
        base = mmap(NULL, address->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    int error = errno;
    bool shrunk = (uint64_t)st.st_size < address->bytes;
    close(fd);
    if (base == MAP_FAILED)
        return shrunk ? c4_fail(C4_ERR_PROTOCOL, "shm: memory of rank %d is shorter than announced", address->rank)
                      : c4_fail_errno(C4_ERR_MEMORY, error,
                                      "shm: mapping %llu bytes of rank %d: raise `ulimit -v` or "
                                      "vm.max_map_count",
                                      (unsigned long long)address->bytes, address->rank);
    if (!head_matches(base, address)) {
        munmap(base, address->bytes);
        return c4_fail(C4_ERR_PEER_DEAD, "shm: process %d is not rank %d any more", address->pid, address->rank);
    }
    mapping->base = base;
    mapping->bytes = address->bytes;
    return C4_OK;
}

void c4_shm_mapping_close(c4_shm_mapping *mapping)
{
    if (mapping->base)
        munmap(mapping->base, mapping->bytes);
    mapping->base = NULL;
    mapping->bytes = 0;
}
