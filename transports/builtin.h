/* The transports of libc4: those that are compiled in, and those that are modules, opened at run time. */
#ifndef C4_TRANSPORTS_BUILTIN_H
#define C4_TRANSPORTS_BUILTIN_H

#include <c4/transport.h>
#include <stdbool.h>

#include "base/options.h"

typedef struct c4_transport_entry {
    const char *name;
    const c4_transport_ops *ops; /* NULL: in a module */
    /* Of a module: */
    const char *file;   /* "libc4_ucx.so" */
    const char *symbol; /* of its c4_transport_ops */
    const char *mend;   /* how to get it when it is not there */
    const char
        *devices; /* folder of the devices that it drives, empty or absent where there are none; NULL: it needs none */
    bool unprotected; /* its data goes from host to host as it is, with C4_TLS=on too */
} c4_transport_entry;

/* Fastest first, a NULL name at the end. Ranks tell one another a transport's place in this list (wire/rank_card.h): it
 * does not depend on what was found when C4 was configured, and names are only added at the end. "loop" reaches ranks of
 * this process only: a rank's messages to itself, and ranks as threads. */
extern const c4_transport_entry c4_transports[];
/* The option tables of all of them, those of modules too, NULL at the end. */
extern const c4_option_table *const c4_builtin_transport_options[];

/* Its place in c4_transports; -1: there is no such transport. */
int c4_transport_index(const char *name);
/* By name; NULL when there is none, or it is a module. */
const c4_transport_ops *c4_builtin_transport_find(const char *name);
/* The table of an entry, from its module if it is in one: see c4_module_load. */
c4_status c4_transport_get(const c4_transport_entry *entry, const char *path, const c4_transport_ops **ops,
                           char *reason, size_t reason_bytes);
/* Has this machine nothing that it could use: no device, or no module? Says so in `reason`. Nothing is opened for that, so
 * that a transport which nobody has asked for costs nothing where it cannot be had. */
bool c4_transport_is_absent(const c4_transport_entry *entry, const char *path, char *reason, size_t reason_bytes);
/* What to open in place of `ops` when the rules of C4_HOOK are `rules`: the same when there are none. */
const c4_transport_ops *c4_builtin_transport_hooked(const c4_transport_ops *ops, const char *rules);

#endif
