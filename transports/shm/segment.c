#include "transports/shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

#define PLOTS_MAX (1u << 20)

static const char advice_memory[] =
    "shared memory is full: raise the container's memory limit or --shm-size, or lower C4_SHM_BUDGET_BYTES";

/* One rank's entry, by which others find its plot. */
typedef struct owner {
    uint64_t nonce[2];
    uint32_t present; /* stored last */
    uint32_t unused;
} owner;

/* The file's first pages. */
typedef struct land_register {
    uint64_t magic;
    uint64_t nonce[2]; /* of the address that the file is found by: a pid or a name may have passed to somebody else */
    uint64_t bytes, plot_bytes;
    uint32_t nplots;
    uint32_t taken;
    uint32_t settled; /* published */
    uint32_t unused;
    owner owners[];
} land_register;

static land_register *register_of(const c4_shm_segment *segment)
{
    return (land_register *)(void *)segment->base;
}

static size_t register_bytes(size_t nplots)
{
    size_t bytes = sizeof(land_register) + nplots * sizeof(owner);
    return (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
}

/* Address space for the file's first `bytes`. No page yet: with mlockall(MCL_FUTURE) mmap touches what it may access, here
 * half a gigabyte of holes, whereas pages of a shared mapping that becomes accessible later come, and are locked, one by one
 * with their first use. A core dump would fill the holes too, and a dying rank is named when its dump is done. */
static void *map(int fd, size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED)
        return NULL;
    madvise(base, bytes, MADV_DONTDUMP);
    if (mprotect(base, bytes, PROT_READ | PROT_WRITE) == 0)
        return base;
    int error = errno;
    munmap(base, bytes);
    errno = error;
    return NULL;
}

/* What lets `map` succeed after `error`. */
static const char *advice_map(int error)
{
    return error == EAGAIN ? "raise `ulimit -l`, which bounds what mlockall may lock, or lower C4_SHM_BUDGET_BYTES"
                           : "raise `ulimit -v` or vm.max_map_count, or lower C4_SHM_BUDGET_BYTES";
}

/* ---- making ---- */

static c4_status file_make(c4_shm_segment *segment, int backend)
{
    segment->fd = c4_shm_file_create(backend, "c4-shm", segment->name);
    if (segment->fd < 0)
        return c4_fail_errno(errno == EMFILE || errno == ENFILE ? C4_ERR_FILES : C4_ERR_SHM, errno, "shm: creating %s",
                             backend == C4_SHM_BACKEND_FILE
                                 ? "a file in /dev/shm (mount a tmpfs there, or set C4_SHM_BACKEND=memfd)"
                                 : "a memfd (set C4_SHM_BACKEND=file)");
    int error = c4_shm_file_resize(segment->fd, segment->bytes);
    if (!error)
        error = c4_shm_file_allocate(segment->fd, 0, segment->plots_at);
    if (error == EFBIG)
        return c4_fail(
            C4_ERR_SHM,
            "shm: the file-size limit is below %zu bytes of shared memory: raise `ulimit -f` to %zu, or lower "
            "C4_SHM_BUDGET_BYTES, of which each of %u ranks has at least 4 MiB",
            segment->bytes, segment->bytes / 1024 + 1, segment->nplots);
    if (error == EOPNOTSUPP || error == ENOSYS)
        return c4_fail_errno(C4_ERR_SHM, error,
                             "shm: the file system of /dev/shm cannot allocate ahead: mount a tmpfs there, or set "
                             "C4_SHM_BACKEND=memfd");
    if (error && backend == C4_SHM_BACKEND_FILE)
        return c4_shm_no_room(error, segment->plots_at, 0);
    if (error)
        return c4_fail_errno(C4_ERR_SHM, error, "shm: allocating shared memory: %s", advice_memory);
    if (backend == C4_SHM_BACKEND_MEMFD)
        fcntl(segment->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return C4_OK;
}

static c4_status map_first(c4_shm_segment *segment, size_t bytes)
{
    void *base = map(segment->fd, bytes);
    if (!base)
        return c4_fail_errno(C4_ERR_SHM, errno, "shm: mapping %zu bytes of shared memory: %s", bytes,
                             advice_map(errno));
    if (segment->base)
        munmap(segment->base, segment->mapped);
    segment->base = base;
    segment->mapped = bytes;
    return C4_OK;
}

c4_status c4_shm_segment_expand(c4_shm_segment *segment)
{
    return segment->mapped == segment->bytes ? C4_OK : map_first(segment, segment->bytes);
}

c4_status c4_shm_segment_create(c4_shm_segment *segment, int backend, uint32_t nplots, size_t plot_bytes,
                                const uint64_t nonce[2])
{
    c4_status status;
    *segment = (c4_shm_segment){.fd = -1, .nplots = nplots, .plots_at = register_bytes(nplots), .made = true};
    segment->plot_bytes = (plot_bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
    segment->bytes = segment->plots_at + nplots * segment->plot_bytes;
    C4_TRY_GOTO(file_make(segment, backend), fail);
    C4_TRY_GOTO(map_first(segment, segment->plots_at + C4_SHM_PAGE), fail);
    land_register *land = register_of(segment);
    land->bytes = segment->bytes;
    land->plot_bytes = segment->plot_bytes;
    land->nplots = nplots;
    memcpy(land->nonce, nonce, sizeof land->nonce);
    __atomic_store_n(&land->magic, C4_SHM_MAGIC, __ATOMIC_RELEASE);
    return C4_OK;
fail:
    c4_shm_segment_close(segment);
    return status;
}

void c4_shm_segment_hide(c4_shm_segment *segment)
{
    char path[C4_SHM_NAME_BYTES + 16];
    if (!segment->name[0])
        return;
    snprintf(path, sizeof path, "/dev/shm/%s", segment->name);
    unlink(path);
    segment->name[0] = '\0';
}

void c4_shm_segment_close(c4_shm_segment *segment)
{
    if (segment->made)
        c4_shm_segment_hide(segment);
    if (segment->base)
        munmap(segment->base, segment->mapped);
    if (segment->fd >= 0)
        close(segment->fd);
    *segment = (c4_shm_segment){.fd = -1};
}

/* ---- somebody else's ---- */

static c4_status refuse(char *reason, size_t reason_bytes, const c4_shm_address *address, const char *text)
{
    snprintf(reason, reason_bytes, "process %d %s", address->pid, text);
    return C4_ERR_UNREACHABLE;
}

static int address_open(const c4_shm_address *address)
{
    char path[C4_SHM_NAME_BYTES + 32];
    if (address->backend == C4_SHM_BACKEND_FILE)
        snprintf(path, sizeof path, "/dev/shm/%.*s", C4_SHM_NAME_BYTES - 1, address->name);
    else
        snprintf(path, sizeof path, "/proc/%d/fd/%d", address->pid, address->fd);
    return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
                          (address->backend == C4_SHM_BACKEND_FILE ? O_NOFOLLOW : 0));
}

/* Before it is mapped: that file may by now be anything. */
static bool register_read(int fd, const c4_shm_address *address, land_register *land)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != address->bytes)
        return false;
    return pread(fd, land, sizeof *land, 0) == (ssize_t)sizeof *land && land->magic == C4_SHM_MAGIC &&
           memcmp(land->nonce, address->nonce, sizeof land->nonce) == 0;
}

