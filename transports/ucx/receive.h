/* Frames that arrive: put in order, and to where they belong. */
#ifndef C4_TRANSPORTS_UCX_RECEIVE_H
#define C4_TRANSPORTS_UCX_RECEIVE_H

#include "transports/ucx/internal.h"

ucs_status_t c4_ucx_on_frame(void *module, const void *header, size_t header_bytes, void *data, size_t bytes,
                             const ucp_am_recv_param_t *param);
/* The oldest kept frame is the xfer's. There is one. */
void c4_ucx_receive_kept(c4_channel *channel, c4_xfer *xfer);
/* Gives back what is kept, without looking at it. */
void c4_ucx_ins_free(c4_module *module, c4_ucx_in *in);

#endif
