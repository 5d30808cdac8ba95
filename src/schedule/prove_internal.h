/* Parts of the prover: trees of values, memory with its access history, happens-before, the run. */
#ifndef C4_SCHEDULE_PROVE_INTERNAL_H
#define C4_SCHEDULE_PROVE_INTERNAL_H

#include "schedule/builder.h"
#include "schedule/prove.h"

/* ---- arena: everything lives until the proof ends ---- */

typedef struct prove_arena {
    struct prove_block *blocks;
    size_t used, room;
} prove_arena;

/* NULL without memory. 16-byte aligned, not zeroed. */
void *prove_alloc(prove_arena *arena, size_t bytes);
void prove_arena_fini(prove_arena *arena);

/* ---- trees: equal expressions have equal numbers ---- */

typedef uint32_t prove_tree; /* 0: undefined */

typedef struct prove_node {
    uint64_t hash;
    const prove_tree *children; /* fold; NULL for a leaf; one child for final */
    const uint64_t *leaves;     /* bit per rank */
    uint32_t nchildren;
    int rank; /* leaf; -1 */
    bool final;
} prove_node;

typedef struct prove_forest {
    prove_arena *arena;
    prove_node *nodes; /* [0] unused */
    uint32_t *table;   /* open addressing, 0: free */
    uint32_t nnodes, room, table_room;
    int nranks, words;
} prove_forest;

bool prove_forest_init(prove_forest *forest, prove_arena *arena, int nranks);
void prove_forest_fini(prove_forest *forest);
/* 0 without memory. */
prove_tree prove_leaf(prove_forest *forest, int rank);
/* Left fold of k >= 2 trees in one hop. 0 and *why on an undefined, final or repeated operand. */
prove_tree prove_fold(prove_forest *forest, const prove_tree *children, uint32_t k, const char **why);
prove_tree prove_final(prove_forest *forest, prove_tree tree, const char **why);
/* Every rank in it, once. */
bool prove_complete(const prove_forest *forest, prove_tree tree);

/* ---- memory: intervals with a value and the accesses that later ones must follow ---- */

typedef struct prove_event {
    uint32_t lane, index; /* index-th step instance of the (global) lane */
    bool remote;          /* a peer's direct access: must precede the owner's end */
} prove_event;

#define PROVE_NO_LANE UINT32_MAX

typedef struct prove_cell {
    uint64_t begin, end;
    prove_tree tree;
    uint64_t origin;    /* offset in the input of the value at `begin` */
    prove_event write;  /* lane PROVE_NO_LANE: initial content */
    prove_event *reads; /* since the write */
    uint32_t nreads, reads_room;
} prove_cell;

typedef struct prove_region {
    prove_arena *arena;
    prove_cell *cells; /* ascending, without gaps, covering [0, bytes) */
    uint32_t ncells, room;
    uint64_t bytes;
} prove_region;

typedef struct prove_piece { /* of a value, relative to its beginning */
    uint64_t begin, end;
    prove_tree tree;
    uint64_t origin;
} prove_piece;

typedef struct prove_value {
    prove_piece *pieces;
    uint32_t npieces;
} prove_value;

bool prove_region_init(prove_region *region, prove_arena *arena, uint64_t bytes);
/* Cells of exactly [begin, end), splitting those at its ends. NULL without memory. */
prove_cell *prove_cells(prove_region *region, uint64_t begin, uint64_t end, uint32_t *ncells);
/* Their values, neighbours of one value joined. */
bool prove_region_value(prove_region *region, uint64_t begin, uint64_t end, prove_value *value);
bool prove_cell_add_read(prove_region *region, prove_cell *cell, prove_event event);

/* ---- the run ---- */

typedef struct prove_span { /* of a rank's memory; region NULL: none */
    prove_region *region;
    uint64_t begin, end;
} prove_span;

typedef struct prove_frame {
    prove_value value;
    uint64_t bytes, offset;
    prove_span held;
    const uint16_t *clock; /* of the sender, without the sending step */
    prove_event sent;
} prove_frame;

typedef struct prove_channel {
    int writer;
    uint32_t tag, nreaders;
    const int *readers;
    prove_frame **frames; /* [sent] */
    uint32_t sent, room;
    uint32_t *begun, *consumed;           /* [nreaders]: receives begun, done */
    prove_event last_send, *last_receive; /* [nreaders] */
} prove_channel;

typedef struct prove_lane {
    const c4_schedule *schedule;
    uint32_t lane;  /* in the schedule */
    uint32_t first; /* global number of the schedule's lane 0 */
    uint32_t loop, iteration, step;
    uint32_t count; /* step instances done or skipped */
    bool begun, computed;
    const uint16_t *clock;    /* what happened before, [nlanes]; own entry unused */
    const uint16_t **history; /* clock after each instance, when others gate on this lane */
    uint32_t history_room;
    bool keeps_history;
} prove_lane;

enum { PROVE_SEND, PROVE_RECV, PROVE_SCRATCH, PROVE_REGIONS };

typedef struct prove_rank {
    prove_region regions[PROVE_REGIONS];
    prove_channel **channels; /* by the schedule's index */
    uint32_t *reader_index;   /* this rank's place among the readers, where it is one */
    uint32_t first_lane;
    uint64_t input_bytes, output_bytes, alias_offset;
    bool aliased, inside; /* in place; output within input, not the other way round */
} prove_rank;

typedef enum prove_mode { PROVE_RENDEZVOUS, PROVE_ONE_CREDIT } prove_mode;

typedef struct prove_run {
    const c4_query *queries;
    c4_schedule *const *schedules;
    int nranks;
    prove_mode mode; /* values and order are checked in RENDEZVOUS; ONE_CREDIT looks at progress only */
    c4_proof *proof;
    c4_status status;
    prove_arena arena;
    prove_forest forest;
    prove_rank *ranks;
    prove_lane *lanes;
    uint32_t nlanes;
    prove_channel *channels;
    uint32_t nchannels;
} prove_run;

/* Notes the first failure. Returns C4_ERR_INTERNAL. */
c4_status prove_refuse(prove_run *run, const prove_lane *lane, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
c4_status prove_no_memory(prove_run *run);
/* Event happened before what `lane` does now. */
bool prove_happened(const prove_run *run, prove_event event, const prove_lane *lane);
/* Where a LOCAL or REMOTE term's bytes are, in-place aliasing resolved. */
c4_status prove_resolve(prove_run *run, const prove_lane *lane, const c4_term *term, uint64_t offset, uint64_t bytes,
                        prove_span *span);
c4_status prove_read(prove_run *run, const prove_lane *lane, prove_span span, bool remote, prove_value *value);
c4_status prove_write(prove_run *run, const prove_lane *lane, prove_span span, bool remote, const prove_value *value);
/* The reader has the frame: its span was unchanged since it was sent, and may change from here on. */
c4_status prove_release(prove_run *run, const prove_lane *lane, const prove_frame *frame);
/* All lanes to their end. */
c4_status prove_execute(prove_run *run);
/* Outputs, gaps, trees, completion. */
c4_status prove_outputs(prove_run *run);

#endif