static bool register_valid(const land_register *land, const c4_shm_address *address)
{
    uint64_t most = (uint64_t)1 << 46;
    if (land->nplots == 0 || land->nplots > PLOTS_MAX || land->bytes != address->bytes)
        return false;
    return land->plot_bytes >= C4_SHM_PAGE && land->plot_bytes % C4_SHM_PAGE == 0 &&
           land->plot_bytes <= most / land->nplots &&
           land->bytes == register_bytes(land->nplots) + land->nplots * land->plot_bytes;
}

c4_status c4_shm_segment_open(c4_shm_segment *segment, const c4_shm_address *address, char *reason, size_t reason_bytes)
{
    land_register land;
    *segment = (c4_shm_segment){.fd = address_open(address)};
    if (segment->fd < 0) {
        snprintf(reason, reason_bytes, "cannot open shared memory of process %d (user %u): %s%s", address->pid,
                 address->uid, strerror(errno),
                 errno == EACCES || errno == EPERM
                     ? "; set C4_SHM_BACKEND=file where /proc is restricted or that process not dumpable "
                       "(prctl(2), file capabilities)"
                     : "");
        return C4_ERR_UNREACHABLE;
    }
    c4_status status = C4_OK;
    void *base = NULL;
    if (!register_read(segment->fd, address, &land))
        status = refuse(reason, reason_bytes, address,
                        "does not hold the memory that its address names: it has restarted, or /proc shows another pid "
                        "namespace");
    else if (!register_valid(&land, address))
        status = refuse(reason, reason_bytes, address, "has malformed shared memory");
    else
        base = map(segment->fd, address->bytes);
    if (status == C4_OK && !base) {
        snprintf(reason, reason_bytes, "cannot map %llu bytes of process %d: %s: %s",
                 (unsigned long long)address->bytes, address->pid, strerror(errno), advice_map(errno));
        status = C4_ERR_UNREACHABLE;
    }
    if (status < 0) {
        c4_shm_segment_close(segment);
        return status;
    }
    segment->base = base;
    segment->bytes = segment->mapped = land.bytes;
    segment->nplots = land.nplots;
    segment->plot_bytes = land.plot_bytes;
    segment->plots_at = register_bytes(land.nplots);
    if (address->backend == C4_SHM_BACKEND_FILE)
        memcpy(segment->name, address->name, sizeof segment->name);
    return C4_OK;
}

/* ---- plots ---- */

c4_status c4_shm_segment_claim(c4_shm_segment *segment, uint32_t *index)
{
    *index = __atomic_fetch_add(&register_of(segment)->taken, 1, __ATOMIC_RELAXED);
    return *index < segment->nplots ? C4_OK : C4_ERR_SHM;
}

void c4_shm_segment_publish(c4_shm_segment *segment, uint32_t index, const uint64_t nonce[2])
{
    land_register *land = register_of(segment);
    memcpy(land->owners[index].nonce, nonce, sizeof land->owners[index].nonce);
    __atomic_store_n(&land->owners[index].present, 1, __ATOMIC_RELEASE);
    if (__atomic_add_fetch(&land->settled, 1, __ATOMIC_SEQ_CST) == segment->nplots)
        c4_shm_segment_hide(segment);
}

unsigned char *c4_shm_segment_find(const c4_shm_segment *segment, const uint64_t nonce[2])
{
    const land_register *land = register_of(segment);
    for (uint32_t i = 0; i < segment->nplots; i++)
        if (__atomic_load_n(&land->owners[i].present, __ATOMIC_ACQUIRE) &&
            memcmp(land->owners[i].nonce, nonce, sizeof land->owners[i].nonce) == 0)
            return segment->base + c4_shm_segment_plot_at(segment, i);
    return NULL;
}
