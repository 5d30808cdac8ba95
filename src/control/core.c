#include "control/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "control/core_internal.h"

/* ---- life ---- */

c4_status c4_core_create(const c4_core_spec *spec, uint64_t now_ns, c4_core **core)
{
    c4_core *made = calloc(1, sizeof *made);
    if (!made)
        return C4_ERR_MEMORY;
    size_t nranks = (size_t)spec->nranks;
    made->spec = *spec;
    made->now_ns = made->ticked_ns = now_ns;
    made->watch_due_ns = C4_CORE_NEVER_NS;
    made->peers = calloc(nranks, sizeof *made->peers);
    made->links = calloc(nranks, sizeof *made->links);
    made->deaths = calloc(nranks, sizeof(c4_control_fault *));
    made->out = malloc(c4_overlay_max_bytes((uint32_t)nranks));
    made->bits = malloc(nranks / 8 + 1);
    if (!made->peers || !made->links || !made->deaths || !made->out || !made->bits || c4_core_leaves_init(made) < 0) {
        c4_core_destroy(made);
        return C4_ERR_MEMORY;
    }
    *core = made;
    return C4_OK;
}

void c4_core_destroy(c4_core *core)
{
    if (!core)
        return;
    c4_core_leaves_fini(core);
    for (int rank = 0; core->deaths && rank < core->spec.nranks; rank++)
        free(core->deaths[rank]);
    free(core->deaths);
    free(core->peers);
    free(core->links);
    free(core->out);
    free(core->bits);
    free(core);
}

