/* What communicators ask of one another: states of members, agreements, questions. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "control/control_internal.h"

c4_status c4_control_start(c4_bootstrap *bootstrap, c4_control **control)
{
    static const c4_control_spec defaults = {.heartbeat_ms = 5000, .silent_ms = 30000};
    return c4_control_start_with(bootstrap, &defaults, NULL, control);
}

c4_control_state c4_control_member_state(c4_control_attachment *attachment, int member)
{
    c4_control *control = attachment->control;
    if (member < 0 || member >= attachment->nmembers)
        return C4_CONTROL_DEAD;
    int rank = attachment->members[member];
    pthread_mutex_lock(&control->lock);
    c4_control_state state = c4_core_rank_state(control->core, rank);
    if (state != C4_CONTROL_DEAD && c4_core_has_left(control->core, attachment->comm, rank))
        state = C4_CONTROL_LEFT;
    pthread_mutex_unlock(&control->lock);
    return state;
}

/* ---- questions ---- */

void c4_control_answer_with(c4_control_attachment *attachment, c4_control_question_fn on_question,
                            c4_control_reply_fn on_reply)
{
    c4_control *control = attachment->control;
    pthread_mutex_lock(&control->lock);
    attachment->on_question = on_question;
    attachment->on_reply = on_reply;
    pthread_mutex_unlock(&control->lock);
}

c4_status c4_control_ask(c4_control_attachment *attachment, int member, uint64_t sequence,
                         const unsigned char card[C4_CONTROL_CARD_BYTES])
{
    c4_control *control = attachment->control;
    if (member < 0 || member >= attachment->nmembers || attachment->members[member] == control->rank)
        return C4_ERR_ARGUMENT;
    pthread_mutex_lock(&control->lock);
    c4_status status =
        c4_core_ask(control->core, attachment->comm, attachment->members[member], sequence, card, c4_now_ns());
    pthread_mutex_unlock(&control->lock);
    if (status == C4_OK)
        c4_control_wake(control);
    return status;
}

/* ---- agreement ---- */

static c4_status check_proposal(const c4_control_attachment *attachment, const c4_control_proposal *proposal)
{
    if (proposal->blob_bytes > C4_CONTROL_AGREE_BLOB_BYTES || proposal->timeout_ms <= 0 || proposal->nexclude < 0)
        return c4_fail(C4_ERR_ARGUMENT, "agreement with a blob of %zu bytes, %d ms, %d excluded", proposal->blob_bytes,
                       proposal->timeout_ms, proposal->nexclude);
    for (int i = 0; i < proposal->nexclude; i++)
        if (proposal->exclude[i] < 0 || proposal->exclude[i] >= attachment->nmembers)
            return c4_fail(C4_ERR_ROOT, "excluded rank %d of %d", proposal->exclude[i], attachment->nmembers);
    return C4_OK;
}

static c4_status fail_late(const c4_control_attachment *attachment, const c4_control_proposal *proposal)
{
    const c4_control *control = attachment->control;
    bool leads;
    int member = c4_core_agree_awaited(control->core, attachment->agree, &leads);
    if (member < 0)
        return c4_fail(C4_ERR_TIMEOUT, "no agreement within %d ms", proposal->timeout_ms);
    int rank = attachment->members[member];
    const c4_process *process = &control->peers[rank].process;
    bool silent = c4_core_rank_state(control->core, rank) == C4_CONTROL_SILENT;
    return c4_fail(C4_ERR_TIMEOUT, "no agreement within %d ms: member %d, rank %d (pid %u on %s), %s",
                   proposal->timeout_ms, member, rank, process->pid, process->host,
                   silent  ? "is silent"
                   : leads ? "has not called"
                           : "leads the agreement and has not heard from all");
}

/* The control plane has logged it when it heard of it, and the caller knows what this rank takes no part in. */
static c4_status is_out(const c4_control *control)
{
    const char *told = c4_core_own_death(control->core);
    c4_fail_keep(told ? told : "the other ranks have excluded this one");
    return C4_ERR_PEER_DEAD;
}

/* Until it is decided, or something is in the way. */
static c4_status await(c4_control_attachment *attachment, const c4_control_proposal *proposal)
{
    const uint64_t slice_ns = 20000000u;
    c4_control *control = attachment->control;
    uint64_t end_ns = c4_now_ns() + (uint64_t)proposal->timeout_ms * 1000000u;
    while (!c4_core_agree_decision(attachment->agree)) {
        uint64_t now_ns = c4_now_ns();
        if (c4_core_agree_is_out(control->core, attachment->agree))
            return is_out(control);
        if (proposal->abort_flag && atomic_load(proposal->abort_flag))
            return c4_fail(C4_ERR_ABORTED, "agreement");
        if (now_ns >= end_ns)
            return fail_late(attachment, proposal);
        uint64_t until_ns = proposal->abort_flag && now_ns + slice_ns < end_ns ? now_ns + slice_ns : end_ns;
        struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
        pthread_cond_timedwait(&attachment->agreed, &control->lock, &until);
    }
    return C4_OK;
}

static c4_status read_decision(const c4_control_attachment *attachment, c4_control_agreement *agreement)
{
    const c4_core_proposal *decision = c4_core_agree_decision(attachment->agree);
    if (decision->differ)
        return c4_fail(C4_ERR_MISMATCH, "members agree about different things: not all made the same call");
    agreement->value = decision->value;
    agreement->minimum = decision->minimum;
    agreement->lowest = decision->lowest;
    agreement->nlive = 0;
    agreement->blob_bytes = decision->blob_bytes;
    memcpy(agreement->blob, decision->blob, sizeof agreement->blob);
    for (int i = 0; i < attachment->nmembers; i++) {
        agreement->dead[i] = decision->dead[i / 8] >> (i % 8) & 1;
        agreement->nlive += !agreement->dead[i];
    }
    return C4_OK;
}

static c4_status agree(c4_control_attachment *attachment, const c4_control_proposal *proposal,
                       c4_control_agreement *agreement)
{
    c4_control *control = attachment->control;
    if (!attachment->agree) {
        if (c4_core_agree_create(control->core, attachment->comm, attachment->members, attachment->nmembers,
                                 &attachment->agree) < 0)
            return c4_fail(C4_ERR_MEMORY, "agreement of %d ranks", attachment->nmembers);
        c4_core_agree_set_context(attachment->agree, attachment);
    }
    c4_core_agree_begin(control->core, attachment->agree, proposal, c4_now_ns());
    c4_control_wake(control); /* it has repeats to send */
    C4_TRY(await(attachment, proposal));
    c4_core_agree_taken(attachment->agree);
    return read_decision(attachment, agreement);
}

c4_status c4_control_agree(c4_control_attachment *attachment, const c4_control_proposal *proposal,
                           c4_control_agreement *agreement)
{
    c4_control *control = attachment->control;
    C4_TRY(check_proposal(attachment, proposal));
    pthread_mutex_lock(&control->lock);
    bool busy = attachment->agreeing;
    c4_status status = C4_OK;
    if (!busy) {
        attachment->agreeing = true;
        status = agree(attachment, proposal, agreement);
        attachment->agreeing = false;
    }
    pthread_mutex_unlock(&control->lock);
    return busy ? c4_fail(C4_ERR_CONCURRENT_USE, "two agreements of one communicator at once") : status;
}
