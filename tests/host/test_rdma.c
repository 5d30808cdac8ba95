/* How far an RDMA device is from this process's cores, by tables of distances made up here. */
#include "tests/c4test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "host/rdma.h"

/* nodeN/distance as the kernel has it: line N is what node N says of all others. */
static const char *make_nodes(const char *const *lines, int count)
{
    const char *root = c4test_path("nodes");
    char path[512];
    CU_ASSERT_FATAL(mkdir(root, 0700) == 0 || errno == EEXIST);
    for (int node = 0; node < count; node++) {
        snprintf(path, sizeof path, "%s/node%d", root, node);
        CU_ASSERT_FATAL(mkdir(path, 0700) == 0 || errno == EEXIST);
        snprintf(path, sizeof path, "%s/node%d/distance", root, node);
        FILE *file = fopen(path, "we");
        CU_ASSERT_FATAL(file != NULL);
        fprintf(file, "%s\n", lines[node]);
        fclose(file);
    }
    return root;
}

static c4_topology cores_at(c4_topology_core *cores, int first, int second)
{
    cores[0].numa = first;
    cores[1].numa = second;
    return (c4_topology){.ncores = 2, .cores = cores};
}

static void test_distance(void)
{
    static const char *const lines[] = {"10 12 20 32", "12 10 32 20", "20 32 10 12", "32 20 12 10"};
    static const struct {
        int first, second; /* nodes of the two cores */
        int device;        /* node of the device */
        int distance;
    } cases[] = {
        {0, 0, 0, 10},  {0, 0, 1, 12},  {0, 0, 2, 20}, {0, 0, 3, 32},
        {0, 3, 3, 10},  {0, 3, 2, 12},  {3, 0, 2, 12}, /* the nearer of the two counts, whichever comes first */
        {1, 2, 0, 12},  {0, 0, -1, 10},                /* a device of no node is near */
        {0, 0, 4, 10},                                 /* so is one of a node that the table does not have */
        {-1, -1, 2, 10}                                /* and every one where cores have none */
    };
    c4_topology_core cores[2] = {{0}};
    const char *root = make_nodes(lines, 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        c4_topology topology = cores_at(cores, cases[i].first, cases[i].second);
        C4TEST_INT(c4_rdma_distance_to_node(&topology, root, cases[i].device), cases[i].distance);
    }
}

static void test_malformed_tables(void)
{
    /* Shorter than the machine, no numbers, empty: what cannot be told is near. */
    static const char *const lines[] = {"10", "none of them", "", "12 x 10 10"};
    c4_topology_core cores[2] = {{0}};
    c4_topology topology = cores_at(cores, 3, 3);
    const char *root = make_nodes(lines, 4);
    for (int node = 0; node < 3; node++)
        C4TEST_INT(c4_rdma_distance_to_node(&topology, root, node), C4_RDMA_NEAR);
    topology = cores_at(cores, 0, 0);
    C4TEST_INT(c4_rdma_distance_to_node(&topology, root, 3), 12); /* what comes before the damage is good */
    C4TEST_INT(c4_rdma_distance_to_node(&topology, c4test_path("nowhere"), 1), C4_RDMA_NEAR);
}

static void test_unknown_device(void)
{
    c4_topology_core cores[2] = {{0}};
    c4_topology topology = cores_at(cores, 0, 1);
    C4TEST_INT(c4_rdma_distance(&topology, "no_such_device"), C4_RDMA_NEAR);
    CU_ASSERT(c4_rdma_is_software("no_such_device")); /* nothing is behind it */
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(distance), C4TEST(malformed_tables), C4TEST(unknown_device), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
