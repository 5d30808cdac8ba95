/* Runs one plan: forks the ranks, injects the faults in their time, waits for the ranks, sees what is left. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/segment.h"
#include "tests/c4test.h"
#include "tests/chaos/chaos.h"

enum { START_MS = 30000, DEADLINE_MS = 30000, SETTLE_ITERATIONS = 24, HOOK_ITERATIONS = 120, WAIT_STEP_MS = 2 };

typedef struct job {
    const chaos_plan *plan;
    chaos_fault *faults; /* in shared memory, for their times */
    chaos_shared *shared;
    pid_t pids[CHAOS_MAX_RANKS];
    bool ended[CHAOS_MAX_RANKS];
    int statuses[CHAOS_MAX_RANKS];
    bool noted; /* shared->waited_ns */
} job;

static int64_t ms(int64_t from_ns)
{
    return (chaos_now_ns() - from_ns) / 1000000;
}

/* ---- ranks ---- */

static void start_rank(job *j, int rank, const char *directory)
{
    pid_t parent = getpid(), pid = fork();
    j->pids[rank] = pid;
    if (pid != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    const chaos_plan *plan = j->plan;
    int host = chaos_host_of(plan, rank);
    if (plan->nhosts > 1 && !chaos_spaces_become_host(host))
        _exit(3);
    if (chaos_kinds[plan->faults[0].kind].net && !chaos_net_enter(host))
        _exit(4);
    exit(chaos_rank_main(plan, j->shared, rank, directory));
}

/* Collects who has ended; true when all have. */
static bool reap(job *j)
{
    bool all = true;
    for (int r = 0; r < j->plan->nranks; r++) {
        if (!j->ended[r])
            j->ended[r] = waitpid(j->pids[r], &j->statuses[r], WNOHANG) == j->pids[r];
        all &= j->ended[r];
    }
    return all;
}

static bool is_killed(const job *j, int rank)
{
    for (int i = 0; i < j->plan->nfaults; i++)
        if (j->plan->faults[i].kind == CHAOS_KILL && j->plan->faults[i].rank == rank)
            return true;
    return false;
}

/* Of those that live on. */
static int64_t least_iterations(const job *j)
{
    int64_t least = INT64_MAX;
    for (int r = 0; r < j->plan->nranks; r++)
        if (!is_killed(j, r) && j->shared->reports[r].count.iterations < least)
            least = j->shared->reports[r].count.iterations;
    return least;
}

/* All have done some work, or somebody cannot. */
static bool wait_for_work(job *j, int64_t iterations, int limit_ms)
{
    int64_t start = chaos_now_ns();
    while (ms(start) < c4test_seconds(1) * (int64_t)limit_ms) {
        if (least_iterations(j) >= iterations)
            return true;
        for (int r = 0; r < j->plan->nranks; r++)
            if (j->shared->reports[r].phase >= CHAOS_FAILED)
                return false;
        if (reap(j))
            return false;
        chaos_sleep_ms(WAIT_STEP_MS);
    }
    return false;
}

/* ---- faults ---- */

static bool apply(job *j, const chaos_fault *fault, bool undo)
{
    pid_t pid = j->pids[fault->rank];
    int host = chaos_host_of(j->plan, fault->rank);
    switch (fault->kind) {
    case CHAOS_KILL:
        return j->ended[fault->rank] || kill(pid, SIGKILL) == 0;
    case CHAOS_STOP_SHORT:
    case CHAOS_STOP_LONG:
        return j->ended[fault->rank] || kill(pid, undo ? SIGCONT : SIGSTOP) == 0;
    case CHAOS_DATA_SOCKET:
    case CHAOS_CONTROL_SOCKET:
        return chaos_socket_shutdown(pid, fault->kind == CHAOS_DATA_SOCKET, fault->number);
    case CHAOS_LINK_BLINK:
    case CHAOS_LINK_DOWN:
        return chaos_net_link(host, undo);
    case CHAOS_LINK_SLOW:
        return chaos_net_slow(host, !undo);
    case CHAOS_PARTITION:
        return chaos_net_partition(!undo);
    default:
        return true; /* by the hook layer, in the rank */
    }
}

/* Does what is due `now_ms` after the start of the faults' time; false when nothing is left to do. */
static bool step_faults(job *j, int64_t now_ms)
{
    bool more = false;
    for (int i = 0; i < j->plan->nfaults; i++) {
        chaos_fault *fault = &j->faults[i];
        if (!fault->at_ns && now_ms >= fault->after_ms) {
            for (int r = 0; r < j->plan->nranks && !j->noted; r++)
                j->shared->waited_ns[r] = chaos_waited_ns(j->pids[r]);
            j->noted = true;
            fault->at_ns = chaos_now_ns();
            fault->missed = !apply(j, fault, false);
        }
        if (fault->at_ns && fault->lasts_ms && !fault->undone_ns && ms(fault->at_ns) >= fault->lasts_ms) {
            fault->undone_ns = chaos_now_ns();
            apply(j, fault, true);
        }
        more |= !fault->at_ns || (fault->lasts_ms && !fault->undone_ns);
    }
    return more;
}

static void inject(job *j)
{
    int64_t start = chaos_now_ns();
    while (step_faults(j, ms(start)) && !reap(j))
        chaos_sleep_ms(WAIT_STEP_MS);
}

/* The survivors have found together again, and worked. */
static void wait_for_survivors(job *j)
{
    int64_t start = chaos_now_ns();
    int survivors = 0;
    for (int r = 0; r < j->plan->nranks; r++)
        survivors += !is_killed(j, r);
    for (int r = 0; r < j->plan->nranks; r++)
        while (!is_killed(j, r) && atomic_load(&j->shared->reports[r].size) != survivors && !reap(j) &&
               ms(start) < START_MS)
            chaos_sleep_ms(WAIT_STEP_MS);
    int64_t least = least_iterations(j) + SETTLE_ITERATIONS;
    while (least_iterations(j) < least && !reap(j) && ms(start) < START_MS)
        chaos_sleep_ms(WAIT_STEP_MS);
}

/* Who was stopped for too long goes on. Operations for which it has everything that it needs (what the others sent before they gave
 * it up still waits for it) may end well, with right results: they did so before it was given up, as it were. But nothing that comes
 * after may, and nothing ends the job before it has learned that: asked to stop now it would leave as if all were well. */
static void wait_for_forgotten(job *j)
{
    int64_t start = chaos_now_ns();
    /* Undone before anybody has minded, if the ranks had no processor to mind with: it goes on, and the judge will say. */
    if (wait_for_work(j, least_iterations(j) + SETTLE_ITERATIONS, START_MS))
        return;
    for (int r = 0; r < j->plan->nranks; r++)
        while (j->shared->reports[r].phase < CHAOS_FAILED && !j->ended[r] && ms(start) < START_MS) {
            reap(j);
            chaos_sleep_ms(WAIT_STEP_MS);
        }
}

/* Ends the ranks that have not by the deadline; their status is then C4TEST_TIMED_OUT. */
static void collect(job *j)
{
    int64_t start = chaos_now_ns();
    while (!reap(j) && ms(start) < c4test_seconds(1) * (int64_t)DEADLINE_MS)
        chaos_sleep_ms(WAIT_STEP_MS);
    for (int r = 0; r < j->plan->nranks; r++)
        if (!j->ended[r]) {
            kill(j->pids[r], SIGKILL);
            waitpid(j->pids[r], &j->statuses[r], 0);
            j->statuses[r] = C4TEST_TIMED_OUT;
        }
}

/* ---- what is left ---- */

static int count_entries(const char *path, bool print)
{
    int count = 0;
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            count++;
            if (print)
                fprintf(stderr, "    left behind: %s/%s\n", path, entry->d_name);
        }
    if (dir)
        closedir(dir);
    return count;
}

