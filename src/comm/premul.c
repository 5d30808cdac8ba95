/* Premultiplied sums: an op value names a scalar kept by the communicator. */
#include <string.h>

#include "base/export.h"
#include "comm/internal.h"

const c4_premul *c4_premul_find(const c4_comm *comm, c4_op op)
{
    if (op < C4_OP_USER || op >= C4_OP_USER + C4_PREMUL_LIMIT)
        return NULL;
    const c4_premul *premul = &comm->premul[op - C4_OP_USER];
    return premul->used ? premul : NULL;
}

static c4_status premul_create(c4_comm *comm, const void *scalar, c4_dtype dtype, c4_op *op)
{
    size_t bytes = c4_numeric_dtype_bytes(dtype);
    if (!scalar || !op)
        return c4_fail(C4_ERR_NULL, "c4_op_create_premul: scalar or op is NULL");
    if (bytes == 0)
        return c4_fail(C4_ERR_DTYPE, "c4_op_create_premul: dtype %d", (int)dtype);
    for (int i = 0; i < C4_PREMUL_LIMIT; i++) {
        if (comm->premul[i].used)
            continue;
        comm->premul[i] = (c4_premul){.dtype = dtype, .used = true};
        memcpy(comm->premul[i].scalar, scalar, bytes);
        *op = (c4_op)(C4_OP_USER + i);
        return C4_OK;
    }
    return c4_fail(C4_ERR_MEMORY, "c4_op_create_premul: %d ops exist already; destroy some", C4_PREMUL_LIMIT);
}

C4_API c4_status c4_op_create_premul(const void *scalar, c4_dtype dtype, c4_comm *comm, c4_op *op)
{
    C4_TRY(c4_comm_enter(comm));
    return c4_comm_leave(comm, premul_create(comm, scalar, dtype, op));
}

C4_API c4_status c4_op_destroy(c4_op op, c4_comm *comm)
{
    C4_TRY(c4_comm_enter(comm));
    if (!c4_premul_find(comm, op))
        return c4_comm_leave(comm, c4_fail(C4_ERR_OP, "c4_op_destroy: op %d does not exist here", (int)op));
    comm->premul[op - C4_OP_USER].used = false;
    return c4_comm_leave(comm, C4_OK);
}
