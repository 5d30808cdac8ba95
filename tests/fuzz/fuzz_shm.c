/* What shm takes from a peer: the directory and rings in the peer's memory, the counts that a reader writes into ours,
 * addresses and handles of memory. Byte 0 chooses. Nothing outside what the peer has shared may be touched (the peer's
 * memory is a heap block here, with the sanitizer's red zones around it). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/conformance/host.h"
#include "transports/shm/module.h"
#include "transports/shm/region.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEER_BYTES = 128 << 10, REGION_BYTES = 16 << 10, DEPTH_BYTES = 16 << 10 };

static struct {
    c4_test_host host;
    c4_module *module;
    unsigned char *peer; /* rank 1's arena, as far as rank 0 sees */
    unsigned char *region;
    c4_shm_region_handle handle;
} rig;

static void require(int condition)
{
    if (!condition)
        abort();
}

static void rig_make(void)
{
    c4_memory_handle handle;
    void *region = NULL;
    c4_log_configure(C4_LOG_NONE, NULL);
    c4_test_host_init(&rig.host, &c4_shm_option_table, "C4_SHM_BACKEND=memfd C4_SHM_BUDGET_BYTES=16M", 1, 0, 2);
    require(c4_shm_ops.open(&rig.host.host, &rig.module) == C4_OK);
    rig.peer = aligned_alloc(C4_SHM_PAGE, PEER_BYTES);
    c4_shm_peer *peer = calloc(1, sizeof *peer);
    require(rig.peer && peer && c4_shm_mem_alloc(REGION_BYTES, &region) == C4_OK);
    peer->pid = rig.module->arena.address.pid;
    peer->bytes = PEER_BYTES;
    peer->head = (c4_shm_head *)(void *)rig.peer;
    c4_shm_distance_init(&peer->distance);
    rig.module->peers[1] = peer;
    rig.region = region;
    require(c4_shm_mem_export(region, REGION_BYTES, &handle) == C4_OK);
    memcpy(&rig.handle, &handle, sizeof handle);
}

/* Takes the next `bytes` of the input; false at its end. */
static bool take(const uint8_t **data, size_t *size, void *to, size_t bytes)
{
    if (*size < bytes)
        return false;
    memcpy(to, *data, bytes);
    *data += bytes;
    *size -= bytes;
    return true;
}

static void touch(const void *pointer, size_t bytes)
{
    static volatile unsigned char sum;
    for (size_t i = 0; i < bytes; i++)
        sum = (unsigned char)(sum + ((const unsigned char *)pointer)[i]);
}

static c4_channel *open_channel(int writer, int reader)
{
    c4_channel_spec spec = {sizeof spec, 1, 2, writer, &reader, 1, DEPTH_BYTES};
    c4_channel *channel;
    require(c4_shm_ops.channel_open(rig.module, &spec, &channel) == C4_OK);
    return channel;
}

/* ---- the reader's side: a ring in the peer's memory ---- */

typedef struct published {
    uint32_t ntables;
    uint32_t unused;
    uint64_t table_offset;
    c4_shm_shape shape;
} published;

typedef struct header {
    uint8_t what; /* bit 0: the right stamp; 1, 2: its flags; 3: the writer starves */
    uint8_t unused[3];
    uint32_t bytes, first;
    uint32_t stamp; /* when not the right one */
} header;

static void publish(const published *in, uint64_t key)
{
    c4_shm_head *head = (c4_shm_head *)(void *)rig.peer;
    memset(rig.peer, 0, PEER_BYTES);
    head->directory_version = 1;
    head->ntables = in->ntables;
    for (int i = 0; i < C4_SHM_TABLES; i++)
        head->table_offset[i] = in->table_offset + (uint64_t)i * 8 * C4_SHM_PAGE;
    uint64_t at = in->table_offset + (key & 63) * sizeof(c4_shm_entry);
    if (in->table_offset % C4_SHM_LINE || in->table_offset < sizeof *head || at > PEER_BYTES - sizeof(c4_shm_entry))
        return;
    c4_shm_entry entry = {.key = key, .shape = in->shape};
    memcpy(rig.peer + at, &entry, sizeof entry);
}

static void write_header(c4_channel *channel, const header *in)
{
    c4_shm_reader *reader = &channel->in;
    c4_shm_line *line = (c4_shm_line *)(uintptr_t)&reader->slots[reader->index & reader->mask].line;
    ((c4_shm_writer_line *)(uintptr_t)reader->line)->starving = in->what >> 3 & 1;
    line->frame.bytes = in->bytes;
    line->u.at.first = in->first;
    line->stamp = in->what & 1 ? reader->expected << 2 | (in->what >> 1 & 3u) : in->stamp;
}

static void fuzz_reader(const uint8_t *data, size_t size)
{
    published in;
    header next;
    c4_window window;
    if (!take(&data, &size, &in, sizeof in))
        return;
    c4_channel *channel = open_channel(1, 0);
    publish(&in, channel->key);
    c4_status status = c4_shm_peek(channel, &window);
    while (status >= 0 && channel->in.slots && take(&data, &size, &next, sizeof next)) {
        write_header(channel, &next);
        status = c4_shm_peek(channel, &window);
        if (status != C4_OK)
            continue;
        uintptr_t at = (uintptr_t)window.pointer - (uintptr_t)rig.peer;
        require(at < PEER_BYTES && window.bytes <= PEER_BYTES - at);
        touch(window.pointer, window.bytes);
        c4_shm_consume(channel);
    }
    c4_shm_channel_close(channel);
}

