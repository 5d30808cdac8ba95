#include "tests/conformance/conformance.h"
#include "transports/tcp/tcp.h"

/* The whole contract of a transport, over TLS. */
int main(int argc, char **argv)
{
    static const c4_conformance fixture = {
        .ops = &c4_tcp_ops, .options = &c4_tcp_option_table, .overrides = "C4_TLS=on", .survives_faults = true};
    return c4_conformance_main(argc, argv, &fixture);
}
