/* Shared by core*.c only. */
#ifndef C4_CONTROL_CORE_INTERNAL_H
#define C4_CONTROL_CORE_INTERNAL_H

#include "control/core.h"

#define C4_CORE_MS       1000000ull
#define C4_CORE_NEVER_NS UINT64_MAX

enum {
    C4_CORE_QUESTIONS = 64,
    C4_CORE_REPORTS = 16,           /* kept for those whose link was lost */
    C4_CORE_LEAVES = 16,            /* communicators whose leavers are remembered, the job among them */
    C4_CORE_EXIT_GRACE_MS = 50,     /* from the end of a link to that of the process, for its exit status */
    C4_CORE_OBJECT_MS = 150,        /* from news that a link closed to saying that one's own is open */
    C4_CORE_LINK_GRACE_MS = 500,    /* from the end of a link to the verdict, for a sign of life by other ways */
    C4_CORE_GOODBYE_GRACE_MS = 150, /* from the end of a process that was killed to its goodbye */
    C4_CORE_FAILED_GRACE_MS = 500,  /* the same unless its exit status is 0, and a link broke */
    C4_CORE_EXITED_GRACE_MS = 5000, /* the same when it exited: with 256 ranks leaving on 2 cores, news take seconds */
    C4_CORE_LEAVE_GATHER_MIN_MS = 20,  /* leavers are gathered for so long, */
    C4_CORE_LEAVE_GATHER_MAX_MS = 160, /* or while more and more come, for so long */
    C4_CORE_ANSWER_MS = 10000,
    C4_CORE_SAID_LINES = 1024 /* on silence, by all ranks together in a heartbeat's time */
};

/* What happens to a rank at verdict_ns unless it is heard of. */
typedef enum c4_core_verdict {
    C4_VERDICT_NONE,
    C4_VERDICT_SUSPECT, /* its link closed; its process was given a moment to end */
    C4_VERDICT_SILENT,
    C4_VERDICT_DEAD
} c4_core_verdict;

typedef struct c4_core_peer {
    bool linked;            /* there is a connection */
    bool broken;            /* it closed, or is quiet, though the rank lives: no way for messages */
    bool dead, left, ended; /* dead and left are final and exclude one another */
    bool has_pid;           /* of a link that closed: the end of the process would be seen */
    bool lossy;             /* it broke: what the rank had sent may not have come */
    bool unanswered;        /* nobody says whether it listens: a lost link tells nothing */
    c4_core_verdict verdict;
    uint32_t rumor;                  /* episode << 2 | phase; 0: none */
    bool rumor_closed;               /* of `rumor` */
    uint64_t heard_ns, sent_ns;      /* on the link */
    uint64_t probe_ns, probe_gap_ns; /* when to suspect again a rank whose link is broken */
    uint64_t verdict_ns;
    uint64_t object_ns;       /* when to say that this rank's link to it is open; 0: no need */
    uint64_t suspected_ns;    /* since when there is no sign of it, for this rank's own verdict SILENT */
    uint64_t silent_since_ns; /* while SILENT */
    uint32_t flood_top;       /* highest number of its floods, */
    uint64_t flood_seen;      /* bit i: flood_top - i was seen */
} c4_core_peer;

typedef struct c4_core_question {
    bool used;
    uint32_t comm;
    int rank;
    uint64_t sequence;
    int attempts;
    uint64_t next_ns, end_ns;
    unsigned char card[C4_CONTROL_CARD_BYTES];
} c4_core_question;

/* A report as it was flooded, of this rank or another. */
typedef struct c4_core_told {
    c4_control_header header; /* bytes 0: none */
    unsigned char payload[C4_CONTROL_MESSAGE_MAX_BYTES];
} c4_core_told;

/* Who has left a communicator; entry 0 is the job's. */
typedef struct c4_core_leaving {
    bool used;
    uint32_t comm;
    uint32_t ttl; /* of what is to be told */
    uint64_t used_ns;
    uint64_t told_ns, gap_ns, due_ns; /* due_ns NEVER: nothing to tell */
    uint32_t nfresh;
    unsigned char *known, *fresh; /* bits, by job rank */
} c4_core_leaving;

