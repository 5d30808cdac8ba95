/* The options of communicators and the engine; the one list of all option tables in libc4. */
#ifndef C4_COMM_OPTIONS_H
#define C4_COMM_OPTIONS_H

#include "base/options.h"

extern const c4_option_table c4_comm_option_table;

/* Resolves all of libc4's options; `call` as in c4_comm_config, or NULL. Configures the log on first use. */
c4_status c4_comm_options_load(const char *call, c4_options **options);

#endif
