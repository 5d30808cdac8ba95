/* The simulated network and its calendar: everything that happens, happens as an event at a simulated time. Events of one
 * time happen in the order in which they were made, so that a seed repeats a run exactly.
 *
 * Between every ordered pair of nodes lies one path, in order and without loss, as a connection is. A path that is cut holds
 * what is sent; when it is joined again all of it arrives, later, in order. */
#ifndef C4_TESTS_SIM_NET_H
#define C4_TESTS_SIM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

#define SIM_MAX_NODES 16
#define SIM_US        ((uint64_t)1000)
#define SIM_MS        ((uint64_t)1000000)
#define SIM_S         ((uint64_t)1000000000)
#define SIM_NEVER     UINT64_MAX

typedef struct sim_net sim_net;

/* `payload` lives until the function returns. */
typedef void (*sim_event_fn)(void *context, int node, int other, const void *payload, size_t bytes);

typedef struct sim_event {
    uint64_t at_ns, number;
    sim_event_fn run;
    void *context;
    int node, other;
    void *payload; /* owned; NULL: none */
    size_t bytes;
} sim_event;

/* Something that waits for its path to be joined. */
typedef struct sim_held {
    struct sim_held *next;
    sim_event event;
} sim_held;

typedef struct sim_path {
    uint64_t last_ns;        /* arrival of what was sent last */
    uint64_t cut_ns;         /* since when it is cut; 0: it is not */
    uint64_t slow_ns;        /* added to every delay */
    sim_held *first, **tail; /* sent while it was cut */
} sim_path;

struct sim_net {
    c4_rng rng;
    int nnodes;
    sim_event *events; /* binary heap by (at_ns, number) */
    size_t nevents, capacity;
    uint64_t number;
    uint64_t delay_lo_ns, delay_hi_ns; /* of one message */
    sim_path paths[SIM_MAX_NODES][SIM_MAX_NODES];
    uint64_t asleep_until_ns[SIM_MAX_NODES]; /* its events wait so long; SIM_NEVER: it is dead, they are lost */
    uint64_t sent;                           /* messages, all kinds */
};

/* Sets the simulated clock going at 1 s. */
void sim_net_init(sim_net *net, uint64_t seed, int nnodes);
void sim_net_fini(sim_net *net);

/* At a time, on a node; node -1: of the world, which never sleeps. */
void sim_net_at(sim_net *net, uint64_t at_ns, sim_event_fn run, void *context, int node, int other);
/* From one node to another: run(context, to, from, payload) happens there after the path's delay. */
void sim_net_send(sim_net *net, int from, int to, sim_event_fn run, void *context, const void *payload, size_t bytes);

void sim_net_cut(sim_net *net, int from, int to);
/* What was held arrives from `after_ns` from now on. */
void sim_net_join(sim_net *net, int from, int to, uint64_t after_ns);
/* How long the path has been cut; 0: it is not. */
uint64_t sim_net_cut_for(const sim_net *net, int from, int to);

/* Runs the next event. false: there is none before `until_ns`, where the clock then stands. */
bool sim_net_step(sim_net *net, uint64_t until_ns);

#endif
