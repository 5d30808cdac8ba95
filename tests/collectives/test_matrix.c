/* Generated calls over ranks, transports, algorithms, memory and options. The whole matrix runs as the program's long
 * form: `test_matrix --long` (see test_long.sh). Every failure prints the call with its seed; C4_TEST_SEED repeats. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/cpu.h"
#include "schedule/algorithms.h"
#include "tests/c4test.h"
#include "tests/collectives/call_case.h"
#include "tests/collectives/world.h"

static bool long_run;

typedef struct matrix_run {
    const char *label;
    int ncases;
    size_t max_count;
    uint64_t seed;
    uint32_t kinds; /* bit mask; 0: all */
    bool sweep;     /* every kind, dtype and op with small counts instead of random calls */
} matrix_run;

/* A wrong result has been told; the ranks go on together while the communicator works. */
static bool run_case(case_runner *runner, const call_case *c)
{
    return runner_run(runner, c) || c4_comm_status(runner->comm) == C4_OK;
}

static void run_sweep(case_runner *runner, const matrix_run *m)
{
    uint64_t state = m->seed;
    uint64_t skip = 4 / (uint64_t)c4test_samples(4) * (runner->nranks <= 3 ? 1 : 4);
    for (int kind = 0; kind < C4_KIND_SEND; kind++)
        for (int dtype = 0; dtype < C4_NDTYPES; dtype++)
            for (int op = 0; op < (case_reduces((c4_kind)kind) ? C4_NOPS + 1 : 1); op++) {
                call_case c;
                case_random(&c, runner->nranks, m->max_count, &state);
                c.kind = (c4_kind)kind;
                c.dtype = (c4_dtype)dtype;
                c.mode = case_reduces(c.kind) ? PATTERN_EXACT : PATTERN_RAW;
                c.premul = op == C4_NOPS;
                c.op = c.premul ? C4_SUM : (c4_op)op;
                bool valid = dtype < C4_FLOAT16 || op < C4_BAND || op == C4_NOPS;
                bool wanted = long_run || c.seed % skip == 0;
                if (valid && wanted && !run_case(runner, &c))
                    return;
            }
}

static void rank_main(c4_comm **comm, int rank, void *arg)
{
    const matrix_run *m = arg;
    case_runner runner;
    uint64_t state = m->seed;
    (void)rank;
    runner_init(&runner, *comm, m->label, m->max_count * 8 * 2 * 9 + 65536);
    if (m->sweep)
        run_sweep(&runner, m);
    for (int i = 0; !m->sweep && i < m->ncases; i++) {
        call_case c;
        do
            case_random(&c, runner.nranks, m->max_count, &state);
        while (m->kinds && !(m->kinds >> c.kind & 1));
        if (!run_case(&runner, &c))
            break;
    }
    runner_fini(&runner);
}

/* With C4_TEST_NETWORK only what runs over it: the rest is tested without. */
static size_t list_transports(const char **names)
{
    static const char *const all[] = {"shm", "tcp", "loop", "ucx"};
    bool other = strcmp(world_network(), "tcp") != 0;
    size_t n = other ? 1 : world_has_transport("ucx") ? 4 : 3;
    for (size_t i = 0; i < n; i++)
        names[i] = other ? "tcp" : all[i];
    return n;
}

static void run(int nranks, const char *transport, const char *more, matrix_run m)
{
    char options[256], label[320];
    if (strcmp(world_network(), "tcp") != 0 && strcmp(transport, "tcp") != 0)
        return;
    snprintf(options, sizeof options, "C4_TRANSPORTS=%s %s", transport, more);
    m.seed = c4test_rand();
    m.ncases = c4test_samples(m.ncases);
    m.label = label;
    snprintf(label, sizeof label, "n=%d %s seed 0x%llx", nranks, options, (unsigned long long)m.seed);
    if (getenv("C4_TEST_VERBOSE"))
        fprintf(stderr, "%s over %s\n", label, world_network());
    bool threads = strcmp(transport, "loop") == 0;
    world_spec spec = {.nranks = nranks, .threads = threads, .options = options, .deadline_s = long_run ? 300 : 60};
    world_run(&spec, rank_main, &m);
}

static const int all_nranks[] = {1, 2, 3, 4, 5, 7, 8};
#define NALL (sizeof all_nranks / sizeof all_nranks[0])

static void run_transport(const char *transport)
{
    for (size_t i = 0; i < NALL; i++)
        run(all_nranks[i], transport, "", (matrix_run){.ncases = long_run ? 1500 : 90, .max_count = 16384});
}

static void test_shm(void)
{
    run_transport("shm");
}

static void test_tcp(void)
{
    run_transport("tcp");
}

static void test_loop(void)
{
    run_transport("loop");
}

