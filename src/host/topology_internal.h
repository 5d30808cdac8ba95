/* Shared by topology*.c only. */
#ifndef C4_HOST_TOPOLOGY_INTERNAL_H
#define C4_HOST_TOPOLOGY_INTERNAL_H

#include "host/topology.h"

#define C4_TOPOLOGY_MAX_CPUS 8192

/* Starts a core; its threads follow by c4_topology_add_cpu. */
c4_status c4_topology_add_core(c4_topology *topology, int package, int numa);
c4_status c4_topology_add_cpu(c4_topology *topology, int cpu);
/* Finds or adds the node and counts one core for it; a node below 0 is not kept. */
c4_status c4_topology_count_numa(c4_topology *topology, int numa);

/* C4_ERR_UNSUPPORTED, not logged, when hwloc is not there. `allowed[cpu]` tells which hardware threads are usable. */
c4_status c4_topology_read_hwloc(c4_topology *topology, const bool *allowed);
c4_status c4_topology_read_sysfs(c4_topology *topology, const bool *allowed);

#endif
