#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "tests/c4test.h"
#include "tests/control/control_rig.h"

/* ---- a clean end ---- */

static void clean_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log news;
    news_init(&news);
    c4_control *control = rig_start(rig, rank);
    c4_control_attachment *attachment = rig_attach(control, rig, 7, &news);
    C4TEST_INT(c4_control_process(control, rank)->pid, getpid());
    CU_ASSERT_PTR_NULL(c4_control_process(control, rig->nranks));
    CU_ASSERT(c4_control_same_host(control, 0, rig->nranks - 1));
    rig_meet(&rig->shared->ready, rig->nranks);
    /* Leave one after the other, the victim first, each process ending at once: nobody may be called dead. */
    int turn = (rank - rig->victim + rig->nranks) % rig->nranks;
    while (atomic_load(&rig->shared->done) < turn)
        poll(NULL, 0, 1);
    c4_control_detach(attachment);
    uint64_t start_ns = c4_now_ns();
    c4_control_stop(control);
    CU_ASSERT(c4_now_ns() - start_ns < 1000000000u);
    C4TEST_INT(news.count, 0);
    if (turn > 0 && news.count)
        fprintf(stderr, "rank %d: %s\n", rank, news.texts[0]);
    atomic_fetch_add(&rig->shared->done, 1);
}

static void test_clean_end(void)
{
    static const int victims[] = {0, 2, 4};
    for (int i = 0; i < 3; i++) {
        int statuses[5];
        test_rig rig = rig_make(5, victims[i]);
        rig_run(&rig, clean_rank, 15, statuses);
        C4TEST_INT(statuses[victims[i]], 0);
    }
}

/* A rank says goodbye and its process ends while the others stay: no news, though pidfds fire. */
static void early_leaver_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log news;
    news_init(&news);
    c4_control *control = rig_start(rig, rank);
    rig_meet(&rig->shared->ready, rig->nranks);
    if (rank == rig->victim) {
        c4_control_stop(control);
        return;
    }
    c4_control_attachment *attachment = rig_attach(control, rig, 7, &news);
    pid_t pid = (pid_t)c4_control_process(control, rig->victim)->pid;
    while (kill(pid, 0) == 0 && atomic_load(&rig->shared->go) == 0)
        poll(NULL, 0, 1);
    poll(NULL, 0, 400); /* longer than every grace: nothing may happen in it */
    pthread_mutex_lock(&news.lock);
    C4TEST_INT(news.count, 0);
    pthread_mutex_unlock(&news.lock);
    rig_meet(&rig->shared->done, rig->nranks - 1);
    c4_control_detach(attachment);
    c4_control_stop(control);
}

static void test_early_leaver(void)
{
    for (int victim = 0; victim < 4; victim += 3) {
        int statuses[4];
        test_rig rig = rig_make(4, victim);
        c4test_team *team = c4test_team_start(rig.nranks, early_leaver_rank, &rig);
        close(rig.listen_fd);
        siginfo_t info;
        waitid(P_PID, (id_t)c4test_team_pid(team, victim), &info, WEXITED | WNOWAIT);
        atomic_store(&rig.shared->go, 1);
        c4test_team_wait(team, 15, statuses);
        for (int rank = 0; rank < 4; rank++)
            C4TEST_INT(statuses[rank], 0);
    }
}

/* ---- deaths ---- */

