/* A shrink under way, as the control thread's news reach it. */
#ifndef C4_COMM_SHRINK_H
#define C4_COMM_SHRINK_H

#include "comm/internal.h"

typedef struct c4_shrink c4_shrink;

/* What the control plane tells of a member. true: it was for a shrink only, and `comm` goes on. Does not block. */
bool c4_shrink_take_fault(c4_comm *comm, c4_status status, int member, const char *text);

#endif
