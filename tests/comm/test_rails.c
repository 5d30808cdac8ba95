/* Rails of verbs that come and go under a job: ports that go down and up, devices that are taken away, while messages are
 * under way and while there are none. That is done to the devices of this machine: only in a guest made for it, see
 * tests/rdma/test_rails.sh. */
#include <c4/c4.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"

#define OPTIONS "C4_TRANSPORTS=verbs C4_REQUIRE_TRANSPORT=verbs C4_VERBS_TIMEOUT=13 C4_VERBS_RETRY_COUNT=3 "
#define COUNT   60000
/* A rail that is up again is used again in so many seconds, in which the others are used. */
#define RETURN_S 20

/* ---- the devices ---- */

static void shell(const char *command)
{
    int status = system(command);
    if (status != 0)
        world_fail("`%s` ended with 0x%x", command, (unsigned)status);
}

static int device_is_there(int rail)
{
    char path[64];
    struct stat found;
    snprintf(path, sizeof path, "/sys/class/infiniband/rxe%d", rail);
    return stat(path, &found) == 0;
}

/* The removal of a device takes until nobody has it open any more. */
static void await_deletion(void)
{
    for (int i = 0; i < 10 * c4test_seconds(10) && system("pgrep -f '[l]ink delete r' >/dev/null") == 0; i++)
        usleep(100000);
}

/* As the rig has made it. */
static void make_device(int rail)
{
    char command[512];
    await_deletion();
    if (device_is_there(rail))
        return;
    snprintf(command, sizeof command,
             "{ ip link show rdma%d >/dev/null 2>&1 || { ip link add rdma%d type dummy && "
             "ip address add 10.9.%d.1/24 dev rdma%d && ip link set rdma%d mtu 4200 up; }; } && "
             "rdma link add rxe%d type rxe netdev rdma%d",
             rail, rail, rail, rail, rail, rail, rail);
    shell(command);
}

static long packets(int rail)
{
    char path[96];
    long n = -1;
    snprintf(path, sizeof path, "/sys/class/infiniband/rxe%d/ports/1/hw_counters/sent_pkts", rail);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%ld", &n) != 1)
        n = -1;
    if (file)
        fclose(file);
    return n;
}

static void need_devices(void)
{
    if (!getenv("C4_TEST_GUEST"))
        C4TEST_SKIP("it would take this machine's devices away: tests/rdma/test_rails.sh runs it in a guest");
    for (int rail = 0; rail < 2; rail++)
        make_device(rail);
    shell("ip link set rdma0 up && ip link set rdma1 up");
    setenv("C4_SOCKET_IFNAME", "lo", 1); /* what ranks say beside verbs goes by an interface that stays */
    setenv("C4_LOG", "info", 1);
    setenv("C4_LOG_FILE", c4test_path("log"), 1);
}

static const char *logged(void)
{
    static char text[1 << 18];
    FILE *file = fopen(c4test_path("log"), "r");
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[got] = '\0';
    return text;
}

/* Its network interface goes, which for Soft-RoCE is the NIC. The port is down from then on; the driver cannot take a device
 * from those who have it open, so that the command comes to its end after theirs. */
#define REMOVE_0 "(setsid ip link delete rdma0 >/dev/null 2>&1 &); sleep 0.3"
/* The device goes and its interface stays. This one waits for the end of those who have it open, and they work on; nobody else
 * sees it any more. */
#define DELETE_0 "(setsid rdma link delete rxe0 >/dev/null 2>&1 &); sleep 0.3"

/* ---- a job: rank 0 says what happens, and whether there is more ---- */

typedef struct job {
    c4_comm *comm;
    int rank, round;
    int32_t *memory[2]; /* the device knows the first */
    void (*play)(struct job *);
    c4_status status;
} job;

static bool is_exact(const job *j, const int32_t *buffer)
{
    for (int i = 0; i < COUNT; i++)
        if (buffer[i] != 1 + 2 * (j->round + i)) {
            world_fail("rank %d round %d element %d: %d", j->rank, j->round, i, buffer[i]);
            return false;
        }
    return true;
}

/* One reduction, whose result is checked, and in the middle of which something happens. */
static void reduce(job *j, const char *event)
{
    int32_t *buffer = j->memory[j->round % 2];
    c4_request *request = NULL;
    j->round++;
    for (int i = 0; i < COUNT; i++)
        buffer[i] = j->rank + j->round + i;
    c4_status status = c4_all_reduce(buffer, buffer, COUNT, C4_INT32, C4_SUM, j->comm, &request);
    for (int i = (int)c4test_rand_below(60); event && i > 0 && request && status == C4_OK; i--)
        if ((status = c4_test(&request)) == C4_IN_PROGRESS)
            status = C4_OK;
    if (event)
        shell(event);
    if (status == C4_OK && request)
        status = c4_wait(&request);
    j->status = status;
    if (status == C4_OK)
        is_exact(j, buffer);
}

