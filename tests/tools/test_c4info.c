/* c4info and the c4_info_* calls behind it: where values come from, why a transport is not used, which algorithm serves
 * what, and that tables and JSON are well-formed. */
#include "tests/c4test.h"

#include <c4/c4.h>
#include <cjson/cJSON.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "schedule/algorithms.h"
#include "tests/tools/test_c4train_text.h"

/* ---- helpers ---- */

/* Exit status; output in the files out and err of the case's directory. */
static int info(const char *arguments)
{
    char name[4096], program[PATH_MAX], line[9000];
    snprintf(name, sizeof name, "%s/tools/c4info/c4info", c4test_build_root());
    if (!realpath(name, program))
        C4TEST_SKIP("%s is not built", name);
    snprintf(line, sizeof line, "cd '%s' && '%s' %s >out 2>err </dev/null", c4test_dir(), program, arguments);
    int status = system(line);
    CU_ASSERT_FATAL(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *content(const char *name)
{
    return c4_text_read(c4test_path(name), NULL);
}

static void assert_said(const char *name, const char *part)
{
    char *text = content(name);
    C4TEST_CONTAINS(text, part);
    free(text);
}

static cJSON *json(const char *arguments)
{
    C4TEST_INT_FATAL(info(arguments), 0);
    char *text = content("out");
    cJSON *root = cJSON_Parse(text);
    free(text);
    CU_ASSERT_FATAL(root != NULL);
    C4TEST_INT(cJSON_GetObjectItem(root, "schema_version")->valueint, 1);
    return root;
}

static const char *string_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));
    CU_ASSERT_FATAL(text != NULL);
    return text;
}

static const cJSON *item_named(const cJSON *array, const char *key, const char *value)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, array) if (strcmp(string_of(item, key), value) == 0) return item;
    CU_FAIL_FATAL("no such item");
    return NULL;
}

/* ---- options ---- */

static void assert_option(const char *name, const char *value, const char *source)
{
    cJSON *root = json("options --json");
    const cJSON *option = item_named(cJSON_GetObjectItem(root, "options"), "name", name);
    C4TEST_STRING(string_of(option, "value"), value);
    C4TEST_STRING(string_of(option, "source"), source);
    CU_ASSERT(string_of(option, "help")[0] != '\0');
    cJSON_Delete(root);
}

static void test_option_sources(void)
{
    char source[4200];
    snprintf(source, sizeof source, "file %s", c4test_path("conf"));
    assert_option("C4_TCP_SOCKETS", "2", "default");
    c4_text_write(c4test_path("conf"), "C4_TCP_SOCKETS=3\nC4_YIELD_US=7\n", 31);
    setenv("C4_CONFIG_FILE", c4test_path("conf"), 1);
    assert_option("C4_TCP_SOCKETS", "3", source);
    setenv("C4_TCP_SOCKETS", "5", 1); /* before the file */
    assert_option("C4_TCP_SOCKETS", "5", "environment");
    assert_option("C4_YIELD_US", "7", source);
    setenv("NCCL_DEBUG", "INFO", 1);
    assert_option("C4_LOG", "INFO", "environment (NCCL_DEBUG)");
    C4TEST_INT(info("options"), 0);
    assert_said("out", "C4_TCP_SOCKETS");
}

static void test_wrong_option_value(void)
{
    setenv("C4_TCP_SOCKETS", "many", 1);
    C4TEST_INT(info("options"), 1);
    assert_said("err", "C4_TCP_SOCKETS");
    unsetenv("C4_TCP_SOCKETS");
    setenv("C4_TCP_SOKETS", "1", 1);
    C4TEST_INT(info("options"), 0);
    assert_said("err", "C4_TCP_SOCKETS"); /* the nearest name */
}

