#include "comm/operator.h"

#include <stdio.h>
#include <string.h>

#include "schedule/kinds.h"

void c4_operator_describe(const c4_comm *comm, int member, char text[C4_ENGINE_WHO_BYTES])
{
    int rank = comm->job_ranks[member];
    const c4_process *process = c4_control_process(comm->job->control, rank);
    char job[32] = "";
    if (rank != member)
        snprintf(job, sizeof job, "rank %d of the job, ", rank);
    snprintf(text, C4_ENGINE_WHO_BYTES, "rank %d (%spid %u on %s)", member, job, process ? process->pid : 0,
             process ? process->host : "?");
}

void c4_operator_write_call(c4_json *json, const c4_call_card *call)
{
    char text[C4_CARD_TEXT_BYTES];
    c4_card_text(call, text);
    c4_json_string(json, "operation", c4_kind_name((c4_kind)call->kind));
    c4_json_uint(json, "sequence", call->sequence);
    if (call->kind != C4_KIND_BARRIER) {
        c4_json_uint(json, "count", call->count);
        c4_json_string(json, "dtype", c4_dtype_name((c4_dtype)call->dtype));
    }
    if (c4_card_reduces(call))
        c4_json_string(json, "op", call->op < C4_NOPS ? c4_op_name((c4_op)call->op) : "premultiplied sum");
    if (c4_card_is_p2p(call))
        c4_json_int(json, "peer", call->root);
    else if (c4_kind_is_rooted((c4_kind)call->kind))
        c4_json_int(json, "root", call->root);
    c4_json_string(json, "text", text);
}

static void write_operation(c4_json *json, const char *name, const c4_view_operation *operation)
{
    c4_json_open(json, name, '{');
    c4_operator_write_call(json, &operation->call);
    c4_json_bool(json, "ended", operation->ended);
    c4_json_real(json, "age_s", operation->age_ms / 1e3);
    c4_json_close(json, '{');
}

/* The call under way that has got no further, and whom it waits for. */
static void write_wait(c4_comm *comm, const c4_engine_view *view, c4_json *json)
{
    char who[C4_ENGINE_WHO_BYTES];
    if (!view->waits)
        return;
    c4_operator_describe(comm, view->waits_for, who);
    c4_json_open(json, "waits", '{');
    c4_json_int(json, "for", view->waits_for);
    c4_json_string(json, "who", who);
    c4_json_string(json, "to", view->receives ? "receive" : "send");
    c4_json_real(json, "stuck_s", view->stuck_ms / 1e3);
    c4_operator_write_call(json, &view->stuck);
    c4_json_close(json, '{');
}

static void write_options(const c4_options *options, c4_json *json)
{
    c4_json_open(json, "options", '[');
    for (size_t i = 0; i < c4_options_count(options); i++) {
        c4_option_view view = c4_options_view(options, i);
        if (strcmp(view.source, "default") == 0)
            continue;
        c4_json_open(json, NULL, '{');
        c4_json_string(json, "name", view.spec->name);
        c4_json_string(json, "value", view.spec->flags & C4_OPTION_SECRET ? "(secret)" : view.value);
        c4_json_string(json, "source", view.source);
        c4_json_close(json, '{');
    }
    c4_json_close(json, '[');
}

static void describe(void *context, c4_control_view topic, c4_json *json)
{
    c4_comm *comm = context;
    c4_engine_view view;
    const char *text = "";
    if (topic == C4_VIEW_PLAN) {
        c4_operator_write_plan(comm, json);
        return;
    }
    c4_engine_view_take(comm->engine, &view);
    c4_engine_status(comm->engine, &text);
    c4_json_string(json, "status", c4_status_name(view.status));
    if (view.status < 0)
        c4_json_string(json, "error", text);
    c4_json_uint(json, "called", view.called);
    c4_json_open(json, "operations", '['); /* under way */
    for (unsigned i = view.nrunning; i-- > 0;)
        write_operation(json, NULL, &view.running[i]);
    c4_json_close(json, '[');
    write_wait(comm, &view, json);
    if (view.has_last)
        write_operation(json, "last", &view.last);
    if (topic == C4_VIEW_STATUS)
        return;
    if (view.has_complete)
        write_operation(json, "last_complete", &view.complete);
    c4_json_int(json, "epoch", comm->epoch);
    write_options(comm->options, json);
}

static void name(void *context, char *text, size_t bytes)
{
    const c4_comm *comm = context;
    snprintf(text, bytes, "%s", comm->name);
}

static void testify(void *context, unsigned char card[C4_CONTROL_CARD_BYTES])
{
    const c4_comm *comm = context;
    c4_engine_testify(comm->engine, card);
}

static void abort_comm(void *context, const char *by, char told[C4_CONTROL_TEXT_MAX_BYTES])
{
    c4_comm *comm = context;
    snprintf(told, C4_CONTROL_TEXT_MAX_BYTES, "communicator \"%s\" was %s", comm->name, by);
    c4_comm_abort_by(comm, by);
}

static const c4_control_operator functions = {
    .name = name, .describe = describe, .testify = testify, .explain = c4_operator_explain, .end = abort_comm};

void c4_comm_serve_operator(c4_comm *comm)
{
    c4_control_serve_operator(comm->attachment, &functions);
}
