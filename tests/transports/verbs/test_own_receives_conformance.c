/* The conformance suite over devices that have no shared receive queues; all else as in test_standin_conformance.c. */
#include "tests/conformance/conformance.h"
#include "tests/transports/verbs/standin.h"
#include "transports/verbs/verbs.h"

int main(int argc, char **argv)
{
    static const standin_setup setup = {.ndevices = 2, .max_inline = 256, .lags = true, .seed = 2, .no_srq = true};
    static const c4_conformance fixture = {
        .ops = &c4_verbs_ops, .options = &c4_verbs_option_table, .threads = true, .survives_faults = true};
    standin_start(&setup);
    return c4_conformance_main(argc, argv, &fixture);
}
