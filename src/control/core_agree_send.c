/* What members of an agreement send. */
#include <string.h>

#include "control/core_agree_internal.h"

static void put_proposal(c4_overlay_agree *message, const c4_core_agree *agree, const c4_core_proposal *proposal)
{
    message->differ = proposal->differ;
    message->value = proposal->value;
    message->minimum = proposal->minimum;
    message->lowest = (uint32_t)proposal->lowest;
    message->blob = proposal->blob;
    message->blob_bytes = (uint32_t)proposal->blob_bytes;
    message->dead = proposal->dead;
    message->nmembers = (uint32_t)agree->nmembers;
}

static void post(c4_core *core, const c4_core_agree *agree, int member, c4_overlay_agree *message, bool flooded)
{
    c4_control_header header = {C4_CONTROL_AGREE, 0, (uint32_t)core->spec.rank, agree->comm};
    header.bytes = (uint32_t)c4_overlay_agree_pack(message, core->out);
    c4_core_post(core, &header, core->out, agree->members[member], flooded);
}

void c4_agree_send_plain(c4_core *core, const c4_core_agree *agree, int member, c4_overlay_agree_step step,
                         bool flooded)
{
    c4_overlay_agree message = {
        .step = step, .ballot = (uint32_t)agree->ballot, .accepted = UINT32_MAX, .round = agree->round};
    post(core, agree, member, &message, flooded);
}

void c4_agree_send_state(c4_core *core, const c4_core_agree *agree, bool flooded)
{
    const agree_member *mine = &agree->each[agree->me];
    c4_overlay_agree message = {.step = C4_AGREE_STATE,
                                .ballot = (uint32_t)agree->ballot,
                                .accepted = UINT32_MAX,
                                .tag = mine->tag,
                                .round = agree->round,
                                .value = mine->value,
                                .minimum = mine->minimum};
    if (agree->accepted != NO_BALLOT) {
        put_proposal(&message, agree, &agree->proposal);
        message.accepted = (uint32_t)agree->accepted;
    }
    post(core, agree, agree->ballot, &message, flooded);
}

void c4_agree_send_proposal(c4_core *core, const c4_core_agree *agree, int member, c4_overlay_agree_step step,
                            bool flooded)
{
    c4_overlay_agree message = {
        .step = step, .ballot = (uint32_t)agree->ballot, .accepted = UINT32_MAX, .round = agree->round};
    put_proposal(&message, agree, &agree->proposal);
    post(core, agree, member, &message, flooded);
}

void c4_agree_send_last(c4_core *core, const c4_core_agree *agree, int member, bool flooded)
{
    c4_overlay_agree message = {.step = C4_AGREE_DECIDE, .accepted = UINT32_MAX, .round = agree->round - 1};
    put_proposal(&message, agree, &agree->last);
    post(core, agree, member, &message, flooded);
}

void c4_agree_send_others(c4_core *core, const c4_core_agree *agree, c4_overlay_agree_step step)
{
    for (int i = 0; i < agree->nmembers; i++) {
        if (i == agree->me || c4_agree_is_out(core, agree, i))
            continue;
        if (step == C4_AGREE_COLLECT)
            c4_agree_send_plain(core, agree, i, step, false);
        else
            c4_agree_send_proposal(core, agree, i, step, false);
    }
}

/* What this member owes its coordinator. */
void c4_agree_send_mine(c4_core *core, c4_core_agree *agree, bool flooded)
{
    if (agree->accepted == agree->ballot)
        c4_agree_send_plain(core, agree, agree->ballot, C4_AGREE_ACCEPT, flooded);
    else
        c4_agree_send_state(core, agree, flooded);
}
