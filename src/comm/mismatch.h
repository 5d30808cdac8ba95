/* What ranks ask one another about calls that get no further. Included by src/comm/ only. */
#ifndef C4_COMM_MISMATCH_H
#define C4_COMM_MISMATCH_H

#include "comm/internal.h"

/* From now on peers get answers, and the engine those to its questions. The communicator is attached. */
void c4_comm_answer_peers(c4_comm *comm);
/* For the engine; `comm` is a c4_comm. As in c4_engine_spec. */
c4_status c4_comm_ask_peer(void *comm, int member, uint64_t token, const unsigned char card[C4_CONTROL_CARD_BYTES]);
void c4_comm_describe_peer(void *comm, int member, char text[C4_ENGINE_WHO_BYTES]);

#endif
