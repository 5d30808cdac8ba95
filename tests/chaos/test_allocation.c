/* Every allocation of set-up fails once: an error here that says so, one on the other ranks that names this one, or none at
 * all; never a crash, a hang or a leak. Each way (chain of callers) that leads to one is tried once: with
 * C4_TEST_ALLOCATIONS=all every way, else a sample. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/chaos/alloc_fault.h"
#include "tests/collectives/world.h"

enum { SAMPLES = 32, MAX_RANKS = 3, REPEATS = 4, COUNT = 5000 };

typedef struct outcome {
    c4_status status;
    const char *where;
    char text[600];
    bool wrong;
    bool idle; /* not part of what failed */
} outcome;

typedef struct sweep {
    const char *options;
    int nranks, victim;
    bool reshape; /* shrink and grow, not split */
    pthread_barrier_t barrier;
    c4_status id_status, guest_status;
    c4_unique_id id, guest_id; /* guest: by which the last rank comes back */
    bool again;
    long calls, number; /* of the victim's last round; which fails in this one, below 0: no more */
    outcome outcomes[MAX_RANKS];
} sweep;

static void note(outcome *o, c4_status status, const char *where, const c4_comm *comm)
{
    if (status == C4_OK || o->status != C4_OK)
        return;
    o->status = status;
    o->where = where;
    snprintf(o->text, sizeof o->text, "%s", c4_last_error(comm));
}

static c4_status sum(c4_comm *comm, int nranks, outcome *o)
{
    static int32_t buffer[COUNT];
    for (int i = 0; i < COUNT; i++)
        buffer[i] = i;
    c4_status status = c4_all_reduce(buffer, buffer, COUNT, C4_INT32, C4_SUM, comm, NULL);
    for (int i = 0; status == C4_OK && i < COUNT; i++)
        o->wrong |= buffer[i] != i * nranks;
    return status;
}

static void set_up(const sweep *s, int rank, outcome *o)
{
    c4_comm *comm = NULL, *child = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = s->options, .timeout_ms = 5000};
    c4_status status = c4_comm_create(&s->id, s->nranks, rank, &config, NULL, &comm);
    note(o, status, "c4_comm_create", NULL);
    if (status != C4_OK)
        return;
    status = c4_comm_split(comm, 0, rank, NULL, NULL, &child);
    note(o, status, "c4_comm_split", comm);
    if (status == C4_OK)
        note(o, sum(child, s->nranks, o), "all_reduce on the child", child);
    c4_comm_destroy(child);
    note(o, sum(comm, s->nranks, o), "all_reduce", comm);
    c4_comm_destroy(comm);
}

/* The last rank is left out, and comes back. */
static void shrink_and_grow(sweep *s, int rank, outcome *o)
{
    c4_comm *comm = NULL, *smaller = NULL, *larger = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = s->options, .timeout_ms = 5000};
    int guest = s->nranks - 1;
    c4_status status = c4_comm_create(&s->id, s->nranks, rank, &config, NULL, &comm);
    note(o, status, "c4_comm_create", NULL);
    if (status == C4_OK && rank != guest) {
        status = c4_comm_shrink(comm, &guest, 1, &config, NULL, &smaller);
        note(o, status, "c4_comm_shrink", comm);
    }
    if (rank == 0 && status == C4_OK) {
        status = c4_comm_grow_id(smaller, &s->guest_id);
        note(o, status, "c4_comm_grow_id", smaller);
    }
    if (rank == 0)
        s->guest_status = status;
    pthread_barrier_wait(&s->barrier);
    o->idle = status == C4_OK && s->guest_status != C4_OK;
    if (status == C4_OK && s->guest_status == C4_OK) {
        const c4_unique_id *id = rank == 0 || rank == guest ? &s->guest_id : NULL;
        status = c4_comm_grow(smaller, id, s->nranks, rank, &config, NULL, &larger);
        note(o, status, "c4_comm_grow", smaller);
    }
    if (larger && status == C4_OK)
        note(o, sum(larger, s->nranks, o), "all_reduce on the grown", larger);
    c4_comm_destroy(larger);
    c4_comm_destroy(smaller);
    c4_comm_destroy(comm);
}

/* One job from its id to its end; allocation s->number of the victim fails. */
static void run_round(sweep *s, int rank)
{
    outcome *o = &s->outcomes[rank];
    *o = (outcome){.status = C4_OK};
    pthread_barrier_wait(&s->barrier);
    if (rank == s->victim)
        alloc_fault_arm(s->number);
    if (rank == 0)
        s->id_status = c4_unique_id_create(&s->id);
    if (rank == 0)
        note(o, s->id_status, "c4_unique_id_create", NULL);
    pthread_barrier_wait(&s->barrier);
    if (s->id_status == C4_OK && s->reshape)
        shrink_and_grow(s, rank, o);
    else if (s->id_status == C4_OK)
        set_up(s, rank, o);
    if (rank == s->victim)
        s->calls = alloc_fault_disarm();
    pthread_barrier_wait(&s->barrier);
}

static bool is_memory(c4_status status)
{
    return status == C4_ERR_MEMORY || status == C4_ERR_SHM || status == C4_ERR_SYSTEM || status == C4_ERR_FILES;
}

