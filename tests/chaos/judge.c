/* What was seen against what must come of each kind of fault. */
#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/c4test.h"
#include "tests/chaos/chaos.h"

enum { LEARNED_MS = 1000 }; /* as long as a death may take to be known */

typedef struct verdict {
    const chaos_plan *plan;
    const chaos_shared *shared;
    const int *statuses;
    chaos_tally *tally;
    bool good;
} verdict;

static void complain(verdict *v, int *counter, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void complain(verdict *v, int *counter, const char *format, ...)
{
    va_list args;
    if (v->good)
        chaos_plan_print(v->plan);
    v->good = false;
    ++*counter;
    va_start(args, format);
    fprintf(stderr, "    ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
}

/* Does a list of numbers, "2, 4", at `text` hold this one? */
static bool lists(const char *text, int rank)
{
    for (;;) {
        char *end;
        if (!isdigit((unsigned char)*text))
            return false;
        if (strtol(text, &end, 10) == rank)
            return true;
        if (strncmp(end, ", ", 2) != 0)
            return false;
        text = end + 2;
    }
}

/* "rank 3" or "ranks 1, 3", and not "rank 31". */
static bool names_rank(const char *text, int rank)
{
    for (const char *at = text; (at = strstr(at, "rank")); at++) {
        const char *number = at + (at[4] == 's' ? 5 : 4);
        if (*number == ' ' && lists(number + 1, rank))
            return true;
    }
    return false;
}

static bool is_victim(const chaos_plan *plan, int rank)
{
    for (int i = 0; i < plan->nfaults; i++)
        if (plan->faults[i].rank == rank)
            return true;
    return false;
}

/* May `rank` be blamed by `by`? */
static bool is_culprit(const chaos_plan *plan, int rank, int by)
{
    const chaos_fault *fault = &plan->faults[0];
    int host = chaos_host_of(plan, rank), other = chaos_host_of(plan, by), middle = plan->nhosts / 2;
    if (rank == by)
        return false;
    switch (fault->kind) {
    case CHAOS_KILL:
    case CHAOS_STOP_LONG:
        return is_victim(plan, rank);
    case CHAOS_LINK_DOWN:
        return (host == chaos_host_of(plan, fault->rank)) != (other == chaos_host_of(plan, fault->rank));
    case CHAOS_PARTITION:
        return (host >= middle) != (other >= middle);
    default:
        return true;
    }
}

static bool names_culprit(const chaos_plan *plan, const char *text, int by)
{
    for (int r = 0; r < plan->nranks; r++)
        if (is_culprit(plan, r, by) && names_rank(text, r))
            return true;
    return false;
}

static int survivors(const verdict *v)
{
    int n = 0;
    for (int r = 0; r < v->plan->nranks; r++)
        n += !is_victim(v->plan, r);
    return n;
}

static bool nobody_minds(const verdict *v)
{
    bool minds = false;
    for (int r = 0; r < v->plan->nranks; r++)
        minds |= v->shared->reports[r].status != C4_OK;
    return !minds;
}

static bool status_fits(const verdict *v, int rank, int status)
{
    switch (chaos_kinds[v->plan->faults[0].kind].outcome) {
    case CHAOS_SURVIVES:
        return status == C4_OK;
    case CHAOS_DEATH: /* who dies before it has shown itself cannot be told from who is late */
        return status == C4_ERR_PEER_DEAD ||
               (v->plan->setup && (status == C4_ERR_PEER_ERROR || status == C4_ERR_TIMEOUT));
    case CHAOS_SILENCE:
        return is_victim(v->plan, rank) ? status == C4_ERR_EXCLUDED : status == C4_ERR_PEER_SILENT;
    case CHAOS_SPLIT:
        return status == C4_ERR_PEER_SILENT;
    default:
        return status < 0;
    }
}

static double waited_ms(const verdict *v, int rank)
{
    int64_t ns = v->shared->reports[rank].waited_ns - v->shared->waited_ns[rank];
    return ns > 0 ? (double)ns * 1e-6 : 0;
}

/* The news passes through this rank and at most a few others: what it and the most hindered of them waited for a processor
 * is not the library's lateness. */
static double excusable_ms(const verdict *v, int rank)
{
    double most = 0;
    for (int r = 0; r < v->plan->nranks; r++)
        if (r != rank && waited_ms(v, r) > most)
            most = waited_ms(v, r);
    return waited_ms(v, rank) + most;
}

static void judge_limit(verdict *v, int rank, double took_ms, int limit_ms)
{
    double excusable = excusable_ms(v, rank);
    if (took_ms <= limit_ms)
        return;
    if (took_ms <= limit_ms + excusable)
        v->tally->excused++;
    else
        complain(v, &v->tally->late, "rank %d: %.0f ms from the fault to its error, more than %d and %.0f for load: %s",
                 rank, took_ms, limit_ms, excusable, v->shared->reports[rank].text);
}

/* From the first fault on: later ones may not have been needed any more. */
static void judge_time(verdict *v, int rank, const chaos_report *report)
{
    const chaos_kind_info *info = &chaos_kinds[v->plan->faults[0].kind];
    int64_t at_ns = 0;
    for (int i = 0; i < v->plan->nfaults; i++) {
        int64_t fault_ns = v->plan->faults[i].at_ns;
        if (fault_ns && (!at_ns || fault_ns < at_ns))
            at_ns = fault_ns;
    }
    double took_ms = (double)(report->failed_ns - at_ns) * 1e-6;
    if (info->hook_rule || (v->plan->setup && report->status != C4_ERR_PEER_DEAD))
        return; /* when it struck is not known here, or only the deadline of the set-up tells */
    if (took_ms > v->tally->slowest_ms)
        v->tally->slowest_ms = took_ms;
    judge_limit(v, rank, took_ms, info->limit_ms);
}

/* Of a rank that was stopped and given up: from the moment when it goes on. */
static void judge_return(verdict *v, int rank, const chaos_report *report)
{
    int64_t back_ns = v->plan->faults[0].undone_ns;
    if (!strstr(report->text, "gave this one up"))
        complain(v, &v->tally->unnamed, "rank %d does not say what became of it: %s", rank, report->text);
    judge_limit(v, rank, (double)(report->failed_ns - back_ns) * 1e-6, LEARNED_MS);
}

static void judge_rank(verdict *v, int rank)
{
    const chaos_report *report = &v->shared->reports[rank];
    int ended = v->statuses[rank], status = report->status;
    bool killed = v->plan->faults[0].kind == CHAOS_KILL && is_victim(v->plan, rank);
    if (report->count.wrong)
        complain(v, &v->tally->wrong, "rank %d: wrong results (%d): %s", rank, report->count.wrong,
                 report->count.wrong_text);
    if (ended == C4TEST_TIMED_OUT) {
        complain(v, &v->tally->hangs, "rank %d hangs: phase %d after %lld operations, %s", rank, report->phase,
                 (long long)report->count.iterations, status ? report->text : "no error");
        return;
    }
    if (killed && WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL)
        return;
    if (ended != 0) {
        complain(v, &v->tally->spurious, "rank %d ended with status 0x%x after %s: %s", rank, (unsigned)ended,
                 c4_status_name((c4_status)status), report->text);
        return;
    }
    if (status == C4_ERR_SYSTEM && v->plan->setup && report->text[0] == '\0')
        return; /* rank 0 died before there was a job */
    if (status == C4_OK && v->plan->faults[0].kind == CHAOS_STOP_LONG && nobody_minds(v) &&
        excusable_ms(v, rank) > v->plan->faults[0].lasts_ms / 2.0)
        v->tally->excused++; /* undone before anybody had a processor to notice it with */
    else if (!status_fits(v, rank, status))
        complain(v, &v->tally->spurious, "rank %d: %s: %s", rank, c4_status_name((c4_status)status), report->text);
    else if (status < 0 && !is_victim(v->plan, rank) && !names_culprit(v->plan, report->text, rank))
        complain(v, &v->tally->unnamed, "rank %d does not name the culprit: %s: %s", rank,
                 c4_status_name((c4_status)status), report->text);
    else if (status < 0 && v->plan->faults[0].kind == CHAOS_STOP_LONG && is_victim(v->plan, rank))
        judge_return(v, rank, report);
    else if (status < 0)
        judge_time(v, rank, report);
    if (v->plan->shrink && status < 0 && !is_victim(v->plan, rank) && report->shrink_status != C4_OK)
        complain(v, &v->tally->spurious, "rank %d, shrinking to %d ranks: %s: %s", rank, survivors(v),
                 c4_status_name((c4_status)report->shrink_status), report->shrink_text);
    else if (v->plan->shrink && status < 0 && !is_victim(v->plan, rank) && report->size != survivors(v))
        complain(v, &v->tally->spurious, "rank %d: %d ranks are left after shrinking, expected %d", rank, report->size,
                 survivors(v));
}

bool chaos_judge(const chaos_plan *plan, const chaos_shared *shared, const int *statuses, int left_behind,
                 chaos_tally *tally)
{
    verdict v = {plan, shared, statuses, tally, true};
    tally->jobs++;
    for (int i = 0; i < plan->nfaults; i++)
        tally->injected += plan->faults[i].at_ns != 0 && !plan->faults[i].missed;
    for (int r = 0; r < plan->nranks; r++)
        judge_rank(&v, r);
    if (left_behind)
        complain(&v, &tally->left_behind, "%d files are left behind", left_behind);
    return v.good;
}
