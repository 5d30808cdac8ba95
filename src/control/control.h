/* The control plane: one thread per job in each process, asleep unless something happens, over whatever connections
 * the bootstrap made (its neighbours: a star or a circulant graph). core.h has the protocol, as a pure state machine.
 *
 * It learns that a rank's process has ended from the end of its connections and from pidfds (ranks on this host: all
 * when they are few, else the nearest), and that a rank is silent (stopped, its host unreachable) from missing
 * heartbeats; it tells everybody, carries errors that ranks report, asks peers what they are in, and lets survivors
 * agree. A rank that leaves with c4_control_stop is not a fault.
 *
 * Ranks here are job ranks, those of the bootstrap; a communicator attaches with the list of its members. */
#ifndef C4_CONTROL_CONTROL_H
#define C4_CONTROL_CONTROL_H

#include <c4/c4.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "rendezvous/bootstrap.h"
#include "rendezvous/port.h"

typedef struct c4_control c4_control;
typedef struct c4_control_attachment c4_control_attachment;

/* A member died (C4_ERR_PEER_DEAD), was silent for C4_SILENT_MS and is given up (C4_ERR_PEER_SILENT; final: it does not
 * come back), or reported an error for this communicator (its status). `member` is its index in the communicator; it
 * is this rank itself when the others have given this rank up: they do not talk to it any more. `text` names job rank,
 * pid, host and, where it can be known, signal, exit status or the state of the process; valid during the call. Once
 * per dead or silent member. Runs on the control thread, or inside c4_control_attach for what happened before it; must
 * not block and must not call c4_control_*. */
typedef void (*c4_control_fault_fn)(void *context, c4_status status, int member, const char *text);

typedef struct c4_control_spec {
    int heartbeat_ms;      /* > 0: a rank of which nothing was heard for so long is named in the log, and "silent" */
    int silent_ms;         /* > heartbeat_ms: after so long it is given up */
    const char *admin_top; /* C4_RECORD_DIR, below which the admin socket lies; NULL or "": there is none */
} c4_control_spec;

/* `port` is served by the thread until stop; NULL: none.
 * c4_control_start with other times than the defaults of C4_HEARTBEAT_MS and C4_SILENT_MS (5 s and 30 s). Should be
 * equal on all ranks. */
c4_status c4_control_start_with(c4_bootstrap *bootstrap, const c4_control_spec *spec, c4_port *port,
                                c4_control **control);
/* The same with the defaults. Collective over the bootstrap's ranks; blocks for one exchange. Takes the bootstrap's connections (also when it
 * fails later than that); the bootstrap itself stays the caller's and may be closed. The thread blocks all signals. */
c4_status c4_control_start(c4_bootstrap *bootstrap, c4_control **control);

/* Says goodbye and ends the thread; returns within 1 s. All attachments must have been detached. NULL is allowed. In
 * a child made by fork it only frees: the parent's job goes on. */
void c4_control_stop(c4_control *control);

/* A member left this communicator, or the job, in good order: what it has sent may still be on its way. May be told
 * twice. Runs as c4_control_fault_fn does. */
typedef void (*c4_control_left_fn)(void *context, int member);

/* From now on faults of members[0 .. nmembers-1] (job ranks; copied) are told to `on_fault`; what is known already is
 * told before this returns. `comm` is equal on all members; communicators without a common member may share it. */
c4_status c4_control_attach(c4_control *control, uint32_t comm, const int *members, int nmembers,
                            c4_control_fault_fn on_fault, void *context, c4_control_attachment **attachment);
/* From now on members that leave are told to `on_left`, with the attachment's context; those that have left the job
 * already before this returns. */
void c4_control_watch_leavers(c4_control_attachment *attachment, c4_control_left_fn on_left);
/* Tells the others that this rank has left the communicator (not 0) in good order while it stays in the job. */
void c4_control_leave(c4_control *control, uint32_t comm);
/* After it returns, none of the attachment's functions is running nor will be called. No c4_control_agree may be running
 * (its abort flag ends one). NULL is allowed. */
void c4_control_detach(c4_control_attachment *attachment);

/* Tells the other members of this communicator that this rank has failed (`status` < 0) and why; their on_fault gets
 * both. Any thread; does not block. */
