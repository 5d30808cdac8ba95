#include "tests/conformance/conformance.h"
#include "transports/shm/shm.h"

int main(int argc, char **argv)
{
    static const c4_conformance fixture = {.ops = &c4_shm_ops, .options = &c4_shm_option_table};
    return c4_conformance_main(argc, argv, &fixture);
}
