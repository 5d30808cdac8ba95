/* Handshakes as active messages. See ucx.h. */
#ifndef C4_TRANSPORTS_UCX_GREETING_H
#define C4_TRANSPORTS_UCX_GREETING_H

#include "transports/ucx/internal.h"

/* This rank wants to send: becomes a client, unless it is. */
void c4_ucx_greeting_begin(c4_ucx_link *link);
ucs_status_t c4_ucx_on_greeting(void *module, const void *header, size_t header_bytes, void *data, size_t bytes,
                                const ucp_am_recv_param_t *param);
void c4_ucx_greetings_free(c4_ucx_link *link);
/* Counts what does not belong here, and logs it seldom: strangers must not fill the log. */
void c4_ucx_refuse(c4_module *module, const char *what);

#endif
