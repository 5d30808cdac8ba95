/* The engine's own types. Included by src/engine/ only. */
#ifndef C4_ENGINE_INTERNAL_H
#define C4_ENGINE_INTERNAL_H

#include "engine/card.h"
#include "engine/engine.h"

/* One end of a channel. Operations use an edge one after the other, in call order: a ticket is taken when the
 * operation starts and served when those before it have released the edge. So frames of two operations never
 * interleave on a channel, and overlapping operations cannot block one another for good. */
struct c4_edge {
    const c4_transport_ops *ops;
    c4_channel *channel;
    bool windows;
    bool fused_reduce; /* posted receives may reduce */
    size_t put_bytes;  /* frames up to this go by put; 0: none */
    bool writer;       /* this rank writes */
    int peer;          /* the writer, or the first reader: named in errors */
    uint32_t next_ticket;
    uint32_t served;
    uint64_t hash;
    uint32_t tag;
    int nreaders;
    int writer_rank;
    int *readers;    /* [nreaders] */
    uint16_t record; /* index of its flight record */
    /* of the operation that holds the edge; flushed by edge_record */
    uint64_t bytes, messages, waited_ticks;
    uint64_t resends; /* of its channel, as far as they are recorded */
    struct c4_edge *hash_next;
};

#define C4_EDGE_BUCKETS 256

typedef struct c4_express c4_express; /* see express.h */
typedef struct c4_stuck c4_stuck;     /* see stuck.h */

typedef struct c4_edge_table {
    c4_edge *buckets[C4_EDGE_BUCKETS];
} c4_edge_table;

/* Tags: builders use those below 2^16. */
enum {
    C4_TAG_P2P = 0x10000, /* c4_send and c4_recv */
    C4_TAG_VOTE = 0x10001
};

/* Finds or opens this rank's end of the channel. */
typedef struct c4_edge_spec {
    int writer;
    const int *readers;
    int nreaders;
    uint32_t tag;
    bool write_end;
    size_t depth_bytes; /* as in c4_channel_spec; of the first use */
} c4_edge_spec;

c4_status c4_edge_get(c4_engine *engine, const c4_edge_spec *spec, c4_edge **edge);
void c4_edge_free_all(c4_engine *engine);

/* ---- programs ---- */

typedef struct c4_program_key {
    uint64_t count;
    uint32_t what; /* kind, dtype, in place */
    uint32_t op;   /* C4_OP_USER: any premultiplied sum */
    int32_t root;
    uint32_t tuning_epoch;
} c4_program_key;

/* How a step is run, decided once when the schedule is bound. */
enum { EXEC_GENERAL, EXEC_SEND, EXEC_RECV, EXEC_RECV_REDUCE };

/* Back-off of the mapping vote for one shape of call, see vote.c. */
typedef struct c4_vote_entry {
    uint16_t skip;    /* calls still to go without a vote */
    uint16_t penalty; /* length of the last skip */
} c4_vote_entry;

struct c4_program {
    c4_program_key key;
    c4_schedule *schedule;
    c4_edge **edges; /* of schedule->channels, then the vote's: 2 per peer */
    uint32_t nedges; /* with the vote's */
    uint32_t first_vote_edge;
    uint8_t *exec;                /* [nsteps] EXEC_* */
    uint32_t max_terms;           /* of any step */
    size_t bounce_bytes;          /* per lane: staging for steps whose channels have no windows */
    c4_program *fallback;         /* of a schedule with remote terms */
    uint8_t *reached;             /* with a fallback: [nranks] bit 1 << c4_buffer_id: has remote terms there */
    c4_vote_entry *vote;          /* back-off of its vote; NULL: always vote */
    bool posted;                  /* has edges without windows */
    c4_express *express;          /* NULL: takes the general way only */
    c4_record_operation template; /* its operations' flight record, but for what changes */
    uint16_t record;              /* index of its flight record */
    uint64_t serial;              /* of its creation, never reused */
    uint32_t signature;           /* of its calls */
    uint32_t running;             /* operations that use it: not evictable */
    bool cached;
    c4_program *hash_next;
    c4_program *older, *newer; /* least recently used order */
};

#define C4_PROGRAM_BUCKETS 512
#define C4_PROGRAM_LIMIT   256

typedef struct c4_program_cache {
    c4_program *buckets[C4_PROGRAM_BUCKETS];
    c4_program *oldest, *newest;
    c4_program *last; /* of the previous call: most calls repeat */
    uint64_t serial;
    unsigned count;
} c4_program_cache;

/* What must be equal on all ranks of a call; hashed into every frame. */
uint32_t c4_call_signature(const c4_call *call);