/* Rank 0's: a reduction with the others. */
static void go_on(job *j, const char *event)
{
    int32_t more = 1;
    if (j->status == C4_OK)
        reduce(j, event);
    if (j->status == C4_OK)
        j->status = c4_broadcast(&more, &more, 1, C4_INT32, 0, j->comm, NULL);
}

static void follow(job *j)
{
    int32_t more = 1;
    while (more && j->status == C4_OK) {
        reduce(j, NULL);
        if (j->status == C4_OK)
            j->status = c4_broadcast(&more, &more, 1, C4_INT32, 0, j->comm, NULL);
    }
}

/* Until packets have left by the rail. */
static void go_on_until_used(job *j, int rail)
{
    uint64_t end_ns = c4_now_ns() + (uint64_t)c4test_seconds(RETURN_S) * 1000000000u;
    long before = packets(rail);
    do
        go_on(j, NULL);
    while (j->status == C4_OK && packets(rail) == before && c4_now_ns() < end_ns);
    if (packets(rail) == before)
        world_fail("rail %d was not used in %d s", rail, c4test_seconds(RETURN_S));
}

/* Nothing leaves by it any more, as soon as what was under way has been given up. */
static void go_on_without(job *j, int rail)
{
    long before, after = packets(rail);
    int quiet = 0;
    for (int i = 0; i < 200 && quiet < 5 && j->status == C4_OK; i++) {
        before = after;
        go_on(j, NULL);
        after = packets(rail);
        quiet = after == before ? quiet + 1 : 0;
    }
    if (quiet < 5)
        world_fail("rail %d is still used", rail);
}

static void rank_main(c4_comm **comm, int rank, void *arg)
{
    job j = {.comm = *comm, .rank = rank};
    void *declared = NULL;
    void (*play)(job *) = arg;
    int32_t none = 0;
    WORLD_OK(c4_mem_alloc(COUNT * sizeof(int32_t), &declared));
    j.memory[0] = declared;
    j.memory[1] = malloc(COUNT * sizeof(int32_t));
    if (rank == 0) {
        play(&j);
        reduce(&j, NULL);
        if (j.status == C4_OK)
            j.status = c4_broadcast(&none, &none, 1, C4_INT32, 0, j.comm, NULL);
    } else {
        follow(&j);
    }
    WORLD_OK(j.status);
    free(j.memory[1]);
    WORLD_OK(c4_mem_free(declared));
}

static void run(void (*play)(job *))
{
    world_run(&(world_spec){.nranks = 2, .options = OPTIONS, .deadline_s = 40}, rank_main, (void *)play);
}

/* ---- two rails ---- */

static void play_turns(job *j)
{
    for (int rail = 0; rail < 2; rail++) {
        char down[64], up[64];
        snprintf(down, sizeof down, "ip link set rdma%d down", rail);
        snprintf(up, sizeof up, "ip link set rdma%d up", rail);
        go_on_until_used(j, 0);
        go_on_until_used(j, 1);
        go_on(j, down);
        go_on_without(j, rail);
        go_on(j, up);
        go_on_until_used(j, rail);
    }
}

static void test_ports_take_turns(void)
{
    need_devices();
    run(play_turns);
    C4TEST_CONTAINS(logged(), "rail 0 (rxe0:1) is down");
    C4TEST_CONTAINS(logged(), "rail 0 (rxe0:1) is up again");
    C4TEST_CONTAINS(logged(), "rail 1 (rxe1:1) is down");
    C4TEST_CONTAINS(logged(), "rail 1 (rxe1:1) is up again");
}

static void play_flapping(job *j)
{
    for (int i = 0; i < 8; i++) {
        char event[160];
        int rail = (int)c4test_rand_below(2);
        snprintf(event, sizeof event, "ip link set rdma%d down; sleep 0.%d; ip link set rdma%d up", rail,
                 (int)c4test_rand_below(4), rail);
        go_on(j, event);
    }
    go_on_until_used(j, 0);
    go_on_until_used(j, 1);
}

static void test_flapping(void)
{
    need_devices();
    run(play_flapping);
}

