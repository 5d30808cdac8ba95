/* "The hang explained": what all members are in, and what follows from it, in sentences.
 *
 * Collectives of a communicator are numbered, and each rank has said how many it has called. So whoever has called fewer than
 * the number of a collective that others are in has not entered it, and is who they wait for; that holds whatever the
 * algorithm, and also when those others have not been waiting for long. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/operator.h"

#define LIST_BYTES 160
#define MAX_LINES  32u /* of a kind, in the summary */

typedef struct member_view {
    c4_control_answer answer; /* SAME: `told` is valid */
    bool asked, unasked;
    c4_call_answer told;
    const char *why; /* no answer: what is seen of its process */
    bool listed;     /* in a line of the summary */
} member_view;

typedef struct probe_view {
    c4_comm *comm;
    int nranks;
    member_view *members;
    const c4_call_card *front; /* the latest collective that somebody is in; NULL: none */
} probe_view;

static bool has_told(const probe_view *v, int rank)
{
    return v->members[rank].answer == C4_ANSWER_SAME;
}

/* Is inside a call. */
static bool is_in(const probe_view *v, int rank)
{
    const c4_call_answer *told = &v->members[rank].told;
    return has_told(v, rank) && told->has_call && !told->ended;
}

static bool is_late(const probe_view *v, int rank)
{
    return v->front && has_told(v, rank) && (int32_t)(v->members[rank].told.called - v->front->sequence) < 0;
}

static double seconds_in(const c4_call_answer *told)
{
    return told->age_ms / 1e3;
}

/* ---- words ---- */

/* "ranks 0-2, 5": those that `pick` takes. */
static int list_ranks(const probe_view *v, bool (*pick)(const probe_view *v, int rank, const void *context),
                      const void *context, char text[LIST_BYTES])
{
    size_t used = 0;
    int count = 0;
    char items[LIST_BYTES] = "";
    for (int rank = 0; rank < v->nranks; rank++) {
        int last = rank;
        if (!pick(v, rank, context))
            continue;
        while (last + 1 < v->nranks && pick(v, last + 1, context))
            last++;
        count += last - rank + 1;
        if (used + 32 < sizeof items)
            used += (size_t)snprintf(items + used, sizeof items - used, last > rank ? "%s%d-%d" : "%s%d",
                                     used ? ", " : "", rank, last);
        else if (items[used - 1] != '.')
            used += (size_t)snprintf(items + used, sizeof items - used, ", ...");
        rank = last;
    }
    snprintf(text, LIST_BYTES, "%s %.150s", count == 1 ? "rank" : "ranks", items);
    return count;
}

static bool pick_same_call(const probe_view *v, int rank, const void *context)
{
    const c4_call_card *call = context, *own = &v->members[rank].told.call;
    return is_in(v, rank) && own->kind == call->kind && own->sequence == call->sequence && own->count == call->count &&
           own->dtype == call->dtype && own->op == call->op && own->root == call->root;
}

static bool pick_unanswered(const probe_view *v, int rank, const void *context)
{
    (void)context;
    return !has_told(v, rank) && v->members[rank].answer != C4_ANSWER_LEFT;
}

static bool pick_late(const probe_view *v, int rank, const void *context)
{
    (void)context;
    return is_late(v, rank);
}

__attribute__((format(printf, 2, 3))) static void say(c4_json *json, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c4_json_string(json, NULL, text);
}

/* ---- sentences ---- */

static void say_who_is_in(probe_view *v, c4_json *json)
{
    unsigned lines = 0;
    for (int rank = 0; rank < v->nranks && lines < MAX_LINES; rank++) {
        const c4_call_card *call = &v->members[rank].told.call;
        char list[LIST_BYTES], text[C4_CARD_TEXT_BYTES];
        double longest = 0;
        if (!is_in(v, rank) || v->members[rank].listed)
            continue;
        int count = list_ranks(v, pick_same_call, call, list);
        for (int other = rank; other < v->nranks; other++)
            if (pick_same_call(v, other, call)) {
                v->members[other].listed = true;
                if (seconds_in(&v->members[other].told) > longest)
                    longest = seconds_in(&v->members[other].told);
            }
        c4_card_text(call, text);
        say(json, "%s %s in %s since %.1f s", list, count == 1 ? "is" : "are", text, longest);
        lines++;
    }
}

