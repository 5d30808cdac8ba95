/* Channels on links: making and finding them, receives posted in order, frames that came before they were asked for, and
 * pausing a writer whose frames pile up. How a frame gets from one side to the other is the transport's (c4_tchannel_ops).
 *
 * A transport has c4_tchannel_close .. counters in its table. When a frame arrives it asks c4_tchannel_incoming for the
 * channel; the frame goes to the first receive posted there, or, when there is none, to c4_tchannel_store. */
#ifndef C4_TRANSPORTS_LINK_CHANNEL_H
#define C4_TRANSPORTS_LINK_CHANNEL_H

#include "transports/link/link.h"
#include "transports/posts.h"

/* Default of c4_channel_spec.depth_bytes: unasked-for bytes kept for a channel before its writer is paused. */
#define C4_TCHANNEL_DEPTH_BYTES (4u << 20)

/* What a transport gives. */
typedef struct c4_tchannel_ops {
    size_t max_frame_bytes;
    /* As the transport's slot, on a link that has neither ended nor failed; frames come in the order of their sends and
     * not while the peer has paused the channel. Counts in channel->counters. */
    c4_status (*send)(c4_channel *channel, c4_xfer *xfer);
    /* A receive has been added to those that are posted: what has arrived already may be for it. */
    void (*posted)(c4_channel *channel);
    /* Lets go of an xfer that it was given or is filling (in that case it takes it from link->nposted), if it has it. */
    void (*cancel)(c4_channel *channel, c4_xfer *xfer);
    /* The channel goes away: the same for all its xfers that the transport has. Frames that have begun are finished. */
    void (*forget)(c4_channel *channel);
    /* Tells the peer's writer to pause or to go on. C4_OK: it will hear; else it is asked again at the next occasion. */
    c4_status (*pause)(c4_channel *channel, bool pause);
} c4_tchannel_ops;

/* A frame that arrived before it was asked for. In memory of the hub's pool. */
typedef struct c4_tchannel_in {
    struct c4_tchannel_in *next;
    c4_frame frame;
    _Alignas(64) unsigned char payload[];
} c4_tchannel_in;

struct c4_channel {
    c4_channel *next; /* on its link */
    c4_tlink *link;
    const c4_tchannel_ops *ops;
    uint32_t comm, tag;
    bool writer;
    bool opened;    /* false: frames came before channel_open */
    bool paused;    /* writer: by the peer; reader: we have paused the peer */
    c4_posts posts; /* reader: receives; writer: sends held back while paused */
    c4_tchannel_in *in_first, *in_last;
    size_t in_bytes, depth_bytes;
    c4_edge_counters counters;
};

/* ---- for the slots of the same name ---- */

c4_status c4_tchannel_open(c4_tlink_hub *hub, const c4_channel_spec *spec, c4_channel **channel);
void c4_tchannel_close(c4_channel *channel);
c4_status c4_tchannel_send(c4_channel *channel, c4_xfer *xfer);
c4_status c4_tchannel_recv(c4_channel *channel, c4_xfer *xfer);
void c4_tchannel_cancel(c4_channel *channel, c4_xfer *xfer);
c4_status c4_tchannel_counters(c4_channel *channel, c4_edge_counters *counters);
/* Of all links: before a hub closes. */
void c4_tchannels_close(c4_tlink_hub *hub);

/* ---- for frames that arrive ---- */

/* The reader's end that a frame belongs to; made when it comes before channel_open. NULL: the link has failed. */
c4_channel *c4_tchannel_incoming(c4_tlink *link, uint32_t comm, uint32_t tag);
/* The first that is posted, out of the list; there must be one. A receive counts in link->nposted until it is complete. */
static inline c4_xfer *c4_tchannel_pop(c4_channel *channel)
{
    return c4_posts_take(&channel->posts);
}
/* Completes a receive with a frame that lies whole at `payload`, aligned to its elements. */
void c4_tchannel_fill(c4_xfer *xfer, const c4_frame *frame, const void *payload);
/* Keeps an unexpected frame, or hands it to a receive that was posted meanwhile. */
void c4_tchannel_store(c4_channel *channel, c4_tchannel_in *in);
/* The peer asks this writer to pause or to go on. */
void c4_tchannel_pause(c4_tlink *link, uint32_t comm, uint32_t tag, bool pause);

/* ---- for the end of a link ---- */

/* Ends the receives that are posted, and the sends that are held back, with `status`. */
void c4_tchannels_fail(c4_tlink *link, c4_status status);
void c4_tchannels_free(c4_tlink *link);

#endif
