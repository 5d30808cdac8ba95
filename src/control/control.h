/* The control plane: one thread per job in each process, asleep unless something happens. First form: a star over the
 * bootstrap's connections, rank 0 in its middle.
 *
 * It learns that a rank's process has ended from the end of its connection (rank 0 watches all, all watch rank 0) and
 * from pidfds (ranks on this host: all when they are few, else the neighbours), tells everybody, and carries errors
 * that ranks report. A rank that leaves with c4_control_stop is not a fault.
 *
 * Ranks here are job ranks, those of the bootstrap; a communicator attaches with the list of its members. */
#ifndef C4_CONTROL_CONTROL_H
#define C4_CONTROL_CONTROL_H

#include <c4/c4.h>

#include "rendezvous/bootstrap.h"

typedef struct c4_control c4_control;
typedef struct c4_control_attachment c4_control_attachment;

/* A member died (C4_ERR_PEER_DEAD) or reported an error for this communicator (its status). `member` is its index in
 * the communicator. `text` names job rank, pid, host and, where it can be known, signal or exit status; valid during
 * the call. Once per dead member. Runs on the control thread, or inside c4_control_attach for what happened before
 * it; must not block and must not call c4_control_*. */
typedef void (*c4_control_fault_fn)(void *context, c4_status status, int member, const char *text);

/* Collective over the bootstrap's ranks; blocks for one exchange. Takes the bootstrap's connections (also when it
 * fails later than that); the bootstrap itself stays the caller's and may be closed. The thread blocks all signals. */
c4_status c4_control_start(c4_bootstrap *bootstrap, c4_control **control);

/* Says goodbye and ends the thread; returns within 1 s. All attachments must have been detached. NULL is allowed. In
 * a child made by fork it only frees: the parent's job goes on. */
void c4_control_stop(c4_control *control);

/* A member left this communicator, or the job, in good order: what it has sent may still be on its way. May be told
 * twice. Runs as c4_control_fault_fn does. */
typedef void (*c4_control_left_fn)(void *context, int member);

/* From now on faults of members[0 .. nmembers-1] (job ranks; copied) are told to `on_fault`; what is known already is
 * told before this returns. `comm` is equal on all members; communicators without a common member may share it. */
c4_status c4_control_attach(c4_control *control, uint32_t comm, const int *members, int nmembers,
                            c4_control_fault_fn on_fault, void *context, c4_control_attachment **attachment);
/* From now on members that leave are told to `on_left`, with the attachment's context; those that have left the job
 * already before this returns. */
void c4_control_watch_leavers(c4_control_attachment *attachment, c4_control_left_fn on_left);
/* Tells the others that this rank has left the communicator (not 0) in good order while it stays in the job. */
void c4_control_leave(c4_control *control, uint32_t comm);
/* After it returns, neither `on_fault` nor `on_left` is running and will not be called. NULL is allowed. */
void c4_control_detach(c4_control_attachment *attachment);

/* Tells the other members of this communicator that this rank has failed (`status` < 0) and why; their on_fault gets
 * both. Any thread; does not block. */
void c4_control_report(c4_control_attachment *attachment, c4_status status, const char *text);

/* Calls ready(context) once, on the control thread, when `fd` becomes readable; to be asked again for more (cheap: one
 * system call). The callback must not block nor call c4_control_*. A second call for a waiting fd replaces the first.
 * */
typedef void (*c4_control_ready_fn)(void *context);
c4_status c4_control_watch_fd(c4_control *control, int fd, c4_control_ready_fn ready, void *context);
/* Before `fd` is closed. After it returns the callback is not running and will not be called. */
void c4_control_unwatch_fd(c4_control *control, int fd);

/* Who the ranks are; valid until stop. NULL when out of range. */
const c4_process *c4_control_process(const c4_control *control, int rank);
/* Are both ranks on one host, in one pid name space? */
int c4_control_same_host(const c4_control *control, int rank, int other);

#endif
