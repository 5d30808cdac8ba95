/* The control plane's protocol as a pure state machine: no I/O, no clock, no threads, no globals. Events and the time
 * go in; what is to be sent and told comes out through a table of functions. The thread around it is control_loop.c;
 * tests run dozens of cores over a simulated network.
 *
 * Ranks have links to some others (neighbours), in any connected graph. News spread in four ways:
 *   death, rumor of silence   every rank passes on what was news to it; no message is passed on twice by one rank
 *   report                    flooded with a number per origin; a window of 64 numbers per origin drops copies
 *   leavers                   as deaths, but gathered for 20 to 160 ms, so that n ranks that leave together cost about
 *                             as much as a few
 *   question, agreement       routed to one rank: to it if it is a neighbour, else to the neighbour nearest to it on the
 *                             circle of ranks, within a number of hops. Repeats that were not answered are flooded.
 *
 * Silence: a rank that does not hear a neighbour for 4/5 of heartbeat_ns spreads SUSPECTED; whoever hears that
 * neighbour, and the suspect itself, says OVER: then only a link is broken, which is logged and routed round. Else it is
 * called SILENT after heartbeat_ns and dead (C4_ERR_PEER_SILENT) after silent_ns; death is final. A link that closes
 * without a goodbye raises a suspicion with 500 ms to its verdict, dead, in which whoever has an open link to that rank
 * objects: a process that ends closes all. Where pids can be watched, the end of the process decides instead. A rank that
 * was itself asleep for long does not count that time against others.
 *
 * Repair: the shell connects again to a neighbour whose link was lost or is quiet. While that has no answer the rank is no
 * longer called dead because of the link, but silent when it is.
 *
 * Memory: about 100 bytes per rank, 400 for each that has died, 64 questions, 16 reports, 16 communicators' leavers. */
#ifndef C4_CONTROL_CORE_H
#define C4_CONTROL_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/control.h"
#include "wire/control_overlay.h"

typedef struct c4_core c4_core;
typedef struct c4_core_agree c4_core_agree;

/* What goes out. None may call c4_core_*. Texts are valid during the call. */
typedef struct c4_core_ops {
    /* To a neighbour. Never blocks; may lose it. */
    void (*send)(void *shell, int neighbour, const c4_control_header *header, const void *payload);
    /* The link to this neighbour is of no use any more. May be done later. */
    void (*close)(void *shell, int neighbour);
    /* What can be seen of its process: how it ended ("killed by signal 9 (Killed)"), or why it is `silent` ("its process
     * is stopped by a signal (state T)"); "" when nothing is known. */
    void (*describe)(void *shell, int rank, bool silent, char *text, size_t bytes);
    /* "rank 3 (pid 12 on host)" */
    void (*name)(void *shell, int rank, char *text, size_t bytes);
    void (*say)(void *shell, bool error, const char *text); /* for the log: error or warning */
    void (*died)(void *shell, int rank, const c4_control_fault *fault);
    void (*left)(void *shell, uint32_t comm, int rank); /* comm 0: the job */
    void (*reported)(void *shell, uint32_t comm, int rank, const c4_control_fault *fault);
    c4_control_answer (*question)(void *shell, uint32_t comm, int asker, uint64_t sequence, const unsigned char *card,
                                  unsigned char *reply);
    void (*answered)(void *shell, uint32_t comm, int rank, uint64_t sequence, c4_control_answer answer,
                     const unsigned char *reply);
    void (*decided)(void *shell, c4_core_agree *agree);
} c4_core_ops;

typedef struct c4_core_spec {
    int rank, nranks;
    uint64_t heartbeat_ns, silent_ns;
    const c4_core_ops *ops;
    void *shell;
} c4_core_spec;

/* How a process ended, as far as it is known. */
typedef enum c4_core_end { C4_END_UNKNOWN, C4_END_CLEAN, C4_END_EXITED, C4_END_KILLED } c4_core_end;

c4_status c4_core_create(const c4_core_spec *spec, uint64_t now_ns, c4_core **core);
void c4_core_destroy(c4_core *core); /* NULL is allowed */

