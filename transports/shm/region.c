/* c4_mem_alloc memory: one memfd per region, found by address without a lock.
 *
 * The table is the process's, not a module's: memory outlives communicators. Look-ups run on every call, so they take
 * no lock: a sequence count says whether a writer interfered, and tables that were outgrown stay (their sum is less
 * than the present one). */
#include "transports/shm/region.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fork_lock.h"
#include "base/rng.h"
#include "base/status.h"
#include "transports/shm/arena.h"
#include "transports/shm/module.h"

#define HUGE_BYTES ((size_t)2 << 20)

typedef struct region {
    uintptr_t base;
    size_t bytes; /* whole pages; a page with the nonce follows */
    uint64_t nonce;
    int fd;
} region;

typedef struct region_table {
    struct region_table *outgrown; /* a look-up may still be in it */
    size_t capacity;
    region entries[];
} region_table;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static region_table *table;
static size_t count;
static uint32_t changes; /* odd while the table is being changed */

static inline region region_load(const region *from)
{
    return (region){__atomic_load_n(&from->base, __ATOMIC_RELAXED), __atomic_load_n(&from->bytes, __ATOMIC_RELAXED),
                    __atomic_load_n(&from->nonce, __ATOMIC_RELAXED), __atomic_load_n(&from->fd, __ATOMIC_RELAXED)};
}

static void region_store(region *to, region value)
{
    __atomic_store_n(&to->base, value.base, __ATOMIC_RELAXED);
    __atomic_store_n(&to->bytes, value.bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&to->nonce, value.nonce, __ATOMIC_RELAXED);
    __atomic_store_n(&to->fd, value.fd, __ATOMIC_RELAXED);
}

/* The region that holds `address`, among entries in ascending order. */
static bool table_search(uintptr_t address, region *found)
{
    const region_table *now = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
    size_t low = 0, high = __atomic_load_n(&count, __ATOMIC_RELAXED);
    if (!now || high > now->capacity)
        return false; /* torn: the sequence count will tell */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (__atomic_load_n(&now->entries[middle].base, __ATOMIC_RELAXED) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    *found = region_load(&now->entries[low - 1]);
    return address - found->base < found->bytes;
}

static bool table_find(const void *pointer, region *found)
{
    if (__atomic_load_n(&count, __ATOMIC_RELAXED) == 0)
        return false;
    for (;;) {
        uint32_t before = __atomic_load_n(&changes, __ATOMIC_ACQUIRE);
        bool hit = table_search((uintptr_t)pointer, found);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && __atomic_load_n(&changes, __ATOMIC_RELAXED) == before)
            return hit;
    }
}

