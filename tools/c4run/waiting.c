/* The record tells the operation that a rank is in, not the peer that it waits for. But collectives of a communicator are
 * numbered alike on all its ranks, so a rank that has not come as far as the others is the one that they wait for. */
#include "tools/c4run/waiting.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "diag/sources/standing.h"
#include "schedule/schedule.h"
#include "tools/c4run/records.h"
#include "tools/c4run/report.h"

#define MAX_LINES  16
#define LIST_BYTES 400

typedef struct stand {
    c4_record_file *file; /* NULL: none found */
    c4_standing at;
    double seconds; /* since the operation was called, or ended when it is done */
    bool told;
} stand;

/* How far the ranks of this host are in one communicator. */
typedef struct progress {
    int *comm_rank;     /* [nchildren]; -1: no member, or not known */
    uint32_t *sequence; /* [nchildren] */
    int seen;           /* members of this host */
    bool same_ranks;    /* every member seen has the rank that it has in the job, and sizes agree */
} progress;

static bool is_stuck(const stand *s)
{
    return s->at.has_operation && s->at.operation.state != C4_RECORD_DONE;
}

/* ---- reading ---- */

static void read_stand(stand *s)
{
    if (!s->file)
        return;
    c4_standing_read(s->file, &s->at);
    const c4_record_operation *operation = &s->at.operation;
    uint64_t since = operation->state == C4_RECORD_DONE ? operation->end_ticks : operation->call_ticks;
    uint64_t until = operation->state == C4_RECORD_FAILED ? operation->end_ticks : c4_tsc();
    uint64_t hz = c4_record_file_header(s->file)->ticks_per_second;
    s->seconds = hz && until > since ? (double)(until - since) / (double)hz : 0;
}

static void read_progress(const c4run_job *job, const stand *stands, const c4_record_comm *comm, progress *p)
{
    p->seen = 0;
    p->same_ranks = comm->nranks == job->options->nranks;
    for (int i = 0; i < job->nchildren; i++) {
        c4_record_comm member;
        p->comm_rank[i] = -1;
        if (!stands[i].file || !c4_standing_reached(stands[i].file, comm->comm_id, &member, &p->sequence[i]))
            continue;
        p->comm_rank[i] = member.rank;
        p->same_ranks &= member.rank == job->children[i].rank;
        p->seen++;
    }
}

/* ---- text ---- */

typedef struct text {
    char *at;
    size_t left; /* with the final zero */
} text;

static void add(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(t->at, t->left, format, arguments);
    va_end(arguments);
    size_t used = bytes < 0 ? 0 : (size_t)bytes < t->left ? (size_t)bytes : t->left - 1;
    t->at += used;
    t->left -= used;
}

/* A sentence for what one group has in common. */
static void add_operation(text *t, const stand *s)
{
    const c4_record_operation *operation = &s->at.operation;
    const char *kind = c4_kind_name(operation->kind), *dtype = c4_dtype_name(operation->dtype);
    add(t, "%s", kind ? kind : "operation");
    if (c4_standing_is_collective(operation))
        add(t, " #%u", operation->sequence);
    else
        add(t, " %s rank %d", operation->kind == C4_KIND_SEND ? "to" : "from", operation->root);
    add(t, " on \"%s\"", s->at.comm.name);
    if (operation->kind != C4_KIND_BARRIER && dtype)
        add(t, " (%llu %s)", (unsigned long long)operation->count, dtype);
}

/* Does the collective that `s` is in lack child i? One that ended lacks, unless it ended because of others; and one without
 * a record has ended in good order. */
static bool is_missing(const c4run_job *job, const stand *stands, int i, const stand *s, const progress *p)
{
    if (p->comm_rank[i] < 0)
        return p->same_ranks;
    bool died = !job->children[i].running && stands[i].at.operation.state != C4_RECORD_FAILED;
    return died || p->sequence[i] < s->at.operation.sequence;
}

/* Whom the collective lacks. */
static void add_missing(text *t, const c4run_job *job, const stand *stands, const stand *s, const progress *p,
                        bool *marks)
{
    char list[LIST_BYTES];
    for (int i = 0; i < job->nchildren; i++)
        marks[i] = is_missing(job, stands, i, s, p);
    int elsewhere = s->at.comm.nranks - p->seen - (p->same_ranks ? job->nchildren - p->seen : 0);
    if (c4run_list_ranks(job, marks, list, sizeof list) > 0)
        add(t, ", waiting for %s", list);
    else if (elsewhere > 0)
        add(t, "; all ranks of this host have entered it, %d other%s cannot be seen from here", elsewhere,
            elsewhere == 1 ? "" : "s");
    else if (s->at.comm.nranks > 1)
        add(t, "; all ranks have entered it");
}

