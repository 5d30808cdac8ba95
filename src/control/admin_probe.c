/* The probe: every member of every communicator of this rank is asked what it is in, a few at a time, each once, and what
 * follows is told to whoever wants to know. Questions travel like those about calls (core_ask.c), but belong to no
 * communicator: so neither replaces the other. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/admin_internal.h"

enum { PROBE_WAITING, PROBE_ASKED, PROBE_DONE };

void c4_admin_probe_end(c4_admin *admin)
{
    c4_admin_probe *probe = &admin->probe;
    for (size_t i = 0; i < probe->ninquiries; i++) {
        free(probe->inquiries[i].members);
        free(probe->inquiries[i].progress);
    }
    free(probe->inquiries);
    free(probe->asking);
    *probe = (c4_admin_probe){.running = false};
}

/* ---- begin ---- */

/* What this rank knows without asking; WAITING: nothing. */
static unsigned char look(c4_control *control, const c4_control_attachment *attachment, int member,
                          c4_control_testimony *testimony)
{
    int rank = attachment->members[member];
    c4_control_state state = c4_core_rank_state(control->core, rank);
    testimony->answer = C4_ANSWER_UNKNOWN;
    if (rank == control->rank) {
        testimony->answer = C4_ANSWER_SAME;
        attachment->operator->testify(attachment->context, testimony->card);
    } else if (state == C4_CONTROL_DEAD) {
        testimony->answer = C4_ANSWER_DEAD;
    } else if (state == C4_CONTROL_LEFT || c4_core_has_left(control->core, attachment->comm, rank)) {
        testimony->answer = C4_ANSWER_LEFT;
    } else if (state == C4_CONTROL_SILENT) {
        testimony->answer = C4_ANSWER_SILENT;
    } else {
        return PROBE_WAITING;
    }
    return PROBE_DONE;
}

static bool add_inquiry(c4_admin *admin, const c4_control_attachment *attachment)
{
    c4_admin_inquiry *inquiry = &admin->probe.inquiries[admin->probe.ninquiries];
    size_t nmembers = (size_t)attachment->nmembers;
    *inquiry = (c4_admin_inquiry){.comm = attachment->comm, .attachment = attachment, .nmembers = attachment->nmembers};
    inquiry->members = calloc(nmembers, sizeof *inquiry->members);
    inquiry->progress = calloc(nmembers, 1);
    admin->probe.ninquiries++;
    if (!inquiry->members || !inquiry->progress)
        return false;
    for (int i = 0; i < attachment->nmembers; i++)
        inquiry->progress[i] = look(admin->control, attachment, i, &inquiry->members[i]);
    return true;
}

bool c4_admin_probe_start(c4_admin *admin, uint64_t now_ns)
{
    c4_admin_probe *probe = &admin->probe;
    c4_control *control = admin->control;
    size_t count = 0;
    if (probe->running)
        return true;
    for (const c4_control_attachment *one = control->attachments; one; one = one->next)
        count++;
    probe->inquiries = calloc(count + 1, sizeof *probe->inquiries);
    probe->asking = calloc((size_t)control->nranks, 1);
    bool made = probe->inquiries && probe->asking;
    for (const c4_control_attachment *one = control->attachments; one && made; one = one->next)
        if (one->operator)
            made = add_inquiry(admin, one);
    if (!made) {
        c4_admin_probe_end(admin);
        return false;
    }
    probe->running = true;
    probe->end_ns = now_ns + C4_ADMIN_PROBE_MS * 1000000ull;
    return true;
}

/* ---- ask ---- */

static const c4_control_attachment *attachment_of(const c4_control *control, const c4_admin_inquiry *inquiry)
{
    for (const c4_control_attachment *one = control->attachments; one; one = one->next)
        if (one == inquiry->attachment && one->comm == inquiry->comm && one->nmembers == inquiry->nmembers)
            return one;
    return NULL; /* the communicator is gone */
}

/* true: some are still to answer. */
static bool ask_some(c4_admin *admin, c4_admin_inquiry *inquiry, uint64_t now_ns)
{
    static const unsigned char none[C4_CONTROL_CARD_BYTES];
    c4_control *control = admin->control;
    c4_admin_probe *probe = &admin->probe;
    const c4_control_attachment *attachment = attachment_of(control, inquiry);
    bool open = false;
    for (int i = 0; attachment && i < inquiry->nmembers; i++) {
        int rank = attachment->members[i];
        open |= inquiry->progress[i] != PROBE_DONE;
        if (inquiry->progress[i] != PROBE_WAITING || probe->asking[rank] || probe->nasking >= C4_ADMIN_ASKED_AT_ONCE ||
            c4_core_ask(control->core, 0, rank, inquiry->comm, none, now_ns) < 0)
            continue;
        inquiry->progress[i] = PROBE_ASKED;
        inquiry->members[i].asked = true;
        probe->asking[rank] = 1;
        probe->nasking++;
    }
    return open;
}

