/* The communicator's own types. Included by src/comm/ only. */
#ifndef C4_COMM_INTERNAL_H
#define C4_COMM_INTERNAL_H

#include <c4/c4.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/options.h"
#include "base/status.h"
#include "control/control.h"
#include "engine/engine.h"
#include "rendezvous/bootstrap.h"
#include "rendezvous/port.h"

#define C4_COMM_MAGIC      0x43344f4bu
#define C4_COMM_NAME_BYTES 64

/* Who takes part, and where each rank lives. */
typedef struct c4_roster {
    int nranks;
    int *host_of;     /* [nranks], numbered by first appearance */
    c4_layout layout; /* points into host_of */
    int local_rank, local_nranks;
} c4_roster;

/* What the communicators of one job share: the control thread, and the port on which all listen. Ends with the last of them. */
typedef struct c4_job {
    _Atomic unsigned users;
    c4_control *control;
    c4_port *port; /* served by `control` */
} c4_job;

typedef struct c4_premul {
    unsigned char scalar[8];
    c4_dtype dtype;
    bool used;
} c4_premul;

#define C4_PREMUL_LIMIT 64

/* A call without counts arrays, but for its buffers. */
typedef struct c4_shape {
    c4_kind kind;
    c4_dtype dtype;
    c4_op op;
    int root;
    size_t count;
} c4_shape;

/* The last one that passed all checks: training repeats itself, so most calls need only their pointers looked at. */
typedef struct c4_checked {
    c4_shape shape;
    size_t send_bytes, recv_bytes;
    ptrdiff_t in_place_offset; /* of send from recv when in place */
    uintptr_t align_mask;      /* element size - 1 */
    bool in_place;
    bool valid;
} c4_checked;

/* Values of abort_requested. */
typedef enum c4_comm_abort_reason {
    C4_COMM_ABORT_ASKED = 1,   /* c4_comm_abort */
    C4_COMM_ABORT_BY_PEER = 2, /* another rank has given up the shrink */
    C4_COMM_ABORT_BY_DEATH = 3 /* a rank that the set-up needs has died: this attempt only */
} c4_comm_abort_reason;

struct c4_comm {
    uint32_t magic;
    const uint32_t *alive; /* 0 in the child of a fork, see fork.c */
    _Atomic uint32_t busy; /* a thread is inside a call on this communicator */
    int rank, nranks;
    char name[C4_COMM_NAME_BYTES];
    c4_options *options;
    char *call_options; /* those given in calls, for children; NULL: none */
    bool derived;       /* made by a split: rank and size are not known until set-up is complete */
    c4_engine *engine;
    c4_job *job; /* NULL: a single rank */
    c4_control_attachment *attachment;
    int *job_ranks;          /* [nranks] */
    c4_bootstrap *bootstrap; /* until control takes it over */
    c4_roster roster;
    c4_port *port;          /* the job's; NULL: a single rank */
    bool owns_port;         /* until there is a job */
    c4_transport_host host; /* what the transports may ask of the library */
    c4_transport_port lent_port;
    c4_cost_params cost;
    c4_tuning tuning;
    size_t *displs; /* [2 * nranks]: packed displacements of v-calls */
    bool threaded;  /* C4_PROGRESS=thread: the lock guards the engine */
    bool locked;    /* by the call that is inside */
    pthread_mutex_t progress_lock;
    pthread_cond_t progress_work;
    pthread_t progress_thread;
    bool progress_stop;
    uint64_t job_id;   /* of this run, not of an earlier one that was started alike */
    uint64_t given_id; /* as the launcher or the unique id has it, by which c4run finds records; 0: neither */
    unsigned char key[32];
    bool has_key;
    c4_recorder *recorder; /* the process's; NULL: off */
    c4_record_writer writer;
    uint32_t *doorbell;       /* NULL: no transport has one */
    uint32_t splits;          /* communicators derived so far: part of the children's identity */
    c4_request *requests;     /* outstanding, doubly linked */
    const void *group_owner;  /* the group at its end that has entered this communicator */
    _Atomic unsigned grouped; /* calls in open groups, of any thread */
    c4_premul premul[C4_PREMUL_LIMIT];
    c4_checked checked;
    _Atomic c4_status setup_status; /* C4_IN_PROGRESS while being created */
    atomic_int abort_requested;     /* also watched by the set-up: see enum c4_comm_abort_reason */
    atomic_int aborted;             /* c4_comm_abort has done its work on the engine */
    atomic_int control_abort;       /* ends an agreement under way */
    atomic_int in_control;          /* an agreement or a shrink of this communicator is under way */
    pthread_mutex_t derive_lock;    /* of the next four */
    struct c4_comm *deriving;       /* being made of this one by a call without request; NULL: none */
    struct c4_shrink *shrinking;    /* of this one, under way; NULL: none */
    int quitter;                    /* member that has given up c4_comm_shrink, plus 1; 0: none */
    bool excluded;                  /* the other ranks have shrunk without this one */
    uint16_t epoch;                 /* membership epoch: up with every shrink and growth */
    long self_receives; /* started from this rank itself, less sends to itself: > 0, a send has its receive */
    bool told_peers;    /* this rank's own fault has been reported */
    char error[C4_ERROR_TEXT_BYTES];
};