struct c4_core {
    c4_core_spec spec;
    uint64_t now_ns, ticked_ns;
    c4_core_peer *peers;
    int *links; /* ranks to which there is or was a link */
    int nlinks;
    uint32_t flood_number;
    bool leaving;       /* has said goodbye to the job */
    unsigned char *out; /* a payload being made */
    unsigned char *bits;
    c4_core_leaving leaves[C4_CORE_LEAVES];
    c4_core_question questions[C4_CORE_QUESTIONS];
    c4_core_told reports[C4_CORE_REPORTS]; /* a ring */
    unsigned nreports;
    c4_control_fault **deaths; /* by rank: what is told of it; NULL: it lives, or there was no memory */
    c4_core_agree *agrees;
    uint64_t watch_due_ns; /* when to look at the peers again */
    uint64_t said_ns;      /* since when lines on silence are counted, */
    unsigned said;         /* and how many there were */
};

/* ---- core.c ---- */
void c4_core_say(c4_core *core, bool error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static inline bool c4_core_is_gone(const c4_core *core, int rank)
{
    return core->peers[rank].dead || core->peers[rank].left;
}

/* ---- core_route.c ---- */
uint32_t c4_core_ttl(const c4_core *core);
void c4_core_send(c4_core *core, int neighbour, const c4_control_header *header, const void *payload);
/* To all neighbours but one (-1: none). */
void c4_core_spread(c4_core *core, const c4_control_header *header, const void *payload, int except);
/* Sends a message of this rank, its payload beginning with an envelope to be filled in: routed, or flooded. */
void c4_core_post(c4_core *core, c4_control_header *header, unsigned char *payload, int target, bool flooded);
/* Is a message with this envelope for this rank? Passes it on when it is for others, too. */
bool c4_core_take(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload,
                  const c4_overlay_envelope *envelope);
bool c4_core_has_overlay(const c4_core *core);

/* ---- core_repair.c ---- */
/* A link is there again. */
void c4_core_mend(c4_core *core, int neighbour);
void c4_core_keep_report(c4_core *core, const c4_control_header *header, const unsigned char *payload);
void c4_core_keep_death(c4_core *core, int rank, const c4_control_fault *fault);

/* ---- core_silence.c ---- */
/* All that is known of the silence of ranks, to one neighbour. */
void c4_core_tell_rumors(c4_core *core, int neighbour);
void c4_core_heard(c4_core *core, int neighbour);
void c4_core_on_rumor(c4_core *core, int from, int rank, const c4_overlay_rumor *rumor);
/* Spreads SUSPECTED and gives the rank until then to be heard of; `closed`: because its link closed. */
void c4_core_suspect(c4_core *core, int rank, bool closed, c4_core_verdict verdict, uint64_t verdict_ns);
/* Heartbeats, suspicions and verdicts that are due. Returns the next time. */
uint64_t c4_core_watch_tick(c4_core *core);

/* ---- core_death.c ---- */
/* Final; once per rank. `from` is the neighbour that told it, or this rank. */
void c4_core_declare_dead(c4_core *core, int rank, int from, const c4_control_fault *fault);
void c4_core_declare_ended(c4_core *core, int rank);
void c4_core_give_up(c4_core *core, int rank);
/* The earlier of two verdicts counts. */
void c4_core_plan_verdict(c4_core *core, int rank, c4_core_verdict verdict, uint64_t when_ns);
/* No goodbye can come round any more. */
void c4_core_hasten_ended(c4_core *core);

/* ---- core_leave.c ---- */
c4_status c4_core_leaves_init(c4_core *core);
void c4_core_leaves_fini(c4_core *core);
void c4_core_on_leavers(c4_core *core, uint32_t comm, const c4_overlay_leavers *leavers);
void c4_core_learn_leave(c4_core *core, uint32_t comm, int rank);
uint64_t c4_core_leaves_tick(c4_core *core);
/* All leavers that are known, to one neighbour. */
void c4_core_tell_leavers(c4_core *core, int neighbour);

/* ---- core_ask.c ---- */
c4_status c4_core_on_card(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload);
void c4_core_questions_hasten(c4_core *core, int rank); /* something became known of the rank */
uint64_t c4_core_questions_tick(c4_core *core);

/* ---- core_agree.c ---- */
c4_status c4_core_on_agree(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload);
/* A rank died or left the communicator (0: the job). */
void c4_core_agree_without(c4_core *core, uint32_t comm, int rank);
/* This rank slept: the others' silence began later. */
void c4_core_agree_forgive(c4_core *core, uint64_t slept_ns);
uint64_t c4_core_agree_tick(c4_core *core);

#endif
