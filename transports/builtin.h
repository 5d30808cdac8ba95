/* The transports that are compiled into libc4, fastest first. */
#ifndef C4_TRANSPORTS_BUILTIN_H
#define C4_TRANSPORTS_BUILTIN_H

#include <c4/transport.h>

#include "base/options.h"

/* NULL at the end. "loop" reaches ranks of this process only: a rank's messages to itself, and ranks as threads. */
extern const c4_transport_ops *const c4_builtin_transports[];
/* The option tables of all of them, NULL at the end. */
extern const c4_option_table *const c4_builtin_transport_options[];

/* By name; NULL when there is none. */
const c4_transport_ops *c4_builtin_transport_find(const char *name);
/* What to open in place of `ops` when the rules of C4_HOOK are `rules`: the same when there are none. */
const c4_transport_ops *c4_builtin_transport_hooked(const c4_transport_ops *ops, const char *rules);

#endif
