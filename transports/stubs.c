#include "transports/stubs.h"

#include <string.h>

c4_status c4_stub_peek(c4_channel *channel, c4_window *window)
{
    (void)channel, (void)window;
    return C4_ERR_UNSUPPORTED;
}

void c4_stub_consume(c4_channel *channel)
{
    (void)channel;
}

c4_status c4_stub_reserve(c4_channel *channel, size_t bytes, c4_window *window)
{
    (void)channel, (void)bytes, (void)window;
    return C4_ERR_UNSUPPORTED;
}

void c4_stub_commit(c4_channel *channel, const c4_frame *frame)
{
    (void)channel, (void)frame;
}

c4_status c4_stub_mem_alloc(size_t bytes, void **memory)
{
    (void)bytes, (void)memory;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_stub_mem_free(void *memory)
{
    (void)memory;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_stub_mem_export(const void *pointer, size_t bytes, c4_memory_handle *handle)
{
    (void)pointer, (void)bytes, (void)handle;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_stub_mem_map(c4_module *module, int peer, const c4_memory_handle *handle, void **pointer)
{
    (void)module, (void)peer, (void)handle, (void)pointer;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_stub_doorbell(c4_module *module, uint32_t **word)
{
    (void)module, (void)word;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_stub_inject(c4_module *module, const char *fault)
{
    (void)module, (void)fault;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_stub_put(c4_channel *channel, const c4_frame *frame, const void *payload)
{
    (void)channel, (void)frame, (void)payload;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_stub_device(const c4_transport_host *host, size_t index, c4_transport_device *device)
{
    (void)host, (void)index, (void)device;
    return C4_ERR_COUNT;
}

typedef void (*any_slot)(void);

struct slot_row {
    const char *name;
    size_t offset;
    any_slot stub; /* NULL: every transport must have it */
};

#define REQUIRED(slot)                                \
    {                                                 \
#slot, offsetof(c4_transport_ops, slot), NULL \
    }
#define OPTIONAL(slot)                                                    \
    {                                                                     \
#slot, offsetof(c4_transport_ops, slot), (any_slot)c4_stub_##slot \
    }

/* clang-format off */
static const struct slot_row slots[] = {
    REQUIRED(name), REQUIRED(probe), REQUIRED(open), REQUIRED(close), REQUIRED(caps), REQUIRED(address),
    REQUIRED(add_peer), REQUIRED(channel_open), REQUIRED(channel_close), REQUIRED(send), REQUIRED(recv),
    REQUIRED(cancel), REQUIRED(progress), OPTIONAL(peek), OPTIONAL(consume), OPTIONAL(reserve), OPTIONAL(commit), OPTIONAL(put),
    OPTIONAL(mem_alloc), OPTIONAL(mem_free), OPTIONAL(mem_export), OPTIONAL(mem_map), REQUIRED(arm), REQUIRED(disarm),
    OPTIONAL(doorbell), REQUIRED(counters), OPTIONAL(inject), OPTIONAL(device),
};
/* clang-format on */

c4_status c4_transport_overlay(const c4_transport_ops *partial, c4_transport_ops *full, const char **slot)
{
    if (partial->struct_size < offsetof(c4_transport_ops, probe) || partial->abi != C4_TRANSPORT_ABI) {
        *slot = "abi";
        return C4_ERR_UNSUPPORTED;
    }
    c4_transport_ops merged;
    memset(&merged, 0, sizeof merged);
    memcpy(&merged, partial, partial->struct_size < sizeof merged ? partial->struct_size : sizeof merged);
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        any_slot value;
        memcpy(&value, (const char *)&merged + slots[i].offset, sizeof value);
        if (value != NULL)
            continue;
        if (slots[i].stub == NULL) {
            *slot = slots[i].name;
            return C4_ERR_UNSUPPORTED;
        }
        memcpy((char *)&merged + slots[i].offset, &slots[i].stub, sizeof value);
    }
    merged.struct_size = sizeof merged;
    *full = merged;
    return C4_OK;
}