static void test_option_calls(void)
{
    c4_info_option option = {.struct_size = sizeof option};
    size_t count = 0;
    while (c4_info_get_option(count, &option) == C4_OK) {
        CU_ASSERT(strncmp(option.name, "C4_", 3) == 0);
        count++;
    }
    CU_ASSERT(count > 20);
    C4TEST_INT(c4_info_get_option(count, &option), C4_ERR_COUNT);
    C4TEST_INT(c4_info_get_option(0, NULL), C4_ERR_NULL);
    option.struct_size = 8;
    C4TEST_INT(c4_info_get_option(0, &option), C4_ERR_ARGUMENT);
    /* Index 0 looks anew. */
    option.struct_size = sizeof option;
    setenv("C4_LOG", "error", 1);
    C4TEST_OK(c4_info_get_option(0, &option));
    C4TEST_STRING(option.name, "C4_LOG");
    C4TEST_STRING(option.value, "error");
}

/* ---- launcher ---- */

/* `environment`, given by env, and what c4info makes of it. NULL: not looked at. */
typedef struct launched {
    const char *environment, *launcher, *rank, *ranks, *rendezvous, *rendezvous_source, *key, *problem;
} launched;

#define KEY   "C4_KEY=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef "
#define SLURM "SLURM_PROCID=3 SLURM_STEP_ID=0 SLURM_JOB_ID=9 SLURM_NTASKS=8 "

static const launched all_launched[] = {
    {"A=b", NULL, NULL, NULL, NULL, NULL, NULL, "no launcher found (C4_RANK is not set)"},
    {"C4_RANK=1 C4_NRANKS=4 C4_RENDEZVOUS=h:1", "c4run", "1", "4", "h:1", "C4_RENDEZVOUS",
     "none: only processes of this user", NULL},
    {KEY "C4_RANK=1 C4_NRANKS=4 C4_RENDEZVOUS=file:/x/y", "c4run", "1", "4", "file:/x/y", "C4_RENDEZVOUS", "given",
     NULL},
    {"C4_RANK=4 C4_NRANKS=4", "c4run", NULL, NULL, NULL, NULL, NULL, "C4_RANK=4: expected a whole number in 0..3"},
    {"C4_RANK=0 C4_NRANKS=1", "c4run", "0", "1", "none", "there is one rank", "none: ", NULL},
    {KEY SLURM "SLURM_NNODES=2 SLURM_STEP_NODELIST=n[1-2]", "Slurm", "3", "8", "n1, on the first free port of ",
     "the first host of Slurm's node list", "given", NULL},
    {SLURM "SLURM_NNODES=1", "Slurm", "3", "8", "127.0.0.1, on the first free port of ", "all ranks are on this host",
     "none: ", NULL},
    {SLURM "SLURM_NNODES=2 SLURM_STEP_NODELIST=n[1-2]", "Slurm", "3", "8", NULL, NULL, NULL,
     "Slurm runs this job on several hosts, which need a key"},
    {SLURM "SLURM_NNODES=2 PMIX_RANK=3 PMIX_NAMESPACE=j C4_PMIX=on", "Slurm", "3", "8",
     "rank 0 listens on any free port", "the PMIx server will be asked", "made by rank 0", NULL},
    {KEY "RANK=0 WORLD_SIZE=2 MASTER_ADDR=head MASTER_PORT=29500 TORCHELASTIC_RUN_ID=x", "torchrun", "0", "2",
     "head, on the first free port of 29501 to 29503", "MASTER_ADDR, MASTER_PORT", "given", NULL},
    {"PMIX_RANK=2 PMIX_NAMESPACE=j", "PMIx", "2", "?", "rank 0 listens", "PMIx server", "made by rank 0", NULL},
    {"C4_INSECURE=1 JOB_COMPLETION_INDEX=1 C4_NRANKS=2 C4_RENDEZVOUS=h:1", "Kubernetes", "1", "2", "h:1",
     "C4_RENDEZVOUS", "none: whoever reaches the port", NULL},
};

static void assert_fact(const cJSON *launch, const char *name, const char *part, const char *member)
{
    const cJSON *fact = cJSON_GetObjectItem(launch, name);
    if (!part)
        return;
    CU_ASSERT_FATAL(fact != NULL);
    C4TEST_CONTAINS(string_of(fact, member), part);
}

