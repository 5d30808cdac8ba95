/* Introspection: what each thread keeps between two c4_info_* calls, so that the strings it was given stay valid. */
#ifndef C4_COMM_INFO_H
#define C4_COMM_INFO_H

#include <c4/c4.h>

#include "base/options.h"
#include "comm/setup.h"

typedef struct c4_info {
    c4_options *options; /* as resolved at the last index 0 */
    char capabilities[128];
    char reason[480]; /* of a module: it names a file */
    c4_transport_device device;
    /* The table of choices. */
    int nranks, ranks_per_host; /* it was made for; 0: not made */
    size_t nrows;
    c4_info_choice *rows;
    char tuning_reason[320];
} c4_info;

/* This thread's; freed when the thread ends. With `fresh`, or for the first time, the options are resolved anew.
 * C4_ERR_MEMORY, or C4_ERR_OPTION for a value that does not parse. */
c4_status c4_info_open(bool fresh, c4_info **info);
void c4_info_forget_choices(c4_info *info);

/* What transports ask of the library while they are probed, for a job of `nranks` ranks, all on this host. */
c4_transport_host c4_info_host(c4_info *info, int nranks);
/* Would a communicator open it? See c4_setup_transports. */
bool c4_info_wants(const c4_info *info, const char *transport);

/* C4_ERR_NULL or C4_ERR_ARGUMENT for an output struct that is missing or too small to be one of this version or later. */
c4_status c4_info_check(const void *out, size_t struct_size, size_t least);

#endif