static void test_ucx(void)
{
    if (!world_has_transport("ucx"))
        C4TEST_SKIP("no UCX here: `c4info transports` says why");
    run_transport("ucx");
    run(2, "ucx", "", (matrix_run){.ncases = long_run ? 200 : 16, .max_count = 1000003});
    run(4, "ucx", "", (matrix_run){.ncases = long_run ? 100 : 10, .max_count = 100000});
    run(3, "ucx", "C4_PROGRESS=thread", (matrix_run){.ncases = 20, .max_count = 100000});
    run(3, "ucx", "C4_SPIN_POLLS=0 C4_YIELD_US=0", (matrix_run){.ncases = 20, .max_count = 16384});
}

static void test_every_op(void)
{
    const char *transports[4];
    size_t n = list_transports(transports);
    for (size_t i = 0; i < NALL; i++)
        for (size_t t = 0; t < n; t++)
            if (long_run || i % n == t)
                run(all_nranks[i], transports[t], "", (matrix_run){.sweep = true, .max_count = 64});
}

static void test_large(void)
{
    run(2, "shm", "", (matrix_run){.ncases = long_run ? 400 : 40, .max_count = 1000003});
    run(2, "tcp", "", (matrix_run){.ncases = long_run ? 200 : 16, .max_count = 1000003});
    run(3, "shm", "", (matrix_run){.ncases = long_run ? 200 : 16, .max_count = 300001});
    run(5, "shm", "", (matrix_run){.ncases = long_run ? 200 : 12, .max_count = 100000});
    run(4, "tcp", "", (matrix_run){.ncases = long_run ? 100 : 10, .max_count = 100000});
}

/* Every algorithm, forced, on the kinds it serves. */
static void test_algorithms(void)
{
    static const int nranks[] = {2, 3, 4, 5, 7, 8};
    const char *transports[4];
    size_t n = list_transports(transports);
    for (int a = 0; a < c4_nalgorithms; a++)
        for (size_t i = 0; i < 6; i++)
            for (size_t t = 0; t < n; t++) {
                char more[64];
                if (!long_run && (i + (size_t)a) % n != t)
                    continue;
                snprintf(more, sizeof more, "C4_ALGO=%s", c4_algorithms[a].name);
                run(nranks[i], transports[t], more,
                    (matrix_run){.ncases = long_run ? 300 : 40,
                                 .max_count = long_run ? 100000 : 16384,
                                 .kinds = c4_algorithms[a].kinds & ((1u << C4_KIND_SEND) - 1)});
            }
}

static void test_options(void)
{
    static const char *const options[] = {"C4_PROGRESS=thread",
                                          "C4_CPU=scalar",
                                          "C4_CPU=avx2",
                                          "C4_DETERMINISTIC=1",
                                          "C4_MAP=0",
                                          "C4_CHUNK_BYTES=4096",
                                          "C4_SHM_RING_BYTES=8192",
                                          "C4_SHM_STORES=stream",
                                          "C4_SHM_BACKEND=file",
                                          "C4_SHM_BACKEND=memfd",
                                          "C4_TCP_SOCKETS=1",
                                          "C4_TCP_SOCKETS=4",
                                          "C4_TCP_COPY_BYTES=0",
                                          "C4_SPIN_POLLS=0 C4_YIELD_US=0",
                                          "C4_RECORD=0"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        c4_cpu cpu;
        c4_cpu_level level;
        bool tcp_only = strncmp(options[i], "C4_TCP", 6) == 0, shm_only = strncmp(options[i], "C4_SHM", 6) == 0;
        c4_cpu_detect(&cpu);
        if (strcmp(options[i], "C4_CPU=avx2") == 0 && c4_cpu_level_select(&cpu, "avx2", &level) != C4_OK)
            continue;
        matrix_run m = {.ncases = long_run ? 400 : 40, .max_count = 100000};
        if (!tcp_only)
            run(i % 2 ? 3 : 2, "shm", options[i], m);
        m.ncases /= 2;
        if (!shm_only && (tcp_only || long_run || i < 4 || i == 14))
            run(i % 2 ? 2 : 3, "tcp", options[i], m);
        m.ncases /= 2;
        if (!shm_only && !tcp_only && (long_run || i % 2 == 0))
            run(4, "loop", options[i], m);
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST_DEADLINE(shm, 60),        C4TEST_DEADLINE(tcp, 60),      C4TEST_DEADLINE(loop, 60),
        C4TEST_DEADLINE(ucx, 60),        C4TEST_DEADLINE(every_op, 60), C4TEST_DEADLINE(large, 60),
        C4TEST_DEADLINE(algorithms, 90), C4TEST_DEADLINE(options, 60),  C4TEST_END};
    static c4test_case long_cases[sizeof cases / sizeof cases[0]];
    long_run = argc > 1 && strcmp(argv[1], "--long") == 0;
    memcpy(long_cases, cases, sizeof cases);
    for (size_t i = 0; long_run && i + 1 < sizeof cases / sizeof cases[0]; i++)
        long_cases[i].deadline_s = 3600;
    return long_run ? c4test_main(argc - 1, argv + 1, long_cases) : c4test_main(argc, argv, cases);
}