static void judge(const sweep *s)
{
    const outcome *victim = &s->outcomes[s->victim];
    char name[16];
    int before = world_failures();
    snprintf(name, sizeof name, "rank %d", s->victim);
    /* Another rank may be the first to say that nothing reaches this one any more; its own log has the reason. */
    bool explained = strstr(victim->text, "emory") || strstr(victim->text, "no transport reaches");
    if (victim->status != C4_OK && !is_memory(victim->status) && !explained)
        world_fail("allocation %ld: rank %d: %s in %s: %s", s->number, s->victim, c4_status_name(victim->status),
                   victim->where, victim->text);
    for (int r = 0; r < s->nranks; r++) {
        const outcome *o = &s->outcomes[r];
        if (strstr(o->text, ":  ["))
            world_fail("allocation %ld: rank %d gives no reason: %s", s->number, r, o->text);
        if (o->wrong)
            world_fail("allocation %ld: rank %d: wrong results", s->number, r);
        if (r == s->victim || s->id_status != C4_OK || o->idle || victim->idle)
            continue;
        /* An operation may be complete here and fail there; a set-up may not. */
        if (o->status == C4_OK && victim->where && strstr(victim->where, "all_reduce"))
            continue;
        if ((o->status == C4_OK) != (victim->status == C4_OK))
            world_fail("allocation %ld: rank %d ends with %s (%s), rank %d with %s (%s in %s)", s->number, s->victim,
                       c4_status_name(victim->status), victim->text, r, c4_status_name(o->status), o->text, o->where);
        else if (o->status != C4_OK && !strstr(o->text, name) && !(o->status == C4_ERR_UNREACHABLE && s->nranks > 2))
            world_fail("allocation %ld: rank %d in %s does not name rank %d: %s", s->number, r, o->where, s->victim,
                       o->text);
    }
    if (world_failures() != before)
        alloc_fault_show();
}

/* What is lost once may be a cache; what is lost each time is a leak. All ranks agree on whether to look again. */
static void try_number(sweep *s, int rank)
{
    long live[REPEATS] = {alloc_fault_live()};
    int files[REPEATS] = {c4test_count_entries("/proc/self/fd")};
    for (int i = 1; i < REPEATS; i++) {
        run_round(s, rank);
        live[i] = alloc_fault_live();
        files[i] = c4test_count_entries("/proc/self/fd");
        if (rank == s->victim)
            judge(s);
        if (rank == s->victim)
            s->again = live[i] > live[i - 1] || files[i] > files[i - 1];
        pthread_barrier_wait(&s->barrier);
        if (!s->again)
            return;
    }
    if (rank != s->victim || alloc_fault_was_for("libcrypto"))
        return; /* its queue of errors is its own */
    world_fail("allocation %ld (%s in %s): %ld allocations and %d files are lost each time", s->number,
               c4_status_name(s->outcomes[rank].status), s->outcomes[rank].where, live[REPEATS - 1] - live[REPEATS - 2],
               files[REPEATS - 1] - files[REPEATS - 2]);
    alloc_fault_show();
}

/* The next that comes by a way of its own, or -1. */
static long next_number(long number, long total, long step)
{
    for (long seen = 0; number <= total; number++)
        if (alloc_fault_is_new(number) && ++seen == step)
            return number;
    return -1;
}

static void sweep_rank(int rank, void *arg)
{
    sweep *s = arg;
    for (int i = 0; i < REPEATS; i++) /* without failure: what is made once, and how many there are */
        run_round(s, rank);
    long total = s->calls, ways = 0, tried = 0, step = 1;
    for (long i = 1; rank == s->victim && i <= total; i++)
        ways += alloc_fault_is_new(i);
    if (!getenv("C4_TEST_ALLOCATIONS"))
        step = ways / c4test_samples(SAMPLES) + 1;
    if (rank == s->victim)
        judge(s);
    for (;; tried++) {
        pthread_barrier_wait(&s->barrier);
        if (rank == s->victim)
            s->number = next_number(s->number + 1, total, step);
        pthread_barrier_wait(&s->barrier);
        if (s->number < 0)
            break;
        try_number(s, rank);
    }
    if (rank == s->victim)
        fprintf(stderr, "%s, %d ranks, rank %d%s: %ld allocations by %ld ways, %ld failed\n", s->options, s->nranks,
                s->victim, s->reshape ? ", shrinking and growing" : "", total, ways, tried);
    C4TEST_INT(world_failures(), 0);
}

static void run_sweep(const char *options, int nranks, int victim, bool reshape)
{
    pthread_barrierattr_t attributes;
    sweep *s = c4test_shared(sizeof *s);
    *s = (sweep){.options = options, .nranks = nranks, .victim = victim, .reshape = reshape};
    setenv("C4_LOG", "none", 0);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&s->barrier, &attributes, (unsigned)nranks);
    c4test_ranks(nranks, sweep_rank, s, 1500);
}

static void test_shm(void)
{
    run_sweep("C4_TRANSPORTS=shm", 2, 0, false);
    run_sweep("C4_TRANSPORTS=shm", 3, 2, false);
}

static void test_tcp(void)
{
    run_sweep("C4_TRANSPORTS=tcp", 2, 1, false);
    run_sweep("C4_TRANSPORTS=tcp", 3, 0, false);
}

/* Rank 0 offers the way, rank 1 follows, rank 2 is left out and comes back. */
static void test_reshape(void)
{
    for (int victim = 0; victim < 3; victim++)
        run_sweep(victim % 2 ? "C4_TRANSPORTS=tcp" : "C4_TRANSPORTS=shm", 3, victim, true);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(shm, 3000), C4TEST_DEADLINE(tcp, 3000),
                                        C4TEST_DEADLINE(reshape, 5000), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
