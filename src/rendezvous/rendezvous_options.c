#include "rendezvous/rendezvous_options.h"

static const c4_option_spec specs[] = {
    {"C4_KEY_FILE", C4_OPTION_STRING, 0, "", NULL, NULL,
     "File with the job's key, 64 hexadecimal digits or 32 bytes, readable by its owner only; not needed under c4run."},
    {"C4_INSECURE", C4_OPTION_BOOL, C4_OPTION_AGREE, "0", NULL, NULL,
     "Without a key, let in anybody who reaches the port instead of processes of the same user on this host only."},
    {"C4_SETUP_TIMEOUT_MS", C4_OPTION_MS, 0, "60s", "1..86400000", NULL,
     "How long the creation of a communicator may take."},
};

const c4_option_table c4_rendezvous_option_table = {"rendezvous", specs, sizeof specs / sizeof specs[0]};