static void play_both(job *j)
{
    go_on(j, NULL);
    go_on(j, "ip link set rdma0 down; ip link set rdma1 down; sleep 1; ip link set rdma1 up; ip link set rdma0 up");
    go_on_until_used(j, 0);
    go_on_until_used(j, 1);
}

/* Shorter than C4_VERBS_RETRY_MS. */
static void test_both_down_for_a_while(void)
{
    need_devices();
    run(play_both);
}

static void play_removed(job *j)
{
    go_on_until_used(j, 0);
    go_on(j, REMOVE_0);
    for (int i = 0; i < 10; i++)
        go_on(j, NULL);
    go_on_until_used(j, 1);
}

static void test_removed_in_mid_message(void)
{
    need_devices();
    run(play_removed);
    make_device(0);
}

static void play_removed_idle(job *j)
{
    go_on_until_used(j, 0);
    shell(REMOVE_0); /* the other rank waits in a reduction, and sleeps */
    for (int i = 0; i < 10; i++)
        go_on(j, NULL);
    go_on_until_used(j, 1);
}

static void test_removed_while_idle(void)
{
    need_devices();
    run(play_removed_idle);
    make_device(0);
}

static void play_deleted(job *j)
{
    go_on_until_used(j, 0);
    go_on_until_used(j, 1);
    go_on(j, DELETE_0);
    for (int i = 0; i < 10; i++)
        go_on(j, NULL);
    go_on_until_used(j, 0);
    go_on_until_used(j, 1);
}

static void test_deleted_in_use(void)
{
    need_devices();
    run(play_deleted);
    await_deletion();
    CU_ASSERT_FALSE(device_is_there(0)); /* nobody was left behind who has it open */
    make_device(0);
}

/* ---- one rail ---- */

typedef struct ending {
    const char *event, *told;
    bool idle;
} ending;

/* The error names the port on the rank that found it, and is told to the other. */
static void ending_rank(c4_comm **comm, int rank, void *arg)
{
    const ending *e = arg;
    job j = {.comm = *comm, .rank = rank};
    j.memory[0] = j.memory[1] = malloc(COUNT * sizeof(int32_t));
    if (rank == 0) {
        go_on(&j, NULL);
        if (e->idle)
            shell(e->event);
        go_on(&j, e->idle ? NULL : e->event);
        for (int i = 0; i < 100000 && j.status == C4_OK; i++)
            go_on(&j, NULL);
    } else {
        follow(&j);
    }
    WORLD_TRUE(j.status == C4_ERR_LINK || j.status == C4_ERR_PEER_ERROR);
    if (!strstr(c4_last_error(*comm), e->told))
        world_fail("rank %d: \"%s\" does not say \"%s\"", rank, c4_last_error(*comm), e->told);
    free(j.memory[0]);
}

static void test_the_only_one(void)
{
    need_devices();
    world_run(
        &(world_spec){.nranks = 2, .options = OPTIONS "C4_VERBS_DEVICES=rxe0 C4_VERBS_RETRY_MS=2s", .deadline_s = 30},
        ending_rank, (void *)c4test_arg());
    make_device(0);
    shell("ip link set rdma0 up");
}

static void play_pause(job *j)
{
    go_on(j, NULL);
    go_on(j, "ip link set rdma0 down; sleep 1; ip link set rdma0 up");
    go_on_until_used(j, 0);
}

static void test_the_only_one_comes_back(void)
{
    need_devices();
    world_run(&(world_spec){.nranks = 2, .options = OPTIONS "C4_VERBS_DEVICES=rxe0", .deadline_s = 30}, rank_main,
              (void *)play_pause);
}

int main(int argc, char **argv)
{
    static const ending down = {"ip link set rdma0 down", "rxe0:1 is down", false};
    static const ending removed_idle = {REMOVE_0, "(C4_VERBS_RETRY_MS): rxe0:", true};
    static const c4test_case cases[] = {
        C4TEST_DEADLINE(ports_take_turns, 60),
        C4TEST_DEADLINE(flapping, 60),
        C4TEST_DEADLINE(both_down_for_a_while, 60),
        C4TEST_DEADLINE(the_only_one_comes_back, 60),
        C4TEST_WITH("the_only_one_goes_down", test_the_only_one, 60, &down),
        C4TEST_WITH("the_only_one_is_removed_while_idle", test_the_only_one, 60, &removed_idle),
        C4TEST_DEADLINE(removed_while_idle, 60),
        C4TEST_DEADLINE(removed_in_mid_message, 60),
        C4TEST_DEADLINE(deleted_in_use, 60),
        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
