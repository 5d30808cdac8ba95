#include "tests/conformance/conformance.h"
#include "transports/ucx/ucx.h"

int main(int argc, char **argv)
{
    static const c4_conformance fixture = {.ops = &c4_ucx_ops};
    return c4_conformance_main(argc, argv, &fixture);
}