static void test_launcher(void)
{
    for (size_t i = 0; i < sizeof all_launched / sizeof all_launched[0]; i++) {
        const launched *one = &all_launched[i];
        char words[600];
        int used = 0;
        snprintf(words, sizeof words, "%s", one->environment);
        clearenv();
        for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
            char *equals = strchr(word, '=');
            *equals = '\0';
            setenv(word, equals + 1, 1);
        }
        setenv("PATH", "/usr/bin:/bin", 1);
        C4TEST_INT(info("launcher --json"), one->problem ? 1 : 0);
        char *text = content("out");
        CU_ASSERT_PTR_NULL(strstr(text, "0123456789abcdef0123"));
        cJSON *root = cJSON_Parse(text);
        free(text);
        CU_ASSERT_FATAL(root != NULL);
        const cJSON *launch = cJSON_GetObjectItem(root, "launch"), *row;
        cJSON_ArrayForEach(row, cJSON_GetObjectItem(root, "launchers"))
        {
            if (!cJSON_IsTrue(cJSON_GetObjectItem(row, "used")))
                continue;
            used++;
            C4TEST_STRING(string_of(row, "name"), one->launcher);
        }
        C4TEST_INT(used, one->launcher != NULL);
        assert_fact(launch, "launcher", one->launcher, "value");
        assert_fact(launch, "rank", one->rank, "value");
        assert_fact(launch, "ranks", one->ranks, "value");
        assert_fact(launch, "rendezvous", one->rendezvous, "value");
        assert_fact(launch, "rendezvous", one->rendezvous_source, "source");
        assert_fact(launch, "key", one->key, "value");
        assert_fact(launch, "problem", one->problem, "value");
        CU_ASSERT((cJSON_GetObjectItem(launch, "problem") != NULL) == (one->problem != NULL));
        cJSON_Delete(root);
    }
}

/* Why not the others, in words; a launcher that another one has started comes first. */
static void test_launcher_text(void)
{
    setenv("SLURM_PROCID", "0", 1);
    setenv("SLURM_STEP_ID", "4294967291", 1); /* a script of sbatch */
    C4TEST_INT(info("launcher"), 1);
    assert_said("out", "TORCHELASTIC_RUN_ID is not set");
    assert_said("out", "SLURM_STEP_ID=4294967291 is a shell of salloc or a script of sbatch");
    assert_said("out", "start the program with `c4run -n N PROGRAM`");
    setenv("SLURM_STEP_ID", "0", 1);
    setenv("OMPI_COMM_WORLD_RANK", "0", 1);
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    C4TEST_INT(info("launcher"), 0);
    assert_said("out", "its variables are set, but Open MPI comes first");
    assert_said("out", "there is one rank");
}

/* ---- transports ---- */

static void test_transports(void)
{
    cJSON *root = json("transports --json");
    const cJSON *transports = cJSON_GetObjectItem(root, "transports");
    CU_ASSERT(cJSON_IsTrue(cJSON_GetObjectItem(item_named(transports, "name", "tcp"), "available")));
    CU_ASSERT(cJSON_GetObjectItem(item_named(transports, "name", "shm"), "latency_us")->valuedouble > 0);
    cJSON_Delete(root);
    setenv("C4_TRANSPORTS", "tcp", 1);
    root = json("transports --json");
    const cJSON *shm = item_named(cJSON_GetObjectItem(root, "transports"), "name", "shm");
    CU_ASSERT(cJSON_IsFalse(cJSON_GetObjectItem(shm, "available")));
    C4TEST_STRING(string_of(shm, "reason"), "left out by C4_TRANSPORTS=tcp");
    cJSON_Delete(root);
    setenv("C4_SOCKET_IFNAME", "127.0.0.0/8", 1);
    root = json("transports --json");
    const cJSON *lo = item_named(cJSON_GetObjectItem(root, "interfaces"), "address", "127.0.0.1");
    CU_ASSERT(cJSON_IsTrue(cJSON_GetObjectItem(lo, "used")));
    C4TEST_STRING(string_of(lo, "reason"), "asked for by C4_SOCKET_IFNAME");
    cJSON_Delete(root);
    setenv("C4_SOCKET_IFNAME", "^lo", 1);
    C4TEST_INT(info("transports"), 0);
    assert_said("out", "excluded by C4_SOCKET_IFNAME");
    C4TEST_INT(info("transports"), 0);
    assert_said("out", "left out by C4_TRANSPORTS=tcp");
}