void c4_control_report(c4_control_attachment *attachment, c4_status status, const char *text);

typedef enum c4_control_state {
    C4_CONTROL_ALIVE,
    C4_CONTROL_SILENT, /* nothing heard for C4_HEARTBEAT_MS; may come back */
    C4_CONTROL_DEAD,   /* its process ended, or it was given up; on_fault was told */
    C4_CONTROL_LEFT    /* left the communicator or the job in good order */
} c4_control_state;
/* What is known of a member now. Any thread; does not block. A member out of range is DEAD. */
c4_control_state c4_control_member_state(c4_control_attachment *attachment, int member);

/* ---- agreement ---- */

#define C4_CONTROL_AGREE_BLOB_BYTES 128u

typedef struct c4_control_proposal {
    uint32_t tag;      /* what this agreement is for (agree, shrink, ...); equal on all, else all get C4_ERR_MISMATCH */
    uint64_t value;    /* the live members' values are and-ed */
    uint64_t minimum;  /* of these the least is taken */
    const void *blob;  /* that of the lowest live member counts */
    size_t blob_bytes; /* <= C4_CONTROL_AGREE_BLOB_BYTES */
    const int *exclude;           /* members to leave out though they may live; the same list on all callers */
    int nexclude;                 /* such members take no part in later rounds either: they get C4_ERR_PEER_DEAD */
    int timeout_ms;               /* > 0 */
    const atomic_int *abort_flag; /* not 0: end with C4_ERR_ABORTED within 50 ms; NULL: none */
} c4_control_proposal;

typedef struct c4_control_agreement {
    uint64_t value;
    uint64_t minimum;
    int lowest; /* member whose blob this is. It was alive when this was proposed; it may have died since. */
    int nlive;
    unsigned char blob[C4_CONTROL_AGREE_BLOB_BYTES];
    size_t blob_bytes;
    unsigned char *dead; /* given by the caller, nmembers bytes: 1 for members that died, were given up, left or were
                          * excluded, 0 for the others */
} c4_control_agreement;

/* The live members agree: each that returns C4_OK has the same agreement, whoever dies meanwhile (those that die after
 * it was proposed are still called alive in it: call again). Collective over the live members that are not excluded;
 * works on a communicator that has faulted, until c4_control_detach. The first calls of all are round 1, the second
 * ones round 2...; after C4_ERR_TIMEOUT or C4_ERR_ABORTED the next call repeats the round, with the proposal of the
 * first one if others have it already: so members that time out at different moments find together by calling until
 * it succeeds, also when the others had their answer before.
 *
 * Any thread, one at a time per attachment (else C4_ERR_CONCURRENT_USE); blocks, asleep, until all live members have
 * called or timeout_ms have passed. A silent member is waited for until it is given up (C4_SILENT_MS).
 * Errors, logged: C4_ERR_TIMEOUT (names the members that have not called, where this rank can know them), C4_ERR_ABORTED,
 * C4_ERR_MISMATCH (tags differ), C4_ERR_MEMORY, C4_ERR_ARGUMENT. Not logged, but told by c4_fail_text: C4_ERR_PEER_DEAD
 * (the others excluded or gave up this rank). When a network is cut in two for longer than C4_SILENT_MS, each side agrees
 * for itself. */
c4_status c4_control_agree(c4_control_attachment *attachment, const c4_control_proposal *proposal,
                           c4_control_agreement *agreement);

/* ---- questions ---- */

#define C4_CONTROL_CARD_BYTES 64u

/* What a member says about a call of ours. */
typedef enum c4_control_answer {
    C4_ANSWER_SAME = 0,      /* it is in the same call, or was; its card tells more */
    C4_ANSWER_DIFFERENT = 1, /* it called something else with that sequence number: its card */
    C4_ANSWER_NOT_YET = 2,   /* it has not come that far: the card of its last call */
    C4_ANSWER_UNKNOWN = 3,   /* it does not remember, has not attached, or nobody answered for 10 s; no card */
    C4_ANSWER_LEFT = 4,      /* it left the communicator or the job; no card */
    C4_ANSWER_DEAD = 5,      /* no card; on_fault was or will be told */
    C4_ANSWER_SILENT = 6,    /* nothing is heard of it; no card */
    C4_NANSWERS = 7
} c4_control_answer;

