/* The conformance suite where there is no RDMA device: ranks are threads, the device is a stand-in on which requests lag. The
 * first device alone is used: the second is a way out for links that are lost. */
#include "tests/conformance/conformance.h"
#include "tests/transports/verbs/standin.h"
#include "transports/verbs/verbs.h"

int main(int argc, char **argv)
{
    static const standin_setup setup = {.ndevices = 2, .max_inline = 256, .lags = true, .seed = 1};
    static const c4_conformance fixture = {
        .ops = &c4_verbs_ops, .options = &c4_verbs_option_table, .threads = true, .survives_faults = true};
    standin_start(&setup);
    return c4_conformance_main(argc, argv, &fixture);
}