static void victim_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log news;
    news_init(&news);
    c4_control *control = rig_start(rig, rank);
    c4_control_attachment *attachment = rig_attach(control, rig, 7, &news);
    rig_meet(&rig->shared->ready, rig->nranks);
    if (rank == rig->victim) {
        atomic_store(&rig->shared->fault_ns, c4_now_ns());
        if (rig->signal == 0)
            _exit(3);
        signal(rig->signal, SIG_DFL); /* sanitizers catch some */
        raise(rig->signal);
    }
    news_await(&news, 1);
    double late_ms = (double)(news.last_ns - atomic_load(&rig->shared->fault_ns)) / 1e6;
    if (late_ms > 1000.0 * c4test_seconds(1) || rank == (rig->victim ? 0 : 1))
        printf("rank %d of %d heard of rank %d after %.1f ms: %s\n", rank, rig->nranks, rig->victim, late_ms,
               news.texts[0]);
    CU_ASSERT(late_ms < 1000.0 * c4test_seconds(1));
    C4TEST_INT(news.members[0], rig->victim);
    C4TEST_INT(news.statuses[0], C4_ERR_PEER_DEAD);
    char who[64];
    snprintf(who, sizeof who, "rank %d (pid %u on ", rig->victim, c4_control_process(control, rig->victim)->pid);
    C4TEST_CONTAINS(news.texts[0], who);
    C4TEST_CONTAINS(news.texts[0], rig->how);
    rig_meet(&rig->shared->done, rig->nranks - 1);
    C4TEST_INT(news.count, 1); /* once */
    c4_control_detach(attachment);
    /* A communicator created later is told, too. */
    attachment = rig_attach(control, rig, 8, &news);
    C4TEST_INT(news.count, 2);
    C4TEST_CONTAINS(news.texts[1], "died before this communicator was created");
    rig_meet(&rig->shared->reports, rig->nranks - 1);
    c4_control_detach(attachment);
    c4_control_stop(control);
}

static void test_killed(void)
{
    static const int sizes[] = {2, 3, 8, 40};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int victim = 0; victim < 2; victim++) {
            int statuses[40];
            test_rig rig = rig_make(sizes[i], victim ? sizes[i] - 1 : 0);
            /* The harness reaps in rank order: the zombie is there when looked at, or the kernel tells. */
            rig.how = "died: ";
            rig_run(&rig, victim_rank, 20, statuses);
            CU_ASSERT(WIFSIGNALED(statuses[rig.victim]));
        }
    }
}

static void test_how_it_died(void)
{
    static const struct {
        int signal;
        const char *how;
    } ends[] = {{SIGKILL, "killed by signal 9 (Killed)"},
                {SIGSEGV, "killed by signal 11 (Segmentation fault)"},
                {0, "exited with status 3 without leaving the job"}};
    for (size_t i = 0; i < 3; i++) {
        int statuses[3];
        test_rig rig = rig_make(3, 2); /* the last: the harness leaves it a zombie while it waits for the others */
        rig.signal = ends[i].signal;
        rig.how = ends[i].how;
        rig_run(&rig, victim_rank, 15, statuses);
        CU_ASSERT_NOT_EQUAL(statuses[2], 0);
    }
}

/* Rank 0 is stopped: those on the victim's host see it themselves. When rank 0 goes on, nobody is told twice. */
static void stopped_root_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log news;
    news_init(&news);
    c4_control *control = rig_start(rig, rank);
    c4_control_attachment *attachment = rig_attach(control, rig, 7, &news);
    rig_meet(&rig->shared->ready, rig->nranks);
    if (rank == 0)
        raise(SIGSTOP);
    while (!atomic_load(&rig->shared->go))
        poll(NULL, 0, 1);
    if (rank == rig->victim)
        raise(SIGKILL);
    news_await(&news, 1);
    if (rank != 0)
        CU_ASSERT(news.last_ns - atomic_load(&rig->shared->fault_ns) < 1000000000u * (unsigned)c4test_seconds(1));
    if (atomic_fetch_add(&rig->shared->reports, 1) + 1 == rig->nranks - 2) /* all but rank 0 and the victim */
        kill((pid_t)c4_control_process(control, 0)->pid, SIGCONT);
    rig_meet(&rig->shared->done, rig->nranks - 1);
    c4_control_report(attachment, C4_ERR_ABORTED, "behind everything that was sent before");
    news_await(&news, rig->nranks - 1); /* the death once, and what the others report */
    int deaths = 0;
    for (int i = 0; i < news.count; i++)
        deaths += news.statuses[i] == C4_ERR_PEER_DEAD;
    C4TEST_INT(deaths, 1);
    C4TEST_INT(news.count, rig->nranks - 1);
    rig_meet(&rig->shared->done, 2 * (rig->nranks - 1));
    c4_control_detach(attachment);
    c4_control_stop(control);
}

