/* Where an RDMA device sits in this machine. */
#ifndef C4_HOST_RDMA_H
#define C4_HOST_RDMA_H

#include "host/topology.h"

#define C4_RDMA_NEAR 10 /* at the memory node of one of the cores */

/* Distance from the cores of `topology` (those that the process may use) to the device "mlx5_0", in the units of the
 * firmware's table (SLIT): C4_RDMA_NEAR, more for other memory nodes; C4_RDMA_NEAR too where nothing is told, as for
 * software devices and machines of one node. Reads /sys; blocks briefly. */
int c4_rdma_distance(const c4_topology *topology, const char *device);

/* Where the kernel lists RDMA devices, one entry each. */
#define C4_RDMA_FOLDER "/sys/class/infiniband"
/* Is there any? No library is needed to know; whether one can be used is another question. */
bool c4_rdma_any(const char *folder);

/* Its memory node; -1: nothing is told. */
int c4_rdma_node(const char *device);

/* Is it one that the kernel plays (Soft-RoCE, Soft-iWARP), on the cores of this process? Nothing is behind it in /sys. */
bool c4_rdma_is_software(const char *device);

/* The same, of what the files hold: the device's node, and the lines "10 21" of the table at `nodes` (a folder with
 * nodeN/distance). */
int c4_rdma_distance_to_node(const c4_topology *topology, const char *nodes, int node);

#endif
