#include "tests/conformance/conformance.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/conformance/world.h"

#define MAX_CASES 80

static const c4_conformance *fixture;

struct run {
    const conf_case *item;
    conf_shared *shared;
};

/* ---- one rank ---- */

static void add_peers(conf_rank *r)
{
    for (int peer = 0; peer < r->nranks; peer++) {
        char reason[256] = "";
        if (peer == r->rank)
            continue;
        c4_status status = r->ops->add_peer(r->module, peer, r->shared->addresses[peer], r->shared->address_bytes[peer],
                                            reason, sizeof reason);
        if (!CONF_CHECK(status == C4_OK))
            fprintf(stderr, "rank %d cannot reach %d: %s\n", r->rank, peer, reason);
    }
}

static bool rank_open(conf_rank *r)
{
    if (!CONF_CHECK(r->ops->open(&r->host.host, &r->module) == C4_OK))
        return false;
    size_t *bytes = &r->shared->address_bytes[r->rank];
    *bytes = C4_ADDRESS_MAX_BYTES;
    CONF_CHECK(r->ops->address(r->module, r->shared->addresses[r->rank], bytes) == C4_OK);
    CONF_CHECK(r->ops->caps(r->module, &r->caps) == C4_OK);
    conf_barrier(r);
    add_peers(r);
    conf_barrier(r);
    return true;
}

static void rank_run(int rank, const struct run *run)
{
    conf_rank *r = calloc(1, sizeof *r);
    if (r == NULL)
        abort();
    r->fixture = fixture;
    r->ops = fixture->ops;
    r->rank = rank;
    r->nranks = run->item->nranks;
    r->shared = run->shared;
    r->rng.state = run->shared->seed;
    c4_test_host_init(&r->host, fixture->options, fixture->overrides, run->shared->job_id, rank, r->nranks);
    if (rank_open(r)) {
        run->item->run(r);
        conf_barrier(r);
        r->ops->close(r->module);
    }
    free(r);
}

/* ---- ranks as processes or threads ---- */

static void process_main(int rank, void *arg)
{
    rank_run(rank, arg);
}

struct thread {
    pthread_t id;
    int rank;
    const struct run *run;
};

static void *thread_main(void *arg)
{
    const struct thread *thread = arg;
    rank_run(thread->rank, thread->run);
    return NULL;
}

static void run_threads(const struct run *run)
{
    struct thread threads[CONF_MAX_RANKS];
    for (int rank = 0; rank < run->item->nranks; rank++) {
        threads[rank].rank = rank;
        threads[rank].run = run;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[rank].id, NULL, thread_main, &threads[rank]), 0);
    }
    for (int rank = 0; rank < run->item->nranks; rank++)
        pthread_join(threads[rank].id, NULL);
}

static void run_case(void)
{
    struct run run = {c4test_arg(), c4test_shared(sizeof(conf_shared))};
    run.shared->seed = c4test_rand();
    run.shared->job_id = (uint64_t)getpid() << 32 | 0x434f4e46;
    if (fixture->threads)
        run_threads(&run);
    else
        c4test_ranks(run.item->nranks, process_main, &run, run.item->deadline_s);
    C4TEST_INT(atomic_load(&run.shared->failures), 0);
    if (atomic_load(&run.shared->failures) != 0)
        fprintf(stderr, "seed of this case: %llu\n", (unsigned long long)run.shared->seed);
}

/* ---- the suite ---- */

static size_t append_cases(c4test_case *cases, size_t count, const conf_case *items)
{
    for (; items->name != NULL && count < MAX_CASES; items++)
        cases[count++] = (c4test_case)C4TEST_WITH(items->name, run_case, items->deadline_s + 5, items);
    return count;
}

int c4_conformance_main(int argc, char **argv, const c4_conformance *tested)
{
    static c4test_case cases[MAX_CASES + 1];
    size_t count = 0;
    fixture = tested;
    count = append_cases(cases, count, conf_cases_module);
    count = append_cases(cases, count, conf_cases_posted);
    count = append_cases(cases, count, conf_cases_windows);
    count = append_cases(cases, count, conf_cases_stress);
    if (tested->survives_faults)
        count = append_cases(cases, count, conf_cases_faults);
    cases[count] = (c4test_case)C4TEST_END;
    return c4test_main(argc, argv, cases);
}
