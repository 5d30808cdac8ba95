/* The data transport of a simulation: `loop`, with every frame's arrival made an event of the simulated network. A stand-in
 * for a transport that keeps order and loses nothing, as the contract demands of all. */
#ifndef C4_TESTS_SIM_WIRE_H
#define C4_TESTS_SIM_WIRE_H

#include <c4/transport.h>

#include "tests/sim/net.h"

typedef struct sim_stream sim_stream;

typedef struct sim_wire {
    sim_net *net;
    bool posted; /* no windows: frames by send and recv */
    /* A frame has arrived at `node`, or room has been made for its frames. */
    void (*wake)(void *context, int node);
    void *wake_context;
    sim_stream *streams;
} sim_wire;

/* What a module is opened with: host.context leads here. */
typedef struct sim_host {
    c4_transport_host host;
    sim_wire *wire;
    int node_of[SIM_MAX_NODES]; /* of the communicator's ranks */
} sim_host;

extern const c4_transport_ops sim_wire_ops;

void sim_host_init(sim_host *host, sim_wire *wire, uint64_t job_id, int rank, const int *nodes, int nranks);
/* After the modules are closed and the network is over. */
void sim_wire_fini(sim_wire *wire);

#endif
