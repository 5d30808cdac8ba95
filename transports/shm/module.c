/* Opening, closing, addresses, peers; and the table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "transports/shm/module.h"
#include "transports/stubs.h"

#define RING_MAX_BYTES  ((size_t)2 << 20)
#define RING_MIN_BYTES  ((size_t)64 << 10)
#define RINGS_BYTES     ((size_t)4 << 20) /* one ring of every rank together */
#define FRAME_MAX_BYTES ((size_t)256 << 10)
#define ARENA_MIN_BYTES ((size_t)4 << 20)
#define HEAD_BYTES      (4 * C4_SHM_PAGE) /* the arena's head and its directory's first table */

/* Two ranks: larger than a core's L2, because lines that have moved on to L3 are cheaper to write again than lines
 * still in the reader's L2 (256 KiB messages: 13 us with 1-2 MiB, 32 with less). More ranks share L3, so all rings
 * that are busy together must stay within it. */
static size_t ring_default(const c4_transport_host *host)
{
    int64_t asked = host->option_int(host->context, "C4_SHM_RING_BYTES");
    if (asked > 0)
        return (size_t)asked < 4 * C4_SHM_PAGE ? 4 * C4_SHM_PAGE : (size_t)asked / C4_SHM_PAGE * C4_SHM_PAGE;
    size_t bytes = RING_MAX_BYTES;
    while (bytes > RING_MIN_BYTES && bytes * (size_t)host->local_nranks > RINGS_BYTES)
        bytes /= 2;
    return bytes;
}

static size_t frame_limit(size_t ring_bytes)
{
    size_t quarter = ring_bytes / 4;
    return quarter < FRAME_MAX_BYTES ? quarter : FRAME_MAX_BYTES;
}

static size_t arena_bytes(const c4_transport_host *host)
{
    int64_t budget = host->option_int(host->context, "C4_SHM_BUDGET_BYTES");
    size_t share = (size_t)budget / (size_t)(host->local_nranks > 0 ? host->local_nranks : 1);
    return share < ARENA_MIN_BYTES ? ARENA_MIN_BYTES : share;
}

/* Latency and bandwidth of the reference machine's nearer state. */
static void caps_fill(size_t max_frame_bytes, bool map, c4_transport_caps *caps)
{
    size_t struct_size = caps->struct_size;
    c4_transport_caps all = {
        .struct_size = sizeof all,
        .flags = C4_CAP_WINDOWS | C4_CAP_FUSED_REDUCE | C4_CAP_DOORBELL | C4_CAP_SAME_HOST | (map ? C4_CAP_MAP : 0u),
        .latency_s = 80e-9,
        .seconds_per_byte = 1.0 / 18e9,
        .inline_bytes = C4_SHM_INLINE_BYTES,
        .max_frame_bytes = max_frame_bytes,
        .zero_copy_bytes = SIZE_MAX,
        .max_readers = C4_SHM_MAX_READERS,
        .put_bytes = C4_SHM_SMALL_BYTES,
    };
    memcpy(caps, &all, struct_size && struct_size < sizeof all ? struct_size : sizeof all);
    caps->struct_size = struct_size ? struct_size : sizeof all;
}

static c4_status shm_probe(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t reason_bytes)
{
    int backend = (int)host->option_int(host->context, "C4_SHM_BACKEND");
    c4_shm_arena arena;
    c4_status status = c4_shm_arena_init(&arena, backend, 1, C4_SHM_PAGE, host->rank);
    if (status < 0) {
        snprintf(reason, reason_bytes, "%s", c4_fail_text());
        return status;
    }
    caps_fill(frame_limit(ring_default(host)), arena.address.backend == C4_SHM_BACKEND_MEMFD, caps);
    c4_shm_arena_fini(&arena);
    return C4_OK;
}

/* With named files /dev/shm may be small, a container's 64 MiB for example. What set-up cannot get makes room for another
 * transport; what a ring cannot get later would end the operation. So rings for as many peers as tree, ring and doubling
 * schedules have are allocated now. Those of an all-to-all of many ranks are not: they may be more than anybody uses. */
static c4_status reserve_rings(c4_module *module)
{
    if (module->arena.address.backend != C4_SHM_BACKEND_FILE)
        return C4_OK;
    uint32_t lines = (uint32_t)(module->ring_bytes / C4_SHM_LINE);
    c4_shm_shape ring = {.nreaders = 1, .payload_lines = lines, .headers = c4_shm_header_count(lines)};
    size_t each = (c4_shm_shape_bytes(&ring) + C4_SHM_PAGE - 1) / C4_SHM_PAGE * C4_SHM_PAGE;
    size_t rings = 2;
    for (int ranks = 1; ranks < module->host->local_nranks; ranks *= 2)
        rings++;
    return c4_shm_arena_reserve(&module->arena, HEAD_BYTES + rings * each);
}

static void shm_close(c4_module *module)
{
    if (!module)
        return;
    module->closing = true;
    while (module->channels)
        c4_shm_channel_close(module->channels);
    c4_shm_limbo_fini(module);
    c4_shm_maps_destroy(module->maps);
    for (int i = 0; module->peers && i < module->npeers; i++)
        free(module->peers[i]);
    free(module->peers);
    c4_shm_arena_fini(&module->arena);
    free(module);
}