/* ---- algorithms ---- */

/* Ranges of each collective follow one another from 0 to the end, and neighbours differ. */
static void assert_complete(int nranks, int ranks_per_host)
{
    c4_info_choice choice = {.struct_size = sizeof choice}, last = {.collective = ""};
    size_t collectives = 0, index = 0;
    for (; c4_info_get_choice(nranks, ranks_per_host, index, &choice) == C4_OK; index++) {
        bool same = strcmp(choice.collective, last.collective) == 0;
        CU_ASSERT(choice.min_bytes <= choice.max_bytes);
        CU_ASSERT(choice.predicted_us >= 0 && choice.lanes >= (nranks > 1) && c4_algorithm_find(choice.algorithm) >= 0);
        CU_ASSERT_EQUAL(choice.min_bytes, same ? last.max_bytes + 1 : 0);
        CU_ASSERT(!same || strcmp(choice.algorithm, last.algorithm) != 0 || strcmp(choice.reason, last.reason) != 0);
        if (!same && index > 0)
            CU_ASSERT_EQUAL(last.max_bytes, SIZE_MAX);
        collectives += !same;
        last = choice;
    }
    CU_ASSERT_EQUAL(last.max_bytes, SIZE_MAX);
    C4TEST_INT((long long)collectives, 9);
    C4TEST_INT(c4_info_get_choice(nranks, ranks_per_host, index, &choice), C4_ERR_COUNT);
}

