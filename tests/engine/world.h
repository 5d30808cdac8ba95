/* Engines without communicators: the ranks of one process over loop, each with an engine of its own. Nothing runs by
 * itself: the case moves the engines, all from one thread unless it says otherwise. */
#ifndef C4_TESTS_ENGINE_WORLD_H
#define C4_TESTS_ENGINE_WORLD_H

#include "engine/internal.h"
#include "tests/c4test.h"
#include "tests/conformance/host.h"

#define WORLD_MAX_RANKS 4

typedef struct world_spec {
    int nranks;
    int nengines;          /* ranks from here on have only a module, for frames made by hand; 0: all have engines */
    bool posted;           /* as if loop had no windows */
    bool map;              /* buffers may be mapped */
    bool record;           /* flight records of all engines, in c4test_dir() */
    const char *algorithm; /* NULL: choose */
    size_t chunk_bytes;
    int timeout_ms;
} world_spec;

typedef struct world {
    world_spec spec;
    int host_of[WORLD_MAX_RANKS];
    c4_layout layout;
    c4_cost_params cost;
    c4_test_host hosts[WORLD_MAX_RANKS];
    c4_rail rails[WORLD_MAX_RANKS];
    c4_recorder *recorder;
    c4_record_writer writers[WORLD_MAX_RANKS];
    c4_engine *engines[WORLD_MAX_RANKS];
} world;

void world_open(world *w, const world_spec *spec);
void world_close(world *w);
/* Starts the call at one rank; asserts that it could be prepared. */
c4_operation *world_start(world *w, int rank, const c4_call *call);
/* Moves all engines until the operation is done; false after 5 s. */
bool world_wait(world *w, c4_operation *op);
/* One round of progress of every engine. */
void world_step(world *w);
/* Starts calls[rank] at every rank, waits for all, asserts that all have this status. */
void world_run(world *w, const c4_call *calls, c4_status status);

c4_call world_all_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op);
c4_call world_send(const void *send, size_t count, int peer);
c4_call world_recv(void *recv, size_t count, int peer);

/* The writing end of rank `from`'s messages to `to`, for frames that no engine would make. */
c4_channel *world_forge_open(world *w, int from, int to);
void world_forge(c4_channel *channel, const c4_frame *frame);

#endif