/* ---- calls ---- */

struct c4_request {
    c4_comm *comm;    /* NULL once the communicator is gone */
    c4_operation *op; /* NULL once finished, and for set-up */
    c4_status status;
    bool setup; /* of c4_comm_create: `thread` runs it */
    pthread_t thread;
    _Atomic int setup_done;
    void *argument; /* of that thread */
    char *error;    /* of a set-up without communicator; NULL: none */
    c4_request *next, *previous;
};

/* Every public call on a communicator starts with enter and ends with leave. C4_ERR_NULL, C4_ERR_DESTROYED or
 * C4_ERR_CONCURRENT_USE. */
c4_status c4_comm_enter(c4_comm *comm);
c4_status c4_comm_leave(c4_comm *comm, c4_status status);
/* Outside of enter: the thread's error text becomes the communicator's, unless another call is inside, whose it is. */
void c4_comm_note_error(c4_comm *comm);
/* Leaves with what the engine reported of a call. */
c4_status c4_comm_fail(c4_comm *comm, c4_status status);

/* Inside enter: the rest of the call is made by another thread, which begins with take_over and ends with leave. */
void c4_comm_hand_over(c4_comm *comm);
void c4_comm_take_over(c4_comm *comm);

/* Calls that use the control plane only may run beside others, one at a time: instead of enter and leave. `what` is the
 * call's name. Refuses like enter, and a communicator that is not set up. */
c4_status c4_comm_enter_control(c4_comm *comm, const char *what);
c4_status c4_comm_leave_control(c4_comm *comm, c4_status status);

/* From here to the end (child NULL) c4_comm_abort of `parent` also ends the set-up of `child`. */
void c4_comm_derive(c4_comm *parent, c4_comm *child);

/* As c4_comm_abort, but tells nobody, for an abort that the peers hear of by other ways; `by`: "aborted by ...". The
 * communicator is attached. On the control thread; does not block. */
void c4_comm_abort_by(c4_comm *comm, const char *by);

/* Inside enter/leave, or under the progress lock: reports a fault that this rank found by itself, once. Does not block. */
void c4_comm_tell_peers(c4_comm *comm);
/* C4_OK unless its set-up is under way or has failed. */
c4_status c4_comm_usable(const c4_comm *comm);
/* Inside enter/leave. Starts the checked call, or joins it to the thread's open group; blocks when `request` is NULL. */
c4_status c4_comm_submit(c4_comm *comm, const c4_call *call, c4_request **request);

/* Checks the arguments of `call` and fills in in_place, premul, send_bytes and recv_bytes. */
c4_status c4_call_check(c4_comm *comm, c4_call *call);
c4_status c4_call_check_v(const c4_comm *comm, c4_call *call, size_t own_count);