/* Records stay when a rank has died, and only then. Who dies while a job is set up may have made a file that nobody else knows
 * of yet: the next job on the host removes it, as is done here. */
static int count_left(const chaos_plan *plan, const char *directory, int shm_before)
{
    char path[512];
    snprintf(path, sizeof path, "%s/records", directory);
    if (plan->faults[0].kind == CHAOS_KILL && (plan->setup || (plan->shrink && plan->nfaults > 1)))
        c4_segments_stale(C4_SEGMENT_DIRECTORY, true, NULL, NULL);
    int left = count_entries("/dev/shm", false) - shm_before;
    if (left > 0)
        count_entries("/dev/shm", true);
    if (chaos_kinds[plan->faults[0].kind].outcome == CHAOS_SURVIVES)
        left += count_entries(path, true);
    return left > 0 ? left : 0;
}

static void show_logs(const chaos_plan *plan, const char *directory)
{
    char path[512], line[1024];
    for (int r = 0; r < plan->nranks; r++) {
        snprintf(path, sizeof path, "%s/log-%d", directory, r);
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file))
            fprintf(stderr, "    log of rank %d: %s", r, line);
        if (file)
            fclose(file);
    }
}

static void show_missed(const job *j)
{
    for (int i = 0; i < j->plan->nfaults; i++)
        if (j->plan->faults[i].missed)
            fprintf(stderr, "seed %llu: the fault %s of rank %d could not be injected\n",
                    (unsigned long long)j->plan->seed, chaos_kinds[j->plan->faults[i].kind].name,
                    j->plan->faults[i].rank);
}