static void test_stopped_root(void)
{
    int statuses[4];
    test_rig rig = rig_make(4, 2);
    c4test_team *team = c4test_team_start(rig.nranks, stopped_root_rank, &rig);
    close(rig.listen_fd);
    siginfo_t info;
    CU_ASSERT_EQUAL(waitid(P_PID, (id_t)c4test_team_pid(team, 0), &info, WSTOPPED), 0);
    atomic_store(&rig.shared->fault_ns, c4_now_ns());
    atomic_store(&rig.shared->go, 1);
    c4test_team_wait(team, 15, statuses);
    for (int rank = 0; rank < 4; rank++)
        CU_ASSERT(rank == 2 ? WIFSIGNALED(statuses[rank]) : statuses[rank] == 0);
}

/* Several at once, rank 0 among them. */
static void massacre_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log news;
    news_init(&news);
    c4_control *control = rig_start(rig, rank);
    c4_control_attachment *attachment = rig_attach(control, rig, 7, &news);
    rig_meet(&rig->shared->ready, rig->nranks);
    if (rank % 2 == 0)
        raise(SIGKILL);
    news_await(&news, rig->nranks / 2);
    uint64_t seen = 0;
    for (int i = 0; i < news.count; i++)
        seen |= 1ull << news.members[i];
    C4TEST_INT(seen, 0x5555555555555555u & ((1ull << rig->nranks) - 1));
    C4TEST_INT(news.count, rig->nranks / 2);
    c4_control_detach(attachment);
    c4_control_stop(control);
}

static void test_massacre(void)
{
    int statuses[10];
    test_rig rig = rig_make(10, -1);
    c4test_team *team = c4test_team_start(rig.nranks, massacre_rank, &rig);
    close(rig.listen_fd);
    c4test_team_wait(team, 15, statuses);
    for (int rank = 0; rank < rig.nranks; rank++)
        CU_ASSERT(rank % 2 ? statuses[rank] == 0 : WIFSIGNALED(statuses[rank]));
}

/* ---- reports ---- */

static void report_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log world;
    news_log half;
    news_init(&world);
    news_init(&half);
    c4_control *control = rig_start(rig, rank);
    c4_control_attachment *all = rig_attach(control, rig, 1, &world);
    /* Two halves with one number: even and odd ranks. Those of rank 3's half attach before or after its report. */
    int members[4] = {rank % 2, rank % 2 + 2, rank % 2 + 4, rank % 2 + 6};
    c4_control_attachment *mine = NULL;
    if (rank != 5)
        C4TEST_OK_FATAL(c4_control_attach(control, 2, members, 4, news_on_fault, &half, &mine));
    rig_meet(&rig->shared->ready, rig->nranks);
    if (rank == 3) {
        c4_control_report(mine, C4_ERR_ABORTED, "rank 3 gave up");
        c4_control_report(all, C4_ERR_MEMORY, "rank 3 has no memory");
    } else {
        news_await(&world, 1); /* reports of one rank come in order */
        C4TEST_INT(world.members[0], 3);
        C4TEST_INT(world.statuses[0], C4_ERR_MEMORY);
        C4TEST_STRING(world.texts[0], "rank 3 has no memory");
    }
    if (rank == 5)
        C4TEST_OK_FATAL(c4_control_attach(control, 2, members, 4, news_on_fault, &half, &mine));
    C4TEST_INT(half.count, rank % 2 && rank != 3);
    if (half.count) {
        C4TEST_INT(half.members[0], 1);
        C4TEST_INT(half.statuses[0], C4_ERR_ABORTED);
        C4TEST_STRING(half.texts[0], "rank 3 gave up");
    }
    rig_meet(&rig->shared->done, rig->nranks);
    C4TEST_INT(world.count, rank != 3);
    c4_control_detach(all);
    c4_control_detach(mine);
    c4_control_stop(control);
}

static void test_report(void)
{
    int statuses[8];
    test_rig rig = rig_make(8, -1);
    rig_run(&rig, report_rank, 15, statuses);
}

