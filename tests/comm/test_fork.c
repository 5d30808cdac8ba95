/* fork: the child's handles are dead, the parent's live. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

static int child_uses(c4_comm *comm)
{
    float one = 1, sum = 0;
    if (c4_all_reduce(&one, &sum, 1, C4_FLOAT32, C4_SUM, comm, NULL) != C4_ERR_DESTROYED)
        return 1;
    if (strstr(c4_last_error(NULL), "fork") == NULL)
        return 2;
    uint64_t all;
    int waiting;
    c4_unique_id id;
    c4_comm *made;
    if (c4_comm_abort(comm) != C4_ERR_DESTROYED || c4_comm_agree(comm, 1, 100, &all, NULL, NULL) != C4_ERR_DESTROYED ||
        c4_comm_last_complete(comm, 100, &all) != C4_ERR_DESTROYED ||
        c4_comm_shrink(comm, NULL, 0, NULL, NULL, &made) != C4_ERR_DESTROYED ||
        c4_comm_grow_id(comm, &id) != C4_ERR_DESTROYED || c4_comm_pending(comm, &waiting) != C4_ERR_DESTROYED ||
        c4_comm_grow(comm, NULL, 3, -1, NULL, NULL, &made) != C4_ERR_DESTROYED)
        return 4;
    return c4_comm_destroy(comm) == C4_ERR_DESTROYED ? 0 : 3;
}

static void fork_rank(c4_comm **comm, int rank, void *arg)
{
    (void)arg;
    for (int round = 0; round < 3; round++) {
        float value = (float)(rank + round), sum = 0;
        int status = -1;
        pid_t child = fork();
        if (child == 0)
            _exit(child_uses(*comm));
        WORLD_TRUE(child > 0 && waitpid(child, &status, 0) == child);
        WORLD_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        WORLD_OK(c4_all_reduce(&value, &sum, 1, C4_FLOAT32, C4_SUM, *comm, NULL));
        WORLD_TRUE(sum == (float)(1 + 2 * round));
    }
}

static void test_child_is_refused(void)
{
    setenv("C4_LOG", "none", 1);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, fork_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, fork_rank, NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(child_is_refused, 60), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
