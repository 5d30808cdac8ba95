/* The admin socket: what an operator who wonders why a job hangs may ask of its processes. Part of the control thread; all
 * of this runs under its lock, and nothing of it waits for anybody: at most 8 clients, a request of one line within 5 s,
 * one answer, which must be taken within 10 s. Clients of other users are refused (root is not).
 *
 * A job without this socket works as well, so that what goes wrong here is a warning. Included by src/control only. */
#ifndef C4_CONTROL_ADMIN_H
#define C4_CONTROL_ADMIN_H

#include "control/control_internal.h"

/* Opens the socket below control->spec.admin_top, and removes those that dead jobs have left. */
void c4_admin_start(c4_control *control, uint64_t job_id);
/* Removes it. In a child made by fork only what the child has of it. */
void c4_admin_stop(c4_control *control);

void c4_admin_on_event(c4_control *control, uint32_t index, uint32_t generation, uint32_t events);
/* What is due; returns the next time. */
uint64_t c4_admin_tick(c4_control *control, uint64_t now_ns);

/* ---- between ranks ---- */

/* An operator ends all communicators of the job; `by`: who, where and why. */
void c4_admin_abort_all(c4_control *control, const char *by);
/* A probe of `asker`: what is this rank in, on this communicator? */
c4_control_answer c4_admin_testify(c4_control *control, int asker, uint32_t comm, unsigned char *reply);
/* Of this rank's own probe. */
void c4_admin_answered(c4_control *control, int rank, uint32_t comm, c4_control_answer answer,
                       const unsigned char *reply);

#endif
