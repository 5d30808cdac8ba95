/* Which process this is, for the peers that will watch it. */
#ifndef C4_RENDEZVOUS_PROCESS_H
#define C4_RENDEZVOUS_PROCESS_H

#include <stdbool.h>

#include "wire/control_message.h"

/* Fills in what /proc tells; what it does not tell stays zero, and then nobody watches this process by its pid. */
void c4_process_self(c4_process *process);

/* Can the process that `self` describes be watched by pid from `other`'s? */
bool c4_process_same_kernel(const c4_process *self, const c4_process *other);

/* When it was started, in clock ticks since boot; 0: not told. */
uint64_t c4_process_start_ticks(uint32_t pid);

/* Is the process with this pid still the one described, and does it run? One that has ended, but whose parent has not
 * taken notice yet, does not. Only for same-kernel processes. */
bool c4_process_is_alive(const c4_process *process);

#endif
