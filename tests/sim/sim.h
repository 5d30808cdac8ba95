/* A job of several ranks in one thread: engines, schedules and the control plane's core are the library's; time, network,
 * data transport and the shell around the core are the simulation's. Every run is a function of its seed. */
#ifndef C4_TESTS_SIM_SIM_H
#define C4_TESTS_SIM_SIM_H

#include "control/core.h"
#include "engine/engine.h"
#include "tests/sim/script.h"
#include "tests/sim/wire.h"

#define SIM_HEARTBEAT_NS (5 * SIM_S)
#define SIM_SILENT_NS    (30 * SIM_S)
#define SIM_OVERLAP      2 /* calls in flight */
#define SIM_MAX_FAULTS   4
#define SIM_KEPT_REPORTS 16

typedef enum sim_fault_kind {
    SIM_KILL,
    SIM_STOP,
    SIM_STALL, /* a short stop: how a slow disk looks from outside */
    SIM_PARTITION,
    SIM_SLOW_PATH,
    SIM_LINK_LOSS, /* the control link of two neighbours for good, their data for a moment */
    SIM_DUPLICATE, /* control messages come twice */
    SIM_NO_MEMORY,
    SIM_NFAULTS
} sim_fault_kind;

typedef struct sim_fault {
    sim_fault_kind kind;
    uint64_t at_ns, for_ns;
    int node, other; /* PARTITION: bits of the nodes on one side in `node` */
    unsigned nth;    /* NO_MEMORY: allocation */
} sim_fault;

typedef struct sim_plan {
    uint64_t seed;
    int nnodes;
    bool one_host; /* ranks watch one another's processes */
    bool posted;
    unsigned ncalls;
    unsigned overlap;
    int nfaults;
    sim_fault faults[SIM_MAX_FAULTS];
} sim_plan;

typedef enum sim_state {
    SIM_RUNNING,
    SIM_AGREEING, /* on who is left */
    SIM_DONE,
    SIM_LEFT_OUT, /* the others went on without it */
    SIM_DEAD
} sim_state;

typedef struct sim sim;

typedef struct sim_node {
    sim *job;
    int id; /* = job rank */
    sim_state state;
    /* control plane */
    c4_core *core;
    uint64_t tick_ns; /* of the earliest tick in the calendar */
    bool links[SIM_MAX_NODES];
    uint64_t told_ns[SIM_MAX_NODES]; /* when it heard that this one had died */
    uint64_t said_ns[SIM_MAX_NODES]; /* the first warning about this one */
    c4_core_agree *agree;
    bool decided;
    /* communicator */
    unsigned epoch;
    uint32_t comm;
    int members[SIM_MAX_NODES];
    int nmembers, rank;
    sim_host host;
    c4_rail rail;
    uint8_t rail_of[SIM_MAX_NODES];
    int host_of[SIM_MAX_NODES];
    c4_layout layout;
    c4_cost_params cost;
    c4_record_writer writer;
    c4_engine *engine;
    bool heard;    /* the control plane has told of a fault */
    bool reported; /* this rank has told of its own */
    struct {
        uint32_t comm;
        int rank;
        c4_status status;
    } kept[SIM_KEPT_REPORTS]; /* of communicators that it has not opened yet */
    unsigned nkept;
    /* script */
    unsigned started, finished;
    bool pausing, looking;
    c4_operation *ops[SIM_OVERLAP];
    script_call calls[SIM_OVERLAP];
    unsigned fail_nth; /* allocation to fail in the next engine call */
    int shrinks;
} sim_node;

struct sim {
    sim_plan plan;
    sim_net net;
    sim_wire wire;
    sim_node nodes[SIM_MAX_NODES];
    bool killed[SIM_MAX_NODES];
    uint64_t killed_ns[SIM_MAX_NODES];
    bool may_die[SIM_MAX_NODES]; /* others may give it up: it was stopped or cut off for long */
    bool lost_link[SIM_MAX_NODES];
    bool lethal; /* some fault was */
    uint64_t duplicate_until_ns;
    int wrong; /* violations, each printed */
    unsigned long completed;
    uint64_t slowest_naming_ns;
};

/* From a seed to what happens. */
void sim_plan_make(sim_plan *plan, uint64_t seed);
void sim_plan_print(const sim_plan *plan);
/* Puts the plan's faults into the calendar. */
void sim_faults_start(sim *job);
const char *sim_fault_name(sim_fault_kind kind);

/* Runs it to the end. 0: as it must be; else the number of violations. */
int sim_run(sim *job, const sim_plan *plan);

void sim_wrong(sim *job, int node, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- node.c ---- */

void sim_node_open(sim_node *node);
/* Frees what it still has. */
void sim_node_close(sim_node *node);
/* Goes on, in a moment. */
void sim_node_wake(sim *job, int node);
/* The process ends: `clean` after its goodbye. */
void sim_node_end(sim_node *node, bool clean);

/* The control plane tells of a fault of job rank `rank`. */
void sim_node_fault(sim_node *node, c4_status status, int rank, const char *text);

/* ---- shell.c: the core's surroundings ---- */

void sim_shell_open(sim_node *node);
void sim_shell_close(sim_node *node);
/* After anything that was given to the core. */
void sim_shell_tick(sim_node *node);
void sim_shell_lose_link(sim *job, int a, int b);
/* Neighbours and watchers see that the process has ended. */
void sim_shell_ended(sim_node *node, bool clean);

#endif
