#include "record/recorder.h"

static const c4_option_spec specs[] = {
    {"C4_RECORD", C4_OPTION_BOOL, 0, "1", NULL, NULL, "Write flight records."},
    {"C4_RECORD_DIR", C4_OPTION_STRING, 0, "/dev/shm/c4-%u", NULL, NULL,
     "Directory of flight records, %u at its end being the user's number; a directory per job is made in it."},
    {"C4_RECORD_BYTES", C4_OPTION_BYTES, 0, "1M", "64K..1G", NULL,
     "Size of this process's record file, allocated up front; with many ranks on a host less is used."},
    {"C4_RECORD_KEEP_S", C4_OPTION_INT, 0, "86400", "0..2147483647", NULL,
     "Seconds after which records that a crashed job left on this host are removed; 0: never."},
    {"C4_RECORD_KEEP_BYTES", C4_OPTION_BYTES, 0, "256M", NULL, NULL,
     "Above this many bytes the oldest records of crashed jobs are removed earlier; 0: no such limit."},
};

const c4_option_table c4_record_option_table = {"record", specs, sizeof specs / sizeof specs[0]};
