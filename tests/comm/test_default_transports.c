/* The transports that are used where nobody names any: RDMA devices count among them where there are some. Where there are none
 * nothing is said and nothing loaded; where they cannot be used that is said once, and the ranks meet all the same. */
#include "tests/c4test.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <c4/c4.h>

#include "host/rdma.h"
#include "tests/collectives/world.h"
#include "transports/builtin.h"

#define FOLDER C4_RDMA_FOLDER

typedef struct expectation {
    const char *options;
    unsigned devices;    /* bit of each rank on whose machine there seems to be one */
    const char *said[2]; /* by each rank; NULL: no warning of it at all */
    const char *level;   /* of that line */
    bool each;           /* of each of the three communicators */
    unsigned loads;      /* bit of each rank that opens the module */
} expectation;

/* A device that nobody can open. */
static bool pretend_device(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/sys/class", "tmpfs", 0, NULL) == 0 && mkdir(FOLDER, 0755) == 0 &&
           mkdir(FOLDER "/fake_0", 0755) == 0;
}

/* Of this process: "c4 12:00:00.000 host:PID warn: ..." */
static int count_lines(const char *level, const char *what)
{
    char line[2048], prefix[32];
    int count = 0;
    FILE *file = fopen(c4test_path("log"), "re");
    snprintf(prefix, sizeof prefix, ":%d %s: ", (int)getpid(), level);
    for (; file != NULL && fgets(line, sizeof line, file) != NULL;)
        count += strstr(line, prefix) != NULL && strstr(line, what) != NULL;
    if (file != NULL)
        fclose(file);
    return count;
}

static bool is_mapped(const char *name)
{
    char line[1024];
    bool found = false;
    FILE *file = fopen("/proc/self/maps", "re");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = strstr(line, name) != NULL;
    if (file != NULL)
        fclose(file);
    return found;
}

static void check_log(const expectation *expected, int rank)
{
    const char *said = expected->said[rank];
    if (said == NULL) {
        WORLD_TRUE(count_lines("warn", "verbs") == 0);
        return;
    }
    int times = count_lines(expected->level, said), wanted = expected->each ? 3 : 1;
    if (times != wanted)
        world_fail("rank %d has said %d times, not %d, as \"%s\": %s", rank, times, wanted, expected->level, said);
    if (strcmp(expected->level, "warn") != 0)
        WORLD_TRUE(count_lines("warn", "verbs") == 0);
}

static void use(const c4_unique_id *id, int rank, void *arg)
{
    const expectation *expected = arg;
    const world_spec spec = {.nranks = 2, .options = expected->options};
    float sum = (float)rank + 1;
    if (expected->devices >> rank & 1)
        WORLD_TRUE(pretend_device());
    c4_comm *comm = world_comm(id, &spec, rank);
    for (int i = 0; comm != NULL && i < 2; i++) { /* what was said of the first is not said again of the next */
        c4_comm *next = NULL;
        WORLD_OK(c4_all_reduce(&sum, &sum, 1, C4_FLOAT32, C4_SUM, comm, NULL));
        WORLD_OK(c4_comm_split(comm, 0, rank, NULL, NULL, &next));
        WORLD_OK(c4_comm_destroy(comm));
        comm = next;
    }
    WORLD_OK(c4_comm_destroy(comm));
    WORLD_TRUE(sum == 6); /* (1 + 2) twice */
    bool mapped = is_mapped("libibverbs");
    WORLD_TRUE(mapped == ((expected->loads >> rank & 1) != 0));
    check_log(expected, rank);
}

static const expectation nothing_there = {.options = NULL};
static const expectation named = {.options = "C4_TRANSPORTS=shm,verbs,tcp",
                                  .said = {"transport verbs is not available: ", "transport verbs is not available: "},
                                  .level = "warn",
                                  .each = true,
                                  .loads = 3};
static const expectation no_module = {.options = "C4_MODULE_PATH=/nowhere", .devices = 3};
static const expectation unusable = {.devices = 3,
                                     .said = {"transport verbs is left out: this machine has no RDMA device", NULL},
                                     .level = "warn",
                                     .loads = 3};
static const expectation one_side = {.devices = 1,
                                     .options = "C4_SHM_BACKEND=file",
                                     .said = {"transport verbs is left out: this machine has no RDMA device", NULL},
                                     .level = "warn",
                                     .loads = 1};
static const expectation encrypted = {.options = "C4_TLS=on",
                                      .devices = 3,
                                      .said = {"transport verbs is left out: it does not encrypt, and C4_TLS=on",
                                               "transport verbs is left out: it does not encrypt, and C4_TLS=on"},
                                      .level = "info",
                                      .each = true};

static void test_default(void)
{
    const expectation *expected = c4test_arg();
    char module[512];
    if (c4_rdma_any(C4_RDMA_FOLDER))
        C4TEST_SKIP("there are RDMA devices here");
    if (expected->devices != 0 && geteuid() != 0)
        C4TEST_SKIP("to pretend that there is a device needs root");
    snprintf(module, sizeof module, "%s/transports/verbs/.libs/libc4_verbs.so", c4test_build_root());
    setenv("C4_LOG", "info", 1);
    setenv("C4_LOG_FILE", c4test_path("log"), 1);
    if (expected->loads && access(module, R_OK) != 0)
        C4TEST_SKIP("built without verbs");
    world_run_raw(&(world_spec){.nranks = 2}, use, (void *)expected);
}

/* What decides it, without a communicator. */
static void test_absent(void)
{
    c4_transport_entry entry = {
        .name = "birds", .file = "libc4_birds.so", .mend = "feed them", .devices = c4test_dir()};
    char reason[512] = "";
    FILE *file;
    CU_ASSERT(c4_transport_is_absent(&entry, c4test_dir(), reason, sizeof reason));
    C4TEST_CONTAINS(reason, "this machine has no device for it (");
    entry.devices = c4test_path("missing");
    CU_ASSERT(c4_transport_is_absent(&entry, c4test_dir(), reason, sizeof reason));
    CU_ASSERT_FATAL((file = fopen(c4test_path("bird_0"), "we")) != NULL && fclose(file) == 0);
    entry.devices = c4test_dir();
    CU_ASSERT(c4_transport_is_absent(&entry, c4test_dir(), reason, sizeof reason));
    C4TEST_CONTAINS(reason, "libc4_birds.so is not installed in ");
    C4TEST_CONTAINS(reason, ": feed them");
    CU_ASSERT_FATAL((file = fopen(c4test_path("libc4_birds.so"), "we")) != NULL && fclose(file) == 0);
    CU_ASSERT(!c4_transport_is_absent(&entry, c4test_dir(), reason, sizeof reason));
    CU_ASSERT(!c4_transport_is_absent(&c4_transports[c4_transport_index("tcp")], "", reason, sizeof reason));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(absent),
                                        C4TEST_WITH("nothing_there", test_default, 40, &nothing_there),
                                        C4TEST_WITH("named", test_default, 40, &named),
                                        C4TEST_WITH("no_module", test_default, 40, &no_module),
                                        C4TEST_WITH("unusable", test_default, 40, &unusable),
                                        C4TEST_WITH("one_side", test_default, 40, &one_side),
                                        C4TEST_WITH("encrypted", test_default, 40, &encrypted),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
