/* What an operator sees of a job that hangs, and how it is ended. */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"
#include "tests/control/admin_client.h"

#define RANKS 4

typedef struct shared {
    atomic_int called, ended;
} shared;

static char options[400];

static const char *top(void)
{
    return c4test_path("records");
}

static world_spec spec(void)
{
    snprintf(options, sizeof options, "C4_RECORD_DIR=%s", top());
    return (world_spec){.nranks = RANKS, .options = options, .deadline_s = c4test_seconds(60)};
}

static char *ask(int rank, const char *line)
{
    char *answer = admin_ask(top(), rank, line);
    if (!answer)
        world_fail("rank %d has no admin socket", rank);
    return answer ? answer : strdup("");
}

static void expect(const char *answer, const char *part)
{
    if (!strstr(answer, part))
        world_fail("no %s in %s", part, answer);
}

/* Until the answer holds `part`; the case's deadline ends a wait in vain. */
static char *await(int rank, const char *line, const char *part)
{
    for (;;) {
        char *answer = ask(rank, line);
        if (strstr(answer, part) || world_failures() > 0)
            return answer;
        free(answer);
        poll(NULL, 0, 20);
    }
}

/* All but the last are in an all_reduce; the last one has come back from a barrier and does something else. */
static void look(void)
{
    char *probe = await(0, "probe\n", "\"summary\":[\"ranks 0-2 are in all_reduce #2 of 1000 float32 max since ");
    expect(probe, "\"not_entered\":[3],\"no_answer\":[]");
    expect(probe, "\"rank 3 (pid ");
    expect(probe, ") has not entered all_reduce #2; its last call was barrier #1, which ended ");
    expect(probe, "\"called\":2,\"inside\":true,\"entered\":true,\"call\":{\"operation\":\"all_reduce\",\"sequence\":2,"
                  "\"count\":1000,\"dtype\":\"float32\",\"op\":\"max\"");
    expect(probe, "\"called\":1,\"inside\":false,\"entered\":false");
    free(probe);
    char *dump = await(0, "dump communicator=world\n", "\"waits\":{\"for\":");
    expect(dump, "\"last_complete\":{\"operation\":\"barrier\",\"sequence\":1,\"text\":\"barrier #1\",\"ended\":true");
    expect(dump, "\"operations\":[{\"operation\":\"all_reduce\",\"sequence\":2");
    expect(dump, "{\"name\":\"C4_RECORD_DIR\",\"value\":\"");
    expect(dump, "\"status\":\"C4_OK\"");
    free(dump);
    char *plan = ask(1, "plan\n");
    expect(plan, "\"transports\":[{\"rank\":0,\"host\":\"");
    expect(plan, "\"algorithms\":[{\"collective\":\"all_reduce\",\"min_bytes\":0,\"algorithm\":\"");
    expect(plan, "\"programs\":[{\"collective\":\"");
    expect(plan, "\"channels\":[{\"peer\":");
    free(plan);
}

static void check_aborted(c4_comm *comm, c4_status status, int through)
{
    char part[120];
    snprintf(part, sizeof part, "through the admin socket of rank %d: it hangs", through);
    if (status != C4_ERR_ABORTED)
        world_fail("%s instead of C4_ERR_ABORTED: %s", c4_status_name(status), c4_last_error(comm));
    expect(c4_last_error(comm), "communicator \"world\" was aborted by operator (uid ");
    expect(c4_last_error(comm), part);
}

static void hang(c4_comm **comm, int rank, void *arg)
{
    static float values[1000];
    shared *s = arg;
    WORLD_OK(c4_barrier(*comm, NULL));
    if (rank < RANKS - 1) {
        check_aborted(*comm, c4_all_reduce(values, values, 1000, C4_FLOAT32, C4_MAX, *comm, NULL), 1);
        atomic_fetch_add(&s->ended, 1);
        return;
    }
    look();
    char *answer = ask(1, "abort it hangs\n");
    expect(answer, "\"communicators\":[{\"id\":\"");
    free(answer);
    while (atomic_load(&s->ended) < RANKS - 1 && world_failures() == 0)
        poll(NULL, 0, 1);
    check_aborted(*comm, c4_barrier(*comm, NULL), 1);
    answer = ask(rank, "status\n");
    expect(answer, "\"status\":\"C4_ERR_ABORTED\",\"error\":\"communicator");
    free(answer);
}

static void test_hang(void)
{
    shared *s = c4test_shared(sizeof *s);
    world_spec one = spec();
    world_run(&one, hang, s);
    C4TEST_INT(admin_count(top()), 0);
}

/* Of two communicators one is ended, by its name; the other goes on, and ranks that are no members hear nothing. */
static void one_of_two(c4_comm **comm, int rank, void *arg)
{
    shared *s = arg;
    c4_comm *half = NULL;
    int value = 1;
    c4_comm_config config = {.struct_size = sizeof config, .name = rank % 2 ? "odd" : "even"};
    WORLD_OK(c4_comm_split(*comm, rank % 2, rank, &config, NULL, &half));
    WORLD_OK(c4_barrier(*comm, NULL));
    if (rank == 0) {
        char *answer = ask(2, "abort communicator=even it hangs\n");
        expect(answer, "\"communicators\":[{\"id\":\"");
        free(answer);
        answer = ask(1, "abort communicator=even it hangs\n");
        expect(answer, "rank 1 has no communicator \\\"even\\\"; it has \\\"odd\\\" (");
        free(answer);
    }
    c4_status status = C4_OK;
    while (rank % 2 == 0 && status == C4_OK) /* until the news are here */
        status = c4_all_reduce(&value, &value, 1, C4_INT32, C4_MAX, half, NULL);
    if (rank % 2 == 0 && status != C4_ERR_ABORTED)
        world_fail("%s: %s", c4_status_name(status), c4_last_error(half));
    if (rank % 2 == 0)
        expect(c4_last_error(half), "through the admin socket of rank 2: it hangs");
    else
        WORLD_OK(c4_all_reduce(&value, &value, 1, C4_INT32, C4_MAX, half, NULL));
    atomic_fetch_add(&s->ended, 1);
    WORLD_OK(c4_barrier(*comm, NULL));
    WORLD_OK(c4_comm_destroy(half));
}

static void test_one_of_two(void)
{
    shared *s = c4test_shared(sizeof *s);
    world_spec one = spec();
    world_run(&one, one_of_two, s);
}

/* C4_ADMIN=off: no socket, and the job works. */
static void quiet(c4_comm **comm, int rank, void *arg)
{
    (void)rank, (void)arg;
    WORLD_OK(c4_barrier(*comm, NULL));
    WORLD_TRUE(admin_count(top()) == 0);
    WORLD_OK(c4_barrier(*comm, NULL));
}

static void test_off(void)
{
    world_spec one = spec();
    strncat(options, " C4_ADMIN=off", sizeof options - strlen(options) - 1);
    world_run(&one, quiet, NULL);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(hang, 90), C4TEST_DEADLINE(one_of_two, 60),
                                        C4TEST_DEADLINE(off, 40), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
