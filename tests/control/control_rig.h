/* Ranks with control planes, as processes of a test case; and what each of them is told. */
#ifndef C4_TESTS_CONTROL_CONTROL_RIG_H
#define C4_TESTS_CONTROL_CONTROL_RIG_H

#include <pthread.h>
#include <stdatomic.h>

#include "control/control.h"
#include "tests/c4test.h"

/* What a rank has been told, written by its control thread. */
typedef struct news_log {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
    int members[64];
    c4_status statuses[64];
    char texts[64][400];
    uint64_t last_ns;
} news_log;

typedef struct shared_state {
    atomic_int ready, go, done;
    _Atomic uint64_t fault_ns;
    atomic_int reports;
} shared_state;

typedef struct test_rig {
    int nranks, victim;
    c4_net_address address;
    int listen_fd;
    shared_state *shared;
    const char *how; /* part of the text about the victim */
    int signal;
    c4_control_spec spec;
} test_rig;

test_rig rig_make(int nranks, int victim);
c4_control *rig_start(const test_rig *rig, int rank);
void news_init(news_log *news);
void news_on_fault(void *context, c4_status status, int member, const char *text);
void news_await(news_log *news, int count);
c4_control_attachment *rig_attach(c4_control *control, const test_rig *rig, uint32_t comm, news_log *news);
/* Waits until `count` ranks are here. */
void rig_meet(atomic_int *counter, int count);
/* Stops a process; none of its threads runs any more when this returns. (kill returns earlier.) */
void rig_stop(pid_t pid);
void rig_run(test_rig *rig, c4test_rank_fn fn, int deadline_s, int *statuses);

#endif
