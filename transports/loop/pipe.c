#include "transports/loop/pipe.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fork_lock.h"
#include "base/status.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static c4_loop_pipe *pipes;

/* Ranks of one job in this process. */
struct job {
    struct job *next;
    uint64_t id;
    int modules;
};
static struct job *jobs;

struct allocation {
    struct allocation *next;
    char *start;
    size_t bytes;
};
static struct allocation *allocations;

void c4_loop_wake(c4_loop_waker *waker)
{
    if (waker == NULL || !atomic_exchange(&waker->armed, 0))
        return;
    uint64_t one = 1;
    /* A full eventfd counter is readable already: nothing to do about a failure. */
    (void)!write(waker->fd, &one, sizeof one);
}

c4_loop_node *c4_loop_node_create(size_t bytes)
{
    size_t total = (sizeof(c4_loop_node) + bytes + 63) & ~(size_t)63;
    c4_loop_node *node = aligned_alloc(64, total);
    if (node != NULL)
        memset(node, 0, sizeof *node);
    return node;
}

/* ---- finding the pipe ---- */

static bool key_matches(const c4_loop_pipe *pipe, const c4_loop_key *key, const int *readers)
{
    const c4_loop_key *have = &pipe->key;
    return have->job_id == key->job_id && have->epoch == key->epoch && have->comm == key->comm &&
           have->tag == key->tag && have->writer == key->writer && have->nreaders == key->nreaders &&
           memcmp(pipe->reader_ranks, readers, (size_t)key->nreaders * sizeof *readers) == 0;
}

static c4_loop_pipe *pipe_create(const c4_loop_key *key, const c4_channel_spec *spec)
{
    size_t nreaders = (size_t)key->nreaders;
    c4_loop_pipe *pipe = calloc(1, sizeof *pipe + nreaders * sizeof pipe->readers[0]);
    if (pipe == NULL)
        return NULL;
    pipe->reader_ranks = malloc(nreaders * sizeof *pipe->reader_ranks);
    if (pipe->reader_ranks == NULL) {
        free(pipe);
        return NULL;
    }
    memcpy(pipe->reader_ranks, spec->readers, nreaders * sizeof *pipe->reader_ranks);
    pipe->key = *key;
    pipe->depth_bytes = spec->depth_bytes != 0 ? spec->depth_bytes : C4_LOOP_DEPTH_BYTES;
    pthread_mutex_init(&pipe->lock, NULL);
    pipe->next = pipes;
    pipes = pipe;
    return pipe;
}

static int reader_index(const c4_channel_spec *spec, int rank)
{
    for (int i = 0; i < spec->nreaders; i++)
        if (spec->readers[i] == rank)
            return i;
    return -1;
}

/* The end this call takes: a rank that is writer and reader of one channel opens the writer's end first. */
static c4_status pipe_take_end(c4_loop_pipe *pipe, const c4_channel_spec *spec, int rank, c4_loop_waker *waker,
                               int *reader)
{
    int index = reader_index(spec, rank);
    if (spec->writer == rank && (index < 0 || !pipe->writer_seen)) {
        pipe->writer_seen = true;
        pipe->writer_waker = waker;
        *reader = -1;
        return C4_OK;
    }
    if (index < 0)
        return c4_fail(C4_ERR_ARGUMENT, "loop: rank %d is neither writer nor reader of channel %u.%u", rank, spec->comm,
                       spec->tag);
    pipe->readers[index].waker = waker;
    pipe->readers[index].closed = false;
    *reader = index;
    return C4_OK;
}

/* ---- jobs: how long frames wait for their readers ---- */

c4_status c4_loop_job_join(uint64_t id)
{
    c4_fork_lock(&list_lock);
    struct job *job = jobs;
    while (job != NULL && job->id != id)
        job = job->next;
    if (job == NULL && (job = calloc(1, sizeof *job)) != NULL) {
        *job = (struct job){jobs, id, 0};
        jobs = job;
    }
    if (job != NULL)
        job->modules++;
    pthread_mutex_unlock(&list_lock);
    return job != NULL ? C4_OK : c4_fail(C4_ERR_MEMORY, "loop: job");
}

