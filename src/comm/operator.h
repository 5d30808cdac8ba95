/* What an operator sees of a communicator through the admin socket. Everything here runs on the control thread, while the
 * threads that use the communicator may be anywhere: it reads what does not change after set-up, what is atomic, and the
 * flight record. Included by src/comm/ only. */
#ifndef C4_COMM_OPERATOR_H
#define C4_COMM_OPERATOR_H

#include "comm/internal.h"
#include "engine/view.h"

/* From now on the communicator, which is attached, can be looked at and aborted. */
void c4_comm_serve_operator(c4_comm *comm);

/* "rank 2 (pid 17 on host h)", with the rank of the job where it is another one. */
void c4_operator_describe(const c4_comm *comm, int member, char text[C4_ENGINE_WHO_BYTES]);
/* A call inside the object that is open: operation, sequence, count, dtype, op, root or peer, and all of it as text. */
void c4_operator_write_call(c4_json *json, const c4_call_card *call);
/* Transports by peer and algorithms by size, as this rank would choose now. */
void c4_operator_write_plan(c4_comm *comm, c4_json *json);
/* c4_control_operator.explain */
void c4_operator_explain(void *comm, const c4_control_testimony *members, c4_json *json);

#endif
