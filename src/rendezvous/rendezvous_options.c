#include "rendezvous/rendezvous_options.h"

static const c4_option_spec specs[] = {
    {"C4_KEY_FILE", C4_OPTION_STRING, 0, "", NULL, NULL,
     "File with the job's key, 64 hexadecimal digits or 32 bytes, readable by its owner only; not needed under c4run."},
    {"C4_INSECURE", C4_OPTION_BOOL, C4_OPTION_AGREE, "0", NULL, NULL,
     "Without a key, let in anybody who reaches the port instead of processes of the same user on this host only."},
    {"C4_SETUP_TIMEOUT_MS", C4_OPTION_MS, 0, "60s", "1..86400000", NULL,
     "How long the creation of a communicator may take."},
    {"C4_RENDEZVOUS_PORT", C4_OPTION_INT, 0, "0", "0..65535", NULL,
     "Port of rank 0 under launchers other than c4run; 0: three that follow from the job's id, or MASTER_PORT + 1 to "
     "+ 3."},
    {"C4_PMIX", C4_OPTION_ENUM, 0, "auto", "auto|on|off", NULL,
     "Ask the launcher's PMIx server where rank 0 is and for a key: auto does when several hosts need it."},
    {"C4_KUBERNETES_SERVICE", C4_OPTION_STRING, 0, "", NULL, NULL,
     "Headless service of an indexed job's pods, where their host names do not tell it."},
};

const c4_option_table c4_rendezvous_option_table = {"rendezvous", specs, sizeof specs / sizeof specs[0]};
