/* Transports in shared objects of their own, so that libc4 does not need their libraries: opened when a communicator, or
 * who asks about the machine, wants them. */
#ifndef C4_TRANSPORTS_MODULES_H
#define C4_TRANSPORTS_MODULES_H

#include "transports/builtin.h"

/* Opens the entry's file and gives its table, which stays valid: a module is never unloaded, since the libraries beneath
 * it start threads. Places, in this order: the directories of `path` (C4_MODULE_PATH: absolute, with colons between;
 * ignored in set-uid programs), the folder c4 beside libc4, and where a build tree has it when libc4 lies in one.
 * Opening twice costs a look-up. C4_ERR_UNSUPPORTED (not logged) with the reason: not installed, a library that it needs
 * is missing, or of another version of C4. */
c4_status c4_module_load(const c4_transport_entry *entry, const char *path, const c4_transport_ops **ops, char *reason,
                         size_t reason_bytes);

/* Is its file in one of these places? Where not, `reason` says how to get it. */
bool c4_module_is_installed(const c4_transport_entry *entry, const char *path, char *reason, size_t reason_bytes);

#endif