void c4_admin_answered(c4_control *control, int rank, uint32_t comm, c4_control_answer answer,
                       const unsigned char *reply)
{
    c4_admin_probe *probe = control->admin ? &control->admin->probe : NULL;
    if (!probe || !probe->running || !probe->asking[rank])
        return;
    probe->asking[rank] = 0;
    probe->nasking--;
    for (size_t i = 0; i < probe->ninquiries; i++) {
        c4_admin_inquiry *inquiry = &probe->inquiries[i];
        const c4_control_attachment *attachment = attachment_of(control, inquiry);
        int member = attachment && inquiry->comm == comm ? c4_control_member(attachment, rank) : -1;
        if (member < 0 || inquiry->progress[member] != PROBE_ASKED)
            continue;
        inquiry->progress[member] = PROBE_DONE;
        inquiry->members[member].asked = false;
        inquiry->members[member].answer = answer;
        memcpy(inquiry->members[member].card, reply, C4_CONTROL_CARD_BYTES);
    }
}

c4_control_answer c4_admin_testify(c4_control *control, int asker, uint32_t comm, unsigned char *reply)
{
    for (c4_control_attachment *one = control->attachments; one; one = one->next)
        if (one->comm == comm && one->operator&& c4_control_member(one, asker) >= 0) {
            one->operator->testify(one->context, reply);
            return C4_ANSWER_SAME;
        }
    return c4_core_has_left(control->core, comm, control->rank) ? C4_ANSWER_LEFT : C4_ANSWER_UNKNOWN;
}

/* ---- tell ---- */

/* A rank is asked one thing at a time: when it has not answered about one communicator, it has not been asked about the
 * next, and that says nothing of the communicator. */
static void settle(const c4_admin_probe *probe, const c4_control_attachment *attachment, c4_admin_inquiry *inquiry)
{
    for (int i = 0; i < inquiry->nmembers; i++) {
        if (inquiry->progress[i] != PROBE_WAITING)
            continue;
        inquiry->members[i].asked = probe->asking[attachment->members[i]];
        inquiry->members[i].unasked = !inquiry->members[i].asked;
    }
}

/* Of those that do not speak for themselves, what this rank can see of their processes. */
static void see(c4_control *control, const c4_control_attachment *attachment, c4_admin_inquiry *inquiry)
{
    for (int i = 0; i < inquiry->nmembers; i++) {
        c4_control_testimony *member = &inquiry->members[i];
        const c4_control_peer *peer = &control->peers[attachment->members[i]];
        bool mute = member->answer == C4_ANSWER_SILENT || (member->answer == C4_ANSWER_UNKNOWN && member->asked);
        if (member->answer == C4_ANSWER_DEAD)
            c4_control_describe_end(peer, member->why, sizeof member->why);
        else if (mute)
            c4_control_describe_silence(control, peer, member->why, sizeof member->why);
    }
}

static void tell(c4_admin *admin, c4_admin_client *client)
{
    c4_json json;
    c4_json_init(&json, C4_ADMIN_ANSWER_BYTES);
    c4_admin_begin(admin, C4_ADMIN_PROBE, &json);
    c4_json_open(&json, "communicators", '[');
    for (size_t i = 0; i < admin->probe.ninquiries; i++) {
        c4_admin_inquiry *inquiry = &admin->probe.inquiries[i];
        const c4_control_attachment *attachment = attachment_of(admin->control, inquiry);
        if (!attachment || !c4_admin_selects(&client->request, attachment))
            continue;
        settle(&admin->probe, attachment, inquiry);
        see(admin->control, attachment, inquiry);
        c4_admin_open_comm(admin, attachment, false, &json);
        attachment->operator->explain(attachment->context, inquiry->members, &json);
        c4_json_close(&json, '{');
    }
    c4_json_close(&json, '[');
    c4_json_close(&json, '{');
    c4_admin_finish(admin, client, &json);
}

uint64_t c4_admin_probe_tick(c4_admin *admin, uint64_t now_ns)
{
    c4_admin_probe *probe = &admin->probe;
    bool open = false;
    if (!probe->running)
        return UINT64_MAX;
    for (size_t i = 0; i < probe->ninquiries; i++)
        open |= ask_some(admin, &probe->inquiries[i], now_ns);
    if (open && now_ns < probe->end_ns)
        return now_ns + C4_ADMIN_PROBE_STEP_MS * 1000000ull;
    c4_core_forget_questions(admin->control->core, 0);
    for (int i = 0; i < C4_ADMIN_CLIENTS; i++)
        if (admin->clients[i].fd >= 0 && admin->clients[i].probes)
            tell(admin, &admin->clients[i]);
    c4_admin_probe_end(admin);
    return UINT64_MAX;
}