static void test_choice_is_complete(void)
{
    static const int shapes[][2] = {{1, 1}, {2, 2}, {2, 1}, {3, 3}, {7, 2}, {8, 8}, {16, 4}, {64, 8}, {256, 256}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        assert_complete(shapes[i][0], shapes[i][1]);
}

/* The row that serves `bytes`. */
static c4_info_choice choice_for(const char *collective, size_t bytes)
{
    c4_info_choice choice = {.struct_size = sizeof choice};
    for (size_t i = 0; c4_info_get_choice(2, 2, i, &choice) == C4_OK; i++)
        if (strcmp(choice.collective, collective) == 0 && bytes >= choice.min_bytes && bytes <= choice.max_bytes)
            return choice;
    CU_FAIL_FATAL("no row");
    return choice;
}

static void test_choice_borders(void)
{
    /* In 4096..8191 lies no size of the scan but 4096 and 6144: borders come from bisection. */
    static const char tuning[] = "all_reduce 2 2 0 4999 direct 0 0\nall_reduce 2 2 5000 7003 ring 65536 0\n";
    c4_text_write(c4test_path("tuning"), tuning, strlen(tuning));
    setenv("C4_TUNING_FILE", c4test_path("tuning"), 1);
    c4_info_choice choice = choice_for("all_reduce", 4999);
    C4TEST_STRING(choice.algorithm, "direct");
    C4TEST_CONTAINS(choice.reason, "tuning file ");
    C4TEST_CONTAINS(choice.reason, c4test_path("tuning"));
    C4TEST_INT((long long)choice.max_bytes, 4999);
    choice = choice_for("all_reduce", 5000);
    C4TEST_STRING(choice.algorithm, "ring");
    C4TEST_INT((long long)choice.chunk_bytes, 65536);
    C4TEST_INT((long long)choice.max_bytes, 7003);
    choice = choice_for("all_reduce", 7004);
    CU_ASSERT(strstr(choice.reason, "tuning file") == NULL);
    setenv("C4_TUNING_FILE", "/missing", 1);
    C4TEST_INT(c4_info_get_choice(2, 2, 0, &choice), C4_ERR_OPTION);
}

static void test_forced_choice(void)
{
    setenv("C4_ALGO", "all_reduce:ring", 1);
    C4TEST_STRING(choice_for("all_reduce", 8).algorithm, "ring");
    C4TEST_STRING(choice_for("all_reduce", 8).reason, "C4_ALGO");
    CU_ASSERT(strcmp(choice_for("all_gather", 8).reason, "C4_ALGO") != 0);
    setenv("C4_ALGO", "tree", 1); /* which all_gather does not have */
    C4TEST_STRING(choice_for("broadcast", 1 << 20).algorithm, "tree");
    CU_ASSERT(strcmp(choice_for("all_gather", 8).reason, "C4_ALGO") != 0);
    C4TEST_INT(info("algorithms -n 4"), 0);
    assert_said("out", "C4_ALGO");
    setenv("C4_ALGO", "wrong", 1);
    C4TEST_INT(info("algorithms"), 1);
    assert_said("err", "C4_ALGO names \"wrong\"");
    assert_said("out", "hierarchical"); /* the list that the message promises */
}

static void test_choice_arguments(void)
{
    c4_info_choice choice = {.struct_size = sizeof choice};
    C4TEST_INT(c4_info_get_choice(0, 1, 0, &choice), C4_ERR_ARGUMENT);
    C4TEST_INT(c4_info_get_choice(2, 0, 0, &choice), C4_ERR_ARGUMENT);
    C4TEST_INT(c4_info_get_choice(1 << 20, 1, 0, &choice), C4_ERR_ARGUMENT);
    C4TEST_INT(c4_info_get_choice(2, 2, 0, NULL), C4_ERR_NULL);
    choice.struct_size = 0;
    C4TEST_INT(c4_info_get_choice(2, 2, 0, &choice), C4_ERR_ARGUMENT);
}

static void test_algorithms_json(void)
{
    cJSON *root = json("algorithms --json -n 8 --ranks-per-host 4");
    C4TEST_INT(cJSON_GetObjectItem(root, "nranks")->valueint, 8);
    C4TEST_INT(cJSON_GetObjectItem(root, "ranks_per_host")->valueint, 4);
    const cJSON *rows = cJSON_GetObjectItem(root, "rows");
    CU_ASSERT(cJSON_GetArraySize(rows) >= 9);
    CU_ASSERT(cJSON_IsNull(cJSON_GetObjectItem(item_named(rows, "collective", "barrier"), "max_bytes")));
    const cJSON *algorithms = cJSON_GetObjectItem(root, "algorithms");
    C4TEST_INT(cJSON_GetArraySize(algorithms), c4_nalgorithms);
    const cJSON *ring = cJSON_GetObjectItem(item_named(algorithms, "name", "ring"), "collectives");
    C4TEST_STRING(cJSON_GetStringValue(cJSON_GetArrayItem(ring, 0)), "all_reduce");
    cJSON_Delete(root);
}

/* A communicator's own answer is the table's. */
static void test_comm_algorithm(void)
{
    c4_unique_id id;
    c4_comm *comm;
    const char *algorithm = NULL;
    C4TEST_OK_FATAL(c4_unique_id_create(&id));
    C4TEST_OK_FATAL(c4_comm_create(&id, 1, 0, NULL, NULL, &comm));
    for (int kind = 0; kind < C4_NKINDS; kind++) {
        algorithm = NULL;
        C4TEST_OK(c4_info_comm_algorithm(comm, c4_kind_name((c4_kind)kind), 1 << 16, &algorithm));
        CU_ASSERT(algorithm && c4_algorithm_find(algorithm) >= 0);
    }
    C4TEST_INT(c4_info_comm_algorithm(comm, "all_produce", 8, &algorithm), C4_ERR_ARGUMENT);
    C4TEST_INT(c4_info_comm_algorithm(NULL, "all_reduce", 8, &algorithm), C4_ERR_NULL);
    C4TEST_INT(c4_info_comm_algorithm(comm, NULL, 8, &algorithm), C4_ERR_NULL);
    C4TEST_OK(c4_comm_destroy(comm));
}

/* ---- host and command line ---- */

static void test_host(void)
{
    cJSON *root = json("host --json");
    CU_ASSERT(cJSON_GetArraySize(cJSON_GetObjectItem(root, "cores")) >= 1);
    const cJSON *lo = item_named(cJSON_GetObjectItem(root, "nics"), "name", "lo");
    CU_ASSERT(cJSON_IsTrue(cJSON_GetObjectItem(lo, "loopback")));
    C4TEST_STRING(cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(lo, "addresses"), 0)), "127.0.0.1/8");
    CU_ASSERT(cJSON_HasObjectItem(cJSON_GetObjectItem(root, "memlock_bytes"), "soft"));
    CU_ASSERT(cJSON_GetObjectItem(root, "memory_bytes")->valuedouble > 0);
    cJSON_Delete(root);
    C4TEST_INT(info("host"), 0);
    static const char *const parts[] = {"cores", "cpu level", "/dev/shm", "memlock", "nofile", "kernel", "127.0.0.1/8"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_said("out", parts[i]);
}

