/* C4_REQUIRE_TRANSPORT: all ranks use that transport, or none has a communicator and each knows why. */
#include "tests/c4test.h"

#include <c4/c4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/collectives/world.h"

typedef struct demand {
    const char *options;
    c4_status status;
    const char *says[3]; /* all of it */
} demand;

/* Where modules come from in these cases: nowhere. */
#define NOWHERE "C4_MODULE_PATH=/nowhere "

static const demand demands[] = {
    {"C4_TRANSPORTS=shm,tcp C4_REQUIRE_TRANSPORT=shm", C4_OK, {NULL}},
    {"C4_REQUIRE_TRANSPORT=tcp", C4_OK, {NULL}},
    {"C4_TRANSPORTS=shm,tcp C4_REQUIRE_TRANSPORT=tcp",
     C4_ERR_UNREACHABLE,
     {"would use shm, and C4_REQUIRE_TRANSPORT=tcp", "C4_TRANSPORTS=shm,tcp names shm first"}},
    {NOWHERE "C4_TRANSPORTS=ucx,tcp C4_REQUIRE_TRANSPORT=ucx",
     C4_ERR_UNREACHABLE,
     {"C4_REQUIRE_TRANSPORT=ucx, and it cannot be used between this rank and rank",
      "ucx is left out: libc4_ucx.so is not"}},
    {"C4_TRANSPORTS=tcp C4_REQUIRE_TRANSPORT=shm",
     C4_ERR_UNREACHABLE,
     {"C4_REQUIRE_TRANSPORT=shm, and it cannot be used", "(C4_TRANSPORTS does not name it)"}},
    {"C4_REQUIRE_TRANSPORT=pigeon", C4_ERR_OPTION, {"C4_REQUIRE_TRANSPORT names \"pigeon\""}},
    /* Without the demand: the next one. */
    {NOWHERE "C4_TRANSPORTS=ucx,tcp", C4_OK, {NULL}},
};

static void create(const c4_unique_id *id, int rank, void *arg)
{
    const demand *d = arg;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = d->options, .timeout_ms = 20000};
    WORLD_STATUS(c4_comm_create(id, 2, rank, &config, NULL, &comm), d->status);
    const char *said = c4_last_error(NULL);
    for (int i = 0; d->status < 0 && d->says[i] != NULL; i++)
        if (!strstr(said, d->says[i]))
            world_fail("rank %d: \"%s\" does not say \"%s\"", rank, said, d->says[i]);
    if (comm) {
        WORLD_OK(c4_barrier(comm, NULL));
        WORLD_OK(c4_comm_destroy(comm));
    }
}

static void test_demand(void)
{
    const demand *d = c4test_arg();
    world_run_raw(&(world_spec){.nranks = 2}, create, (void *)d);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_WITH("met_by_the_first", test_demand, 40, &demands[0]),
                                        C4TEST_WITH("alone_where_none_are_listed", test_demand, 40, &demands[1]),
                                        C4TEST_WITH("another_comes_first", test_demand, 40, &demands[2]),
                                        C4TEST_WITH("not_installed", test_demand, 40, &demands[3]),
                                        C4TEST_WITH("not_listed", test_demand, 40, &demands[4]),
                                        C4TEST_WITH("unknown", test_demand, 40, &demands[5]),
                                        C4TEST_WITH("not_demanded", test_demand, 40, &demands[6]),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
