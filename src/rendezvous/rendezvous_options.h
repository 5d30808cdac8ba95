/* The options of the rendezvous: C4_KEY_FILE, C4_INSECURE, C4_SETUP_TIMEOUT_MS. */
#ifndef C4_RENDEZVOUS_RENDEZVOUS_OPTIONS_H
#define C4_RENDEZVOUS_RENDEZVOUS_OPTIONS_H

#include "base/options.h"

extern const c4_option_table c4_rendezvous_option_table;

#endif
