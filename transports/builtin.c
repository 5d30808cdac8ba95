#include "transports/builtin.h"

#include <string.h>

#include "transports/hook/hook.h"
#include "transports/loop/loop.h"
#include "transports/shm/shm.h"
#include "transports/tcp/tcp.h"

const c4_transport_ops *const c4_builtin_transports[] = {&c4_loop_ops, &c4_shm_ops, &c4_tcp_ops, NULL};

const c4_option_table *const c4_builtin_transport_options[] = {&c4_hook_option_table, &c4_shm_option_table,
                                                               &c4_tcp_option_table, NULL};

const c4_transport_ops *c4_builtin_transport_find(const char *name)
{
    for (size_t i = 0; c4_builtin_transports[i] != NULL; i++)
        if (strcmp(c4_builtin_transports[i]->name, name) == 0)
            return c4_builtin_transports[i];
    return NULL;
}

const c4_transport_ops *c4_builtin_transport_hooked(const c4_transport_ops *ops, const char *rules)
{
    const c4_transport_ops *hooked = rules != NULL && *rules != '\0' ? c4_hook_wrap(ops) : NULL;
    return hooked != NULL ? hooked : ops;
}