static void change_begin(void)
{
    __atomic_store_n(&changes, changes + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(void)
{
    __atomic_store_n(&changes, changes + 1, __ATOMIC_RELEASE);
}

/* Under the lock. */
static c4_status table_grow(void)
{
    size_t capacity = table ? 2 * table->capacity : 16;
    region_table *larger = calloc(1, sizeof *larger + capacity * sizeof(region));
    if (!larger)
        return c4_fail(C4_ERR_MEMORY, "shm: the table of mappable memory");
    larger->capacity = capacity;
    larger->outgrown = table;
    if (table)
        memcpy(larger->entries, table->entries, count * sizeof(region));
    change_begin();
    __atomic_store_n(&table, larger, __ATOMIC_RELEASE);
    change_end();
    return C4_OK;
}

static c4_status table_insert(region value)
{
    c4_status status = C4_OK;
    c4_fork_lock(&lock);
    if (!table || count == table->capacity)
        C4_TRY_GOTO(table_grow(), unlock);
    size_t at = count;
    change_begin();
    for (; at > 0 && table->entries[at - 1].base > value.base; at--)
        region_store(&table->entries[at], table->entries[at - 1]);
    region_store(&table->entries[at], value);
    __atomic_store_n(&count, count + 1, __ATOMIC_RELAXED);
    change_end();
unlock:
    pthread_mutex_unlock(&lock);
    return status;
}

/* Takes the region that starts at `base` out of the table. */
static bool table_remove(uintptr_t base, region *removed)
{
    c4_fork_lock(&lock);
    size_t at = 0;
    while (at < count && table->entries[at].base != base)
        at++;
    bool found = at < count;
    if (found) {
        *removed = table->entries[at];
        change_begin();
        for (; at + 1 < count; at++)
            region_store(&table->entries[at], table->entries[at + 1]);
        __atomic_store_n(&count, count - 1, __ATOMIC_RELAXED);
        change_end();
    }
    pthread_mutex_unlock(&lock);
    return found;
}

bool c4_shm_region_own(uint64_t nonce, size_t bytes, void **base)
{
    bool found = false;
    c4_fork_lock(&lock);
    for (size_t i = 0; i < count && !found; i++) {
        found = table->entries[i].nonce == nonce && table->entries[i].bytes == bytes;
        if (found)
            *base = (void *)table->entries[i].base;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* Every page of the mapping, now: later there is only SIGBUS. Through the mapping where the kernel can (5.14), since
 * huge pages are given by the mapping's advice; else through the file. */
static int pages_allocate(int fd, void *base, size_t bytes)
{
    if (bytes >= HUGE_BYTES)
        madvise(base, bytes, MADV_HUGEPAGE);
#ifdef MADV_POPULATE_WRITE
    if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return errno == EFAULT ? ENOSPC : errno;
#endif
    return c4_shm_file_allocate(fd, 0, bytes);
}

static c4_status region_make(size_t bytes, region *made)
{
    size_t total = bytes + C4_SHM_PAGE;
    int fd = c4_shm_file_create(C4_SHM_BACKEND_MEMFD, "c4-mem", NULL);
    if (fd < 0)
        return c4_fail_errno(errno == EMFILE || errno == ENFILE ? C4_ERR_FILES : C4_ERR_SHM, errno,
                             "c4_mem_alloc: creating shared memory");
    void *base = MAP_FAILED;
    int error = c4_shm_file_resize(fd, total);
    if (!error) {
        base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        error = base == MAP_FAILED ? errno : pages_allocate(fd, base, total);
    }
    if (error) {
        if (base != MAP_FAILED)
            munmap(base, total);
        close(fd);
        return c4_fail_errno(C4_ERR_SHM, error, "c4_mem_alloc: %zu bytes of shared memory%s", bytes,
                             error == EFBIG ? " (raise `ulimit -f`)" : "");
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    *made = (region){(uintptr_t)base, bytes, 0, fd};
    return C4_OK;
}

static void region_destroy(const region *gone)
{
    /* Peers may keep the file mapped: give its pages back now. The nonce goes with them, which tells the peers. */
    fallocate(gone->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)(gone->bytes + C4_SHM_PAGE));
    munmap((void *)gone->base, gone->bytes + C4_SHM_PAGE);
    close(gone->fd);
}

c4_status c4_shm_mem_alloc(size_t bytes, void **memory)
{
    if (bytes > (size_t)1 << 46)
        return c4_fail(C4_ERR_COUNT, "c4_mem_alloc: %zu bytes", bytes);
    size_t pages = (bytes + C4_SHM_PAGE - 1) / C4_SHM_PAGE;
    region made;
    C4_TRY(region_make((pages ? pages : 1) * C4_SHM_PAGE, &made));
    c4_status status;
    do {
        C4_TRY_GOTO(c4_random_bytes(&made.nonce, sizeof made.nonce), fail);
    } while (made.nonce == 0);
    *c4_shm_region_trailer((void *)made.base, made.bytes) = made.nonce;
    C4_TRY_GOTO(table_insert(made), fail);
    *memory = (void *)made.base;
    return C4_OK;
fail:
    region_destroy(&made);
    return status;
}

c4_status c4_shm_mem_free(void *memory)
{
    region gone;
    if (!memory)
        return C4_OK;
    if (!table_remove((uintptr_t)memory, &gone))
        return c4_fail(C4_ERR_ARGUMENT, "c4_mem_free: %p is not the start of c4_mem_alloc memory", memory);
    region_destroy(&gone);
    return C4_OK;
}

c4_status c4_shm_mem_export(const void *pointer, size_t bytes, c4_memory_handle *handle)
{
    region found;
    if (!table_find(pointer, &found))
        return C4_ERR_ARGUMENT; /* silent: asked for every buffer */
    size_t offset = (uintptr_t)pointer - found.base;
    if (bytes > found.bytes - offset)
        return C4_ERR_ARGUMENT;
    c4_shm_region_handle made = {
        .nonce = found.nonce, .offset = offset, .bytes = bytes, .region_bytes = found.bytes, .fd = found.fd};
    memcpy(handle, &made, sizeof made);
    return C4_OK;
}
