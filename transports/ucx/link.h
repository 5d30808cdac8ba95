/* The life of a link: endpoint, failure, end; and the work that UCX has in its hands. */
#ifndef C4_TRANSPORTS_UCX_LINK_H
#define C4_TRANSPORTS_UCX_LINK_H

#include "transports/ucx/internal.h"

/* The peer's link, made once. C4_ERR_MEMORY. */
c4_status c4_ucx_link_create(c4_module *module, int peer, c4_ucx_link **link);
/* Makes the endpoint if there is none. After an error the link is lost. */
c4_status c4_ucx_link_connect(c4_ucx_link *link);
/* For good: pending xfers get `status`, those that UCX holds once it lets go; progress reports it once. */
void c4_ucx_link_fail(c4_ucx_link *link, c4_status status);
/* UCX says that the endpoint has failed. */
void c4_ucx_link_lost(c4_ucx_link *link, ucs_status_t why);
/* The peer has closed its module. */
void c4_ucx_link_ended(c4_ucx_link *link);
/* Tells what has been kept back for long enough, closes the endpoints of failed links. */
void c4_ucx_links_service(c4_module *module);
/* Everything but the endpoint, which is closed. */
void c4_ucx_link_free(c4_ucx_link *link);

/* NULL without memory. */
c4_ucx_work *c4_ucx_work_begin(c4_ucx_link *link, c4_channel *channel, c4_xfer *xfer);
/* UCX has let go of it. */
void c4_ucx_work_end(c4_ucx_work *work);
/* The xfer is to be forgotten: returns once UCX does not touch its memory any more, which may cost the link. */
void c4_ucx_work_cancel(c4_ucx_work *work);
/* All of a channel's. */
void c4_ucx_works_forget(c4_channel *channel);
/* What a finished piece of work means for its xfer. */
void c4_ucx_xfer_finish(c4_ucx_link *link, c4_xfer *xfer, ucs_status_t status);

#endif
