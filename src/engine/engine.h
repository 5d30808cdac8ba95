/* The engine runs schedules: calls in, frames on transports, completed operations out.
 *
 *     call -> program (schedule bound to channels, cached) -> op (lanes with positions) -> steps -> transport
 *
 * One engine serves one communicator and is used by one thread at a time (or under `lock` when a progress thread
 * helps). Only c4_engine_fault may be called from any thread. */
#ifndef C4_ENGINE_ENGINE_H
#define C4_ENGINE_ENGINE_H

#include <c4/transport.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/status.h"
#include "control/control.h"
#include "engine/call.h"
#include "numeric/numeric.h"
#include "record/recorder.h"
#include "schedule/algorithms.h"

#define C4_ENGINE_MAX_RAILS 5
#define C4_ENGINE_WHO_BYTES 128

typedef struct c4_edge c4_edge;
typedef struct c4_program c4_program;
typedef struct c4_operation c4_operation;

/* A transport in use. */
typedef struct c4_rail {
    const c4_transport_ops *ops;
    c4_module *module;
    c4_transport_caps caps;
} c4_rail;

/* How to wait: see wait.c. */
typedef struct c4_wait_policy {
    unsigned spin_polls; /* polls before the first yield */
    uint64_t yield_ns;   /* how long to yield before sleeping */
    bool pause;          /* `pause` between polls: off when ranks share cores */
} c4_wait_policy;

typedef struct c4_engine_spec {
    int rank, nranks;
    const char *name; /* of the communicator, for messages; outlives the engine; NULL: "" */
    uint32_t comm_id;
    uint16_t epoch;
    const c4_layout *layout;    /* outlives the engine */
    const c4_cost_params *cost; /* outlives the engine */
    const c4_rail *rails;       /* copied; the modules are closed by the engine */
    int nrails;
    const uint8_t *rail_of;   /* [nranks], copied: index into rails; own entry unused */
    const c4_tuning *tuning;  /* outlives the engine; may be NULL */
    c4_record_writer *writer; /* flight record; outlives the engine */
    c4_cpu_level cpu_level;
    c4_wait_policy wait;
    uint32_t *doorbell; /* futex word that wakes this engine; NULL: sleep on file descriptors alone */
    /* Rings the doorbell once when fd becomes readable (control thread); NULL without doorbell. */
    c4_status (*watch_fd)(void *context, int fd);
    void (*unwatch_fd)(void *context, int fd);
    void *watch_context;
    int forced_algorithm;  /* C4_ALGO; -1: choose */
    uint32_t forced_kinds; /* kinds that C4_ALGO applies to */
    size_t chunk_bytes;    /* C4_CHUNK_BYTES; 0: builder's own */
    bool deterministic;
    bool map;       /* consider mapped buffers */
    int timeout_ms; /* per operation; 0: none */
    int late_ms;    /* a rank that has not entered a call is named in the log after this; 0: 5000 */
    /* Without a step for so long, room for a send over a network is not under way any more; 0: 30000 */
    int send_stuck_ms;
    /* Asks `member` about a call, as c4_control_ask does; c4_engine_hear gets the answer. NULL: nobody can be asked. */
    c4_status (*ask)(void *context, int member, uint64_t token, const unsigned char card[C4_CONTROL_CARD_BYTES]);
    /* "rank 2 (host h)"; NULL: "rank 2". Any thread. */
    void (*describe)(void *context, int member, char text[C4_ENGINE_WHO_BYTES]);
    void *ask_context;
} c4_engine_spec;

typedef struct c4_engine c4_engine;

c4_status c4_engine_create(const c4_engine_spec *spec, c4_engine **engine);
/* Cancels what is pending (C4_ERR_DESTROYED), closes channels and modules. */
void c4_engine_destroy(c4_engine *engine);

/* A blocking call, from beginning to end; its final status. */
c4_status c4_engine_call(c4_engine *engine, const c4_call *call);
/* The call before once more, with other buffers: same shape, same in-place form. false: not possible, nothing was done. */
bool c4_engine_repeat(c4_engine *engine, const void *send, void *recv, c4_status *status);
/* Checks nothing that the caller could have checked. Builds or finds the program and makes an op of it, not yet started. */
c4_status c4_engine_prepare(c4_engine *engine, const c4_call *call, c4_operation **op);
/* From any thread: gives back an op that was prepared and will not be started. */
void c4_engine_drop(c4_engine *engine, c4_operation *op);
/* Starts the op; it may be complete on return (c4_operation_done). Never blocks. */
void c4_engine_start(c4_engine *engine, c4_operation *op);
/* Moves all active operations, and looks now and then at those that get no further. true when anything moved. */
bool c4_engine_progress(c4_engine *engine);
/* Blocks until the op is complete or failed. */
void c4_engine_wait(c4_engine *engine, c4_operation *op);
/* Returns the op's final status and recycles it. */
c4_status c4_engine_finish(c4_engine *engine, c4_operation *op);

bool c4_operation_started(const c4_operation *op);
bool c4_operation_done(const c4_operation *op);
/* Are operations under way? */
bool c4_engine_busy(const c4_engine *engine);
c4_status c4_operation_status(const c4_operation *op);

/* From any thread: every operation, present and future, ends with `status`. The first fault wins. `text` is copied. */
void c4_engine_fault(c4_engine *engine, c4_status status, int peer, const char *text);
/* The same, told by another rank: the others know it too. */
void c4_engine_fault_told(c4_engine *engine, c4_status status, int peer, const char *text);
/* Does every rank know why this engine has failed? */
bool c4_engine_fault_is_known(c4_engine *engine);
/* From any thread: `peer` has left the communicator in good order. Operations that get no further because they wait for it
 * end with C4_ERR_MISMATCH; what it has sent before is still received. */
void c4_engine_peer_left(c4_engine *engine, int peer);
c4_status c4_engine_status(const c4_engine *engine, const char **text);

/* From the control thread: what this rank knows of its part of a call of another, see stuck.h; `reply` is filled in. */
c4_control_answer c4_engine_answer(c4_engine *engine, const unsigned char card[C4_CONTROL_CARD_BYTES],
                                   unsigned char reply[C4_CONTROL_CARD_BYTES]);
/* From the control thread: the answer to what spec.ask asked. */
void c4_engine_hear(c4_engine *engine, int member, uint64_t token, c4_control_answer answer,
                    const unsigned char reply[C4_CONTROL_CARD_BYTES]);
/* The last collective such that it and all before it have ended well here; 0: none. Counts from 1. */
uint32_t c4_engine_last_complete(const c4_engine *engine);

/* Which algorithm a call would use; static name. */
c4_status c4_engine_algorithm(c4_engine *engine, const c4_call *call, const char **name);

#endif