/* comm may be NULL for a set-up. */
c4_status c4_request_create(c4_comm *comm, c4_operation *op, c4_request **request);
/* Makes a request with `argument` and a thread that runs main(request), which ends by setting setup_done. */
c4_status c4_request_start_setup(c4_comm *comm, void *(*main)(void *), void *argument, c4_request **request);
/* Forgets a handle that the caller will not get. NULL is allowed. */
void c4_request_discard(c4_request *request);
/* The communicator goes, its operations are done: the handles keep their status. */
void c4_requests_orphan(c4_comm *comm);

bool c4_group_active(void);
/* Takes `op`, prepared and not started. */
c4_status c4_group_add(c4_comm *comm, c4_operation *op, c4_request *request, int self);

/* true: a call of this shape and with these buffers passes like the last one. *in_place: whether it is in place. */
static inline bool c4_checked_again(const c4_checked *last, const c4_shape *shape, const void *send, const void *recv,
                                    bool *in_place)
{
    const char *from = send, *to = recv;
    if (!last->valid || last->shape.count != shape->count || last->shape.kind != shape->kind ||
        last->shape.dtype != shape->dtype || last->shape.op != shape->op || last->shape.root != shape->root ||
        (((uintptr_t)from | (uintptr_t)to) & last->align_mask))
        return false;
    *in_place = false;
    if (!last->send_bytes || !last->recv_bytes)
        return (from || !last->send_bytes) && (to || !last->recv_bytes);
    *in_place = (uintptr_t)from == (uintptr_t)to + (uintptr_t)last->in_place_offset;
    return from && to && (*in_place || from + last->send_bytes <= to || to + last->recv_bytes <= from);
}

const c4_premul *c4_premul_find(const c4_comm *comm, c4_op op);

/* ---- the job ---- */

/* Takes over the bootstrap's connections. */
c4_status c4_job_start(c4_comm *comm);
/* Joins the parent's job; members: parent ranks of the child, in child order. NULL: the ranks of the job itself. */
c4_status c4_job_join(c4_comm *comm, c4_job *job, const c4_comm *parent, const int *members);
void c4_job_leave(c4_comm *comm);
c4_status c4_job_watch_fd(void *comm, int fd);
void c4_job_unwatch_fd(void *comm, int fd);

/* ---- progress thread (C4_PROGRESS=thread) ---- */
c4_status c4_progress_start(c4_comm *comm);
void c4_progress_stop(c4_comm *comm);
/* End of a call: wakes the thread when operations are left over, and unlocks. */
void c4_progress_leave(c4_comm *comm);

/* ---- set-up ---- */

/* A set-up's all-gathers have this many bytes of a rank at the most, or one for each of its peers; each is waited for
 * before the next. A set-up has C4_SETUP_GATHERS of them at the most: hosts, cards, reach, leaders, costs; or hosts, cards
 * and three parts of an option card, after which it fails. */
#define C4_EXCHANGE_BYTES 1024u
#define C4_SETUP_GATHERS  5

/* All-gather among the ranks of the communicator being made: `in` bytes of each to out[nranks * bytes]. */
typedef struct c4_exchange {
    c4_status (*all_gather)(void *context, const void *in, size_t bytes, void *out);
    void *context;
} c4_exchange;

/* NULL gives the defaults. */
c4_status c4_comm_config_read(const c4_comm_config *config, c4_comm_config *full);

/* Resolves the options of `comm`: `own` override `inherited`; either may be NULL. */
c4_status c4_comm_resolve_options(c4_comm *comm, const char *inherited, const char *own);

/* Opens transports, tells the others, agrees on who reaches whom by what, and makes comm->engine. */
c4_status c4_setup_engine(c4_comm *comm, const c4_exchange *exchange);
c4_status c4_comm_alloc(const char *name, int rank, int nranks, c4_comm **comm);
/* For a communicator that has learned its shape after alloc; nranks may not grow when it has been set up. */
c4_status c4_comm_reshape(c4_comm *comm, int rank, int nranks);
/* Gives back everything that a set-up has made, so that another can be tried. Tells nobody. */
void c4_comm_undo(c4_comm *comm);
void c4_comm_free(c4_comm *comm);

/* A word that is 1 in this process and 0 in its children made by fork. */
const uint32_t *c4_fork_guard(void);

#endif
