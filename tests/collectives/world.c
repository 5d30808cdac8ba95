#include "tests/collectives/world.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"

#define SHOWN_FAILURES 8

static _Atomic int failures;

void world_fail(const char *format, ...)
{
    char text[1024];
    va_list args;
    int number = atomic_fetch_add(&failures, 1);
    if (number >= SHOWN_FAILURES)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "[%d] %s\n", (int)getpid(), text);
}

int world_failures(void)
{
    return atomic_load(&failures);
}

typedef struct world {
    const world_spec *spec;
    world_raw_fn raw;
    world_fn fn;
    void *arg;
    int pipe[2]; /* the id, once per rank */
} world;

bool world_has_transport(const char *name)
{
    c4_info_transport transport = {.struct_size = sizeof transport};
    bool found = false;
    setenv("C4_REQUIRE_TRANSPORT", name, 1); /* what is not listed is not available */
    for (size_t i = 0; !found && c4_info_get_transport(i, &transport) == C4_OK; i++)
        found = strcmp(transport.name, name) == 0 && transport.available;
    unsetenv("C4_REQUIRE_TRANSPORT");
    return found;
}

const char *world_network(void)
{
    const char *name = getenv("C4_TEST_NETWORK");
    return name ? name : "tcp";
}

const char *world_options(const char *options)
{
    static _Thread_local char text[1024];
    const char *found;
    size_t used = 0;
    if (!options || strcmp(world_network(), "tcp") == 0)
        return options;
    for (; (found = strstr(options, "=tcp")) && used < sizeof text; options = found + strlen("=tcp")) {
        bool whole = strchr(" @,", found[strlen("=tcp")]); /* the end of the text too */
        used += (size_t)snprintf(text + used, sizeof text - used, "%.*s=%s", (int)(found - options), options,
                                 whole ? world_network() : "tcp");
    }
    if (used < sizeof text)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", options);
    if (used >= sizeof text) {
        fprintf(stderr, "options too long: %s\n", options);
        abort();
    }
    return text;
}

c4_comm *world_comm(const c4_unique_id *id, const world_spec *spec, int rank)
{
    c4_comm *comm = NULL;
    c4_comm_config config = {
        .struct_size = sizeof config, .options = world_options(spec->options), .timeout_ms = 20000};
    c4_status status = c4_comm_create(id, spec->nranks, rank, &config, NULL, &comm);
    if (status != C4_OK)
        world_fail("rank %d of %d (%s): c4_comm_create = %s: %s", rank, spec->nranks,
                   spec->options ? spec->options : "", c4_status_name(status), c4_last_error(NULL));
    return comm;
}

static void run_rank(world *w, const c4_unique_id *id, int rank)
{
    if (w->raw) {
        w->raw(id, rank, w->arg);
        return;
    }
    c4_comm *comm = world_comm(id, w->spec, rank);
    if (!comm)
        return;
    w->fn(&comm, rank, w->arg);
    /* The loop transport drops what a leaving writer sent on a channel that its reader has not opened. */
    if (comm && w->spec->threads && c4_comm_status(comm) == C4_OK)
        WORLD_OK(c4_barrier(comm, NULL));
    WORLD_OK(c4_comm_destroy(comm));
}

/* The rank that will be rank 0 makes the id; the pipe carries it to the others. */
static void process_main(int rank, void *arg)
{
    world *w = arg;
    c4_unique_id id;
    atomic_store(&failures, 0);
    if (rank == 0) {
        WORLD_OK(c4_unique_id_create(&id));
        for (int i = 1; i < w->spec->nranks; i++)
            WORLD_TRUE(write(w->pipe[1], &id, sizeof id) == (ssize_t)sizeof id);
    } else {
        WORLD_TRUE(read(w->pipe[0], &id, sizeof id) == (ssize_t)sizeof id);
    }
    run_rank(w, &id, rank);
    C4TEST_INT(world_failures(), 0);
}

typedef struct thread_rank {
    world *world;
    const c4_unique_id *id;
    int rank;
    pthread_t thread;
} thread_rank;

static void *thread_main(void *arg)
{
    thread_rank *t = arg;
    run_rank(t->world, t->id, t->rank);
    return NULL;
}

static void run_threads(world *w)
{
    c4_unique_id id;
    thread_rank ranks[WORLD_MAX_RANKS];
    atomic_store(&failures, 0);
    WORLD_OK(c4_unique_id_create(&id));
    for (int i = 0; i < w->spec->nranks; i++) {
        ranks[i] = (thread_rank){.world = w, .id = &id, .rank = i};
        C4TEST_INT_FATAL(pthread_create(&ranks[i].thread, NULL, thread_main, &ranks[i]), 0);
    }
    for (int i = 0; i < w->spec->nranks; i++)
        pthread_join(ranks[i].thread, NULL);
    C4TEST_INT(world_failures(), 0);
}

static void run_world(world *w)
{
    setenv("C4_LOG", "error", 0); /* tests provoke warnings on purpose */
    if (w->spec->threads) {
        run_threads(w);
        return;
    }
    C4TEST_INT_FATAL(pipe(w->pipe), 0);
    c4test_ranks(w->spec->nranks, process_main, w, w->spec->deadline_s ? w->spec->deadline_s : 30);
    close(w->pipe[0]);
    close(w->pipe[1]);
}

void world_run(const world_spec *spec, world_fn fn, void *arg)
{
    run_world(&(world){.spec = spec, .fn = fn, .arg = arg});
}

void world_run_raw(const world_spec *spec, world_raw_fn fn, void *arg)
{
    run_world(&(world){.spec = spec, .raw = fn, .arg = arg});
}
