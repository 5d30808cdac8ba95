/* What transports/link calls for a verbs link. */
#ifndef C4_TRANSPORTS_VERBS_LINK_H
#define C4_TRANSPORTS_VERBS_LINK_H

#include "transports/verbs/internal.h"

extern const c4_tlink_ops c4_verbs_tlink_ops;

/* On the stream, when the module closes: nothing more comes. */
void c4_verbs_link_say_bye(const c4_verbs_link *link);
/* A rail is down: links on it move to others. */
void c4_verbs_link_leave_rail(c4_module *module, const c4_verbs_rail *rail);
/* It is up again: links whose own it is come back. */
void c4_verbs_link_return_to_rail(c4_module *module, const c4_verbs_rail *rail);

#endif
