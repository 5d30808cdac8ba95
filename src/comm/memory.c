/* Memory that peers on this host can map, and memory that transports may prepare. Both belong to the process, not to a
 * communicator. */
#include "base/export.h"
#include "comm/declared.h"
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
    C4_TRY(mapper()->mem_alloc(bytes, memory));
    uint64_t id;
    c4_status status = c4_declared_add(*memory, bytes, &id);
    if (status < 0) {
        mapper()->mem_free(*memory);
        *memory = NULL;
    }
    return status;
}

C4_API c4_status c4_mem_free(void *memory)
{
    if (!memory)
        return C4_OK;
    c4_declared_forget(memory); /* before the address can be given to somebody else */
    return mapper()->mem_free(memory);
}

C4_API c4_status c4_mem_register(c4_comm *comm, void *memory, size_t bytes, void **handle)
{
    C4_TRY(c4_comm_enter(comm));
    c4_status status;
    uint64_t id = 0;
    if (!memory || !handle)
        status = c4_fail(C4_ERR_NULL, "c4_mem_register: memory or handle is NULL");
    else if (bytes == 0)
        status = c4_fail(C4_ERR_COUNT, "c4_mem_register: 0 bytes");
    else
        status = c4_declared_add(memory, bytes, &id);
    if (status == C4_OK)
        *handle = (void *)(uintptr_t)id;
    return c4_comm_leave(comm, status);
}

C4_API c4_status c4_mem_deregister(c4_comm *comm, void *handle)
{
    C4_TRY(c4_comm_enter(comm));
    c4_status status = C4_OK;
    if (!handle)
        status = c4_fail(C4_ERR_NULL, "c4_mem_deregister: handle is NULL");
    else if (!c4_declared_remove((uint64_t)(uintptr_t)handle))
        status = c4_fail(C4_ERR_ARGUMENT, "c4_mem_deregister: this is no handle of c4_mem_register, or its memory has "
                                          "been taken back or freed already");
    return c4_comm_leave(comm, status);
}
