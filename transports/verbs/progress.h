/* Moving everything that can move, sleeping, and the flush before the end. */
#ifndef C4_TRANSPORTS_VERBS_PROGRESS_H
#define C4_TRANSPORTS_VERBS_PROGRESS_H

#include "transports/verbs/internal.h"

c4_status c4_verbs_progress(c4_module *module, int *peer);
c4_status c4_verbs_arm(c4_module *module, int *fd);
void c4_verbs_disarm(c4_module *module);
/* At most 1 s: what was sent arrives. Then the peers are told that nothing more comes. */
void c4_verbs_flush_all(c4_module *module);

#endif
