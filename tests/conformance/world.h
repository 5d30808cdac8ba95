/* The ranks of one conformance case and what they do all the time. Assertions are counted in shared memory, so that
 * ranks may be threads or processes. */
#ifndef C4_TESTS_CONFORMANCE_WORLD_H
#define C4_TESTS_CONFORMANCE_WORLD_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/rng.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/host.h"

#define CONF_MAX_RANKS 4

/* Shared by all ranks of a case. */
typedef struct conf_shared {
    atomic_int failures;
    atomic_int arrived;   /* barrier */
    atomic_int flags[16]; /* for the case's own use */
    uint64_t seed;
    uint64_t job_id;
    size_t address_bytes[CONF_MAX_RANKS];
    unsigned char addresses[CONF_MAX_RANKS][C4_ADDRESS_MAX_BYTES];
    c4_memory_handle handle;
} conf_shared;

typedef struct conf_rank {
    const c4_conformance *fixture;
    const c4_transport_ops *ops;
    int rank, nranks;
    conf_shared *shared;
    c4_test_host host;
    c4_module *module;
    c4_transport_caps caps;
    c4_rng rng; /* same seed on all ranks */
    int barriers;
} conf_rank;

typedef void (*conf_case_fn)(conf_rank *r);

typedef struct conf_case {
    const char *name;
    conf_case_fn run;
    int nranks;
    int deadline_s;
} conf_case;

/* Lists of cases, ended by a NULL name. */
extern const conf_case conf_cases_module[];
extern const conf_case conf_cases_posted[];
extern const conf_case conf_cases_windows[];
extern const conf_case conf_cases_stress[];
extern const conf_case conf_cases_faults[]; /* for transports that survive them */

#define CONF_CHECK(condition) conf_check((condition), #condition, r, __FILE__, __LINE__)
/* Returns the condition, so that a case can stop. */
bool conf_check(bool condition, const char *what, conf_rank *r, const char *file, int line);

/* One call of progress; an error fails the case. */
void conf_progress(conf_rank *r);
/* All ranks; progresses meanwhile. */
void conf_barrier(conf_rank *r);
/* Waits for a flag to reach `value`; progresses meanwhile. */
void conf_wait_flag(conf_rank *r, int flag, int value);

c4_channel *conf_channel(conf_rank *r, uint32_t comm, uint32_t tag, int writer, const int *readers, int nreaders);
/* One writer, one reader; NULL on other ranks. */
c4_channel *conf_pair(conf_rank *r, uint32_t comm, uint32_t tag, int writer, int reader);

/* Progresses until the xfer is complete; its state. */
c4_status conf_wait(conf_rank *r, c4_xfer *xfer);
c4_frame conf_frame(uint32_t sequence, size_t bytes);
/* Blocking; the payload is a pattern of `sequence`. The return is the status; receives check payload and frame. */
c4_status conf_send(conf_rank *r, c4_channel *channel, uint32_t sequence, size_t bytes);
c4_status conf_recv(conf_rank *r, c4_channel *channel, uint32_t sequence, size_t bytes);

void conf_fill(void *buffer, size_t bytes, uint64_t pattern);
bool conf_verify(const void *buffer, size_t bytes, uint64_t pattern);
bool conf_frame_equal(const c4_frame *a, const c4_frame *b);
void *conf_alloc(size_t bytes);

#endif
