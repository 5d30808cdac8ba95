/* What is sent: frames, tickets, acknowledgements. */
#ifndef C4_TRANSPORTS_VERBS_TX_H
#define C4_TRANSPORTS_VERBS_TX_H

#include "transports/verbs/internal.h"

/* A message of a kind that leaves `spare` of the peer's buffers to others can go now. */
static inline bool c4_verbs_tx_may(const c4_verbs_link *link, unsigned spare)
{
    unsigned requests = spare >= C4_VERBS_CREDITS_FOR_DATA ? C4_VERBS_SQ_SPARE : 0;
    return link->open && link->broken == 0 && link->credits > spare && link->sq_room > requests + 1;
}

/* The peer lacks something: enough acknowledgements or buffers are owed for a message of their own. */
static inline bool c4_verbs_tx_owes(const c4_verbs_link *link)
{
    unsigned share = link->window / 4;
    return link->owed_credits >= share || (uint32_t)link->received - link->told >= share;
}

/* One that has only a header; c4_verbs_tx_may has said that it can go. */
void c4_verbs_tx_control(c4_verbs_link *link, c4_verbs_message *message);
/* Tickets, pauses. */
void c4_verbs_tx_hear(c4_verbs_link *link, const c4_verbs_message *message);

/* Posts a frame: done at once, handed over, or put behind those that wait. */
c4_status c4_verbs_tx_post(c4_channel *channel, c4_xfer *xfer);
/* Sends what waits, as far as it can go, and what is owed. True when something went. */
bool c4_verbs_tx_service(c4_verbs_link *link);
/* Tells the peer all that is owed, however little, before a sleep. */
void c4_verbs_tx_settle(c4_verbs_link *link);

/* True when the device has nothing of this link to do any more; until then it is asked to say so. */
bool c4_verbs_tx_flush(c4_verbs_link *link);

/* The oldest frame on its way has been acknowledged. */
void c4_verbs_tx_retire(c4_verbs_link *link);
/* The queue pair has gone: what it had under way is to be sent again. */
void c4_verbs_tx_rewind(c4_verbs_link *link);
/* There is a new one; the peer has taken so many frames over all. False: that cannot be. */
bool c4_verbs_tx_resume(c4_verbs_link *link, uint64_t received);
/* Forgets a frame that is on its way; true if the device may be reading its span until the queue pair ends. */
bool c4_verbs_tx_cancel(c4_verbs_link *link, const c4_xfer *xfer);
/* The channel is closed: its frames that are on their way go on without it; true if the device may be reading the user's memory
 * for one until the queue pair ends. */
bool c4_verbs_tx_forget(c4_channel *channel);
/* Drops everything; pending xfers end with `status`. */
void c4_verbs_tx_fini(c4_verbs_link *link, c4_status status);

#endif
