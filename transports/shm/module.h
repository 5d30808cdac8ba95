/* Module and channel objects, shared by the files of this transport. */
#ifndef C4_TRANSPORTS_SHM_MODULE_H
#define C4_TRANSPORTS_SHM_MODULE_H

#include <pthread.h>

#include "transports/shm/directory.h"
#include "transports/shm/distance.h"
#include "transports/shm/shm.h"

enum { C4_SHM_STORES_AUTO, C4_SHM_STORES_PLAIN, C4_SHM_STORES_STREAM };

/* What an idle peer costs: 120 bytes. */
typedef struct c4_shm_peer {
    uint64_t nonce[2];
    int pid;
    c4_shm_head *head; /* at the start of its arena; NULL until first use */
    size_t bytes;      /* of its arena */
    c4_shm_distance distance;
} c4_shm_peer;

/* Memory of a closed ring that a reader may still be looking at. */
typedef struct c4_shm_limbo {
    c4_shm_shape shape;
    struct c4_shm_limbo *next;
} c4_shm_limbo;

typedef struct c4_shm_map_cache c4_shm_map_cache;

struct c4_module {
    const c4_transport_host *host;
    c4_shm_arena arena;
    c4_shm_peer **peers; /* by job rank; NULL until added */
    int npeers;
    int leader; /* the rank whose segment the arena is in */
    int lost;   /* the rank whose segment it should be in, but that could not be had; -1: none */
    char lost_reason[192];
    int stores;
    bool settled;    /* all peers have been added, and the arena stays where it is */
    bool expedited;  /* commits need no fence towards peers that are expedited too */
    bool closing;    /* the whole module goes: rings stay as they are for readers that lag behind */
    bool fail_alloc; /* injected */
    size_t ring_bytes, max_frame_bytes;
    c4_channel *channels; /* all */
    c4_channel *pending;  /* those with posted xfers */
    c4_channel *timed;    /* whose large frame is being read, alone; NULL: none */
    c4_shm_limbo *limbo;
    c4_shm_map_cache *maps;
};

typedef struct c4_shm_queue {
    c4_xfer *first, *last;
} c4_shm_queue;

/* Both ends: a rank may be its own reader. */
struct c4_channel {
    c4_shm_writer out;
    c4_shm_reader in;
    unsigned char stage[C4_SHM_SMALL_BYTES] __attribute__((aligned(C4_SHM_LINE))); /* small payload until commit */
    c4_module *module;
    uint32_t **bells; /* [nreaders] `asleep` words of the readers; writer only */
    uint32_t *writer_bell;
    bool fence; /* towards any of the bells */
    bool is_writer, is_reader;
    int self; /* own index in readers */
    c4_status error;
    size_t max_frame_bytes;
    uint64_t key;
    c4_channel_spec spec;
    c4_shm_queue sends, receives;
    bool is_pending;
    c4_edge_counters counters;
    c4_channel *next, *previous, *next_pending, *previous_pending;
    int readers[];
};

static inline c4_shm_peer *c4_shm_peer_get(const c4_channel *channel, int rank)
{
    return channel->module->peers[rank];
}

/* Slow paths of the rings. create: the writer's first reserve; attach: the reader's peeks until the ring is there
 * (C4_IN_PROGRESS until then). */
c4_status c4_shm_ring_create(c4_channel *channel);
/* Slots of a ring with that much payload. */
uint32_t c4_shm_header_count(uint32_t payload_lines);
c4_status c4_shm_ring_attach(c4_channel *channel);
void c4_shm_ring_close(c4_channel *channel);
/* Returns memory of closed rings that no reader is attached to any more. */
void c4_shm_limbo_reap(c4_module *module);
void c4_shm_limbo_fini(c4_module *module);

/* Every rank has added its peers: before anything points into the arena. */
c4_status c4_shm_module_settle(c4_module *module);
/* The peer with its arena, which is looked for on first use. */
c4_status c4_shm_peer_connect(c4_module *module, int rank, c4_shm_peer **peer);

c4_status c4_shm_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **channel);
void c4_shm_channel_close(c4_channel *channel);
c4_status c4_shm_counters(c4_channel *channel, c4_edge_counters *counters);

c4_status c4_shm_send(c4_channel *channel, c4_xfer *xfer);
c4_status c4_shm_recv(c4_channel *channel, c4_xfer *xfer);
void c4_shm_cancel(c4_channel *channel, c4_xfer *xfer);
c4_status c4_shm_progress(c4_module *module, int *peer);

c4_status c4_shm_arm(c4_module *module, int *fd);
c4_status c4_shm_doorbell(c4_module *module, uint32_t **word);
void c4_shm_disarm(c4_module *module);
/* Wakes the owner of the word if it sleeps. The word is `asleep` of a c4_shm_head. */
void c4_shm_wake(uint32_t *asleep);

c4_status c4_shm_mem_alloc(size_t bytes, void **memory);
c4_status c4_shm_mem_free(void *memory);
c4_status c4_shm_mem_export(const void *pointer, size_t bytes, c4_memory_handle *handle);
c4_status c4_shm_mem_map(c4_module *module, int peer, const c4_memory_handle *handle, void **pointer);
c4_status c4_shm_maps_create(int local_nranks, c4_shm_map_cache **maps);
void c4_shm_maps_destroy(c4_shm_map_cache *maps);

/* Orders a published stamp before the load of a sleeper's word. Where both sides are registered the sleeper's
 * expedited membarrier does it, and the writer pays nothing. */
static inline void c4_shm_bells(c4_channel *channel)
{
    if (__builtin_expect(channel->fence, 0))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    for (int i = 0; i < channel->spec.nreaders; i++)
        if (__builtin_expect(__atomic_load_n(channel->bells[i], __ATOMIC_RELAXED) != 0, 0))
            c4_shm_wake(channel->bells[i]);
}

static inline void c4_shm_writer_bell(c4_channel *channel)
{
    if (__builtin_expect(channel->fence, 0))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(channel->writer_bell, __ATOMIC_RELAXED) != 0, 0))
        c4_shm_wake(channel->writer_bell);
}

#endif
