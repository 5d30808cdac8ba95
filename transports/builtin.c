#include "transports/builtin.h"

#include <stdio.h>
#include <string.h>

#include "host/rdma.h"
#include "transports/hook/hook.h"
#include "transports/link/link.h"
#include "transports/loop/loop.h"
#include "transports/modules.h"
#include "transports/shm/shm.h"
#include "transports/tcp/tcp.h"
#include "transports/verbs/verbs.h"

/* Built without a module's library, the way to it starts with another configure. */
#define GET_INSTALLED "install it beside libc4, or say in C4_MODULE_PATH where it is"
#ifdef C4_HAVE_VERBS
#define VERBS_MEND GET_INSTALLED
#else
#define VERBS_MEND "this build has no verbs: apt-get install libibverbs-dev, then configure and make again"
#endif
#ifdef C4_HAVE_UCX
#define UCX_MEND GET_INSTALLED
#else
#define UCX_MEND "this build has no UCX: apt-get install libucx-dev, then configure and make again"
#endif

const c4_transport_entry c4_transports[] = {
    {.name = "loop", .ops = &c4_loop_ops},
    {.name = "shm", .ops = &c4_shm_ops},
    {.name = "verbs",
     .file = "libc4_verbs.so",
     .symbol = "c4_verbs_ops",
     .mend = VERBS_MEND,
     .devices = C4_RDMA_FOLDER,
     .unprotected = true},
    {.name = "ucx", .file = "libc4_ucx.so", .symbol = "c4_ucx_ops", .mend = UCX_MEND, .unprotected = true},
    {.name = "tcp", .ops = &c4_tcp_ops},
    {.name = NULL},
};

const c4_option_table *const c4_builtin_transport_options[] = {&c4_hook_option_table,  &c4_shm_option_table,
                                                               &c4_tlink_option_table, &c4_tcp_option_table,
                                                               &c4_verbs_option_table, NULL};

int c4_transport_index(const char *name)
{
    for (int i = 0; c4_transports[i].name != NULL; i++)
        if (strcmp(c4_transports[i].name, name) == 0)
            return i;
    return -1;
}

const c4_transport_ops *c4_builtin_transport_find(const char *name)
{
    int index = c4_transport_index(name);
    return index >= 0 ? c4_transports[index].ops : NULL;
}

c4_status c4_transport_get(const c4_transport_entry *entry, const char *path, const c4_transport_ops **ops,
                           char *reason, size_t reason_bytes)
{
    if (entry->ops == NULL)
        return c4_module_load(entry, path, ops, reason, reason_bytes);
    *ops = entry->ops;
    return C4_OK;
}

bool c4_transport_is_absent(const c4_transport_entry *entry, const char *path, char *reason, size_t reason_bytes)
{
    if (entry->devices != NULL && !c4_rdma_any(entry->devices))
        snprintf(reason, reason_bytes, "this machine has no device for it (%s is empty)", entry->devices);
    else if (entry->ops != NULL || c4_module_is_installed(entry, path, reason, reason_bytes))
        return false;
    return true;
}

const c4_transport_ops *c4_builtin_transport_hooked(const c4_transport_ops *ops, const char *rules)
{
    const c4_transport_ops *hooked = rules != NULL && *rules != '\0' ? c4_hook_wrap(ops) : NULL;
    return hooked != NULL ? hooked : ops;
}
