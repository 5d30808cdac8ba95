#include "transports/shm/shm.h"

static const c4_option_spec specs[] = {
    {"C4_SHM_BACKEND", C4_OPTION_ENUM, 0, "auto", "auto|memfd|file", NULL,
     "Where shared memory lives: anonymous files reached through /proc (memfd), or named files in /dev/shm (file) for "
     "ranks in different pid namespaces; auto takes memfd where others may open it, which a process that is not "
     "dumpable forbids (prctl(2), file capabilities)."},
    {"C4_SHM_RING_BYTES", C4_OPTION_BYTES, C4_OPTION_AGREE, "0", "0..1G", NULL,
     "Payload bytes of one channel's ring; 0 chooses by the number of ranks on the host (2 MiB for two ranks)."},
    {"C4_SHM_BUDGET_BYTES", C4_OPTION_BYTES, 0, "512M", "16M..1T", NULL,
     "Ring memory that all ranks of one host together may use; each rank gets an equal share, at least 4 MiB. The "
     "lowest rank of a host decides for it: set it alike on all of them."},
    {"C4_SHM_STORES", C4_OPTION_ENUM, 0, "auto", "auto|plain|stream", NULL,
     "How payload is stored into rings: through the cache (plain), around it (stream), or as the measured distance "
     "between the two cores advises (auto)."},
};

const c4_option_table c4_shm_option_table = {"shm", specs, sizeof specs / sizeof specs[0]};
