#include "transports/verbs/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/status.h"
#include "transports/verbs/rail.h"

#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE)

const char *c4_verbs_memory_advice(int error, char *text, size_t bytes)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if ((error == ENOMEM || error == EAGAIN) && limit.rlim_cur != RLIM_INFINITY)
        snprintf(text, bytes,
                 "%s; this process may lock %llu KiB (ulimit -l): raise memlock in /etc/security/limits.conf, "
                 "LimitMEMLOCK of "
                 "the service, or --ulimit memlock=-1 of the container",
                 strerror(error), (unsigned long long)limit.rlim_cur >> 10);
    else
        snprintf(text, bytes, "%s", strerror(error));
    return text;
}

/* ---- regions ---- */

static void deregister(c4_verbs_region *region)
{
    for (unsigned i = 0; i < C4_VERBS_MAX_RAILS; i++)
        if (region->mrs[i] != NULL)
            c4_verbs_calls_in_use->dereg_mr(region->mrs[i]);
}

/* 0 or errno; nothing is registered then. */
static int register_at_all(const c4_verbs_memory *memory, c4_verbs_region *region)
{
    for (unsigned i = 0; i < memory->nrails; i++) {
        if (memory->rails[i].gone)
            continue;
        errno = 0;
        region->mrs[i] = c4_verbs_calls_in_use->reg_mr(memory->rails[i].pd, region->base, region->bytes, ACCESS);
        if (region->mrs[i] == NULL) {
            int error = errno != 0 ? errno : ENOMEM;
            if (c4_verbs_rail_is_gone(&memory->rails[i])) /* the others do without it */
                continue;
            deregister(region);
            return error;
        }
    }
    return 0;
}

static void free_own(c4_verbs_region *region)
{
    deregister(region);
    munmap(region->base, region->bytes);
    free(region);
}

c4_status c4_verbs_memory_make(c4_verbs_memory *memory, size_t bytes, c4_verbs_region **out)
{
    char advice[320];
    c4_verbs_region *region = calloc(1, sizeof *region);
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region == NULL || base == MAP_FAILED) {
        free(region);
        if (base != MAP_FAILED)
            munmap(base, bytes);
        return c4_fail(C4_ERR_MEMORY, "verbs: %zu KiB of buffers", bytes >> 10);
    }
    /* A child that got a copy of these pages would take the parent's away from under the NIC on old kernels. */
    madvise(base, bytes, MADV_DONTFORK);
    *region = (c4_verbs_region){.base = base, .bytes = bytes};
    int error = register_at_all(memory, region);
    if (error != 0) {
        munmap(base, bytes);
        free(region);
        return c4_fail(C4_ERR_SYSTEM, "verbs: %zu KiB of buffers cannot be registered: %s", bytes >> 10,
                       c4_verbs_memory_advice(error, advice, sizeof advice));
    }
    region->next = memory->own;
    memory->own = region;
    *out = region;
    return C4_OK;
}

/* ---- the user's ---- */

/* One that cannot be registered is kept without keys, so that it is tried and told once. */
static c4_verbs_region *add_declared(c4_verbs_memory *memory, const c4_transport_host *host,
                                     const c4_transport_memory *found)
{
    char advice[320];
    c4_verbs_region *region = calloc(1, sizeof *region);
    if (region == NULL)
        return NULL;
    *region =
        (c4_verbs_region){.base = (unsigned char *)(uintptr_t)found->base, .bytes = found->bytes, .id = found->id};
    int error = register_at_all(memory, region);
    if (error != 0) {
        memset(region->mrs, 0, sizeof region->mrs);
        region->refused = true;
        host->log(host->context, C4_TLOG_WARN,
                  "verbs: %zu KiB of declared memory at %p cannot be registered and will be copied: %s",
                  found->bytes >> 10, found->base, c4_verbs_memory_advice(error, advice, sizeof advice));
    }
    region->next = memory->declared;
    memory->declared = region;
    return region;
}

const c4_verbs_region *c4_verbs_memory_declared(c4_verbs_memory *memory, const c4_transport_host *host,
                                                const void *pointer, size_t bytes)
{
    c4_transport_memory found;
    if (host->memory_find == NULL || !host->memory_find(host->context, pointer, bytes, &found))
        return NULL;
    c4_verbs_region *region = memory->declared;
    while (region != NULL && region->id != found.id)
        region = region->next;
    if (region == NULL)
        region = add_declared(memory, host, &found);
    return region != NULL && !region->refused ? region : NULL;
}

void c4_verbs_memory_sweep(c4_verbs_memory *memory, const c4_transport_host *host)
{
    c4_transport_memory found;
    for (c4_verbs_region **at = &memory->declared; *at != NULL;) {
        c4_verbs_region *region = *at;
        if (host->memory_find(host->context, region->base, region->bytes, &found) && found.id == region->id) {
            at = &region->next;
            continue;
        }
        *at = region->next;
        deregister(region);
        free(region);
    }
}

void c4_verbs_memory_fini(c4_verbs_memory *memory)
{
    while (memory->declared != NULL) {
        c4_verbs_region *region = memory->declared;
        memory->declared = region->next;
        deregister(region);
        free(region);
    }
    while (memory->own != NULL) {
        c4_verbs_region *region = memory->own;
        memory->own = region->next;
        free_own(region);
    }
}
