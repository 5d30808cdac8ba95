/* What c4_launch_detect would find out here, as texts, without doing it. */
#ifndef C4_RENDEZVOUS_LAUNCHER_EXPLAIN_H
#define C4_RENDEZVOUS_LAUNCHER_EXPLAIN_H

#include <c4/c4.h>
#include <stdbool.h>

#include "base/options.h"

#define C4_LAUNCH_FACTS 8

typedef struct c4_launch_fact {
    const char *what; /* "rank"; static */
    char value[512];  /* a key is never in it */
    char source[256];
} c4_launch_fact;

/* The row of the table of launchers with this number. false: past the end. *reason lives until the next call from this
 * thread. */
bool c4_launch_row(size_t index, const char **name, bool *used, const char **reason);

/* Returns how many there are. The last one is "problem" where c4_launch_detect would fail. Blocks for the pod's own name in
 * Kubernetes. `options` as in c4_launch_detect. */
size_t c4_launch_explain(const c4_options *options, c4_launch_fact facts[C4_LAUNCH_FACTS]);

#endif