/* ---- descriptors ---- */

typedef struct test_bell {
    int pipe[2];
    atomic_int rung;
    char got;
} test_bell;

static void ring(void *context)
{
    test_bell *bell = context;
    if (read(bell->pipe[0], &bell->got, 1) == 1)
        atomic_fetch_add(&bell->rung, 1);
}

static void await_bell(test_bell *bell, int count)
{
    while (atomic_load(&bell->rung) < count)
        poll(NULL, 0, 1);
}

static void test_watch_fd(void)
{
    test_rig rig = rig_make(1, -1);
    c4_control *control = rig_start(&rig, 0);
    test_bell bells[20];
    for (int i = 0; i < 20; i++) {
        atomic_init(&bells[i].rung, 0);
        CU_ASSERT_EQUAL_FATAL(pipe2(bells[i].pipe, O_CLOEXEC | O_NONBLOCK), 0);
        C4TEST_OK_FATAL(c4_control_watch_fd(control, bells[i].pipe[0], ring, &bells[i]));
    }
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(write(bells[i].pipe[1], "ab", 2), 2);
        await_bell(&bells[i], 1);
    }
    for (int i = 0; i < 20; i++) { /* once; the second byte waits until it is asked for again */
        C4TEST_INT(atomic_load(&bells[i].rung), 1);
        C4TEST_INT(bells[i].got, 'a');
        C4TEST_OK(c4_control_watch_fd(control, bells[i].pipe[0], ring, &bells[i]));
        await_bell(&bells[i], 2);
        C4TEST_INT(bells[i].got, 'b');
    }
    for (int i = 0; i < 20; i++) {
        C4TEST_OK(c4_control_watch_fd(control, bells[i].pipe[0], ring, &bells[i]));
        c4_control_unwatch_fd(control, bells[i].pipe[0]);
        CU_ASSERT_EQUAL(write(bells[i].pipe[1], "c", 1), 1);
    }
    C4TEST_OK(c4_control_watch_fd(control, bells[0].pipe[0], ring, &bells[0]));
    await_bell(&bells[0], 3);
    for (int i = 1; i < 20; i++)
        C4TEST_INT(atomic_load(&bells[i].rung), 2);
    C4TEST_INT(c4_control_watch_fd(control, 9999, ring, &bells[0]), C4_ERR_SYSTEM);
    c4_control_unwatch_fd(control, 9999);
    c4_control_stop(control);
    c4_control_stop(NULL);
    for (int i = 0; i < 20; i++) {
        close(bells[i].pipe[0]);
        close(bells[i].pipe[1]);
    }
}

/* The child of a fork frees without touching the parent's job. */
static void test_fork(void)
{
    test_rig rig = rig_make(1, -1);
    news_log news;
    news_init(&news);
    c4_control *control = rig_start(&rig, 0);
    c4_control_attachment *attachment = rig_attach(control, &rig, 1, &news);
    pid_t pid = fork();
    if (pid == 0) {
        c4_control_detach(attachment);
        c4_control_stop(control);
        _exit(0);
    }
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    C4TEST_INT(status, 0);
    test_bell bell = {.rung = 0};
    CU_ASSERT_EQUAL_FATAL(pipe2(bell.pipe, O_CLOEXEC | O_NONBLOCK), 0);
    C4TEST_OK_FATAL(c4_control_watch_fd(control, bell.pipe[0], ring, &bell));
    CU_ASSERT_EQUAL(write(bell.pipe[1], "x", 1), 1);
    await_bell(&bell, 1);
    c4_control_detach(attachment);
    c4_control_stop(control);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(clean_end, 40),
                                        C4TEST_DEADLINE(early_leaver, 40),
                                        C4TEST_DEADLINE(killed, 90),
                                        C4TEST_DEADLINE(how_it_died, 40),
                                        C4TEST(stopped_root),
                                        C4TEST(massacre),
                                        C4TEST(report),
                                        C4TEST(watch_fd),
                                        C4TEST(fork),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
