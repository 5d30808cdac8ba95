/* A job of several ranks on this machine for tests of the public API: processes or threads, one communicator each. */
#ifndef C4_TESTS_COLLECTIVES_WORLD_H
#define C4_TESTS_COLLECTIVES_WORLD_H

#include <c4/c4.h>
#include <stdbool.h>

#define WORLD_MAX_RANKS 64

typedef struct world_spec {
    int nranks;
    bool threads;        /* ranks are threads of this process; else forked children */
    const char *options; /* c4_comm_config.options; NULL: none */
    int deadline_s;      /* of processes; 0: 30 */
} world_spec;

/* What one rank does. Failures are told with world_fail or WORLD_*: CUnit is not thread-safe. The communicator is
 * destroyed by the caller, unless the function did and set *comm to NULL. */
typedef void (*world_fn)(c4_comm **comm, int rank, void *arg);

/* Runs `fn` on every rank and asserts that nothing failed. `arg` lives in memory shared by the ranks or is read only. */
void world_run(const world_spec *spec, world_fn fn, void *arg);

/* The same without communicators: `fn` gets the job's unique id. */
typedef void (*world_raw_fn)(const c4_unique_id *id, int rank, void *arg);
void world_run_raw(const world_spec *spec, world_raw_fn fn, void *arg);

/* Creates a communicator with the options of `spec`; counts a failure and returns NULL when that fails. */
c4_comm *world_comm(const c4_unique_id *id, const world_spec *spec, int rank);

/* Can this build and this machine use it? Of modules it depends on what was found at configure time. */
bool world_has_transport(const char *name);

/* The network that tests of networks use: tcp, or what C4_TEST_NETWORK names, so that all of them can be run over another
 * one. */
const char *world_network(void);
/* `options` with that one in the place of tcp, also in the C4_HOOK of a fault. World functions do it by themselves; for those
 * who call c4_comm_create. Valid until this thread's next call. */
const char *world_options(const char *options);

/* Counts a failure and prints it (the first few). Any thread. */
void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int world_failures(void);

#define WORLD_STATUS(call, expected)                                                                                \
    do {                                                                                                            \
        c4_status world_status_ = (call);                                                                           \
        if (world_status_ != (expected))                                                                            \
            world_fail("%s:%d: %s = %s, expected %s: %s", __FILE__, __LINE__, #call, c4_status_name(world_status_), \
                       c4_status_name(expected), c4_last_error(NULL));                                              \
    } while (0)
#define WORLD_OK(call) WORLD_STATUS(call, C4_OK)
#define WORLD_TRUE(condition)                                                  \
    do {                                                                       \
        if (!(condition))                                                      \
            world_fail("%s:%d: not true: %s", __FILE__, __LINE__, #condition); \
    } while (0)

#endif
