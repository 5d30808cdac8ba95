/* Shrinking: killed ranks, rank 0 among them, are agreed on and left behind; deaths during it, excluded ranks, aborts. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/c4test.h"
#include "tests/collectives/world.h"

enum { MAX_RANKS = 8 };

typedef struct shrinking {
    const char *options;
    int nranks;
    unsigned deaths; /* bit mask: killed before anybody shrinks */
    int excluded;    /* -1: none */
    bool excluded_calls, with_request, busy_thread;
    int ids[2];
    _Atomic int started, survivors_done, excluded_done;
} shrinking;

static void pass_id(const int *pipes, int nranks, int rank, c4_unique_id *id)
{
    if (rank == 0) {
        C4TEST_OK_FATAL(c4_unique_id_create(id));
        for (int i = 1; i < nranks; i++)
            CU_ASSERT_FATAL(write(pipes[1], id, sizeof *id) == (ssize_t)sizeof *id);
    } else {
        CU_ASSERT_FATAL(read(pipes[0], id, sizeof *id) == (ssize_t)sizeof *id);
    }
}

static c4_comm *create(shrinking *s, int rank)
{
    c4_unique_id id;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = world_options(s->options)};
    setenv("C4_LOG", getenv("C4_TEST_VERBOSE") ? "info" : "none", 1);
    pass_id(s->ids, s->nranks, rank, &id);
    C4TEST_OK_FATAL(c4_comm_create(&id, s->nranks, rank, &config, NULL, &comm));
    return comm;
}

static int survivors(const shrinking *s, int below)
{
    int count = 0;
    for (int i = 0; i < below; i++)
        count += !(s->deaths >> i & 1) && i != s->excluded;
    return count;
}

/* The victims of the first wave die once all have used the communicator. */
static void die_when_due(shrinking *s, int rank)
{
    s->started++;
    if (!(s->deaths >> rank & 1))
        return;
    while (s->started < s->nranks)
        sched_yield();
    raise(SIGKILL);
}

static void *use(void *arg)
{
    c4_comm *comm = arg;
    float value = 1;
    while (c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_MAX, comm, NULL) == C4_OK)
        ;
    return NULL;
}

static void check_new(const shrinking *s, c4_comm *smaller, int rank)
{
    int size = 0, own = -1;
    double value = rank, sum = 0, expected = 0;
    for (int i = 0; i < s->nranks; i++)
        expected += survivors(s, i + 1) > survivors(s, i) ? i : 0;
    C4TEST_OK(c4_comm_size(smaller, &size));
    C4TEST_OK(c4_comm_rank(smaller, &own));
    C4TEST_INT(own, survivors(s, rank));
    C4TEST_INT(size, survivors(s, s->nranks));
    C4TEST_OK(c4_all_reduce(&value, &sum, 1, C4_FLOAT64, C4_SUM, smaller, NULL));
    CU_ASSERT_EQUAL(sum, expected);
}

static c4_status shrink(const shrinking *s, c4_comm *comm, c4_comm **smaller)
{
    c4_request *request = NULL;
    c4_status status =
        c4_comm_shrink(comm, &s->excluded, s->excluded >= 0, NULL, s->with_request ? &request : NULL, smaller);
    if (!request)
        return status;
    C4TEST_OK(status);
    status = c4_wait(&request);
    if (status < 0) {
        C4TEST_OK(c4_comm_destroy(*smaller));
        *smaller = NULL;
    }
    return status;
}

static void excluded_rank(shrinking *s, c4_comm *comm)
{
    c4_comm *smaller = NULL;
    if (s->excluded_calls) { /* it does not know that the others leave it behind */
        C4TEST_INT(c4_comm_shrink(comm, NULL, 0, NULL, NULL, &smaller), C4_ERR_EXCLUDED);
        C4TEST_CONTAINS(c4_last_error(NULL), "C4_ERR_EXCLUDED");
        C4TEST_INT(c4_comm_shrink(comm, &s->excluded, 1, NULL, NULL, &smaller), C4_ERR_EXCLUDED);
    }
    s->excluded_done = 1;
    while (s->survivors_done < survivors(s, s->nranks))
        sched_yield();
    CU_ASSERT(smaller == NULL);
}

static void shrinking_rank(int rank, void *arg)
{
    shrinking *s = arg;
    c4_comm *comm = create(s, rank), *smaller = NULL;
    pthread_t busy;
    float value = 1;
    C4TEST_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, comm, NULL));
    die_when_due(s, rank);
    if (s->busy_thread)
        C4TEST_INT(pthread_create(&busy, NULL, use, comm), 0);
    if (rank == s->excluded) {
        excluded_rank(s, comm);
    } else {
        if (s->deaths && !s->busy_thread) /* most programs notice first */
            use(comm);
        uint64_t start_ns = c4_now_ns();
        C4TEST_OK_FATAL(shrink(s, comm, &smaller));
        if (getenv("C4_TEST_VERBOSE"))
            fprintf(stderr, "rank %d: shrunk in %.0f ms\n", rank, (double)(c4_now_ns() - start_ns) * 1e-6);
        check_new(s, smaller, rank);
        s->survivors_done++;
        while (s->excluded_calls && !s->excluded_done)
            sched_yield();
    }
    if (s->busy_thread) {
        C4TEST_OK(c4_comm_abort(comm)); /* an excluded rank's thread still waits */
        pthread_join(busy, NULL);
    }
    C4TEST_OK(c4_comm_destroy(comm));
    if (smaller) {
        check_new(s, smaller, rank); /* not a thing of the old one is needed */
        C4TEST_OK(c4_barrier(smaller, NULL));
        C4TEST_OK(c4_comm_destroy(smaller));
    }
}

