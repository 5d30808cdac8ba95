/* Shared by control*.c only. Everything below `lock` is protected by it. */
#ifndef C4_CONTROL_CONTROL_INTERNAL_H
#define C4_CONTROL_CONTROL_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "control/control.h"
#include "rendezvous/link.h"

enum {
    C4_CONTROL_QUEUE_MAX_BYTES = 256 * 1024, /* what may wait for a peer that does not read */
    C4_CONTROL_ALL_WATCHED = 16,             /* ranks on a host up to which each watches all others */
    C4_CONTROL_NEIGHBOURS = 4,               /* else so many on each side */
    C4_CONTROL_EXIT_GRACE_MS = 50,     /* from the end of a connection to that of the process, for its exit status */
    C4_CONTROL_GOODBYE_GRACE_MS = 150, /* from the end of a process to its goodbye, which comes through rank 0 */
    C4_CONTROL_EXITED_GRACE_MS = 5000, /* the same when it was not killed: rank 0, which sees goodbyes first, decides;
                                        * with 256 ranks leaving on 2 cores its word takes seconds */
    C4_CONTROL_FLUSH_MS = 500,
    C4_CONTROL_KEPT_REPORTS = 16
};

/* What epoll hands back: kind, generation (of watches), index. */
typedef enum c4_control_event { C4_EVENT_WAKE, C4_EVENT_LINK, C4_EVENT_PROCESS, C4_EVENT_WATCH } c4_control_event;

typedef struct c4_control_peer {
    c4_process process;
    c4_link link;         /* fd -1: no connection to this rank, or ended */
    unsigned char *in;    /* payload being received; NULL without connection */
    unsigned char *queue; /* bytes to be sent */
    size_t queued, capacity;
    int pidfd;              /* -1: not watched */
    bool left, dead, ended; /* said goodbye; told to all; its process is known to have ended */
    uint64_t verdict_ns;    /* 0, or when to call it dead unless it has left by then */
} c4_control_peer;

typedef struct c4_control_watch {
    int fd; /* -1: free */
    uint32_t generation;
    c4_control_ready_fn ready;
    void *context;
} c4_control_watch;

typedef struct c4_control_kept {
    uint32_t comm;
    int rank;
    c4_control_fault fault;
} c4_control_kept;

struct c4_control_attachment {
    c4_control *control;
    c4_control_attachment *next;
    uint32_t comm;
    c4_control_fault_fn on_fault;
    c4_control_left_fn on_left; /* NULL: not asked for */
    c4_control_question_fn on_question;
    c4_control_reply_fn on_reply;
    void *context;
    int nmembers;
    int members[];
};

struct c4_control {
    c4_control_spec spec;
    int rank, nranks;
    int epoll_fd, wake_fd;
    pid_t pid; /* of the process that started it */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    bool stopping;
    uint64_t stop_by_ns;
    c4_control_peer *peers;
    c4_control_attachment *attachments;
    c4_control_watch *watches;
    size_t nwatches;
    c4_control_kept kept[C4_CONTROL_KEPT_REPORTS]; /* reports that came before their communicator attached */
    unsigned nkept;
};

static inline uint64_t c4_event_pack(c4_control_event kind, uint32_t generation, uint32_t index)
{
    return (uint64_t)kind << 56 | (uint64_t)(generation & 0xffffff) << 32 | index;
}

/* The text of what ended `rank`'s process, as far as it can be known: "killed by signal 9 (Killed)". */
void c4_control_describe_end(const c4_control_peer *peer, char *text, size_t bytes);
/* Opens the pidfds that this rank should watch. */
void c4_control_watch_processes(c4_control *control);
void c4_control_on_process_end(c4_control *control, int rank);
void c4_control_on_link_end(c4_control *control, int rank, const char *why);
/* Gives the verdicts that are due. Returns milliseconds until the next one, -1: none is pending. */
int c4_control_judge(c4_control *control);

/* Puts a message into a peer's queue and sends what the socket takes. Never blocks. */
void c4_control_send(c4_control *control, int rank, const c4_control_header *header, const void *payload);
void c4_control_on_link_event(c4_control *control, int rank, uint32_t events);
void c4_control_close_link(c4_control *control, int rank);
bool c4_control_is_flushed(const c4_control *control);

/* A rank has died: once for each, tells local communicators and, if this rank found out or is 0, the others. `from` is
 * the rank that told it, or this rank. */
void c4_control_declare_dead(c4_control *control, int rank, int from, const c4_control_fault *fault);
/* Tells the communicators concerned that `rank` has left `comm`, or with comm 0 all of them. */
void c4_control_deliver_leave(c4_control *control, uint32_t comm, int rank);
/* An error reported for a communicator by `rank`. */
void c4_control_deliver_report(c4_control *control, uint32_t comm, int rank, const c4_control_fault *fault);
/* Rank 0: to everybody but the two. */
void c4_control_forward(c4_control *control, const c4_control_header *header, const void *payload, int except,
                        int origin);

void *c4_control_main(void *control);

#endif
