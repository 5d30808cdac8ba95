/* The queue behind a loop channel, shared by its writer and its readers, and the memory that ranks of a process share.
 *
 * Both ends of a channel must find the same pipe, and nothing but the process joins them: pipes and allocations are
 * therefore kept in two process-wide lists under a mutex. */
#ifndef C4_TRANSPORTS_LOOP_PIPE_H
#define C4_TRANSPORTS_LOOP_PIPE_H

#include <c4/transport.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define C4_LOOP_MAX_FRAME_BYTES ((size_t)16 << 20)
#define C4_LOOP_DEPTH_BYTES     ((size_t)4 << 20)

/* Wakes a sleeping module. Owned by the module. */
typedef struct c4_loop_waker {
    int fd; /* eventfd */
    atomic_int armed;
} c4_loop_waker;

typedef struct c4_loop_node {
    struct c4_loop_node *next;
    c4_frame frame;
    int readers_left;
    _Alignas(64) unsigned char payload[];
} c4_loop_node;

typedef struct c4_loop_reader {
    c4_loop_node *head;   /* next frame for this reader; NULL: none */
    c4_loop_waker *waker; /* NULL while the end is not open */
    bool closed;
} c4_loop_reader;

typedef struct c4_loop_key {
    uint64_t job_id;
    uint32_t comm, tag;
    uint16_t epoch;
    int writer, nreaders;
} c4_loop_key;

typedef struct c4_loop_pipe {
    struct c4_loop_pipe *next; /* in the process's list */
    c4_loop_key key;
    int ends; /* open ends */
    pthread_mutex_t lock;
    c4_loop_node *oldest, *newest;
    size_t queued_bytes, depth_bytes;
    c4_loop_waker *writer_waker;
    bool writer_seen; /* a writer has opened its end */
    int *reader_ranks;
    c4_loop_reader readers[];
} c4_loop_pipe;

/* A module of the job opens, and closes after its channels. Frames that a writer has sent wait for readers that have yet
 * to open their ends as long as a module of the job is there. */
c4_status c4_loop_job_join(uint64_t id);
void c4_loop_job_leave(uint64_t id);

/* Finds or creates the pipe and takes one end: reader index, or -1 for the writer. */
c4_status c4_loop_pipe_open(uint64_t job_id, uint16_t epoch, const c4_channel_spec *spec, int rank,
                            c4_loop_waker *waker, int *reader, c4_loop_pipe **pipe);
void c4_loop_pipe_close(c4_loop_pipe *pipe, int reader);

c4_loop_node *c4_loop_node_create(size_t bytes);
/* True when a frame of `bytes` may be queued now. */
bool c4_loop_pipe_has_room(c4_loop_pipe *pipe, size_t bytes);
/* Queues the node, which now belongs to the pipe, and wakes readers. */
void c4_loop_pipe_push(c4_loop_pipe *pipe, c4_loop_node *node);
/* The reader's next frame, or NULL; it stays valid until pop. */
c4_loop_node *c4_loop_pipe_head(c4_loop_pipe *pipe, int reader);
void c4_loop_pipe_pop(c4_loop_pipe *pipe, int reader);

void c4_loop_wake(c4_loop_waker *waker);

c4_status c4_loop_memory_alloc(size_t bytes, void **memory);
c4_status c4_loop_memory_free(void *memory);
/* Whether [pointer, +bytes) lies in one live allocation. */
bool c4_loop_memory_contains(const void *pointer, size_t bytes);

#endif
