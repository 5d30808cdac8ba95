/* Stubs for the slots that a transport lacks, so that no table has a NULL slot. */
#ifndef C4_TRANSPORTS_STUBS_H
#define C4_TRANSPORTS_STUBS_H

#include <c4/transport.h>
#include <string.h>

c4_status c4_stub_peek(c4_channel *channel, c4_window *window);
void c4_stub_consume(c4_channel *channel);
c4_status c4_stub_reserve(c4_channel *channel, size_t bytes, c4_window *window);
void c4_stub_commit(c4_channel *channel, const c4_frame *frame);
c4_status c4_stub_put(c4_channel *channel, const c4_frame *frame, const void *payload);

c4_status c4_stub_mem_alloc(size_t bytes, void **memory);
c4_status c4_stub_mem_free(void *memory);
c4_status c4_stub_mem_export(const void *pointer, size_t bytes, c4_memory_handle *handle);
c4_status c4_stub_mem_map(c4_module *module, int peer, const c4_memory_handle *handle, void **pointer);

c4_status c4_stub_doorbell(c4_module *module, uint32_t **word);
c4_status c4_stub_inject(c4_module *module, const char *fault);
c4_status c4_stub_device(const c4_transport_host *host, size_t index, c4_transport_device *device);

/* The slot `put`, made of a transport's own `reserve` and `commit`. */
static inline c4_status c4_put_by_window(c4_channel *channel, const c4_frame *frame, const void *payload,
                                         c4_status (*reserve)(c4_channel *, size_t, c4_window *),
                                         void (*commit)(c4_channel *, const c4_frame *))
{
    c4_window window;
    c4_status status = reserve(channel, frame->bytes, &window);
    if (status != C4_OK)
        return status;
    if (frame->bytes)
        memcpy(window.pointer, payload, frame->bytes);
    commit(channel, frame);
    return C4_OK;
}

/* For table initializers: the groups of slots that go together. */
/* clang-format off */
#define C4_STUB_WINDOWS \
    .peek = c4_stub_peek, .consume = c4_stub_consume, .reserve = c4_stub_reserve, .commit = c4_stub_commit, \
    .put = c4_stub_put
#define C4_STUB_MEMORY \
    .mem_alloc = c4_stub_mem_alloc, .mem_free = c4_stub_mem_free, .mem_export = c4_stub_mem_export, \
    .mem_map = c4_stub_mem_map
/* clang-format on */

/* Completes a table that comes from outside (a module built against an older header): copies what `partial` has,
 * fills its NULL and missing optional slots with stubs. C4_ERR_UNSUPPORTED, with *slot naming the reason, for another
 * ABI or when a slot that every transport must have is missing; *full is then unchanged. */
c4_status c4_transport_overlay(const c4_transport_ops *partial, c4_transport_ops *full, const char **slot);

#endif
