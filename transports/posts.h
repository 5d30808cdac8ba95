/* What channels without windows share: xfers that wait at one in the order in which they were posted, and the checks of a post
 * and of a channel's ends. */
#ifndef C4_TRANSPORTS_POSTS_H
#define C4_TRANSPORTS_POSTS_H

#include <c4/transport.h>
#include <stdbool.h>

typedef struct c4_posts {
    c4_xfer *first, *last; /* last: only where there is a first */
} c4_posts;

static inline void c4_posts_append(c4_posts *posts, c4_xfer *xfer)
{
    if (posts->first != NULL)
        posts->last->next = xfer;
    else
        posts->first = xfer;
    posts->last = xfer;
}

/* The first, out of the list; there must be one. */
static inline c4_xfer *c4_posts_take(c4_posts *posts)
{
    c4_xfer *xfer = posts->first;
    posts->first = xfer->next;
    xfer->next = NULL;
    return xfer;
}

/* False: it is not there. */
bool c4_posts_remove(c4_posts *posts, const c4_xfer *xfer);

/* Begins a post: `xfer` is under way, or ends with the error that is returned. */
c4_status c4_post_begin(c4_xfer *xfer, bool right_end, size_t max_frame_bytes);

/* Of a channel with one reader: the other end's rank. Errors name the transport. */
c4_status c4_channel_peer(const c4_transport_host *host, const char *transport, const c4_channel_spec *spec, int *peer);
/* The same for a peer that has not been added. */
c4_status c4_channel_no_peer(const char *transport, const c4_channel_spec *spec, int peer);

#endif
