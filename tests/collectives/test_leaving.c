/* A rank leaves in good order: who still needs it is told, who does not is not disturbed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

typedef struct leaving {
    bool child;  /* it leaves a child and stays in the job */
    bool sender; /* rank 1 sends to the leaver; else all wait for it in an all_reduce */
    bool tcp;
    int first[2], second[2]; /* pipes to ranks 1 and 2 */
} leaving;

static void leaver_rank(c4_comm *comm, c4_comm **leave, const leaving *l)
{
    int32_t values[3] = {7, 8, 9};
    for (int i = 0; i < 3; i++)
        WORLD_OK(c4_send(&values[i], 1, C4_INT32, 1, comm, NULL));
    WORLD_OK(c4_comm_destroy(*leave));
    *leave = NULL;
    WORLD_TRUE(write(l->first[1], "x", 1) == 1);
}

/* An error of one rank is all ranks' error: none may begin to wait for the leaver before all others have what it sent. */
static void after_leaver(c4_comm *comm, int rank, const leaving *l)
{
    char bytes[2];
    if (rank == 2) {
        WORLD_TRUE(write(l->first[1], "x", 1) == 1);
        WORLD_TRUE(read(l->second[0], bytes, 1) == 1);
        return;
    }
    for (int i = 0; i < 2; i++)
        WORLD_TRUE(read(l->first[0], bytes, 1) == 1);
    for (int32_t i = 0, value = 0; i < 3; i++) { /* what it has sent arrives */
        WORLD_OK(c4_recv(&value, 1, C4_INT32, 0, comm, NULL));
        WORLD_TRUE(value == 7 + i);
    }
    WORLD_TRUE(write(l->second[1], "x", 1) == 1);
}

static void left_rank(c4_comm **world, int rank, void *arg)
{
    enum { COUNT = 4 << 20 };
    const leaving *l = arg;
    c4_comm *child = NULL, **comm = l->child ? &child : world;
    if (l->child)
        WORLD_OK(c4_comm_split(*world, 0, 0, NULL, NULL, &child));
    WORLD_OK(c4_barrier(*comm, NULL));
    if (rank == 0) {
        leaver_rank(*comm, comm, l);
        return;
    }
    after_leaver(*comm, rank, l);
    int64_t one = 1;
    char *large = calloc(COUNT, 1);
    c4_status status = l->sender && rank == 1 ? c4_send(large, COUNT, C4_UINT8, 0, *comm, NULL)
                                              : c4_all_reduce(&one, &one, 1, C4_INT64, C4_SUM, *comm, NULL);
    /* over TCP the end of the connection may tell first */
    const char *text = c4_last_error(*comm);
    if (!(status == C4_ERR_MISMATCH && strstr(text, "rank 0 left the communicator")) &&
        !(status == C4_ERR_LINK && l->tcp && strstr(text, "rank 0 closed its end")))
        world_fail("rank %d: %s: %s", rank, c4_status_name(status), text);
    free(large);
    WORLD_OK(c4_comm_destroy(child));
}

static void test_left(void)
{
    static const char *const options[] = {"C4_TRANSPORTS=shm", "C4_TRANSPORTS=tcp"};
    setenv("C4_LOG", "none", 1);
    for (int i = 0; i < 8; i++) {
        leaving l = {.child = i & 2, .sender = i & 4, .tcp = i & 1};
        C4TEST_INT_FATAL(pipe(l.first), 0);
        C4TEST_INT_FATAL(pipe(l.second), 0);
        world_run(&(world_spec){.nranks = 3, .options = options[i & 1]}, left_rank, &l);
        for (int end = 0; end < 2; end++) {
            close(l.first[end]);
            close(l.second[end]);
        }
    }
}

/* A rank that goes early must not disturb those that still work: its part is done. */
static void early_rank(c4_comm **comm, int rank, void *arg)
{
    enum { COUNT = 1000 };
    int32_t *buffer = malloc(COUNT * sizeof *buffer);
    int nranks;
    (void)arg;
    c4_comm_size(*comm, &nranks);
    for (int i = 0; i < COUNT; i++)
        buffer[i] = rank ? 0 : i;
    WORLD_OK(c4_broadcast(buffer, buffer, COUNT, C4_INT32, 0, *comm, NULL));
    for (int i = 0; i < COUNT; i++)
        WORLD_TRUE(buffer[i] == i);
    if (rank == 0) {
        WORLD_OK(c4_comm_destroy(*comm));
        *comm = NULL;
    } else {
        for (int i = 0; i < 2000; i++) { /* the others go on among themselves */
            int peer = rank % 2 ? rank + 1 : rank - 1;
            int32_t in = 0;
            if (peer >= nranks)
                break;
            WORLD_OK(c4_group_start());
            WORLD_OK(c4_send(&i, 1, C4_INT32, peer, *comm, NULL));
            WORLD_OK(c4_recv(&in, 1, C4_INT32, peer, *comm, NULL));
            WORLD_OK(c4_group_end());
            if (in != i) {
                world_fail("message %d: %d", i, in);
                break;
            }
        }
    }
    free(buffer);
}

static void test_early_leaver(void)
{
    static const char *const options[] = {"C4_TRANSPORTS=shm", "C4_TRANSPORTS=tcp",
                                          "C4_TRANSPORTS=shm C4_SHM_BACKEND=file",
                                          "C4_TRANSPORTS=tcp C4_PROGRESS=thread"};
    for (int i = 0; i < 4; i++)
        for (int nranks = 3; nranks <= 5; nranks += 2)
            world_run(&(world_spec){.nranks = nranks, .options = options[i]}, early_rank, NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(left, 90), C4TEST_DEADLINE(early_leaver, 60), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
