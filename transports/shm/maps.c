/* Peers' regions mapped here. A hit scans a dense array of nonces, a few lines for the handful that a job has. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "transports/shm/module.h"
#include "transports/shm/region.h"

/* Operations in flight hold pointers and there is no unmap, so an eviction must hit what is long unused: several
 * buffers of every peer fit besides. */
#define MAPS_MIN      64u
#define MAPS_PER_PEER 8u

typedef struct map_entry {
    unsigned char *base;
    size_t bytes; /* of the region */
    int peer;
    uint64_t used;
} map_entry;

struct c4_shm_map_cache {
    size_t count, capacity, last;
    uint64_t clock;
    uint64_t *nonces;
    map_entry *entries;
};

c4_status c4_shm_maps_create(int local_nranks, c4_shm_map_cache **maps)
{
    size_t capacity = MAPS_MIN + MAPS_PER_PEER * (size_t)(local_nranks > 0 ? local_nranks : 1);
    c4_shm_map_cache *made = calloc(1, sizeof *made);
    if (made) {
        made->capacity = capacity;
        made->nonces = calloc(capacity, sizeof *made->nonces);
        made->entries = calloc(capacity, sizeof *made->entries);
    }
    if (!made || !made->nonces || !made->entries) {
        c4_shm_maps_destroy(made);
        return c4_fail(C4_ERR_MEMORY, "shm: the cache of mapped memory");
    }
    *maps = made;
    return C4_OK;
}

static void entry_drop(c4_shm_map_cache *maps, size_t at)
{
    munmap(maps->entries[at].base, maps->entries[at].bytes + C4_SHM_PAGE);
    maps->count--;
    maps->entries[at] = maps->entries[maps->count];
    maps->nonces[at] = maps->nonces[maps->count];
    maps->last = 0;
}

void c4_shm_maps_destroy(c4_shm_map_cache *maps)
{
    if (!maps)
        return;
    while (maps->count)
        entry_drop(maps, maps->count - 1);
    free(maps->nonces);
    free(maps->entries);
    free(maps);
}

/* Makes room: regions that their owners have freed go first, then the one unused for longest. */
static void maps_trim(c4_shm_map_cache *maps)
{
    size_t oldest = 0;
    for (size_t i = maps->count; i-- > 0;)
        if (*c4_shm_region_trailer(maps->entries[i].base, maps->entries[i].bytes) != maps->nonces[i])
            entry_drop(maps, i);
    if (maps->count < maps->capacity)
        return;
    for (size_t i = 1; i < maps->count; i++)
        if (maps->entries[i].used < maps->entries[oldest].used)
            oldest = i;
    entry_drop(maps, oldest);
}

static c4_status region_open(int rank, int pid, const c4_shm_region_handle *handle, void **base)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, handle->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return c4_fail_errno(errno == EMFILE || errno == ENFILE ? C4_ERR_FILES : C4_ERR_SHM, errno,
                             "shm: opening memory of rank %d (process %d)", rank, pid);
    struct stat st = {0};
    size_t total = handle->region_bytes + C4_SHM_PAGE;
    bool right = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == total;
    void *mapped = right ? mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0) : MAP_FAILED;
    int error = errno;
    close(fd);
    if (right && mapped == MAP_FAILED)
        return c4_fail_errno(C4_ERR_MEMORY, error, "shm: mapping %zu bytes of rank %d", total, rank);
    if (right && *c4_shm_region_trailer(mapped, handle->region_bytes) == handle->nonce) {
        *base = mapped;
        return C4_OK;
    }
    if (right)
        munmap(mapped, total);
    return c4_fail(C4_ERR_PROTOCOL,
                   "shm: rank %d exposed memory that it does not have any more; was it freed during "
                   "an operation?",
                   rank);
}

static c4_status map_miss(c4_module *module, int peer, const c4_shm_region_handle *handle, size_t *at)
{
    c4_shm_map_cache *maps = module->maps;
    void *base = NULL;
    C4_TRY(region_open(peer, module->peers[peer]->pid, handle, &base));
    if (maps->count == maps->capacity)
        maps_trim(maps);
    *at = maps->count++;
    maps->nonces[*at] = handle->nonce;
    maps->entries[*at] = (map_entry){base, handle->region_bytes, peer, 0};
    return C4_OK;
}

static size_t map_find(const c4_shm_map_cache *maps, uint64_t nonce, int peer)
{
    if (maps->last < maps->count && maps->nonces[maps->last] == nonce && maps->entries[maps->last].peer == peer)
        return maps->last;
    for (size_t i = 0; i < maps->count; i++)
        if (maps->nonces[i] == nonce && maps->entries[i].peer == peer)
            return i;
    return SIZE_MAX;
}

/* Set-up and same-process ranks. */
static c4_status map_slow(c4_module *module, int peer, const c4_shm_region_handle *handle, void **pointer, size_t *at)
{
    if (peer < 0 || peer >= module->npeers || !module->peers[peer])
        return c4_fail(C4_ERR_UNREACHABLE, "shm: rank %d has no known address on this host", peer);
    if (module->arena.address.backend != C4_SHM_BACKEND_MEMFD)
        return C4_ERR_UNSUPPORTED;
    if (handle->nonce == 0 || handle->region_bytes == 0 || handle->region_bytes > (uint64_t)1 << 46 ||
        handle->region_bytes % C4_SHM_PAGE || handle->offset > handle->region_bytes ||
        handle->bytes > handle->region_bytes - handle->offset)
        return c4_fail(C4_ERR_PROTOCOL, "shm: malformed memory handle from rank %d", peer);
    void *own;
    if (module->peers[peer]->pid == module->arena.address.pid &&
        c4_shm_region_own(handle->nonce, handle->region_bytes, &own)) {
        *pointer = (char *)own + handle->offset;
        return C4_IN_PROGRESS;
    }
    return map_miss(module, peer, handle, at);
}

c4_status c4_shm_mem_map(c4_module *module, int peer, const c4_memory_handle *handle, void **pointer)
{
    c4_shm_map_cache *maps = module->maps;
    c4_shm_region_handle asked;
    memcpy(&asked, handle, sizeof asked);
    size_t at = map_find(maps, asked.nonce, peer);
    if (__builtin_expect(at == SIZE_MAX, 0)) {
        c4_status status = map_slow(module, peer, &asked, pointer, &at);
        if (status != C4_OK)
            return status == C4_IN_PROGRESS ? C4_OK : status;
    }
    map_entry *entry = &maps->entries[at];
    if (asked.offset > entry->bytes || asked.bytes > entry->bytes - asked.offset)
        return c4_fail(C4_ERR_PROTOCOL, "shm: malformed memory handle from rank %d", peer);
    maps->last = at;
    entry->used = ++maps->clock;
    *pointer = entry->base + asked.offset;
    return C4_OK;
}