static void pipe_unlink(c4_loop_pipe *pipe)
{
    c4_loop_pipe **link = &pipes;
    while (*link != pipe)
        link = &(*link)->next;
    *link = pipe->next;
}

static void pipe_destroy(c4_loop_pipe *pipe)
{
    for (c4_loop_node *node = pipe->oldest; node != NULL;) {
        c4_loop_node *next = node->next;
        free(node);
        node = next;
    }
    pthread_mutex_destroy(&pipe->lock);
    free(pipe->reader_ranks);
    free(pipe);
}

c4_status c4_loop_pipe_open(uint64_t job_id, uint16_t epoch, const c4_channel_spec *spec, int rank,
                            c4_loop_waker *waker, int *reader, c4_loop_pipe **out)
{
    const c4_loop_key key = {job_id, spec->comm, spec->tag, epoch, spec->writer, spec->nreaders};
    c4_fork_lock(&list_lock);
    c4_loop_pipe *pipe = pipes;
    while (pipe != NULL && !key_matches(pipe, &key, spec->readers))
        pipe = pipe->next;
    if (pipe == NULL)
        pipe = pipe_create(&key, spec);
    c4_status status = C4_ERR_MEMORY;
    if (pipe != NULL) {
        pthread_mutex_lock(&pipe->lock);
        status = pipe_take_end(pipe, spec, rank, waker, reader);
        pthread_mutex_unlock(&pipe->lock);
        if (status == C4_OK) {
            pipe->ends++;
            *out = pipe;
        } else if (pipe->ends == 0) {
            pipe_unlink(pipe);
            pipe_destroy(pipe);
        }
    }
    pthread_mutex_unlock(&list_lock);
    return status;
}

/* ---- the queue; callers hold pipe->lock ---- */

/* Empty frames fill the queue too. */
static size_t node_cost(const c4_loop_node *node)
{
    return node->frame.bytes + sizeof *node;
}

static void node_release(c4_loop_pipe *pipe, c4_loop_node *node)
{
    if (--node->readers_left > 0 || pipe->oldest != node)
        return;
    while (pipe->oldest != NULL && pipe->oldest->readers_left <= 0) {
        c4_loop_node *done = pipe->oldest;
        pipe->oldest = done->next;
        pipe->queued_bytes -= node_cost(done);
        free(done);
    }
    if (pipe->oldest == NULL)
        pipe->newest = NULL;
    c4_loop_wake(pipe->writer_waker);
}

static void reader_advance(c4_loop_pipe *pipe, c4_loop_reader *reader)
{
    c4_loop_node *node = reader->head;
    reader->head = node->next;
    node_release(pipe, node);
}

void c4_loop_pipe_close(c4_loop_pipe *pipe, int reader)
{
    c4_fork_lock(&list_lock);
    pthread_mutex_lock(&pipe->lock);
    if (reader < 0) {
        pipe->writer_waker = NULL;
    } else {
        c4_loop_reader *end = &pipe->readers[reader];
        end->waker = NULL;
        end->closed = true;
        while (end->head != NULL)
            reader_advance(pipe, end);
    }
    pthread_mutex_unlock(&pipe->lock);
    /* What was sent before the writer left waits for readers that have yet to open their ends. */
    if (--pipe->ends == 0 && pipe->oldest == NULL) {
        pipe_unlink(pipe);
        pipe_destroy(pipe);
    }
    pthread_mutex_unlock(&list_lock);
}

/* Nobody is left who could open an end: what no reader has come for goes. */
static void job_end(struct job **link)
{
    struct job *job = *link;
    for (c4_loop_pipe *pipe = pipes; pipe != NULL;) {
        c4_loop_pipe *next = pipe->next;
        if (pipe->key.job_id == job->id && pipe->ends == 0) {
            pipe_unlink(pipe);
            pipe_destroy(pipe);
        }
        pipe = next;
    }
    *link = job->next;
    free(job);
}

