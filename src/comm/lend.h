/* What transports may ask of the library: options and the log. */
#ifndef C4_COMM_LEND_H
#define C4_COMM_LEND_H

#include <c4/transport.h>

#include "base/options.h"

/* Everything else (key, ranks, port) is zero. Valid as long as `options`. */
c4_transport_host c4_lend(c4_options *options);

#endif