c4_status c4_program_get(c4_engine *engine, const c4_call *call, c4_program **program);
void c4_program_release(c4_engine *engine, c4_program *program);
void c4_program_cache_fini(c4_engine *engine);
/* Fills a query for the call and chooses the algorithm. */
c4_status c4_program_query(c4_engine *engine, const c4_call *call, c4_query *query, const char **reason);
/* Turns a schedule into a program (takes ownership of it, also on failure). */
c4_status c4_program_bind(c4_engine *engine, c4_schedule *schedule, c4_program **program);
void c4_program_destroy(c4_program *program);

/* ---- operations ---- */

typedef struct c4_lane_state {
    uint32_t loop; /* index within the lane */
    uint32_t step; /* index within the loop */
    uint32_t iteration;
    uint32_t completed; /* steps done, for gates */
    bool entered;       /* the current step has posted its receives */
    bool computed;      /* the current step has produced its results and posted its sends */
    bool done;
    uint32_t blocked_polls; /* of the current step */
    uint64_t blocked_since; /* ticks; 0: not blocked, or not for long */
} c4_lane_state;

typedef enum c4_operation_state {
    OPERATION_PREPARED,
    OPERATION_QUEUED, /* waits for its edges */
    OPERATION_VOTING, /* waits for the peers' buffers */
    OPERATION_RUNNING,
    OPERATION_FLUSHING, /* lanes are done; sent spans not yet acknowledged */
    OPERATION_DONE
} c4_operation_state;

struct c4_operation {
    c4_operation_state state;
    c4_status status;
    c4_program *program;
    const c4_schedule *schedule; /* of program, or of its fallback */
    c4_program *active;          /* program or its fallback */
    c4_call call;
    const c4_reducer *reducer;
    c4_reduction reduction; /* the same for transports that reduce while receiving */
    char *buffers[3];       /* by c4_buffer_id */
    char **remote;          /* [2 * nranks] peers' SEND and RECV when the vote said yes */
    union {
        struct {
            uint32_t sequence, signature; /* as in frames */
        };
        uint64_t stamp; /* both: written as one where speed counts */
    };
    uint32_t lanes_left;
    uint32_t voted;       /* ballots sent */
    uint32_t votes_heard; /* ballots seen to say yes */
    bool vote_yes;        /* this rank's own vote */
    c4_lane_state *lanes;
    uint32_t lanes_capacity;
    c4_xfer **slots; /* [nlanes][max_terms]: posted transfers of the current step of each lane */
    uint32_t slots_capacity;
    uint32_t *tickets; /* [program->nedges] */
    uint32_t tickets_capacity;
    c4_xfer *pending; /* handed over, not yet acknowledged */
    char *scratch;    /* schedule's scratch, then bounce buffers, then the premultiplied input */
    size_t scratch_capacity;
    uint64_t stuck_ns;           /* since when it waits for a peer that has left; 0: it does not */
    uint64_t start_ns;           /* for deadlines; 0: not yet asked */
    uint64_t steps_seen;         /* by c4_stuck_look */
    uint64_t still_ns;           /* since when it has not moved, as far as was looked; 0: not looked at */
    bool late_named;             /* that a peer has not entered it has been logged */
    c4_record_operation *record; /* flight record; NULL: off */
    uint32_t record_generation;
    uint64_t fitted;               /* serial of the program whose arrays and scratch this op has */
    uint64_t waited_ticks;         /* all lanes */
    uint64_t first_ticks;          /* end of the first wait for data */
    uint32_t stamp_polls;          /* failed polls before a wait is timed */
    c4_edge *blocked;              /* what the step that returned C4_IN_PROGRESS waits for */
    c4_operation *next, *previous; /* active list, in call order */
};

struct c4_engine {
    c4_engine_spec spec;
    c4_rail rails[C4_ENGINE_MAX_RAILS];
    uint8_t *rail_of;
    c4_edge_table edges;
    c4_program_cache programs;
    c4_program *repeat;              /* of the last call, when that went express */
    c4_operation *first, *last;      /* active */
    c4_operation *idle;              /* recycled, linked by next */
    _Atomic(c4_operation *) dropped; /* prepared, never to be started; linked by next */
    c4_xfer *idle_xfers;
    /* Of collectives: the number of the last one and a hash of all so far, which rides on their frames: ranks that have
     * once called different things never agree again. Written by the engine's thread, `sequence` is read by others. */
    uint32_t sequence;
    uint32_t history;
    uint32_t first_failed; /* sequence of the first collective that failed; 0: none */
    c4_stuck *stuck;
    uint64_t looked_ticks, look_ticks; /* last look; pause between looks */
    _Atomic(_Atomic(c4_edge *) *) p2p; /* [2 * nranks] by peer: reading end, writing end; NULL: none yet */
    bool has_posted_rails;
    int watched[C4_ENGINE_MAX_RAILS];      /* descriptor given to watch_fd; -1: none */
    struct c4_vote_memory *votes;          /* back-off of the mapping vote, see vote.c */
    _Atomic(_Atomic unsigned char *) left; /* [nranks] 1: has left; NULL: nobody has */
    _Atomic int fault;
    pthread_mutex_t fault_lock;
    char fault_text[C4_ERROR_TEXT_BYTES];
    char call_text[C4_ERROR_TEXT_BYTES]; /* the same with the first operation that it ended */
    atomic_bool has_call_text;
    int fault_peer;
    bool fault_known; /* by all ranks */
};