/* Answers `asker`'s question about the call `sequence`: `card` describes the asker's call, `reply` (zeroed) is to be
 * filled. Cards are opaque here. Returns SAME, DIFFERENT, NOT_YET or UNKNOWN. Runs on the control thread of the one
 * asked; must not block and must not call c4_control_* (it may read the flight record). */
typedef c4_control_answer (*c4_control_question_fn)(void *context, int asker, uint64_t sequence,
                                                    const unsigned char card[C4_CONTROL_CARD_BYTES],
                                                    unsigned char reply[C4_CONTROL_CARD_BYTES]);
/* `member` answered; once for each c4_control_ask that was not replaced by a later one. Runs on the control thread;
 * must not block and must not call c4_control_*. */
typedef void (*c4_control_reply_fn)(void *context, int member, uint64_t sequence, c4_control_answer answer,
                                    const unsigned char reply[C4_CONTROL_CARD_BYTES]);
/* From now on this rank answers questions about the attachment's communicator, and may ask. Both get its context. */
void c4_control_answer_with(c4_control_attachment *attachment, c4_control_question_fn on_question,
                            c4_control_reply_fn on_reply);
/* Asks `member` about the call `sequence`; on_reply brings the answer within 10 s. Any thread; does not block. One
 * question per attachment and member at a time: a new one replaces it; at most 64 in a process (C4_ERR_MEMORY, not
 * logged). A member that has died, left or is silent is answered for by what this rank knows. */
c4_status c4_control_ask(c4_control_attachment *attachment, int member, uint64_t sequence,
                         const unsigned char card[C4_CONTROL_CARD_BYTES]);

/* ---- the operator ---- */

typedef enum c4_control_view { C4_VIEW_STATUS, C4_VIEW_DUMP, C4_VIEW_PLAN } c4_control_view;

/* What a probe has learned of a member. */
typedef struct c4_control_testimony {
    c4_control_answer answer; /* SAME: `card` tells what it is in */
    bool asked;               /* UNKNOWN: it did not answer in time, about this communicator or another */
    bool unasked;             /* UNKNOWN: so many others did not answer that its turn never came */
    unsigned char card[C4_CONTROL_CARD_BYTES];
    char why[96]; /* no card: what can be seen of its process, "its process is stopped by a signal (state T)"; or "" */
} c4_control_testimony;

/* What an operator may ask of a communicator through the admin socket. All run on the control thread, must not block, and
 * call no c4_control_* but c4_control_process. `json` is inside the communicator's object. */
typedef struct c4_control_operator {
    void (*name)(void *context, char *text, size_t bytes);
    void (*describe)(void *context, c4_control_view view, c4_json *json);
    /* What this rank is in, for the probes of others and its own. */
    void (*testify)(void *context, unsigned char card[C4_CONTROL_CARD_BYTES]);
    /* What follows from what the members said; [nmembers]. */
    void (*explain)(void *context, const c4_control_testimony *members, c4_json *json);
    /* Ends the communicator as c4_comm_abort does, but tells nobody; `by` says who did it, `told` is filled with the text. */
    void (*end)(void *context, const char *by, char told[C4_CONTROL_TEXT_MAX_BYTES]);
} c4_control_operator;

/* From now on the attachment's communicator can be looked at and aborted; the functions get its context. The table outlives
 * the attachment. */
void c4_control_serve_operator(c4_control_attachment *attachment, const c4_control_operator *functions);

/* ---- descriptors ---- */

/* Calls ready(context) once, on the control thread, when `fd` becomes readable; to be asked again for more (cheap: one
 * system call). The callback must not block nor call c4_control_*. A second call for a waiting fd replaces the first.
 * */
typedef void (*c4_control_ready_fn)(void *context);
c4_status c4_control_watch_fd(c4_control *control, int fd, c4_control_ready_fn ready, void *context);
/* Before `fd` is closed. After it returns the callback is not running and will not be called. */
void c4_control_unwatch_fd(c4_control *control, int fd);

/* Who the ranks are; valid until stop. NULL when out of range. */
const c4_process *c4_control_process(const c4_control *control, int rank);
/* Are both ranks on one host, in one pid name space? */
int c4_control_same_host(const c4_control *control, int rank, int other);

#endif
