/* One rank: loops over collectives, verifies each, and tells how it ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"

enum { ASK_EVERY = 8, LEAVE_TOGETHER_MS = 15000 };

typedef struct worker {
    const chaos_plan *plan;
    chaos_shared *shared;
    chaos_report *report;
    int rank, nranks; /* at the start */
    chaos_work work;
} worker;

/* Until all agree to end: one who has been told says so to all. */
static c4_status run(worker *w)
{
    c4_status status = C4_OK;
    int32_t stop = 0;
    for (uint64_t i = 0; status == C4_OK && !stop; i++) {
        status = chaos_work_step(&w->work, i);
        if (status == C4_OK && i % ASK_EVERY == 0)
            status = chaos_work_ask(&w->work, atomic_load(&w->shared->stop), &stop);
    }
    return status == C4_OK ? chaos_work_end(&w->work) : status;
}

static void tell_failure(worker *w, c4_status status, const c4_comm *comm)
{
    w->report->status = status;
    w->report->failed_ns = chaos_now_ns();
    w->report->waited_ns = chaos_waited_ns(getpid());
    snprintf(w->report->text, sizeof w->report->text, "%s", c4_last_error(comm));
    atomic_store(&w->report->phase, CHAOS_FAILED);
}

/* Goes on with those who are left, again when more die, until all agree to end. */
static void go_on(worker *w)
{
    c4_status status;
    do {
        c4_comm *smaller = NULL;
        chaos_work_drain(&w->work);
        status = c4_comm_shrink(w->work.comm, NULL, 0, NULL, NULL, &smaller);
        if (status != C4_OK)
            break;
        c4_comm_destroy(w->work.comm);
        chaos_work_join(&w->work, smaller, w->plan->seed);
        atomic_store(&w->report->size, w->work.nranks);
        status = run(w);
    } while (status == C4_ERR_PEER_DEAD && w->work.nranks > 1);
    w->report->shrink_status = status;
    if (status != C4_OK)
        snprintf(w->report->shrink_text, sizeof w->report->shrink_text, "%s", c4_last_error(w->work.comm));
}

/* Those who leave later have had their own reasons first. */
static void wait_for_others(const worker *w)
{
    int64_t until = chaos_now_ns() + (int64_t)LEAVE_TOGETHER_MS * 1000000;
    for (int r = 0; r < w->nranks; r++) {
        bool victim = false;
        for (int i = 0; i < w->plan->nfaults; i++)
            victim |= w->plan->faults[i].rank == r;
        while (!victim && atomic_load(&w->shared->reports[r].phase) < CHAOS_FAILED && chaos_now_ns() < until)
            chaos_sleep_ms(1);
    }
}

static void set_options(const chaos_plan *plan, int rank, const char *directory)
{
    char text[512], hooks[256] = "";
    snprintf(text, sizeof text, "%s/log-%d", directory, rank);
    setenv("C4_LOG_FILE", text, 1);
    setenv("C4_LOG", "warn", 0);
    snprintf(text, sizeof text, "%s/records", directory);
    setenv("C4_RECORD_DIR", text, 1);
    setenv("C4_RECORD_BYTES", "64K", 1);
    setenv("C4_TRANSPORTS", chaos_transport_names[plan->transport], 1);
    setenv("C4_SHM_BACKEND", plan->backend, 1);
    setenv("C4_PROGRESS", plan->thread ? "thread" : "inline", 1);
    for (int i = 0; i < plan->nfaults; i++) {
        const char *rule = chaos_kinds[plan->faults[i].kind].hook_rule;
        size_t used = strlen(hooks);
        if (rule)
            snprintf(hooks + used, sizeof hooks - used, used ? "," : "");
        used = strlen(hooks);
        if (rule)
            snprintf(hooks + used, sizeof hooks - used, rule, plan->faults[i].number, plan->faults[i].rank);
        if (plan->faults[i].kind == CHAOS_DROP)
            setenv("C4_TIMEOUT_MS", "1500", 1);
        if (chaos_kinds[plan->faults[i].kind].silence) {
            setenv("C4_HEARTBEAT_MS", "400", 1);
            setenv("C4_SILENT_MS", "1500", 1);
        }
    }
    setenv("C4_HOOK", hooks, 1);
}

static bool meet(const worker *w, c4_unique_id *id)
{
    if (w->rank != 0) {
        close(w->shared->id_pipe[1]); /* so that the pipe ends with rank 0 */
        return read(w->shared->id_pipe[0], id, sizeof *id) == (ssize_t)sizeof *id;
    }
    if (c4_unique_id_create(id) != C4_OK)
        return false;
    for (int i = 1; i < w->nranks; i++)
        if (write(w->shared->id_pipe[1], id, sizeof *id) != (ssize_t)sizeof *id)
            return false;
    return true;
}

/* What is done with a communicator, or after it could not be had; the status of the process. */
static int live(worker *w, c4_status status)
{
    if (status == C4_OK) {
        chaos_work_join(&w->work, w->work.comm, w->plan->seed ^ 0x5bd1e995u);
        atomic_store(&w->report->size, w->nranks);
        atomic_store(&w->report->phase, CHAOS_RUNNING);
        status = run(w);
    }
    if (status != C4_OK) {
        tell_failure(w, status, w->work.comm);
        if (w->plan->shrink && w->work.comm)
            go_on(w);
        else if (!w->plan->leave_at_once)
            wait_for_others(w);
        chaos_work_drain(&w->work);
    }
    if (c4_comm_destroy(w->work.comm) != C4_OK)
        return 1;
    if (status == C4_OK)
        atomic_store(&w->report->phase, CHAOS_DONE);
    return 0;
}

int chaos_rank_main(const chaos_plan *plan, chaos_shared *shared, int rank, const char *directory)
{
    chaos_report *report = &shared->reports[rank];
    worker w = {.plan = plan, .shared = shared, .report = report, .rank = rank, .nranks = plan->nranks};
    c4_unique_id id;
    c4_comm_config config = {.struct_size = sizeof config, .name = "chaos", .timeout_ms = plan->setup ? 5000 : 20000};
    w.work = (chaos_work){.window = plan->window, .max_count = plan->max_count, .count = &report->count};
    set_options(plan, rank, directory);
    bool met = meet(&w, &id);
    close(shared->id_pipe[0]);
    if (rank == 0)
        close(shared->id_pipe[1]);
    if (!met) {
        report->status = C4_ERR_SYSTEM; /* rank 0 died before it had an id */
        atomic_store(&report->phase, CHAOS_FAILED);
        return 0;
    }
    c4_status status = c4_comm_create(&id, plan->nranks, rank, &config, NULL, &w.work.comm);
    if (!chaos_work_init(&w.work, plan->nranks))
        return 1;
    int ended = live(&w, status);
    if (report->phase == CHAOS_DONE)
        report->waited_ns = chaos_waited_ns(getpid());
    chaos_work_fini(&w.work);
    return ended;
}