static c4_shm_peer *peer_new(const c4_shm_address *address)
{
    c4_shm_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    memcpy(peer->nonce, address->nonce, sizeof peer->nonce);
    peer->pid = address->pid;
    c4_shm_distance_init(&peer->distance);
    return peer;
}

static void self_head(c4_module *module)
{
    c4_shm_peer *self = module->peers[module->host->rank];
    self->head = c4_shm_arena_head(&module->arena);
    self->bytes = module->arena.bytes;
}

/* A rank may be its own reader. */
static c4_status peer_self(c4_module *module)
{
    c4_shm_peer *self = peer_new(&module->arena.address);
    if (!self)
        return c4_fail(C4_ERR_MEMORY, "shm: peers");
    module->peers[module->host->rank] = self;
    self_head(module);
    return C4_OK;
}

static c4_status shm_open(const c4_transport_host *host, c4_module **module)
{
    if (host->rank < 0 || host->rank >= host->nranks)
        return c4_fail(C4_ERR_ROOT, "shm: rank %d of %d", host->rank, host->nranks);
    c4_module *made = calloc(1, sizeof *made);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "shm: the module");
    c4_status status;
    made->host = host;
    made->arena.segment.fd = -1;
    made->leader = host->rank;
    made->lost = -1;
    made->ring_bytes = ring_default(host);
    made->max_frame_bytes = frame_limit(made->ring_bytes);
    made->stores = (int)host->option_int(host->context, "C4_SHM_STORES");
    made->npeers = host->nranks;
    made->peers = calloc((size_t)host->nranks, sizeof *made->peers);
    if (!made->peers) {
        status = c4_fail(C4_ERR_MEMORY, "shm: %d peers", host->nranks);
        goto fail;
    }
    C4_TRY_GOTO(c4_shm_maps_create(host->local_nranks, &made->maps), fail);
    int backend = (int)host->option_int(host->context, "C4_SHM_BACKEND");
    uint32_t nplots = host->local_nranks > 0 ? (uint32_t)host->local_nranks : 1;
    C4_TRY_GOTO(c4_shm_arena_init(&made->arena, backend, nplots, arena_bytes(host), host->rank), fail);
    made->expedited = c4_shm_arena_head(&made->arena)->expedited != 0;
    C4_TRY_GOTO(peer_self(made), fail);
    C4_TRY_GOTO(reserve_rings(made), fail);
    *module = made;
    return C4_OK;
fail:
    shm_close(made);
    return status;
}

static c4_status shm_caps(c4_module *module, c4_transport_caps *caps)
{
    caps_fill(module->max_frame_bytes, module->arena.address.backend == C4_SHM_BACKEND_MEMFD, caps);
    return C4_OK;
}

_Static_assert(sizeof(c4_shm_address) <= C4_ADDRESS_MAX_BYTES, "addresses fit");

static c4_status shm_address(c4_module *module, void *address, size_t *bytes)
{
    if (*bytes < sizeof(c4_shm_address))
        return c4_fail(C4_ERR_ARGUMENT, "shm: an address takes %zu bytes", sizeof(c4_shm_address));
    memcpy(address, &module->arena.address, sizeof(c4_shm_address));
    *bytes = sizeof(c4_shm_address);
    return C4_OK;
}

static c4_status refuse(char *reason, size_t reason_bytes, const char *text)
{
    snprintf(reason, reason_bytes, "%s", text);
    return C4_ERR_UNREACHABLE;
}

/* The first rank below this one that shares its place has the segment for all of them: ranks come in ascending order, and
 * who shares a place with whom is the same for everybody. One that cannot open it uses shared memory with nobody, since the
 * others are there. */
static c4_status move_to(c4_module *module, int peer, const c4_shm_address *address, char *reason, size_t reason_bytes)
{
    if (module->channels || module->arena.top > C4_SHM_PAGE)
        return refuse(reason, reason_bytes, "a peer of lower rank was added after the first channel");
    module->lost = -1;
    c4_status status = c4_shm_arena_move(&module->arena, address, reason, reason_bytes);
    if (status == C4_OK) {
        module->leader = peer;
        self_head(module);
        status = reserve_rings(module);
        if (status < 0)
            snprintf(reason, reason_bytes, "%s", c4_fail_text());
    }
    if (status == C4_OK)
        return C4_OK;
    module->lost = peer;
    snprintf(module->lost_reason, sizeof module->lost_reason, "%s", reason);
    if (status == C4_ERR_SHM)
        return status;
    module->host->log(module->host->context, C4_TLOG_WARN,
                      "shm: no shared memory with the ranks of this host, since that of rank %d cannot be had: %s",
                      peer, reason);
    return C4_ERR_UNREACHABLE;
}

