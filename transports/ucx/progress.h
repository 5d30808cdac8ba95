/* Progress, sleeping, and the end. */
#ifndef C4_TRANSPORTS_UCX_PROGRESS_H
#define C4_TRANSPORTS_UCX_PROGRESS_H

#include "transports/ucx/internal.h"

c4_status c4_ucx_progress(c4_module *module, int *peer);
c4_status c4_ucx_arm(c4_module *module, int *fd);
void c4_ucx_disarm(c4_module *module);
/* Says goodbye, waits until what UCX holds has gone, up to C4_UCX_FLUSH_NS, and closes all endpoints. */
void c4_ucx_leave(c4_module *module);

#endif
