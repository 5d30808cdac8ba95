/* The cores and memory nodes that this process may use, as plain data. hwloc is opened at run time where it is installed
 * (it knows which cores are near each other); otherwise sysfs answers. The process's own affinity limits both. */
#ifndef C4_HOST_TOPOLOGY_H
#define C4_HOST_TOPOLOGY_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct c4_topology_core {
    int package;      /* OS index; -1: unknown */
    int numa;         /* OS index of the nearest memory node; -1: unknown */
    size_t first_cpu; /* its hardware threads: cpus[first_cpu .. first_cpu + ncpus - 1] */
    size_t ncpus;
} c4_topology_core;

typedef struct c4_topology_numa {
    int index;      /* OS index */
    uint64_t bytes; /* of memory; 0: unknown */
    size_t ncores;  /* usable cores nearest to it */
} c4_topology_numa;

typedef struct c4_topology {
    const char *source; /* "hwloc", "sysfs" or "C4_TOPOLOGY"; static */
    size_t ncores;
    c4_topology_core *cores; /* neighbours are near each other */
    size_t ncpus;
    int *cpus; /* OS numbers of the usable hardware threads, core by core */
    size_t nnuma;
    c4_topology_numa *numa;
} c4_topology;

/* Blocks for some milliseconds. C4_ERR_MEMORY, or C4_ERR_SYSTEM when the affinity cannot be read. Pair: fini. */
c4_status c4_topology_init(c4_topology *topology);
void c4_topology_fini(c4_topology *topology);

/* Packages with a usable core. */
size_t c4_topology_packages(const c4_topology *topology);

/* One line for C4_TOPOLOGY, so that a launcher loads the topology and its ranks do not: per core its hardware threads,
 * package and memory node: "0,8/0/0 1,9/0/0". The caller frees; NULL when out of memory. */
char *c4_topology_format(const c4_topology *topology);
/* The same back; sizes of memory nodes are unknown then. C4_ERR_OPTION (not logged) for anything malformed. */
c4_status c4_topology_parse(const char *text, c4_topology *topology);

#endif