static void fuzz_directory(const uint8_t *data, size_t size)
{
    uint64_t key;
    if (!take(&data, &size, &key, sizeof key) || size > PEER_BYTES)
        return;
    memset(rig.peer, 0, PEER_BYTES);
    memcpy(rig.peer, data, size);
    const c4_shm_entry *entry = c4_shm_directory_find(rig.peer, PEER_BYTES, key);
    if (entry)
        require(entry->key == key && (uintptr_t)entry - (uintptr_t)rig.peer <= PEER_BYTES - sizeof *entry);
}

/* ---- the writer's side: what a reader reports ---- */

typedef struct answer {
    uint32_t bytes; /* of the frame that is written before */
    uint32_t measured;
    uint64_t consumed; /* small: so many of those in flight */
} answer;

static void fuzz_writer(const uint8_t *data, size_t size)
{
    answer in;
    c4_window window;
    c4_channel *channel = open_channel(0, 1);
    c4_shm_writer *out = &channel->out;
    memset(rig.peer, 0, C4_SHM_PAGE);
    while (take(&data, &size, &in, sizeof in) && !channel->error) {
        size_t bytes = in.bytes % (channel->max_frame_bytes + 1);
        if (c4_shm_reserve(channel, bytes, &window) == C4_OK) {
            uintptr_t at = (uintptr_t)window.pointer - (uintptr_t)out->payload;
            require(window.pointer == channel->stage ? bytes <= sizeof channel->stage
                                                     : at < DEPTH_BYTES && bytes <= DEPTH_BYTES - at);
            memset(window.pointer, 1, bytes);
            c4_shm_commit(channel, &(c4_frame){.bytes = (uint32_t)bytes});
        }
        uint64_t inside = out->tail + in.consumed % (out->head - out->tail + 1);
        out->readers[0].consumed = in.consumed < 256 ? inside : in.consumed;
        out->readers[0].measured = in.measured;
    }
    c4_shm_channel_close(channel);
}

/* ---- addresses and handles ---- */

/* Pairs of position and value. */
static void change(void *object, size_t bytes, const uint8_t *data, size_t size)
{
    for (; size >= 2; data += 2, size -= 2)
        ((unsigned char *)object)[data[0] % bytes] ^= data[1];
}

/* Other processes are left alone: pid and fd stay. The second half of the input is for the file's first words. */
static void fuzz_address(const uint8_t *data, size_t size)
{
    const c4_shm_address *own = &rig.module->arena.address;
    const c4_shm_segment *made = &rig.module->arena.segment;
    c4_shm_address address = *own;
    c4_shm_segment segment;
    unsigned char kept[C4_SHM_LINE];
    char reason[200] = "";
    change(&address, sizeof address, data, size / 2);
    address.pid = own->pid;
    address.fd = own->fd;
    const char *mismatch = c4_shm_address_mismatch(&address, own);
    if (mismatch)
        return;
    memcpy(kept, made->base, sizeof kept);
    change(made->base, sizeof kept, data + size / 2, size - size / 2);
    if (c4_shm_segment_open(&segment, &address, reason, sizeof reason) == C4_OK) {
        require(address.bytes == own->bytes && memcmp(made->base + 8, address.nonce, sizeof address.nonce) == 0);
        require(segment.plots_at + segment.nplots * segment.plot_bytes == made->bytes);
        const unsigned char *plot = c4_shm_segment_find(&segment, own->nonce);
        require(!plot || plot + segment.plot_bytes <= segment.base + segment.bytes);
        c4_shm_segment_close(&segment);
    } else {
        require(reason[0] && memchr(reason, '\0', sizeof reason) != NULL);
    }
    memcpy(made->base, kept, sizeof kept);
}

static void map_handle(const c4_shm_region_handle *asked)
{
    c4_memory_handle handle;
    void *pointer;
    memcpy(&handle, asked, sizeof handle);
    if (c4_shm_mem_map(rig.module, 1, &handle, &pointer) < 0)
        return;
    require(asked->nonce == rig.handle.nonce);
    require(asked->offset <= REGION_BYTES && asked->bytes <= REGION_BYTES - asked->offset);
    touch(pointer, asked->bytes);
}

static void fuzz_handle(const uint8_t *data, size_t size)
{
    c4_shm_region_handle asked = rig.handle;
    int32_t pid = rig.module->arena.address.pid;
    change(&asked, sizeof asked, data, size);
    asked.fd = rig.handle.fd;
    map_handle(&asked);
    rig.module->arena.address.pid = -1; /* now rank 1 is another process */
    map_handle(&asked);
    rig.module->arena.address.pid = pid;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parts[])(const uint8_t *, size_t) = {fuzz_reader, fuzz_directory, fuzz_writer, fuzz_address,
                                                             fuzz_handle};
    if (!rig.module)
        rig_make();
    if (size)
        parts[data[0] % (sizeof parts / sizeof parts[0])](data + 1, size - 1);
    return 0;
}
