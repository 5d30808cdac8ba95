/* What this rank knows, as JSON; and the abort. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/admin_internal.h"
#include "wire/net_address.h"

/* ---- every answer ---- */

void c4_admin_begin(const c4_admin *admin, c4_admin_command command, c4_json *json)
{
    const c4_control *control = admin->control;
    const c4_process *self = &control->peers[control->rank].process;
    c4_json_open(json, NULL, '{');
    c4_json_int(json, "schema_version", C4_ADMIN_VERSION);
    c4_json_string(json, "command", c4_admin_command_name(command));
    c4_json_format(json, "version", "%d.%d.%d", C4_VERSION_MAJOR, C4_VERSION_MINOR, C4_VERSION_PATCH);
    c4_json_format(json, "job", "%016llx", (unsigned long long)admin->job_id);
    c4_json_int(json, "rank", control->rank);
    c4_json_int(json, "nranks", control->nranks);
    c4_json_string(json, "host", self->host);
    c4_json_uint(json, "pid", self->pid);
    c4_json_uint(json, "uid", self->uid);
    c4_json_string(json, "program", program_invocation_short_name);
    c4_json_real(json, "uptime_s", (double)(c4_now_ns() - admin->started_ns) / 1e9);
}

void c4_admin_error(c4_json *json, const char *format, ...)
{
    char text[C4_ADMIN_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c4_json_open(json, NULL, '{');
    c4_json_int(json, "schema_version", C4_ADMIN_VERSION);
    c4_json_string(json, "error", text);
    c4_json_close(json, '{');
}

/* ---- ranks ---- */

const char *c4_admin_state_name(c4_control_state state)
{
    static const char *const names[] = {[C4_CONTROL_ALIVE] = "alive",
                                        [C4_CONTROL_SILENT] = "silent",
                                        [C4_CONTROL_DEAD] = "dead",
                                        [C4_CONTROL_LEFT] = "left"};
    return names[state];
}

static void write_link(const c4_control_peer *peer, c4_json *json)
{
    struct sockaddr_storage name;
    socklen_t bytes = sizeof name;
    c4_net_address address;
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    bool known = peer->link.fd >= 0 && getpeername(peer->link.fd, (struct sockaddr *)&name, &bytes) == 0 &&
                 c4_net_address_from_sockaddr((struct sockaddr *)&name, &address);
    c4_json_bool(json, "linked", peer->link.fd >= 0);
    if (known)
        c4_json_string(json, "address", c4_net_address_format(&address, text));
}

static void write_ranks(const c4_control *control, c4_json *json)
{
    uint64_t now_ns = c4_now_ns();
    c4_json_open(json, "ranks", '[');
    for (int rank = 0; rank < control->nranks; rank++) {
        const c4_control_peer *peer = &control->peers[rank];
        c4_control_state state = c4_core_rank_state(control->core, rank);
        uint64_t since_ns = c4_core_silent_since_ns(control->core, rank);
        c4_json_open(json, NULL, '{');
        c4_json_int(json, "rank", rank);
        c4_json_string(json, "host", peer->process.host);
        c4_json_uint(json, "pid", peer->process.pid);
        c4_json_string(json, "state", c4_admin_state_name(state));
        if (state == C4_CONTROL_SILENT && since_ns && now_ns > since_ns)
            c4_json_real(json, "silent_s", (double)(now_ns - since_ns) / 1e9);
        if (rank != control->rank)
            write_link(peer, json);
        c4_json_close(json, '{');
    }
    c4_json_close(json, '[');
}

/* ---- communicators ---- */

static void name_of(const c4_control_attachment *attachment, char name[C4_ADMIN_COMM_BYTES])
{
    *name = '\0';
    if (attachment->operator)
        attachment->operator->name(attachment->context, name, C4_ADMIN_COMM_BYTES);
}

bool c4_admin_selects(const c4_admin_request *request, const c4_control_attachment *attachment)
{
    char name[C4_ADMIN_COMM_BYTES], id[16];
    if (!attachment->operator)
        return false;
    name_of(attachment, name);
    snprintf(id, sizeof id, "%08x", attachment->comm);
    return !*request->comm || strcmp(request->comm, name) == 0 || strcmp(request->comm, id) == 0;
}

bool c4_admin_check_selection(const c4_admin *admin, const c4_admin_request *request, c4_json *json)
{
    char there[160] = "";
    size_t used = 0;
    const c4_control *control = admin->control;
    for (const c4_control_attachment *one = control->attachments; one; one = one->next) {
        char name[C4_ADMIN_COMM_BYTES];
        if (c4_admin_selects(request, one))
            return true;
        name_of(one, name);
        if (one->operator&& used<sizeof there)
            used += (size_t)snprintf(there + used, sizeof there - used, "%s\"%s\" (%08x)", used ? ", " : "", name,
                                     one->comm);
    }
    if (!*request->comm)
        return true;
    c4_admin_error(json, "rank %d has no communicator \"%s\"; it has %s%s", control->rank, request->comm,
                   used ? there : "none", used >= sizeof there ? "..." : "");
    return false;
}

void c4_admin_open_comm(const c4_admin *admin, const c4_control_attachment *attachment, bool members, c4_json *json)
{
    char name[C4_ADMIN_COMM_BYTES];
    name_of(attachment, name);
    c4_json_open(json, NULL, '{');
    c4_json_format(json, "id", "%08x", attachment->comm);
    c4_json_string(json, "name", name);
    c4_json_int(json, "rank", c4_control_member(attachment, admin->control->rank));
    c4_json_int(json, "nranks", attachment->nmembers);
    if (!members)
        return;
    c4_json_open(json, "members", '['); /* ranks of the job */
    for (int i = 0; i < attachment->nmembers; i++)
        c4_json_int(json, NULL, attachment->members[i]);
    c4_json_close(json, '[');
}

static void write_comms(const c4_admin *admin, const c4_admin_request *request, c4_json *json)
{
    c4_control_view view = request->command == C4_ADMIN_STATUS ? C4_VIEW_STATUS
                           : request->command == C4_ADMIN_DUMP ? C4_VIEW_DUMP
                                                               : C4_VIEW_PLAN;
    c4_json_open(json, "communicators", '[');
    for (const c4_control_attachment *one = admin->control->attachments; one; one = one->next) {
        if (!c4_admin_selects(request, one))
            continue;
        c4_admin_open_comm(admin, one, view != C4_VIEW_STATUS, json);
        one->operator->describe(one->context, view, json);
        c4_json_close(json, '{');
    }
    c4_json_close(json, '[');
}

/* ---- abort ---- */

void c4_admin_abort_all(c4_control *control, const char *by)
{
    char told[C4_CONTROL_TEXT_MAX_BYTES];
    control->nended++;
    snprintf(control->ended_by, sizeof control->ended_by, "%s", by);
    for (c4_control_attachment *one = control->attachments; one; one = one->next)
        if (one->operator)
            one->operator->end(one->context, by, told);
}

/* All communicators: every rank of the job ends its own, also those that this rank is no member of. */
static void abort_selected(c4_admin *admin, const c4_admin_request *request, const char *by)
{
    c4_control *control = admin->control;
    c4_control_fault fault = {.status = C4_ERR_ABORTED};
    if (!*request->comm) {
        snprintf(fault.text, sizeof fault.text, "%s", by);
        c4_core_report(control->core, 0, &fault);
        c4_admin_abort_all(control, by);
        return;
    }
    for (c4_control_attachment *one = control->attachments; one; one = one->next) {
        if (!c4_admin_selects(request, one))
            continue;
        one->operator->end(one->context, by, fault.text);
        c4_core_report(control->core, one->comm, &fault);
    }
}

static void operator_text(const c4_admin *admin, const c4_admin_client *client, char by[C4_CONTROL_TEXT_MAX_BYTES])
{
    const char *reason = *client->request.reason ? client->request.reason : "no reason given";
    snprintf(by, C4_CONTROL_TEXT_MAX_BYTES, "aborted by operator (uid %ld) through the admin socket of rank %d: %s",
             (long)client->uid, admin->control->rank, reason);
}

static void answer_abort(c4_admin *admin, const c4_admin_client *client, c4_json *json)
{
    const c4_admin_request *request = &client->request;
    char by[C4_CONTROL_TEXT_MAX_BYTES];
    operator_text(admin, client, by);
    c4_admin_begin(admin, C4_ADMIN_ABORT, json);
    c4_json_string(json, "aborted", *request->comm ? request->comm : "all communicators");
    c4_json_string(json, "text", by);
    c4_json_open(json, "communicators", '[');
    for (const c4_control_attachment *one = admin->control->attachments; one; one = one->next) {
        if (!c4_admin_selects(request, one))
            continue;
        c4_admin_open_comm(admin, one, false, json);
        c4_json_close(json, '{');
    }
    c4_json_close(json, '[');
    c4_json_close(json, '{');
}

void c4_admin_abort(c4_admin *admin, const c4_admin_client *client)
{
    const c4_admin_request *request = &client->request;
    char by[C4_CONTROL_TEXT_MAX_BYTES];
    operator_text(admin, client, by);
    c4_log(C4_LOG_WARN, "admin socket: process %ld of user %ld aborts %s%s%s: %s", (long)client->pid, (long)client->uid,
           *request->comm ? "communicator \"" : "all communicators of the job", request->comm,
           *request->comm ? "\"" : "", *request->reason ? request->reason : "no reason given");
    abort_selected(admin, request, by);
}

bool c4_admin_answer(c4_admin *admin, const c4_admin_client *client, c4_json *json)
{
    const c4_admin_request *request = &client->request;
    if (!c4_admin_check_selection(admin, request, json))
        return false;
    if (request->command == C4_ADMIN_ABORT) {
        answer_abort(admin, client, json);
        return true;
    }
    c4_admin_begin(admin, request->command, json);
    if (request->command == C4_ADMIN_DUMP)
        write_ranks(admin->control, json);
    write_comms(admin, request, json);
    c4_json_close(json, '{');
    return false;
}
