/* A link's queue pair: made, connected, taken apart. */
#ifndef C4_TRANSPORTS_VERBS_PAIR_H
#define C4_TRANSPORTS_VERBS_PAIR_H

#include "transports/verbs/internal.h"

/* Can any be made on this rail? Some devices are listed and have none of the kind that is used here. Errors are
 * logged. */
c4_status c4_verbs_pair_try(c4_verbs_rail *rail);
/* Makes one on this rail, ready to be connected, and says what the peer must know. C4_OK; > 0: the rail will not do now;
 * < 0: no rail would (logged). */
c4_status c4_verbs_pair_make(c4_verbs_link *link, c4_verbs_rail *rail, c4_verbs_words *mine);
/* 0, or the errno with which the device has refused the peer's words. */
int c4_verbs_pair_connect(c4_verbs_link *link, const c4_verbs_words *theirs);
/* Why the peer's words will not do: link->trouble. */
void c4_verbs_pair_refused(c4_verbs_link *link, const c4_verbs_words *theirs, int error);
/* Keeps the reason for which there is no queue pair; the log hears the first one of an outage. C4_IN_PROGRESS. */
c4_status c4_verbs_pair_trouble(c4_verbs_link *link, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* No byte is read or written by it when this returns; what had arrived has been taken. Nothing when there is none. */
void c4_verbs_pair_destroy(c4_verbs_link *link);

#endif
