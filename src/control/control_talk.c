/* What communicators ask of one another: states of members, agreements, questions. */
#include "base/status.h"
#include "control/control_internal.h"

c4_control_state c4_control_member_state(c4_control_attachment *attachment, int member)
{
    c4_control *control = attachment->control;
    if (member < 0 || member >= attachment->nmembers)
        return C4_CONTROL_DEAD;
    pthread_mutex_lock(&control->lock);
    const c4_control_peer *peer = &control->peers[attachment->members[member]];
    c4_control_state state = peer->dead ? C4_CONTROL_DEAD : peer->left ? C4_CONTROL_LEFT : C4_CONTROL_ALIVE;
    pthread_mutex_unlock(&control->lock);
    return state;
}

c4_status c4_control_start(c4_bootstrap *bootstrap, c4_control **control)
{
    static const c4_control_spec defaults = {.heartbeat_ms = 5000, .silent_ms = 30000};
    return c4_control_start_with(bootstrap, &defaults, control);
}

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
    (void)attachment, (void)member, (void)sequence, (void)card;
    return C4_ERR_UNSUPPORTED;
}

c4_status c4_control_agree(c4_control_attachment *attachment, const c4_control_proposal *proposal,
                           c4_control_agreement *agreement)
{
    (void)attachment, (void)proposal, (void)agreement;
    return c4_fail(C4_ERR_UNSUPPORTED, "agreement");
}
