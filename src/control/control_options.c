#include "control/control_options.h"

#include "base/status.h"

static const c4_option_spec specs[] = {
    {"C4_HEARTBEAT_MS", C4_OPTION_MS, C4_OPTION_AGREE, "5s", "100..3600000", NULL,
     "A rank of which nothing is heard for so long (stopped, host unreachable) is named in the log; it may come back."},
    {"C4_SILENT_MS", C4_OPTION_MS, C4_OPTION_AGREE, "30s", "200..86400000", NULL,
     "After so long it is given up: operations that need it fail with C4_ERR_PEER_SILENT. More than C4_HEARTBEAT_MS."},
    {"C4_ADMIN", C4_OPTION_BOOL, 0, "1", NULL, NULL,
     "Serve an admin socket for `c4info jobs` and `c4info job`, a file of mode 0600 in C4_RECORD_DIR."},
};

const c4_option_table c4_control_option_table = {"control", specs, sizeof specs / sizeof specs[0]};

c4_status c4_control_spec_read(const c4_options *options, c4_control_spec *spec)
{
    int heartbeat_ms = (int)c4_option_int(options, "C4_HEARTBEAT_MS");
    int silent_ms = (int)c4_option_int(options, "C4_SILENT_MS");
    if (silent_ms <= heartbeat_ms)
        return c4_fail(C4_ERR_OPTION, "C4_SILENT_MS=%dms must be more than C4_HEARTBEAT_MS=%dms", silent_ms,
                       heartbeat_ms);
    spec->heartbeat_ms = heartbeat_ms;
    spec->silent_ms = silent_ms;
    spec->admin_top = c4_option_int(options, "C4_ADMIN") ? c4_option_string(options, "C4_RECORD_DIR") : NULL;
    return C4_OK;
}