static void add_peer(text *t, const c4run_job *job, const stand *s, const progress *p)
{
    for (int i = 0; i < job->nchildren; i++)
        if (p->comm_rank[i] == s->at.operation.root) {
            add(t, ", waiting for rank %d", job->children[i].rank);
            return;
        }
}

static void describe(text *t, const c4run_job *job, const stand *stands, const stand *s, const progress *p, bool *marks)
{
    const c4_record_operation *operation = &s->at.operation;
    if (!s->file) {
        add(t, "no flight record: no communicator yet, or none any more");
    } else if (!s->at.has_operation) {
        add(t, "no operation yet%s%s%s", s->at.has_comm ? " on \"" : ", no communicator yet",
            s->at.has_comm ? s->at.comm.name : "", s->at.has_comm ? "\"" : "");
    } else if (operation->state == C4_RECORD_DONE) {
        add(t, "in no operation; the last, ");
        add_operation(t, s);
        add(t, ", ended %.1f s ago", s->seconds);
    } else {
        add(t, "in ");
        add_operation(t, s);
        add(t, " for %.1f s", s->seconds);
        if (c4_standing_is_collective(operation))
            add_missing(t, job, stands, s, p, marks);
        else
            add_peer(t, job, s, p);
        if (operation->state == C4_RECORD_FAILED)
            add(t, "; then %s", c4_status_name(operation->status));
    }
}

/* ---- groups ---- */

static bool same_group(const c4run_job *job, const stand *stands, int i, int j)
{
    const c4_standing *a = &stands[i].at, *b = &stands[j].at;
    const c4_record_operation *x = &a->operation, *y = &b->operation;
    if (!stands[i].file != !stands[j].file || job->children[i].running != job->children[j].running)
        return false;
    return a->has_comm == b->has_comm && a->comm.comm_id == b->comm.comm_id && a->has_operation == b->has_operation &&
           x->state == y->state && x->status == y->status && x->sequence == y->sequence && x->kind == y->kind &&
           x->dtype == y->dtype && x->count == y->count && x->root == y->root;
}

/* The line of child i and of all that stand like it; the longest time counts. */
static void report_group(c4run_job *job, stand *stands, int i, progress *p, bool *marks)
{
    char line[1500], list[LIST_BYTES];
    text t = {line, sizeof line};
    double seconds = stands[i].seconds;
    for (int j = 0; j < job->nchildren; j++) {
        marks[j] = j >= i && !stands[j].told && same_group(job, stands, i, j);
        stands[j].told |= marks[j];
        if (marks[j] && stands[j].seconds > seconds)
            seconds = stands[j].seconds;
    }
    stands[i].seconds = seconds;
    c4run_list_ranks(job, marks, list, sizeof list);
    if (is_stuck(&stands[i]))
        read_progress(job, stands, &stands[i].at.comm, p);
    describe(&t, job, stands, &stands[i], p, marks);
    c4run_say(job, "%s%s: %s", list, job->children[i].running ? "" : " (ended)", line);
}

static bool is_worth_telling(const c4run_job *job, const stand *stands)
{
    bool worth = !job->failed; /* a death is told already; a timeout is not */
    for (int i = 0; i < job->nchildren; i++)
        worth |= is_stuck(&stands[i]);
    return worth;
}

static void report(c4run_job *job, stand *stands, progress *p, bool *marks)
{
    int lines = 0, left = 0;
    for (int i = 0; i < job->nchildren; i++)
        read_stand(&stands[i]);
    for (int i = 0; i < job->nchildren && is_worth_telling(job, stands); i++) {
        if (stands[i].told || (!stands[i].file && !job->children[i].running))
            continue;
        if (lines++ < MAX_LINES)
            report_group(job, stands, i, p, marks);
        else
            left++;
    }
    if (left)
        c4run_say(job, "... and %d more ranks elsewhere in the program", left);
}

void c4run_report_waiting(c4run_job *job)
{
    size_t n = (size_t)job->nchildren;
    c4_record_file **files = calloc(n, sizeof *files);
    stand *stands = calloc(n, sizeof *stands);
    progress p = {.comm_rank = calloc(n, sizeof *p.comm_rank), .sequence = calloc(n, sizeof *p.sequence)};
    bool *marks = calloc(n, sizeof *marks);
    if (!job->options->hosts && files && stands && p.comm_rank && p.sequence && marks &&
        c4run_records_open(job, files) > 0) {
        for (size_t i = 0; i < n; i++)
            stands[i].file = files[i];
        report(job, stands, &p, marks);
        for (size_t i = 0; i < n; i++)
            c4_record_file_close(files[i]);
    }
    free(files);
    free(stands);
    free(p.comm_rank);
    free(p.sequence);
    free(marks);
}
