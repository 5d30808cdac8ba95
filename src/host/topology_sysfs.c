/* The topology by sysfs, for machines without hwloc: cores in the order of their first hardware thread. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "host/topology_internal.h"

typedef struct cpu_place {
    int core, package, numa;
} cpu_place;

static int read_int(int cpu, const char *name)
{
    char path[128];
    int value = -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%d", &value) != 1)
        value = -1;
    fclose(file);
    return value;
}

/* The folder of a hardware thread has a link "nodeN". */
static int read_numa(int cpu)
{
    char path[64];
    int numa = -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d", cpu);
    DIR *folder = opendir(path);
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry && numa < 0; entry = readdir(folder))
        if (sscanf(entry->d_name, "node%d", &numa) != 1)
            numa = -1;
    if (folder)
        closedir(folder);
    return numa;
}

static cpu_place place_of(int cpu)
{
    cpu_place place = {read_int(cpu, "core_id"), read_int(cpu, "physical_package_id"), read_numa(cpu)};
    if (place.core < 0) { /* not told: a core of its own */
        place.core = cpu;
        place.package = -1;
    }
    return place;
}

c4_status c4_topology_read_sysfs(c4_topology *topology, const bool *allowed)
{
    c4_status status = C4_OK;
    cpu_place *places = calloc(C4_TOPOLOGY_MAX_CPUS, sizeof *places);
    bool *done = calloc(C4_TOPOLOGY_MAX_CPUS, sizeof *done);
    if (!places || !done)
        C4_TRY_GOTO(c4_fail(C4_ERR_MEMORY, "topology"), out);
    for (int cpu = 0; cpu < C4_TOPOLOGY_MAX_CPUS; cpu++)
        if (allowed[cpu])
            places[cpu] = place_of(cpu);
    for (int cpu = 0; cpu < C4_TOPOLOGY_MAX_CPUS; cpu++) {
        if (!allowed[cpu] || done[cpu])
            continue;
        C4_TRY_GOTO(c4_topology_add_core(topology, places[cpu].package, places[cpu].numa), out);
        for (int other = cpu; other < C4_TOPOLOGY_MAX_CPUS; other++) {
            if (!allowed[other] || places[other].core != places[cpu].core ||
                places[other].package != places[cpu].package)
                continue;
            done[other] = true;
            C4_TRY_GOTO(c4_topology_add_cpu(topology, other), out);
        }
    }
out:
    free(places);
    free(done);
    return status;
}
