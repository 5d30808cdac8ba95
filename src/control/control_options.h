/* The options of the control plane: C4_HEARTBEAT_MS, C4_SILENT_MS, C4_ADMIN. */
#ifndef C4_CONTROL_CONTROL_OPTIONS_H
#define C4_CONTROL_CONTROL_OPTIONS_H

#include "base/options.h"
#include "control/control.h"

extern const c4_option_table c4_control_option_table;

/* C4_ERR_OPTION, logged: C4_SILENT_MS must be greater than C4_HEARTBEAT_MS. */
c4_status c4_control_spec_read(const c4_options *options, c4_control_spec *spec);

#endif
