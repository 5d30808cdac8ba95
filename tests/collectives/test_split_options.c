/* A split whose children give options of their own, which must agree within a child. */
#include <stdlib.h>
#include <string.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

/* Ranks 0 to 2 become a child whose options differ, the others one that is well. All hear the same, and the parent goes on. */
static void differ_main(c4_comm **comm, int rank, void *arg)
{
    c4_comm_config config = {.struct_size = sizeof config,
                             .options = rank == 1 ? "C4_CHUNK_BYTES=64K C4_TCP_SOCKETS=3" : "C4_TCP_SOCKETS=2"};
    c4_comm *child = NULL;
    int32_t one = 1, sum = 0;
    (void)arg;
    WORLD_STATUS(c4_comm_split(*comm, rank / 3, rank, &config, NULL, &child), rank < 3 ? C4_ERR_OPTION : C4_OK);
    const char *text = c4_last_error(NULL);
    if (rank < 3 &&
        (!strstr(text, "C4_CHUNK_BYTES") || !strstr(text, "on rank 0 and \"3\" (") || !strstr(text, "on rank 1")))
        world_fail("rank %d: %s", rank, text);
    if (rank >= 3) {
        WORLD_OK(c4_all_reduce(&one, &sum, 1, C4_INT32, C4_SUM, child, NULL));
        WORLD_TRUE(sum == 2);
        WORLD_OK(c4_comm_destroy(child));
    }
    WORLD_OK(c4_all_reduce(&one, &sum, 1, C4_INT32, C4_SUM, *comm, NULL));
    WORLD_TRUE(sum == 5);
}

static void test_differ(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 5, .options = "C4_TRANSPORTS=shm"}, differ_main, NULL);
    world_run(&(world_spec){.nranks = 5, .options = "C4_TRANSPORTS=tcp"}, differ_main, NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(differ, 60), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
