/* Agreements over the control plane, for communicators. */
#ifndef C4_COMM_AGREE_H
#define C4_COMM_AGREE_H

#include "comm/internal.h"

/* What an agreement is for: ranks that call different things must not take one for the other. */
typedef enum c4_agree_tag {
    C4_AGREE_CALL = 1,      /* c4_comm_agree */
    C4_AGREE_LAST = 2,      /* c4_comm_last_complete */
    C4_AGREE_SURVIVORS = 3, /* c4_comm_shrink: who is there, and where to meet */
    C4_AGREE_SURVIVED = 4   /* c4_comm_shrink: has everybody set up? */
} c4_agree_tag;

/* c4_control_agree; also for a communicator of one rank. C4_ERR_EXCLUDED when the others go on without this rank. */
c4_status c4_agree(c4_comm *comm, const c4_control_proposal *proposal, c4_control_agreement *agreement);

#endif