void c4_loop_job_leave(uint64_t id)
{
    c4_fork_lock(&list_lock);
    struct job **link = &jobs;
    while (*link != NULL && (*link)->id != id)
        link = &(*link)->next;
    if (*link != NULL && --(*link)->modules == 0)
        job_end(link);
    pthread_mutex_unlock(&list_lock);
}

bool c4_loop_pipe_has_room(c4_loop_pipe *pipe, size_t bytes)
{
    pthread_mutex_lock(&pipe->lock);
    bool room = pipe->oldest == NULL || pipe->queued_bytes + bytes <= pipe->depth_bytes;
    pthread_mutex_unlock(&pipe->lock);
    return room;
}

void c4_loop_pipe_push(c4_loop_pipe *pipe, c4_loop_node *node)
{
    pthread_mutex_lock(&pipe->lock);
    node->next = NULL;
    node->readers_left = 0;
    for (int i = 0; i < pipe->key.nreaders; i++) {
        c4_loop_reader *reader = &pipe->readers[i];
        if (reader->closed)
            continue;
        node->readers_left++;
        if (reader->head == NULL)
            reader->head = node;
    }
    if (node->readers_left == 0) {
        free(node);
    } else {
        if (pipe->newest != NULL)
            pipe->newest->next = node;
        else
            pipe->oldest = node;
        pipe->newest = node;
        pipe->queued_bytes += node_cost(node);
        for (int i = 0; i < pipe->key.nreaders; i++)
            c4_loop_wake(pipe->readers[i].waker);
    }
    pthread_mutex_unlock(&pipe->lock);
}

c4_loop_node *c4_loop_pipe_head(c4_loop_pipe *pipe, int reader)
{
    pthread_mutex_lock(&pipe->lock);
    c4_loop_node *node = pipe->readers[reader].head;
    pthread_mutex_unlock(&pipe->lock);
    return node;
}

void c4_loop_pipe_pop(c4_loop_pipe *pipe, int reader)
{
    pthread_mutex_lock(&pipe->lock);
    reader_advance(pipe, &pipe->readers[reader]);
    pthread_mutex_unlock(&pipe->lock);
}

/* ---- memory that the ranks of this process share ---- */

c4_status c4_loop_memory_alloc(size_t bytes, void **memory)
{
    struct allocation *entry = malloc(sizeof *entry);
    if (entry == NULL)
        return c4_fail(C4_ERR_MEMORY, "loop: allocation record");
    void *start = mmap(NULL, bytes != 0 ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) {
        free(entry);
        return c4_fail(C4_ERR_MEMORY, "loop: mmap of %zu bytes failed", bytes);
    }
    c4_fork_lock(&list_lock);
    *entry = (struct allocation){allocations, start, bytes};
    allocations = entry;
    pthread_mutex_unlock(&list_lock);
    *memory = start;
    return C4_OK;
}

c4_status c4_loop_memory_free(void *memory)
{
    c4_fork_lock(&list_lock);
    struct allocation **link = &allocations;
    while (*link != NULL && (*link)->start != memory)
        link = &(*link)->next;
    struct allocation *entry = *link;
    if (entry != NULL)
        *link = entry->next;
    pthread_mutex_unlock(&list_lock);
    if (entry == NULL)
        return c4_fail(C4_ERR_ARGUMENT, "loop: %p was not allocated here", memory);
    munmap(entry->start, entry->bytes != 0 ? entry->bytes : 1);
    free(entry);
    return C4_OK;
}

bool c4_loop_memory_contains(const void *pointer, size_t bytes)
{
    const char *start = pointer;
    bool found = false;
    c4_fork_lock(&list_lock);
    for (const struct allocation *entry = allocations; entry != NULL && !found; entry = entry->next)
        found =
            start >= entry->start && bytes <= entry->bytes && (size_t)(start - entry->start) <= entry->bytes - bytes;
    pthread_mutex_unlock(&list_lock);
    return found;
}