static void say_late(const probe_view *v, c4_json *json)
{
    unsigned lines = 0;
    for (int rank = 0; rank < v->nranks && lines < MAX_LINES; rank++) {
        const c4_call_answer *told = &v->members[rank].told;
        char who[C4_ENGINE_WHO_BYTES], front[C4_CARD_TEXT_BYTES], last[C4_CARD_TEXT_BYTES];
        if (!is_late(v, rank))
            continue;
        c4_operator_describe(v->comm, rank, who);
        c4_card_short_text(v->front, front);
        c4_card_text(&told->call, last);
        if (!told->has_call)
            say(json, "%s has not entered %s; it has called nothing yet", who, front);
        else if (told->ended)
            say(json, "%s has not entered %s; its last call was %s, which ended %.1f s ago", who, front, last,
                seconds_in(told));
        else
            say(json, "%s has not entered %s; it is still in %s", who, front, last);
        lines++;
    }
}

static void say_unanswered(const probe_view *v, c4_json *json)
{
    unsigned lines = 0;
    for (int rank = 0; rank < v->nranks && lines < MAX_LINES; rank++) {
        const member_view *m = &v->members[rank];
        char who[C4_ENGINE_WHO_BYTES];
        if (m->answer == C4_ANSWER_SAME)
            continue;
        c4_operator_describe(v->comm, rank, who);
        say(json, "%s %s%s%s", who,
            m->answer == C4_ANSWER_DEAD     ? "is dead"
            : m->answer == C4_ANSWER_SILENT ? "is silent: nothing is heard of it"
            : m->answer == C4_ANSWER_LEFT   ? "has left the communicator"
            : m->asked                      ? "does not answer within 2 s"
            : m->unasked                    ? "could not be asked within 2 s: too many others do not answer"
                                            : "does not know the communicator: not yet created there, or destroyed",
            *m->why ? "; " : "", m->why);
        lines++;
    }
}

/* Where nobody is missing, whoever waits tells more. */
static void say_waits(const probe_view *v, c4_json *json)
{
    unsigned lines = 0;
    for (int rank = 0; rank < v->nranks && lines < MAX_LINES; rank++) {
        const c4_call_answer *told = &v->members[rank].told;
        char who[C4_ENGINE_WHO_BYTES], call[C4_CARD_TEXT_BYTES];
        if (!has_told(v, rank) || !told->waits)
            continue;
        c4_operator_describe(v->comm, rank, who);
        c4_card_short_text(&told->stuck, call);
        say(json, "%s waits in %s to %s rank %d since %.1f s", who, call, told->receives ? "receive from" : "send to",
            told->waits_for, told->stuck_ms / 1e3);
        lines++;
    }
}

static void say_failed(const probe_view *v, c4_json *json)
{
    unsigned lines = 0;
    for (int rank = 0; rank < v->nranks && lines < MAX_LINES; rank++) {
        char who[C4_ENGINE_WHO_BYTES];
        if (!has_told(v, rank) || v->members[rank].told.status == C4_OK)
            continue;
        c4_operator_describe(v->comm, rank, who);
        say(json, "%s has given up the communicator: %s", who, c4_status_text((c4_status)v->members[rank].told.status));
        lines++;
    }
}

static void write_summary(probe_view *v, c4_json *json)
{
    char list[LIST_BYTES];
    bool any = false;
    for (int rank = 0; rank < v->nranks; rank++)
        any |= is_in(v, rank);
    c4_json_open(json, "summary", '[');
    say_who_is_in(v, json);
    say_late(v, json);
    say_unanswered(v, json);
    if (list_ranks(v, pick_late, NULL, list) == 0)
        say_waits(v, json);
    say_failed(v, json);
    if (!any)
        say(json, "no rank that answers is inside a call");
    c4_json_close(json, '[');
}