void c4_core_say(c4_core *core, bool error, const char *format, ...)
{
    char text[C4_CONTROL_TEXT_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    core->spec.ops->say(core->spec.shell, error, text);
}

/* ---- time ---- */

static void postpone(const c4_core *core, uint64_t *past_ns, uint64_t slept_ns)
{
    *past_ns = *past_ns + slept_ns < core->now_ns ? *past_ns + slept_ns : core->now_ns;
}

/* This rank slept (stopped, its machine suspended or overloaded) for `slept_ns`: nobody else can be blamed for it. */
static void forgive(c4_core *core, uint64_t slept_ns)
{
    for (int i = 0; i < core->nlinks; i++)
        postpone(core, &core->peers[core->links[i]].heard_ns, slept_ns);
    for (int rank = 0; rank < core->spec.nranks; rank++) {
        c4_core_peer *peer = &core->peers[rank];
        if (peer->verdict != C4_VERDICT_NONE && !peer->ended)
            peer->verdict_ns += slept_ns;
        if (peer->verdict == C4_VERDICT_SILENT)
            postpone(core, &peer->suspected_ns, slept_ns);
        if (peer->silent_since_ns)
            postpone(core, &peer->silent_since_ns, slept_ns);
    }
    c4_core_agree_forgive(core, slept_ns);
}

static void set_time(c4_core *core, uint64_t now_ns)
{
    core->now_ns = now_ns;
    if (now_ns - core->ticked_ns <= core->spec.heartbeat_ns / 2)
        return;
    forgive(core, now_ns - core->ticked_ns);
    core->ticked_ns = now_ns;
}

/* ---- events ---- */

void c4_core_link_up(c4_core *core, int neighbour, uint64_t now_ns)
{
    c4_core_peer *peer = &core->peers[neighbour];
    core->now_ns = now_ns;
    if (peer->linked)
        return;
    bool again = peer->broken;
    if (!again)
        core->links[core->nlinks++] = neighbour;
    peer->linked = true;
    peer->broken = false;
    peer->heard_ns = peer->sent_ns = now_ns;
    core->watch_due_ns = now_ns;
    if (again)
        c4_core_mend(core, neighbour);
}

void c4_core_link_down(c4_core *core, int neighbour, c4_core_loss loss, bool has_pid, uint64_t now_ns)
{
    c4_core_peer *peer = &core->peers[neighbour];
    set_time(core, now_ns);
    peer->lossy = loss == C4_LOSS_BREAK;
    if (!peer->linked)
        return;
    peer->linked = false;
    peer->broken = true;
    peer->has_pid = has_pid;
    if (!c4_core_has_overlay(core))
        c4_core_hasten_ended(core);
    if (c4_core_is_gone(core, neighbour) || core->leaving || core->peers[core->spec.rank].dead)
        return;
    if (peer->ended)
        c4_core_declare_ended(core, neighbour);
    else if (has_pid)
        c4_core_plan_verdict(core, neighbour, C4_VERDICT_SUSPECT, now_ns + C4_CORE_EXIT_GRACE_MS * C4_CORE_MS);
    else
        c4_core_suspect(core, neighbour, true, C4_VERDICT_DEAD, now_ns + C4_CORE_LINK_GRACE_MS * C4_CORE_MS);
}

/* The goodbye of a process that is not known to have been killed may come round; but who had a link, of which only the end
 * was lost, shall not wait long for one of a process that is not known to have ended well either. */
static int goodbye_grace_ms(const c4_core_peer *peer, c4_core_end end)
{
    if (end == C4_END_KILLED)
        return C4_CORE_GOODBYE_GRACE_MS;
    return end != C4_END_CLEAN && (peer->lossy || peer->linked) ? C4_CORE_FAILED_GRACE_MS : C4_CORE_EXITED_GRACE_MS;
}

/* Who had a link that ended just now would have had the goodbye before: the verdict is due. A link that broke, or is open
 * though a process that ends closes all, may have lost it. So those, and who has none, give it time to come round; with no
 * neighbour left it cannot come, and the exit status must do. */
void c4_core_process_ended(c4_core *core, int rank, c4_core_end end, uint64_t now_ns)
{
    c4_core_peer *peer = &core->peers[rank];
    set_time(core, now_ns);
    peer->ended = true;
    if (c4_core_is_gone(core, rank))
        return;
    int grace_ms = C4_CORE_GOODBYE_GRACE_MS;
    if (peer->verdict == C4_VERDICT_SUSPECT && !peer->linked && !peer->lossy) {
        c4_core_declare_ended(core, rank);
        return;
    }
    peer->verdict = C4_VERDICT_NONE; /* what the link has told is worth less than the end of the process */
    if (c4_core_has_overlay(core)) {
        grace_ms = goodbye_grace_ms(peer, end);
    } else if (end == C4_END_CLEAN) {
        c4_core_learn_leave(core, 0, rank);
        return;
    }
    c4_core_plan_verdict(core, rank, C4_VERDICT_DEAD, now_ns + (uint64_t)grace_ms * C4_CORE_MS);
}

static c4_status on_death(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload)
{
    c4_control_fault fault;
    C4_TRY(c4_control_fault_unpack(payload, header->bytes, &fault));
    c4_core_declare_dead(core, (int)header->rank, from, &fault);
    return C4_OK;
}

static c4_status on_rumor(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload)
{
    c4_overlay_rumor rumor;
    C4_TRY(c4_overlay_rumor_unpack(payload, header->bytes, &rumor));
    c4_core_on_rumor(core, from, (int)header->rank, &rumor);
    return C4_OK;
}

static c4_status on_goodbye(c4_core *core, const c4_control_header *header, const unsigned char *payload)
{
    c4_overlay_leavers leavers;
    C4_TRY(c4_overlay_leavers_unpack(payload, header->bytes, (uint32_t)core->spec.nranks, &leavers));
    c4_core_on_leavers(core, header->value, &leavers);
    return C4_OK;
}

static c4_status on_report(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload)
{
    c4_overlay_envelope envelope;
    c4_control_fault fault;
    C4_TRY(c4_overlay_envelope_unpack(payload, header->bytes, (uint32_t)core->spec.nranks, &envelope));
    C4_TRY(c4_control_fault_unpack(payload + C4_OVERLAY_ENVELOPE_BYTES, header->bytes - C4_OVERLAY_ENVELOPE_BYTES,
                                   &fault));
    if (!c4_core_take(core, from, header, payload, &envelope))
        return C4_OK;
    c4_core_keep_report(core, header, payload);
    core->spec.ops->reported(core->spec.shell, header->value, (int)header->rank, &fault);
    return C4_OK;
}

c4_status c4_core_message(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload,
                          uint64_t now_ns)
{
    set_time(core, now_ns);
    c4_core_heard(core, from);
    if (header->kind == C4_CONTROL_HEARTBEAT)
        return C4_OK;
    if (header->rank >= (uint32_t)core->spec.nranks) /* "none" */
        return C4_ERR_PROTOCOL;
    switch (header->kind) {
    case C4_CONTROL_GOODBYE:
        return on_goodbye(core, header, payload);
    case C4_CONTROL_DEATH:
        return on_death(core, from, header, payload);
    case C4_CONTROL_RUMOR:
        return on_rumor(core, from, header, payload);
    case C4_CONTROL_REPORT:
        return on_report(core, from, header, payload);
    case C4_CONTROL_QUESTION:
    case C4_CONTROL_ANSWER:
        return c4_core_on_card(core, from, header, payload);
    case C4_CONTROL_AGREE:
        return c4_core_on_agree(core, from, header, payload);
    default:
        return C4_ERR_PROTOCOL;
    }
}

/* ---- asked by the shell ---- */

uint64_t c4_core_tick(c4_core *core, uint64_t now_ns)
{
    set_time(core, now_ns);
    core->ticked_ns = now_ns;
    const uint64_t due_ns[] = {c4_core_watch_tick(core), c4_core_leaves_tick(core), c4_core_questions_tick(core),
                               c4_core_agree_tick(core)};
    uint64_t next_ns = C4_CORE_NEVER_NS;
    for (size_t i = 0; i < sizeof due_ns / sizeof due_ns[0]; i++)
        next_ns = due_ns[i] < next_ns ? due_ns[i] : next_ns;
    /* A longer pause would be taken for this rank's own sleep: a rank without links would postpone its verdicts for ever. */
    uint64_t latest_ns = now_ns + core->spec.heartbeat_ns / 4;
    return next_ns != C4_CORE_NEVER_NS && next_ns > latest_ns ? latest_ns : next_ns;
}

void c4_core_report(c4_core *core, uint32_t comm, const c4_control_fault *fault)
{
    c4_control_header header = {C4_CONTROL_REPORT, 0, (uint32_t)core->spec.rank, comm};
    size_t bytes = c4_control_fault_pack(fault, core->out + C4_OVERLAY_ENVELOPE_BYTES);
    header.bytes = (uint32_t)(C4_OVERLAY_ENVELOPE_BYTES + bytes);
    c4_core_post(core, &header, core->out, -1, true);
    c4_core_keep_report(core, &header, core->out);
}

c4_control_state c4_core_rank_state(const c4_core *core, int rank)
{
    const c4_core_peer *peer = &core->peers[rank];
    if (peer->dead)
        return C4_CONTROL_DEAD;
    if (peer->left)
        return C4_CONTROL_LEFT;
    return peer->silent_since_ns ? C4_CONTROL_SILENT : C4_CONTROL_ALIVE;
}

uint64_t c4_core_silent_since_ns(const c4_core *core, int rank)
{
    return core->peers[rank].silent_since_ns;
}

const char *c4_core_own_death(const c4_core *core)
{
    const c4_control_fault *told = core->deaths[core->spec.rank];
    return told ? told->text : NULL;
}
