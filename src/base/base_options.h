/* The options of the base layer itself. */
#ifndef C4_BASE_BASE_OPTIONS_H
#define C4_BASE_BASE_OPTIONS_H

#include "base/options.h"

extern const c4_option_table c4_base_option_table;

/* Configures the log from C4_LOG and C4_LOG_FILE; before the first thread. */
void c4_base_options_apply(const c4_options *options);

#endif
