#include "tests/conformance/conformance.h"
#include "transports/tcp/tcp.h"

int main(int argc, char **argv)
{
    static const c4_conformance fixture = {
        .ops = &c4_tcp_ops, .options = &c4_tcp_option_table, .survives_faults = true};
    return c4_conformance_main(argc, argv, &fixture);
}
