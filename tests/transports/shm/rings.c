#include "tests/transports/shm/rings.h"

static const c4_transport_ops *const ops = &c4_shm_ops;

world world_open(int nranks, size_t ring_bytes)
{
    world w = {.nranks = nranks};
    rig_board *board = c4test_shared(sizeof *board);
    rig_options options = rig_defaults();
    options.ring_bytes = (int64_t)ring_bytes;
    for (int rank = 0; rank < nranks; rank++)
        C4TEST_OK_FATAL(rig_create(&w.ranks[rank], board, rank, nranks, &options));
    for (int rank = 0; rank < nranks; rank++)
        w.ranks[rank].host.context = &w.ranks[rank];
    return w;
}

void world_connect(world *w)
{
    for (int rank = 0; rank < w->nranks; rank++) {
        w->ranks[rank].host.context = &w->ranks[rank];
        w->ranks[rank].module->host = &w->ranks[rank].host;
        C4TEST_OK_FATAL(rig_connect(&w->ranks[rank]));
    }
}

void world_close(world *w)
{
    for (int rank = 0; rank < w->nranks; rank++)
        ops->close(w->ranks[rank].module);
}

unsigned char frame_pattern(uint64_t frame, size_t at)
{
    return (unsigned char)(frame * 31 + at * 7 + at / 251);
}

c4_status frame_put(c4_channel *channel, uint64_t frame, size_t bytes)
{
    c4_window window;
    c4_status status = ops->reserve(channel, bytes, &window);
    if (status != C4_OK)
        return status;
    CU_ASSERT(window.bytes >= bytes);
    CU_ASSERT(bytes <= C4_SHM_INLINE_BYTES || (uintptr_t)window.pointer % C4_SHM_LINE == 0);
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)window.pointer)[i] = frame_pattern(frame, i);
    c4_frame header = {.comm = 7, .sequence = (uint32_t)frame, .bytes = (uint32_t)bytes, .offset = frame * 3};
    ops->commit(channel, &header);
    return C4_OK;
}

c4_status frame_get(c4_channel *channel, uint64_t frame, size_t bytes)
{
    c4_window window;
    c4_status status = ops->peek(channel, &window);
    if (status != C4_OK)
        return status;
    C4TEST_INT((long long)window.bytes, (long long)bytes);
    C4TEST_INT(window.frame.sequence, (uint32_t)frame);
    C4TEST_INT((long long)window.frame.offset, (long long)frame * 3);
    size_t wrong = 0;
    for (size_t i = 0; i < window.bytes; i++)
        wrong += ((const unsigned char *)window.pointer)[i] != frame_pattern(frame, i);
    C4TEST_INT((long long)wrong, 0);
    ops->consume(channel);
    return C4_OK;
}
