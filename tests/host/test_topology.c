/* The topology from both sources, and its one line for C4_TOPOLOGY. */
#include "tests/c4test.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "host/topology.h"
#include "host/topology_internal.h"

static void assert_sane(const c4_topology *topology)
{
    cpu_set_t set;
    size_t cpus = 0;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof set, &set), 0);
    CU_ASSERT_FATAL(topology->ncores >= 1);
    C4TEST_INT((long long)topology->ncpus, CPU_COUNT(&set));
    for (size_t i = 0; i < topology->ncores; i++) {
        const c4_topology_core *core = &topology->cores[i];
        C4TEST_INT((long long)core->first_cpu, (long long)cpus);
        CU_ASSERT(core->ncpus >= 1);
        cpus += core->ncpus;
    }
    C4TEST_INT((long long)cpus, (long long)topology->ncpus);
    for (size_t i = 0; i < topology->ncpus; i++) {
        CU_ASSERT(CPU_ISSET((size_t)topology->cpus[i], &set));
        CPU_CLR((size_t)topology->cpus[i], &set); /* each once */
    }
    CU_ASSERT(c4_topology_packages(topology) >= 1);
}

static void test_this_machine(void)
{
    c4_topology topology;
    C4TEST_OK_FATAL(c4_topology_init(&topology));
    assert_sane(&topology);
    c4_topology_fini(&topology);
    CU_ASSERT(topology.cores == NULL && topology.ncores == 0);
}

static void read_allowed(bool *allowed)
{
    cpu_set_t set;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof set, &set), 0);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        allowed[cpu] = CPU_ISSET(cpu, &set);
}

static void test_sysfs_agrees_with_hwloc(void)
{
    bool *allowed = calloc(C4_TOPOLOGY_MAX_CPUS, sizeof *allowed);
    c4_topology first = {.source = "sysfs"}, second = {.source = "hwloc"};
    CU_ASSERT_FATAL(allowed != NULL);
    read_allowed(allowed);
    C4TEST_OK_FATAL(c4_topology_read_sysfs(&first, allowed));
    assert_sane(&first);
    if (c4_topology_read_hwloc(&second, allowed) == C4_ERR_UNSUPPORTED)
        C4TEST_SKIP("hwloc is missing: apt-get install libhwloc15");
    assert_sane(&second);
    C4TEST_INT((long long)first.ncores, (long long)second.ncores);
    C4TEST_INT((long long)c4_topology_packages(&first), (long long)c4_topology_packages(&second));
    free(allowed);
    c4_topology_fini(&first);
    c4_topology_fini(&second);
}

static void test_affinity_limits(void)
{
    cpu_set_t set, one;
    size_t cpu = 0;
    c4_topology topology;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof set, &set), 0);
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CU_ASSERT_EQUAL_FATAL(sched_setaffinity(0, sizeof one, &one), 0);
    C4TEST_OK_FATAL(c4_topology_init(&topology));
    C4TEST_INT((long long)topology.ncores, 1);
    C4TEST_INT((long long)topology.ncpus, 1);
    C4TEST_INT(topology.cpus[0], (long long)cpu);
    c4_topology_fini(&topology);
}

static void test_line(void)
{
    static const char text[] = "0,4/0/0 1,5/0/0 2,6/1/1 3/1/-1";
    c4_topology topology;
    C4TEST_OK_FATAL(c4_topology_parse(text, &topology));
    C4TEST_INT((long long)topology.ncores, 4);
    C4TEST_INT((long long)topology.ncpus, 7);
    C4TEST_INT((long long)topology.nnuma, 2);
    C4TEST_INT((long long)topology.numa[0].ncores, 2);
    C4TEST_INT(topology.cores[2].package, 1);
    C4TEST_INT(topology.cores[3].numa, -1);
    C4TEST_INT(topology.cpus[topology.cores[2].first_cpu + 1], 6);
    C4TEST_INT((long long)c4_topology_packages(&topology), 2);
    char *again = c4_topology_format(&topology);
    C4TEST_STRING(again, text);
    free(again);
    c4_topology_fini(&topology);
}

static void test_malformed_lines(void)
{
    static const char *const lines[] = {"",          " ",         "0",        "0/0",          "0/0/",
                                        "/0/0",      "0,/0/0",    "0/0/0 ,",  "x/0/0",        "0/x/0",
                                        "0/0/0x",    "0;1/0/0",   "-1/0/0",   "0/0/0  1/0/0", "0/0 /0",
                                        "99999/0/0", "0/70000/0", "8192/0/0", "0/-2/0",       "0/-12/0"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        c4_topology topology = {.source = "untouched"};
        c4_status status = c4_topology_parse(lines[i], &topology);
        if (status != C4_ERR_OPTION)
            fprintf(stderr, "\"%s\" was accepted\n", lines[i]);
        C4TEST_INT(status, C4_ERR_OPTION);
        C4TEST_STRING(topology.source, "untouched");
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(this_machine), C4TEST(sysfs_agrees_with_hwloc), C4TEST(affinity_limits),
                                        C4TEST(line),         C4TEST(malformed_lines),         C4TEST_END};
    return c4test_main(argc, argv, cases);
}
