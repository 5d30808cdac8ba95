/* Shared by setup.c (phases) and setup_engine.c (what the engine is told). */
#ifndef C4_COMM_SETUP_H
#define C4_COMM_SETUP_H

#include "comm/internal.h"

typedef struct c4_setup {
    c4_comm *comm;
    uint64_t agree_hash;  /* of all that must be equal on all ranks */
    uint64_t tuning_hash; /* of C4_TUNING_FILE's content; 0: none */
    const c4_exchange *exchange;
    c4_rail rails[C4_ENGINE_MAX_RAILS]; /* [0] is loop, the rest in the order of C4_TRANSPORTS */
    int nrails;
    bool use_loop;        /* C4_TRANSPORTS names it */
    char left_out[384];   /* the transports that could not be opened, and why; "": none */
    char no_room[384];    /* what a transport says that finds no room on this host */
    char fallback[320];   /* the first peer that one of them does not reach, and why; "": none */
    const char *required; /* C4_REQUIRE_TRANSPORT; "": none */
    uint8_t *reach;       /* [nranks] bit mask of c4_transports by which this rank reaches the peer; its own place has
                           * those that it would reach this host's ranks by if there were room (C4_ERR_SHM) */
    bool *here;           /* [nranks] on the same host, this rank included */
    uint8_t *rail_of;     /* [nranks] */
} c4_setup;

/* Reads the engine's options, derives costs and waiting policy, creates the engine, which then owns the rails. */
c4_status c4_setup_start_engine(c4_setup *setup);

/* Opens loop and the transports of C4_TRANSPORTS, or what C4_REQUIRE_TRANSPORT asks for. */
c4_status c4_setup_open_rails(c4_setup *setup);
/* A transport finds no room on this host. Not told before it is known whether others of this host lack it too: one
 * warning will do for all. */
void c4_setup_lack_room(c4_setup *setup, const char *name, const char *reason);
/* Does C4_REQUIRE_TRANSPORT allow that this rank reaches the peer by what setup->reach says? `reasons`: why others do not.
 * And that their messages go by `rail`, when `mutual` (bits as in reach) is what both reach one another by? */
c4_status c4_setup_check_required_reach(const c4_setup *setup, int peer, const char *reasons);
c4_status c4_setup_check_required_rail(const c4_setup *setup, int peer, int rail, uint8_t mutual);
/* C4_TRANSPORTS, or where that is not set and a transport is required, that one. */
const char *c4_setup_transports(const c4_options *options);

/* The numbers that the chooser works with. */
void c4_setup_cost(const c4_rail *rails, int nrails, int local_nranks, c4_cost_params *cost);

/* C4_ALGO: "ring" or "all_reduce:ring,broadcast:tree"; *algorithm is -1 when it is empty. */
c4_status c4_setup_forced_algorithm(const c4_options *options, int *algorithm, uint32_t *kinds);
/* Reads C4_TUNING_FILE; leaves *tuning alone when the option is empty. *hash: of its content, which must agree; 0 without
 * a file. May be NULL. */
c4_status c4_setup_read_tuning(const c4_options *options, c4_tuning *tuning, uint64_t *hash);

/* Sets agree_hash; reads the tuning file. */
c4_status c4_setup_hash_options(c4_setup *setup);
/* For all ranks once they have seen that their hashes differ: C4_ERR_OPTION, in the same words on all, after an all-gather
 * that tells the options, their values, where those come from, and the ranks. */
c4_status c4_setup_tell_options(const c4_setup *setup);

/* One more all-gather: the numbers become the same on all ranks. */
c4_status c4_setup_agree_cost(const c4_setup *setup, c4_cost_params *cost);

#endif
