#include "tests/conformance/conformance.h"
#include "transports/loop/loop.h"

int main(int argc, char **argv)
{
    static const c4_conformance fixture = {.ops = &c4_loop_ops, .threads = true};
    return c4_conformance_main(argc, argv, &fixture);
}
