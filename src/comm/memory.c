/* Memory that peers on this host can map. Regions belong to the process, not to a communicator. */
#include "base/export.h"
#include "comm/internal.h"
#include "transports/builtin.h"

/* The first transport whose memory peers can map. */
static const c4_transport_ops *mapper(void)
{
    return c4_builtin_transport_find("shm");
}

C4_API c4_status c4_mem_alloc(size_t bytes, void **memory)
{
    if (!memory)
        return c4_fail(C4_ERR_NULL, "c4_mem_alloc: memory is NULL");
    if (bytes == 0)
        return c4_fail(C4_ERR_COUNT, "c4_mem_alloc: 0 bytes");
    return mapper()->mem_alloc(bytes, memory);
}

C4_API c4_status c4_mem_free(void *memory)
{
    return memory ? mapper()->mem_free(memory) : C4_OK;
}

C4_API c4_status c4_mem_register(c4_comm *comm, void *memory, size_t bytes, void **handle)
{
    C4_TRY(c4_comm_enter(comm));
    c4_status status = C4_OK;
    if (!memory || !handle)
        status = c4_fail(C4_ERR_NULL, "c4_mem_register: memory or handle is NULL");
    else if (bytes == 0)
        status = c4_fail(C4_ERR_COUNT, "c4_mem_register: 0 bytes");
    else
        *handle = memory; /* shared memory and TCP have nothing to prepare */
    return c4_comm_leave(comm, status);
}

C4_API c4_status c4_mem_deregister(c4_comm *comm, void *handle)
{
    C4_TRY(c4_comm_enter(comm));
    return c4_comm_leave(comm, handle ? C4_OK : c4_fail(C4_ERR_NULL, "c4_mem_deregister: handle is NULL"));
}