static c4_status find_segment(c4_module *module, int peer, const c4_shm_address *address, char *reason,
                              size_t reason_bytes)
{
    if (module->lost >= 0 && module->lost != peer)
        return refuse(reason, reason_bytes, module->lost_reason);
    if (peer > module->host->rank) {
        if (c4_shm_arena_expand(&module->arena) < 0) {
            module->lost = module->host->rank;
            snprintf(module->lost_reason, sizeof module->lost_reason, "%s", c4_fail_text());
            refuse(reason, reason_bytes, module->lost_reason);
            return C4_ERR_SHM;
        }
        self_head(module);
        return C4_OK;
    }
    if (module->leader < peer)
        return C4_OK;
    if (module->leader < module->host->rank)
        return refuse(reason, reason_bytes, "peers must be added in ascending order of rank");
    return move_to(module, peer, address, reason, reason_bytes);
}

static c4_status shm_add_peer(c4_module *module, int peer, const void *address, size_t bytes, char *reason,
                              size_t reason_bytes)
{
    if (peer < 0 || peer >= module->npeers)
        return c4_fail(C4_ERR_ROOT, "shm: rank %d in a job of %d ranks", peer, module->npeers);
    c4_shm_address copy;
    if (bytes != sizeof copy)
        return refuse(reason, reason_bytes, "another version of the shm transport: install the same C4 on all ranks");
    memcpy(&copy, address, sizeof copy);
    copy.name[C4_SHM_NAME_BYTES - 1] = '\0';
    copy.rank = peer;
    if (peer == module->host->rank)
        return C4_OK;
    c4_shm_peer *known = module->peers[peer];
    if (known && memcmp(known->nonce, copy.nonce, sizeof copy.nonce) == 0)
        return C4_OK;
    if (known && (known->head || peer == module->leader))
        return refuse(reason, reason_bytes, "this rank is already connected to another process of that rank");
    const char *mismatch = c4_shm_address_mismatch(&copy, &module->arena.address);
    if (mismatch)
        return refuse(reason, reason_bytes, mismatch);
    C4_TRY(find_segment(module, peer, &copy, reason, reason_bytes));
    c4_shm_peer *made = peer_new(&copy);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "shm: a peer");
    free(known);
    module->peers[peer] = made;
    return C4_OK;
}

c4_status c4_shm_module_settle(c4_module *module)
{
    if (module->settled)
        return C4_OK;
    C4_TRY(c4_shm_arena_expand(&module->arena));
    self_head(module);
    c4_shm_segment_hide(&module->arena.segment);
    module->settled = true;
    return C4_OK;
}

c4_status c4_shm_peer_connect(c4_module *module, int rank, c4_shm_peer **peer)
{
    c4_shm_peer *found = module->peers[rank];
    if (!found->head) {
        found->head = c4_shm_arena_of(&module->arena, found->nonce);
        found->bytes = module->arena.bytes;
        if (!found->head)
            return c4_fail(C4_ERR_PEER_DEAD,
                           "shm: rank %d (process %d) ended before it took its place in this host's memory", rank,
                           found->pid);
    }
    *peer = found;
    return C4_OK;
}

/* As if the flag's latency had been measured. */
static void inject_distance(c4_module *module, bool far)
{
    for (int i = 0; i < module->npeers; i++)
        if (module->peers[i])
            module->peers[i]->distance.far = far;
}

/* "no_memory=1": rings cannot be allocated; "no_memory=0": they can again. "distance=near", "distance=far": until the
 * next measurement. */
static c4_status shm_inject(c4_module *module, const char *fault)
{
    if (strcmp(fault, "distance=near") == 0 || strcmp(fault, "distance=far") == 0) {
        inject_distance(module, strcmp(fault, "distance=far") == 0);
        return C4_OK;
    }
    if (strcmp(fault, "no_memory=1") == 0 || strcmp(fault, "no_memory=0") == 0) {
        module->fail_alloc = fault[sizeof "no_memory=" - 1] == '1';
        return C4_OK;
    }
    return C4_ERR_UNSUPPORTED;
}

const c4_transport_ops c4_shm_ops = {
    .struct_size = sizeof(c4_transport_ops),
    .abi = C4_TRANSPORT_ABI,
    .name = "shm",
    .probe = shm_probe,
    .open = shm_open,
    .close = shm_close,
    .caps = shm_caps,
    .address = shm_address,
    .add_peer = shm_add_peer,
    .channel_open = c4_shm_channel_open,
    .channel_close = c4_shm_channel_close,
    .send = c4_shm_send,
    .recv = c4_shm_recv,
    .cancel = c4_shm_cancel,
    .progress = c4_shm_progress,
    .peek = c4_shm_peek,
    .consume = c4_shm_consume,
    .reserve = c4_shm_reserve,
    .commit = c4_shm_commit,
    .put = c4_shm_put,
    .mem_alloc = c4_shm_mem_alloc,
    .mem_free = c4_shm_mem_free,
    .mem_export = c4_shm_mem_export,
    .mem_map = c4_shm_mem_map,
    .arm = c4_shm_arm,
    .disarm = c4_shm_disarm,
    .doorbell = c4_shm_doorbell,
    .counters = c4_shm_counters,
    .inject = shm_inject,
    .device = c4_stub_device,
};
