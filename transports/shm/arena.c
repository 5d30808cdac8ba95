#include "transports/shm/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/status.h"

static const char advice_memory[] =
    "shared memory is full: raise the container's memory limit or --shm-size, or lower C4_SHM_BUDGET_BYTES";

static uint64_t pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

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

/* memfd needs /proc/<pid>/fd, also for the peers; looking at one's own is the best test before peers are known. */
static int backend_resolve(int backend)
{
    if (backend != C4_SHM_BACKEND_AUTO)
        return backend;
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

static c4_status file_open(c4_shm_arena *arena)
{
    c4_shm_address *address = &arena->address;
    arena->fd = c4_shm_file_create((int)address->backend, "c4-shm", address->name);
    if (arena->fd < 0)
        return c4_fail_errno(errno == EMFILE || errno == ENFILE ? C4_ERR_FILES : C4_ERR_SHM, errno, "shm: creating %s",
                             address->backend == C4_SHM_BACKEND_FILE
                                 ? "a file in /dev/shm (mount a tmpfs there, or set C4_SHM_BACKEND=memfd)"
                                 : "a memfd (set C4_SHM_BACKEND=file)");
    int error = c4_shm_file_resize(arena->fd, arena->bytes);
    if (!error)
        error = c4_shm_file_allocate(arena->fd, 0, C4_SHM_PAGE);
    if (error == EFBIG)
        return c4_fail(C4_ERR_SHM,
                       "shm: the file-size limit is below %zu bytes of shared memory: raise `ulimit -f` "
                       "or lower C4_SHM_BUDGET_BYTES",
                       arena->bytes);
    if (error)
        return c4_fail_errno(C4_ERR_SHM, error, "shm: allocating shared memory: %s", advice_memory);
    if (address->backend == C4_SHM_BACKEND_MEMFD)
        fcntl(arena->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    void *base = mmap(NULL, arena->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena->fd, 0);
    if (base == MAP_FAILED)
        return c4_fail_errno(C4_ERR_SHM, errno,
                             "shm: mapping %zu bytes: raise `ulimit -v` or lower "
                             "C4_SHM_BUDGET_BYTES",
                             arena->bytes);
    arena->base = base;
    return C4_OK;
}

c4_status c4_shm_arena_init(c4_shm_arena *arena, int backend, size_t bytes, int rank)
{
    memset(arena, 0, sizeof *arena);
    arena->fd = -1;
    arena->bytes = (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
    arena->top = C4_SHM_PAGE;
    c4_shm_address *address = &arena->address;
    address->magic = C4_SHM_MAGIC;
    address->struct_bytes = sizeof *address;
    address->backend = (uint32_t)backend_resolve(backend);
    boot_id_read(address->boot_id);
    address->pid_namespace = pid_namespace();
    address->pid = getpid();
    address->bytes = arena->bytes;
    address->uid = geteuid();
    address->rank = rank;
    c4_status status;
    C4_TRY_GOTO(c4_random_bytes(address->nonce, sizeof address->nonce), fail);
    C4_TRY_GOTO(file_open(arena), fail);
    address->fd = arena->fd;

    c4_shm_head *head = c4_shm_arena_head(arena);
    head->bytes = arena->bytes;
    memcpy(head->nonce, address->nonce, sizeof head->nonce);
    head->expedited = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0;
    __atomic_store_n(&head->magic, C4_SHM_MAGIC, __ATOMIC_RELEASE);
    return C4_OK;

fail:
    c4_shm_arena_fini(arena);
    return status;
}

void c4_shm_arena_unlink(c4_shm_arena *arena)
{
    if (!arena->address.name[0])
        return;
    char path[C4_SHM_NAME_BYTES + 16];
    snprintf(path, sizeof path, "/dev/shm/%s", arena->address.name);
    unlink(path);
    arena->address.name[0] = '\0';
}

void c4_shm_arena_fini(c4_shm_arena *arena)
{
    c4_shm_arena_unlink(arena);
    if (arena->base)
        munmap(arena->base, arena->bytes);
    if (arena->fd >= 0)
        close(arena->fd);
    free(arena->spans);
    memset(arena, 0, sizeof *arena);
    arena->fd = -1;
}

c4_status c4_shm_arena_reserve(c4_shm_arena *arena, size_t bytes)
{
    if (bytes > arena->bytes)
        bytes = arena->bytes;
    int error = c4_shm_file_allocate(arena->fd, 0, bytes);
    if (!error)
        return C4_OK;
    return c4_fail_errno(C4_ERR_SHM, error,
                         "shm: no room for the %zu bytes that this rank needs in /dev/shm: raise its size (docker: "
                         "--shm-size) or set C4_SHM_BACKEND=memfd",
                         bytes);
}

static void span_remove(c4_shm_arena *arena, int index)
{
    arena->nspans--;
    memmove(&arena->spans[index], &arena->spans[index + 1], (size_t)(arena->nspans - index) * sizeof *arena->spans);
}

c4_status c4_shm_arena_alloc(c4_shm_arena *arena, size_t bytes, size_t *offset)
{
    bytes = (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
    for (int i = 0; i < arena->nspans; i++) {
        c4_shm_span *span = &arena->spans[i];
        if (span->bytes < bytes)
            continue;
        *offset = span->offset;
        span->offset += bytes;
        span->bytes -= bytes;
        if (span->bytes == 0)
            span_remove(arena, i);
        return C4_OK;
    }
    if (bytes > arena->bytes - arena->top || c4_shm_file_allocate(arena->fd, arena->top, bytes) != 0)
        return C4_ERR_SHM;
    *offset = arena->top;
    arena->top += bytes;
    return C4_OK;
}

void c4_shm_arena_free(c4_shm_arena *arena, size_t offset, size_t bytes)
{
    bytes = (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
    int at = 0;
    while (at < arena->nspans && arena->spans[at].offset < offset)
        at++;
    if (at > 0 && arena->spans[at - 1].offset + arena->spans[at - 1].bytes == offset) {
        arena->spans[at - 1].bytes += bytes;
        if (at < arena->nspans && arena->spans[at].offset == offset + bytes) {
            arena->spans[at - 1].bytes += arena->spans[at].bytes;
            span_remove(arena, at);
        }
        return;
    }
    if (at < arena->nspans && arena->spans[at].offset == offset + bytes) {
        arena->spans[at].offset = offset;
        arena->spans[at].bytes += bytes;
        return;
    }
    if (arena->nspans == arena->spans_capacity) {
        int capacity = arena->spans_capacity ? 2 * arena->spans_capacity : 16;
        c4_shm_span *spans = realloc(arena->spans, (size_t)capacity * sizeof *spans);
        if (!spans)
            return; /* the range stays unused until the arena goes */
        arena->spans = spans;
        arena->spans_capacity = capacity;
    }
    memmove(&arena->spans[at + 1], &arena->spans[at], (size_t)(arena->nspans - at) * sizeof *arena->spans);
    arena->spans[at] = (c4_shm_span){offset, bytes};
    arena->nspans++;
}