/* ---- members ---- */

static const char *answer_name(const member_view *m)
{
    switch (m->answer) {
    case C4_ANSWER_SAME:
        return "told";
    case C4_ANSWER_LEFT:
        return "left";
    case C4_ANSWER_DEAD:
        return "dead";
    case C4_ANSWER_SILENT:
        return "silent";
    default:
        return m->asked || m->unasked ? "none" : "unknown";
    }
}

static void write_member(const probe_view *v, int rank, c4_json *json)
{
    const member_view *m = &v->members[rank];
    const c4_comm *comm = v->comm;
    const c4_process *process = c4_control_process(comm->job->control, comm->job_ranks[rank]);
    c4_json_open(json, NULL, '{');
    c4_json_int(json, "rank", rank);
    c4_json_int(json, "job_rank", comm->job_ranks[rank]);
    c4_json_string(json, "host", process ? process->host : NULL);
    c4_json_uint(json, "pid", process ? process->pid : 0);
    c4_json_string(json, "answer", answer_name(m));
    if (*m->why)
        c4_json_string(json, "why", m->why);
    if (has_told(v, rank)) {
        c4_json_string(json, "status", c4_status_name((c4_status)m->told.status));
        c4_json_uint(json, "called", m->told.called);
        c4_json_bool(json, "inside", is_in(v, rank));
        c4_json_bool(json, "entered", !is_late(v, rank));
    }
    if (has_told(v, rank) && m->told.has_call) {
        c4_json_open(json, "call", '{');
        c4_operator_write_call(json, &m->told.call);
        c4_json_real(json, "age_s", seconds_in(&m->told));
        c4_json_close(json, '{');
    }
    if (has_told(v, rank) && m->told.waits) {
        c4_json_int(json, "waits_for", m->told.waits_for);
        c4_json_real(json, "stuck_s", m->told.stuck_ms / 1e3);
    }
    c4_json_close(json, '{');
}

static void write_list(const probe_view *v, const char *name,
                       bool (*pick)(const probe_view *v, int rank, const void *context), c4_json *json)
{
    c4_json_open(json, name, '[');
    for (int rank = 0; rank < v->nranks; rank++)
        if (pick(v, rank, NULL))
            c4_json_int(json, NULL, rank);
    c4_json_close(json, '[');
}

static void read_members(probe_view *v, const c4_control_testimony *members)
{
    for (int rank = 0; rank < v->nranks; rank++) {
        member_view *m = &v->members[rank];
        *m = (member_view){.answer = members[rank].answer,
                           .asked = members[rank].asked,
                           .unasked = members[rank].unasked,
                           .why = members[rank].why};
        if (m->answer == C4_ANSWER_SAME && !c4_engine_read_testimony(v->comm->engine, members[rank].card, &m->told))
            m->answer = C4_ANSWER_UNKNOWN;
        if (is_in(v, rank) && !c4_card_is_p2p(&m->told.call) &&
            (!v->front || (int32_t)(m->told.call.sequence - v->front->sequence) > 0))
            v->front = &m->told.call;
    }
}

void c4_operator_explain(void *context, const c4_control_testimony *members, c4_json *json)
{
    c4_comm *comm = context;
    probe_view v = {.comm = comm, .nranks = comm->nranks};
    v.members = calloc((size_t)comm->nranks, sizeof *v.members);
    if (!v.members) {
        c4_json_string(json, "error", "no memory");
        return;
    }
    read_members(&v, members);
    write_list(&v, "not_entered", pick_late, json);
    write_list(&v, "no_answer", pick_unanswered, json);
    c4_json_open(json, "ranks", '[');
    for (int rank = 0; rank < v.nranks; rank++)
        write_member(&v, rank, json);
    c4_json_close(json, '[');
    write_summary(&v, json);
    free(v.members);
}
