#include "tests/conformance/conformance.h"
#include "transports/verbs/verbs.h"

/* A queue pair that breaks silently shows by packets that nobody acknowledges: soon, for the faults of a test. */
int main(int argc, char **argv)
{
    static const c4_conformance fixture = {.ops = &c4_verbs_ops,
                                           .options = &c4_verbs_option_table,
                                           .overrides = "C4_VERBS_TIMEOUT=13 C4_VERBS_RETRY_COUNT=3",
                                           .survives_faults = true};
    return c4_conformance_main(argc, argv, &fixture);
}
