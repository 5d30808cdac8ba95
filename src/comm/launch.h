/* The launcher's word, by a deadline: names are looked up in a thread of their own, because the system's look-up can be
 * neither stopped nor limited. */
#ifndef C4_COMM_LAUNCH_H
#define C4_COMM_LAUNCH_H

#include <stdatomic.h>

#include "rendezvous/launcher.h"

/* c4_launch_detect with the options of a call ("NAME=value ...", NULL: none). C4_ERR_ABORTED within 50 ms of the
 * flag (NULL: none), C4_ERR_TIMEOUT; then the look-up is left behind and cleans up after itself. The caller owns
 * launch->listen_fd. */
c4_status c4_launch_look_up(const char *call_options, int timeout_ms, const atomic_int *abort_flag, c4_launch *launch);

#endif