static void test_usage(void)
{
    static const struct {
        const char *arguments, *message;
    } cases[] = {
        {"", "which command? options, host, transports, launcher, algorithms, doctor, clean, jobs or job"},
        {"optoins", "unknown command optoins; did you mean options?"},
        {"host --jsno", "unknown option --jsno; did you mean --json?"},
        {"host options", "one command, not both host and options"},
        {"host -n 4", "-n and --ranks-per-host are for `c4info algorithms` and `c4info doctor`"},
        {"algorithms -n", "-n needs a value"},
        {"algorithms -n 0", "-n '0': expected a whole number in 1..65536"},
        {"algorithms --ranks-per-host x", "--ranks-per-host 'x': expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        C4TEST_INT(info(cases[i].arguments), 2);
        assert_said("err", cases[i].message);
    }
    C4TEST_INT(info("--version"), 0);
    assert_said("out", c4_version());
    C4TEST_INT(info("--help"), 0);
    static const char *const words[] = {"options", "host",   "transports", "algorithms", "--ranks-per-host",
                                        "--json",  "doctor", "clean",      "--peers",    "--dry-run"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        assert_said("out", words[i]);
}

/* ---- doctor and clean ---- */

static void test_doctor_json(void)
{
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    setenv("C4_TCP_SOKETS", "1", 1);
    C4TEST_INT(info("doctor --json -n 6 --ranks-per-host 2"), 1);
    char *text = content("out");
    cJSON *root = cJSON_Parse(text);
    free(text);
    CU_ASSERT_FATAL(root != NULL);
    C4TEST_INT(cJSON_GetObjectItem(root, "schema_version")->valueint, 1);
    C4TEST_INT(cJSON_GetObjectItem(root, "nranks")->valueint, 6);
    const cJSON *finding, *findings = cJSON_GetObjectItem(root, "findings");
    const cJSON *variable = item_named(findings, "check", "variables");
    C4TEST_STRING(string_of(variable, "severity"), "warn");
    C4TEST_CONTAINS(string_of(variable, "fix"), "C4_TCP_SOCKETS");
    cJSON_ArrayForEach(finding, findings) CU_ASSERT(strcmp(string_of(finding, "severity"), "ok") != 0);
    cJSON_Delete(root);
    root = json("clean --json --dry-run");
    CU_ASSERT(cJSON_IsTrue(cJSON_GetObjectItem(root, "dry_run")) &&
              cJSON_IsArray(cJSON_GetObjectItem(root, "leftovers")));
    cJSON_Delete(root);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(option_sources),
        C4TEST(wrong_option_value),
        C4TEST(option_calls),
        C4TEST(launcher),
        C4TEST(launcher_text),
        C4TEST(transports),
        C4TEST(choice_is_complete),
        C4TEST(choice_borders),
        C4TEST(forced_choice),
        C4TEST(choice_arguments),
        C4TEST(algorithms_json),
        C4TEST(comm_algorithm),
        C4TEST(host),
        C4TEST(doctor_json),
        C4TEST(usage),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
