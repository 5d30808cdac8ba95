#include "host/rdma.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_NODES 1024

int c4_rdma_node(const char *device)
{
    char path[160];
    int node = -1;
    snprintf(path, sizeof path, "/sys/class/infiniband/%s/device/numa_node", device);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    if (fscanf(file, "%d", &node) != 1)
        node = -1;
    fclose(file);
    return node;
}

static bool is_own(const c4_topology *topology, int node)
{
    for (size_t i = 0; i < topology->ncores; i++)
        if (topology->cores[i].numa == node)
            return true;
    return false;
}

int c4_rdma_distance_to_node(const c4_topology *topology, const char *nodes, int node)
{
    char path[256];
    int distance, nearest = 0;
    if (node < 0 || is_own(topology, node))
        return C4_RDMA_NEAR;
    snprintf(path, sizeof path, "%s/node%d/distance", nodes, node);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return C4_RDMA_NEAR;
    for (int other = 0; other < MAX_NODES && fscanf(file, "%d", &distance) == 1; other++)
        if (is_own(topology, other) && (nearest == 0 || distance < nearest))
            nearest = distance;
    fclose(file);
    return nearest != 0 ? nearest : C4_RDMA_NEAR;
}

bool c4_rdma_any(const char *folder)
{
    DIR *list = opendir(folder);
    bool any = false;
    for (const struct dirent *entry = NULL; list != NULL && !any && (entry = readdir(list)) != NULL;)
        any = entry->d_name[0] != '.';
    if (list != NULL)
        closedir(list);
    return any;
}

bool c4_rdma_is_software(const char *device)
{
    char path[160];
    snprintf(path, sizeof path, "/sys/class/infiniband/%s/device", device);
    return access(path, F_OK) != 0;
}

int c4_rdma_distance(const c4_topology *topology, const char *device)
{
    return c4_rdma_distance_to_node(topology, "/sys/devices/system/node", c4_rdma_node(device));
}