bool chaos_job_run(const chaos_plan *wanted, const char *directory, chaos_tally *tally)
{
    chaos_plan *plan = c4test_shared(sizeof *plan);
    chaos_shared *shared = c4test_shared(sizeof *shared);
    memcpy(plan, wanted, sizeof *plan);
    job j = {.plan = plan, .faults = plan->faults, .shared = shared};
    char command[600];
    bool net = chaos_kinds[plan->faults[0].kind].net;
    for (int i = 0; i < plan->nfaults; i++)
        if (chaos_kinds[plan->faults[i].kind].hook)
            plan->faults[i].at_ns = chaos_now_ns(); /* the rank does it itself */
    int shm_before = count_entries("/dev/shm", false);
    if ((net && !chaos_net_up(plan->nhosts)) || pipe(shared->id_pipe) != 0) {
        fprintf(stderr, "seed %llu: set-up of name spaces or pipes failed\n", (unsigned long long)plan->seed);
        chaos_net_down();
        return false;
    }
    fflush(NULL);
    for (int r = 0; r < plan->nranks; r++)
        start_rank(&j, r, directory);
    close(shared->id_pipe[0]);
    close(shared->id_pipe[1]);
    if (!plan->setup)
        wait_for_work(&j, 8, START_MS);
    inject(&j);
    const chaos_kind_info *info = &chaos_kinds[plan->faults[0].kind];
    if (info->outcome == CHAOS_SURVIVES)
        wait_for_work(&j, least_iterations(&j) + (info->hook ? HOOK_ITERATIONS : SETTLE_ITERATIONS), START_MS);
    if (info->kept_ms) /* what comes of it comes late */
        chaos_sleep_ms(info->kept_ms);
    if (plan->shrink)
        wait_for_survivors(&j);
    if (plan->faults[0].kind == CHAOS_STOP_LONG)
        wait_for_forgotten(&j);
    if (info->outcome == CHAOS_SURVIVES || plan->shrink || plan->faults[0].kind == CHAOS_STOP_LONG)
        atomic_store(&shared->stop, 1);
    collect(&j);
    show_missed(&j);
    if (net)
        chaos_net_down();
    bool good = chaos_judge(plan, shared, j.statuses, count_left(plan, directory, shm_before), tally);
    if (!good)
        show_logs(plan, directory);
    snprintf(command, sizeof command, "rm -rf '%s'/*", directory);
    if (system(command) != 0)
        good = false;
    munmap(plan, sizeof *plan);
    munmap(shared, sizeof *shared);
    return good;
}