/* The bytes step `step` handles in iteration `iteration`; false: nothing (skip). */
static inline bool c4_step_range(const c4_step *step, uint32_t iteration, uint64_t *offset, uint64_t *bytes)
{
    *offset = (uint64_t)iteration * step->chunk;
    if (step->total == 0) {
        *bytes = 0;
        return true;
    }
    if (*offset >= step->total)
        return false;
    uint64_t left = step->total - *offset;
    *bytes = left < step->chunk ? left : step->chunk;
    return true;
}

/* The next collective's number. */
static inline uint32_t c4_sequence_next(c4_engine *engine)
{
    uint32_t next = engine->sequence + 1;
    __atomic_store_n(&engine->sequence, next, __ATOMIC_RELAXED);
    return next;
}

/* Odd, and so is half of it less one: neither a difference nor an order is ever forgotten. */
static inline uint32_t c4_history_next(c4_engine *engine, uint32_t signature)
{
    return engine->history = engine->history * 0x85ebca6bu + signature;
}

static inline void c4_edge_ticket_taken(c4_edge *edge)
{
    __atomic_store_n(&edge->next_ticket, edge->next_ticket + 1, __ATOMIC_RELAXED);
}

/* What the op waits for; NULL: it is queued behind others, or does not wait. */
c4_edge *c4_operation_waits_on(const c4_operation *op);
/* c4_engine_progress without looking for operations that are stuck. */
bool c4_engine_move(c4_engine *engine);

/* ---- flight record, see trace.c ---- */
/* Once the op has its call; before each of its runs; at their ends. */
void c4_trace_prepare(c4_operation *op);
void c4_trace_begin(c4_engine *engine, c4_operation *op);
void c4_trace_end(c4_engine *engine, c4_operation *op);
/* A lane's step could not go on / went on after having been blocked. */
void c4_trace_unblocked(c4_operation *op, c4_lane_state *lane);
void c4_trace_program(c4_engine *engine, const c4_call *call, c4_program *program);

static inline void c4_trace_blocked(c4_operation *op, c4_lane_state *lane)
{
    if (++lane->blocked_polls == op->stamp_polls)
        lane->blocked_since = c4_tsc();
}

/* Runs one step of a lane. C4_OK: done. C4_IN_PROGRESS: call again. */
c4_status c4_step_run(c4_engine *engine, c4_operation *op, uint32_t lane, const c4_step *step, uint64_t offset,
                      uint64_t bytes);
/* `peer` when it has left; for peer -1 the lowest rank that has; else -1. */
int c4_engine_leaver(const c4_engine *engine, int peer);
/* Ends the op when it has waited in vain for a peer that has left; `moved`: it has just got further. */
void c4_operation_check_left(c4_engine *engine, c4_operation *op, bool moved);
/* Runs the op's lanes as far as they go. true when anything moved. Sets state and status. */
bool c4_lanes_run(c4_engine *engine, c4_operation *op);

c4_status c4_vote_start(c4_engine *engine, c4_operation *op);
/* C4_OK: decided; op->active and op->remote are set. */
c4_status c4_vote_progress(c4_engine *engine, c4_operation *op);
/* Should this call vote at all? Equal on all ranks; counts down the back-off. */
bool c4_vote_wanted(const c4_program *program);
c4_vote_entry *c4_vote_entry_of(c4_engine *engine, const c4_program *program);

/* Makes an operation of the program, which it then holds (also released on failure). */
c4_status c4_operation_create(c4_engine *engine, const c4_call *call, c4_program *program, c4_operation **op);
/* Takes back what c4_engine_drop left. */
void c4_operations_reclaim(c4_engine *engine);
void c4_operation_free(c4_operation *op);
/* A running operation joins the active list. */
void c4_operation_resume(c4_engine *engine, c4_operation *op);
bool c4_operation_progress(c4_engine *engine, c4_operation *op);
/* Ends the op when C4_TIMEOUT_MS, which must be set, has passed since this was first asked. */
void c4_operation_check_deadline(c4_engine *engine, c4_operation *op);

c4_xfer *c4_xfer_get(c4_engine *engine);
void c4_xfer_put(c4_engine *engine, c4_xfer *xfer);

/* c4_engine_fault for what this rank found by itself: a lost connection waits briefly for a better explanation. */
void c4_engine_fault_found(c4_engine *engine, c4_status status, int peer, const char *text);
/* Ends the op with an error and releases what it holds. */
void c4_operation_fail(c4_engine *engine, c4_operation *op, c4_status status);

#endif
