/* Shared by control*.c only. Everything below `lock` is protected by it. */
#ifndef C4_CONTROL_CONTROL_INTERNAL_H
#define C4_CONTROL_CONTROL_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "control/control.h"
#include "control/core.h"
#include "rendezvous/link.h"

enum {
    C4_CONTROL_QUEUE_MAX_BYTES = 256 * 1024, /* what may wait for a peer that does not read */
    C4_CONTROL_ALL_WATCHED = 16,             /* ranks on a host up to which each watches all others */
    C4_CONTROL_NEIGHBOURS = 4,               /* else so many on each side */
    C4_CONTROL_FLUSH_MS = 500,
    C4_CONTROL_KEPT_REPORTS = 16
};

typedef struct c4_admin c4_admin;

/* What epoll hands back: kind, generation (of watches), index. */
typedef enum c4_control_event {
    C4_EVENT_WAKE,
    C4_EVENT_LINK,
    C4_EVENT_PROCESS,
    C4_EVENT_WATCH,
    C4_EVENT_PORT,
    C4_EVENT_INBOX,
    C4_EVENT_KNOCK,
    C4_EVENT_ADMIN
} c4_control_event;

typedef struct c4_control_peer {
    c4_process process;
    c4_link link;         /* fd -1: no connection to this rank, or ended */
    unsigned char *in;    /* payload being received; NULL without connection */
    unsigned char *queue; /* bytes to be sent */
    size_t queued, capacity;
    int pidfd;    /* -1: not watched */
    bool ended;   /* its process is known to have ended */
    bool cut;     /* the link takes nothing any more: its end has not been read yet */
    bool closing; /* the link is to be closed by the thread, after what it is doing */
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

typedef struct c4_control_repair c4_control_repair;

struct c4_control_attachment {
    c4_control *control;
    c4_control_attachment *next;
    uint32_t comm;
    c4_control_fault_fn on_fault;
    c4_control_left_fn on_left; /* NULL: not asked for */
    c4_control_question_fn on_question;
    c4_control_reply_fn on_reply;
    const c4_control_operator *operator; /* NULL: not to be looked at */
    unsigned nended;                     /* what control->nended was before it attached */
    c4_core_agree *agree;                /* NULL: has not agreed yet */
    bool agreeing;
    pthread_cond_t agreed;
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
    c4_core *core;
    c4_port *port;             /* NULL: none */
    uint64_t port_next_ns;     /* when to serve it though nobody comes */
    c4_control_repair *repair; /* NULL without a port */
    c4_admin *admin;           /* NULL: no admin socket */
    bool any_closing;
    c4_control_peer *peers;
    c4_control_attachment *attachments;
    c4_control_watch *watches;
    size_t nwatches;
    c4_control_kept kept[C4_CONTROL_KEPT_REPORTS]; /* reports that came before their communicator attached */
    unsigned nkept;
    unsigned nended; /* how often an operator has ended all communicators */
    bool served;     /* an operator has been served: what came before was meant for the communicator being made */
    char ended_by[C4_CONTROL_TEXT_MAX_BYTES];
};

static inline uint64_t c4_event_pack(c4_control_event kind, uint32_t generation, uint32_t index)
{
    return (uint64_t)kind << 56 | (uint64_t)(generation & 0xffffff) << 32 | index;
}

/* What ended `rank`'s process, as far as it can be known: "killed by signal 9 (Killed)". */
void c4_control_describe_end(const c4_control_peer *peer, char *text, size_t bytes);
/* Why it may be silent: "its process is stopped by a signal (state T)"; "" when it cannot be seen. */
void c4_control_describe_silence(const c4_control *control, const c4_control_peer *peer, char *text, size_t bytes);
/* Opens the pidfds that this rank should watch. */
void c4_control_watch_processes(c4_control *control);
void c4_control_on_process_end(c4_control *control, int rank);

/* Puts a message into a peer's queue and sends what the socket takes. Never blocks. */
void c4_control_send(c4_control *control, int rank, const c4_control_header *header, const void *payload);
void c4_control_on_link_event(c4_control *control, int rank, uint32_t events);
/* Takes the descriptor. C4_ERR_MEMORY and others, logged. */
c4_status c4_control_open_link(c4_control *control, int rank, int fd);
void c4_control_close_link(c4_control *control, int rank);
/* Closes it and tells the core. */
void c4_control_lose_link(c4_control *control, int rank, c4_core_loss loss);
/* Options of a control connection. */
void c4_control_prefer(int fd);
/* The links that are `closing`. */
void c4_control_close_links(c4_control *control);
bool c4_control_is_flushed(const c4_control *control);

/* ---- control_repair.c ---- */
/* After the links are there; keeps what it needs of the bootstrap. */
c4_status c4_control_repair_open(c4_control *control, c4_bootstrap *bootstrap);
void c4_control_repair_close(c4_control *control);
/* Begins and gives up attempts as it is time. Returns when to call again. */
uint64_t c4_control_repair_tick(c4_control *control);
void c4_control_on_inbox(c4_control *control);
void c4_control_on_knock(c4_control *control, uint32_t index);
/* Is there a neighbour that could yet hear what it has missed? */
bool c4_control_is_mending(const c4_control *control);

/* How the core reaches the world; the shell is the c4_control. */
extern const c4_core_ops c4_control_core_ops;
int c4_control_member(const c4_control_attachment *attachment, int rank);
/* Makes the thread look at its timers again. */
void c4_control_wake(c4_control *control);

void *c4_control_main(void *control);

#endif