static void run(shrinking given)
{
    int statuses[MAX_RANKS];
    shrinking *s = c4test_shared(sizeof *s);
    *s = given;
    C4TEST_INT_FATAL(pipe(s->ids), 0);
    c4test_team *team = c4test_team_start(s->nranks, shrinking_rank, s);
    c4test_team_wait(team, 60, statuses);
    for (int i = 0; i < s->nranks; i++) {
        bool victim = s->deaths >> i & 1;
        bool good = victim ? WIFSIGNALED(statuses[i]) && WTERMSIG(statuses[i]) == SIGKILL : statuses[i] == 0;
        if (!good)
            fprintf(stderr, "rank %d of %d (%s, deaths %x) ended with 0x%x\n", i, s->nranks, s->options, s->deaths,
                    (unsigned)statuses[i]);
        CU_ASSERT(good);
    }
    for (int i = 0; i < 2; i++) {
        close(s->ids[i]);
    }
}

static const char *const transports[] = {"C4_TRANSPORTS=shm", "C4_TRANSPORTS=tcp"};

static void test_deaths(void)
{
    for (int t = 0; t < 2; t++) {
        run((shrinking){.options = transports[t], .nranks = 3, .deaths = 1u << 1, .excluded = -1});
        run((shrinking){.options = transports[t], .nranks = 2, .deaths = 1u << 0, .excluded = -1});
        run((shrinking){.options = transports[t], .nranks = 5, .deaths = 1u << 0 | 1u << 3, .excluded = -1});
        run((shrinking){
            .options = transports[t], .nranks = 4, .deaths = 1u << 0, .excluded = -1, .with_request = true});
    }
}

/* A thread that is still inside a call on the old communicator does not stand in the way. */
static void test_beside_ending_calls(void)
{
    for (int t = 0; t < 2; t++)
        run((shrinking){.options = transports[t], .nranks = 4, .deaths = 1u << 2, .excluded = -1, .busy_thread = true});
}

static void test_excluded(void)
{
    for (int t = 0; t < 2; t++) {
        run((shrinking){.options = transports[t], .nranks = 3, .excluded = 1});
        run((shrinking){.options = transports[t], .nranks = 4, .excluded = 0, .excluded_calls = true});
        run((shrinking){.options = transports[t], .nranks = 4, .excluded = 3, .deaths = 1u << 0});
    }
}

/* ---- deaths at any time: whoever has a communicator can use it or shrink it again ---- */

typedef struct wave {
    const char *options;
    int nranks;
    uint64_t delay_us[MAX_RANKS]; /* 0: lives */
    int ids[2];
} wave;

static void *die_after(void *arg)
{
    usleep((useconds_t) * (uint64_t *)arg);
    raise(SIGKILL);
    return NULL;
}

/* Uses and shrinks until only those are left that live. */
static void wave_rank(int rank, void *arg)
{
    wave *w = arg;
    shrinking s = {.options = w->options, .nranks = w->nranks, .ids = {w->ids[0], w->ids[1]}, .excluded = -1};
    c4_comm *comm = create(&s, rank);
    int living = 0, size = w->nranks;
    pthread_t death;
    for (int i = 0; i < w->nranks; i++)
        living += w->delay_us[i] == 0;
    if (w->delay_us[rank])
        C4TEST_INT_FATAL(pthread_create(&death, NULL, die_after, &w->delay_us[rank]), 0);
    while (size > living) {
        c4_comm *smaller = NULL;
        use(comm);
        C4TEST_INT(c4_comm_status(comm) < 0, 1);
        c4_status status = c4_comm_shrink(comm, NULL, 0, NULL, NULL, &smaller);
        C4TEST_OK_FATAL(status);
        C4TEST_OK(c4_comm_destroy(comm));
        comm = smaller;
        C4TEST_OK(c4_comm_size(comm, &size));
        CU_ASSERT_FATAL(size >= living);
    }
    double value = 1, sum = 0;
    C4TEST_OK(c4_all_reduce(&value, &sum, 1, C4_FLOAT64, C4_SUM, comm, NULL));
    CU_ASSERT_EQUAL(sum, living);
    C4TEST_OK(c4_barrier(comm, NULL));
    C4TEST_OK(c4_comm_destroy(comm));
}

static void one_wave(const char *options)
{
    int statuses[MAX_RANKS];
    wave *w = c4test_shared(sizeof *w);
    w->options = options;
    w->nranks = 4 + (int)c4test_rand_below(5);
    C4TEST_INT_FATAL(pipe(w->ids), 0);
    int deaths = 1 + (int)c4test_rand_below((uint64_t)w->nranks - 2);
    for (int i = 0; i < deaths; i++) /* close to one another, so that they meet shrinks */
        w->delay_us[c4test_rand_below((uint64_t)w->nranks)] = 100000 + c4test_rand_below(300000);
    c4test_team *team = c4test_team_start(w->nranks, wave_rank, w);
    c4test_team_wait(team, 90, statuses);
    for (int i = 0; i < w->nranks; i++) {
        bool good = w->delay_us[i] ? WIFSIGNALED(statuses[i]) && WTERMSIG(statuses[i]) == SIGKILL : statuses[i] == 0;
        if (!good)
            fprintf(stderr, "wave: rank %d of %d (%s, dies after %llu us) ended with 0x%x\n", i, w->nranks, options,
                    (unsigned long long)w->delay_us[i], (unsigned)statuses[i]);
        CU_ASSERT(good);
    }
    close(w->ids[0]);
    close(w->ids[1]);
}

static void test_waves(void)
{
    for (int i = 0; i < c4test_samples(32); i++)
        one_wave(transports[i % 2]);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(deaths, 120), C4TEST_DEADLINE(beside_ending_calls, 60),
                                        C4TEST_DEADLINE(excluded, 120), C4TEST_DEADLINE(waves, 600), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
