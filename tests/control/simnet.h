/* A network of control-plane cores in one process, with simulated time. One seed makes a run: delays, order, faults.
 *
 * Each link delivers in order; different links do not wait for one another. Ranks are killed (their links close, those
 * on their host hear of the end of the process), stopped and continued, leave; links go quiet or close. */
#ifndef C4_TESTS_CONTROL_SIMNET_H
#define C4_TESTS_CONTROL_SIMNET_H

#include "base/rng.h"
#include "control/core.h"

enum { SIM_MAX_RANKS = 64 };
#define SIM_MS 1000000ull
#define SIM_S  1000000000ull

typedef enum sim_graph { SIM_STAR, SIM_CIRCULANT } sim_graph;

/* What one rank was told about another. */
typedef struct sim_news {
    int deaths, leaves, named, backs;
    c4_status status;
    uint64_t death_ns, named_ns;
} sim_news;

typedef struct sim_rank {
    c4_core *core; /* NULL: has left */
    struct simnet *net;
    int rank;
    bool killed, left, stopped;
    uint64_t killed_ns, left_ns;
    uint64_t stop_ns, continue_ns; /* of its one stop; 0: none */
    sim_news news[SIM_MAX_RANKS];
    c4_core_agree *agree;
    int agreements; /* decided */
    uint64_t value;
    c4_core_proposal decision; /* of round 1 */
    unsigned char decision_dead[SIM_MAX_RANKS / 8];
    int reports; /* received */
    /* its one question */
    int asked; /* -1: none */
    int answers;
    c4_control_answer answer;
    unsigned char reply[C4_CONTROL_CARD_BYTES];
    uint64_t asked_ns, answered_ns;
    uint64_t tick_ns;
} sim_rank;

typedef struct sim_event sim_event;

typedef struct simnet {
    int nranks, ranks_per_host;
    sim_graph graph;
    c4_rng rng;
    uint64_t now_ns, max_delay_ns;
    uint64_t sent; /* messages */
    uint64_t heartbeats;
    sim_rank ranks[SIM_MAX_RANKS];
    bool linked[SIM_MAX_RANKS][SIM_MAX_RANKS]; /* open at the first's end */
    bool quiet[SIM_MAX_RANKS][SIM_MAX_RANKS];  /* loses everything */
    uint64_t busy_until_ns[SIM_MAX_RANKS][SIM_MAX_RANKS];
    uint64_t lost_before[SIM_MAX_RANKS][SIM_MAX_RANKS]; /* of the first's messages, by order; see end_process */
    sim_event *events;                                  /* a binary heap */
    size_t nevents, capacity;
    uint64_t order;
    bool verbose;
} simnet;

void simnet_open(simnet *net, sim_graph graph, int nranks, int ranks_per_host, uint64_t seed);
void simnet_close(simnet *net);
void simnet_run(simnet *net, uint64_t until_ns);

bool simnet_has_edge(const simnet *net, int a, int b); /* in the graph, whatever happened to it */
bool simnet_same_host(const simnet *net, int a, int b);

/* ---- things that happen, at the given time ---- */

typedef enum sim_what {
    SIM_KILL,
    SIM_STOP, /* for `other` milliseconds */
    SIM_CONTINUE,
    SIM_LEAVE,
    SIM_QUIET,      /* the link to `other`, both ways, from now on */
    SIM_CUT,        /* the link to `other` is reset */
    SIM_MEND,       /* from now on the two connect anew, when one of them wants to */
    SIM_UNANSWERED, /* its attempts to connect to `other` have no answer */
    SIM_AGREE,
    SIM_ASK,
    SIM_REPORT,
    /* made by the network itself */
    SIM_DELIVER,
    SIM_LINK_END,
    SIM_LINK_BREAK,
    SIM_PROCESS_END
} sim_what;
void simnet_plan(simnet *net, uint64_t when_ns, sim_what what, int rank, int other);

#endif