/* There is a link to this neighbour, for the first time or again. Again: both ends tell one another what may have been
 * lost with the old one, or passed them by meanwhile (deaths, leavers, rumors, late reports; a rank takes each once). */
void c4_core_link_up(c4_core *core, int neighbour, uint64_t now_ns);
typedef enum c4_core_loss {
    C4_LOSS_END,  /* the other side has closed it: all that it sent has come */
    C4_LOSS_BREAK /* what was on its way may be lost, a goodbye too */
} c4_core_loss;
/* `has_pid`: this rank watches the process of the neighbour and will hear of its end. */
void c4_core_link_down(c4_core *core, int neighbour, c4_core_loss loss, bool has_pid, uint64_t now_ns);
/* Should the shell try to connect to this neighbour, which had a link? */
bool c4_core_wants_link(const c4_core *core, int neighbour);
/* What trying has shown: nobody listens there any more; or there is no answer at all, so that whether the process lives
 * cannot be told and its silence must run its course. */
void c4_core_link_refused(c4_core *core, int neighbour, uint64_t now_ns);
void c4_core_link_unanswered(c4_core *core, int neighbour, uint64_t now_ns);
/* C4_ERR_PROTOCOL: the link should be closed. */
c4_status c4_core_message(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload,
                          uint64_t now_ns);
/* All bytes of a link to this rank have been taken before. */
void c4_core_process_ended(c4_core *core, int rank, c4_core_end end, uint64_t now_ns);
/* To be called after events and at the returned time. */
uint64_t c4_core_tick(c4_core *core, uint64_t now_ns);

/* This rank leaves a communicator, or with 0 the job. */
void c4_core_leave(c4_core *core, uint32_t comm, uint64_t now_ns);
void c4_core_report(c4_core *core, uint32_t comm, const c4_control_fault *fault);
/* C4_ERR_MEMORY (not logged): too many questions wait. The answer comes out of a later tick or message. */
c4_status c4_core_ask(c4_core *core, uint32_t comm, int rank, uint64_t sequence, const unsigned char *card,
                      uint64_t now_ns);
void c4_core_forget_questions(c4_core *core, uint32_t comm);

c4_control_state c4_core_rank_state(const c4_core *core, int rank);
/* 0: it is not silent. */
uint64_t c4_core_silent_since_ns(const c4_core *core, int rank);
/* What the others said when they gave this rank up; NULL: they have not. */
const char *c4_core_own_death(const c4_core *core);
/* Has `rank` left this communicator? Known for the latest 16 communicators that somebody left. */
bool c4_core_has_left(const c4_core *core, uint32_t comm, int rank);

/* ---- agreement ---- */

typedef struct c4_core_proposal {
    bool differ;
    uint64_t value, minimum;
    int lowest;
    size_t blob_bytes;
    unsigned char blob[C4_CONTROL_AGREE_BLOB_BYTES];
    unsigned char *dead; /* bits, by member */
} c4_core_proposal;

/* One communicator's agreements. `members` (job ranks, this rank among them) is kept by the caller. C4_ERR_MEMORY is not
 * logged. */
c4_status c4_core_agree_create(c4_core *core, uint32_t comm, const int *members, int nmembers, c4_core_agree **agree);
void c4_core_agree_destroy(c4_core *core, c4_core_agree *agree); /* NULL is allowed */
/* Begins the next round, or goes on with the one of which no decision was taken. */
void c4_core_agree_begin(c4_core *core, c4_core_agree *agree, const c4_control_proposal *mine, uint64_t now_ns);
/* NULL: not decided. */
const c4_core_proposal *c4_core_agree_decision(const c4_core_agree *agree);
void c4_core_agree_taken(c4_core_agree *agree); /* the caller has its decision */
/* The others go on without this rank: it was given up, or excluded. Then nothing is decided here. */
bool c4_core_agree_is_out(const c4_core *core, const c4_core_agree *agree);
/* For the text of a timeout: the member that this one waits for, and whether it leads (then it misses that member's
 * call). -1: none. */
int c4_core_agree_awaited(const c4_core *core, const c4_core_agree *agree, bool *leads);
void *c4_core_agree_context(const c4_core_agree *agree);
void c4_core_agree_set_context(c4_core_agree *agree, void *context);

#endif
