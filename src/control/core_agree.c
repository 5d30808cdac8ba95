/* Agreement: the live members of a communicator decide one proposal, whoever dies meanwhile.
 *
 * The idea: a rotating coordinator. It is the lowest member not known to be dead, gone or excluded; the ballot is its
 * index, and only rises, as the dead stay dead.
 *   1. Everybody sends its STATE to the coordinator: what it contributes, or the proposal that it accepted from an
 *      earlier coordinator. From then on it accepts no lower ballot.
 *   2. Having heard from all members not known to be dead, the coordinator proposes: the accepted proposal of the highest
 *      ballot if there is one, else a new one made of all contributions.
 *   3. Members accept; when all that are not known to be dead have, the proposal is decided and everybody is told.
 * A member that dies is not waited for; when the coordinator dies, 1 begins anew with the next.
 *
 * Why all that decide decide the same: a decided proposal had been accepted by every member that was not dead, so every
 * later coordinator hears of it from each member it listens to, and highest ballots carry it on. It needs a detector of
 * deaths that does not err: "dead" is final here, and a rank that is called dead learns it and decides nothing.
 *
 * Messages: 4 per member and round. Members repeat theirs until they know the decision, and so do coordinators theirs to
 * those they wait for: every live rank answers them, also one that has not called. So whoever is not heard at all for
 * silent_ns is given up, even when this rank has no neighbour left that could say that it is silent.
 * Compare: Hursey et al., "A log-scaling fault tolerant agreement algorithm for a fault tolerant MPI" (2011). */
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "control/core_agree_internal.h"

enum { RETRY_FIRST_MS = 200, RETRY_MAX_MS = 2000 };

static void advance(c4_core *core, c4_core_agree *agree);

/* ---- life ---- */

c4_status c4_core_agree_create(c4_core *core, uint32_t comm, const int *members, int nmembers, c4_core_agree **agree)
{
    c4_core_agree *made = calloc(1, sizeof *made);
    if (!made)
        return C4_ERR_MEMORY;
    *made = (c4_core_agree){.comm = comm, .nmembers = nmembers, .members = members, .me = -1, .ballot = NO_BALLOT};
    made->each = calloc((size_t)nmembers, sizeof *made->each);
    made->proposal.dead = calloc(c4_agree_bits_bytes(made), 1);
    made->last.dead = calloc(c4_agree_bits_bytes(made), 1);
    if (!made->each || !made->proposal.dead || !made->last.dead) {
        c4_core_agree_destroy(core, made);
        return C4_ERR_MEMORY;
    }
    for (int i = 0; i < nmembers; i++) {
        made->each[i].gone = c4_core_has_left(core, comm, members[i]);
        if (members[i] == core->spec.rank)
            made->me = i;
    }
    made->next = core->agrees;
    core->agrees = made;
    *agree = made;
    return C4_OK;
}

void c4_core_agree_destroy(c4_core *core, c4_core_agree *agree)
{
    if (!agree)
        return;
    c4_core_agree **at = &core->agrees;
    while (*at && *at != agree)
        at = &(*at)->next;
    if (*at)
        *at = agree->next;
    free(agree->each);
    free(agree->proposal.dead);
    free(agree->last.dead);
    free(agree);
}

bool c4_core_agree_is_out(const c4_core *core, const c4_core_agree *agree)
{
    return c4_agree_is_out(core, agree, agree->me);
}

const c4_core_proposal *c4_core_agree_decision(const c4_core_agree *agree)
{
    return agree->phase == PHASE_DECIDED ? &agree->proposal : NULL;
}

void c4_core_agree_taken(c4_core_agree *agree)
{
    agree->wanted = false;
}

void *c4_core_agree_context(const c4_core_agree *agree)
{
    return agree->context;
}

void c4_core_agree_set_context(c4_core_agree *agree, void *context)
{
    agree->context = context;
}

static int coordinator_of(const c4_core *core, const c4_core_agree *agree)
{
    for (int i = 0; i < agree->nmembers; i++)
        if (!c4_agree_is_out(core, agree, i))
            return i;
    return NO_BALLOT;
}

static int member_of(const c4_core_agree *agree, int rank)
{
    for (int i = 0; i < agree->nmembers; i++)
        if (agree->members[i] == rank)
            return i;
    return -1;
}

/* ---- leading ---- */

static void decide(c4_core *core, c4_core_agree *agree)
{
    agree->phase = PHASE_DECIDED;
    core->spec.ops->decided(core->spec.shell, agree);
}

static void make_proposal(c4_core *core, c4_core_agree *agree)
{
    c4_core_proposal *made = &agree->proposal;
    made->differ = false;
    made->value = UINT64_MAX;
    made->minimum = UINT64_MAX;
    made->lowest = agree->me; /* that is what makes it the coordinator */
    made->blob_bytes = agree->blob_bytes;
    memcpy(made->blob, agree->blob, sizeof made->blob);
    memset(made->dead, 0, c4_agree_bits_bytes(agree));
    for (int i = 0; i < agree->nmembers; i++) {
        const agree_member *each = &agree->each[i];
        if (c4_agree_is_out(core, agree, i)) {
            made->dead[i / 8] |= (unsigned char)(1u << (i % 8));
            continue;
        }
        made->value &= each->value;
        made->minimum = each->minimum < made->minimum ? each->minimum : made->minimum;
        made->differ = made->differ || each->tag != agree->each[agree->me].tag;
    }
}

static bool all_have(const c4_core *core, const c4_core_agree *agree, agree_mark mark)
{
    for (int i = 0; i < agree->nmembers; i++)
        if (!c4_agree_is_out(core, agree, i) && agree->each[i].mark < mark)
            return false;
    return true;
}

static void lead(c4_core *core, c4_core_agree *agree)
{
    if (agree->phase == PHASE_COLLECTING && all_have(core, agree, MARK_CONTRIBUTED)) {
        if (agree->accepted == NO_BALLOT)
            make_proposal(core, agree);
        agree->accepted = agree->ballot;
        agree->phase = PHASE_PROPOSING;
        agree->each[agree->me].mark = MARK_ACCEPTED;
        c4_agree_send_others(core, agree, C4_AGREE_PROPOSE);
    }
    if (agree->phase == PHASE_PROPOSING && all_have(core, agree, MARK_ACCEPTED)) {
        c4_agree_send_others(core, agree, C4_AGREE_DECIDE);
        decide(core, agree);
    }
}

/* ---- rounds ---- */

static void follow(c4_core *core, c4_core_agree *agree, int ballot)
{
    agree->ballot = ballot;
    agree->phase = PHASE_COLLECTING;
    agree->gap_ns = RETRY_FIRST_MS * C4_CORE_MS;
    agree->retry_ns = core->now_ns + agree->gap_ns;
    agree->unheard = 0;
    for (int i = 0; i < agree->nmembers; i++) {
        agree->each[i].mark = MARK_NONE;
        agree->each[i].heard_ns = core->now_ns;
    }
    if (ballot != agree->me) {
        c4_agree_send_state(core, agree, false);
        return;
    }
    agree->each[agree->me].mark = MARK_CONTRIBUTED;
    c4_agree_send_others(core, agree, C4_AGREE_COLLECT);
}

static bool is_running(const c4_core_agree *agree)
{
    return agree->phase == PHASE_COLLECTING || agree->phase == PHASE_PROPOSING;
}

/* Something may have changed: who coordinates, or whom it waits for. */
static void advance(c4_core *core, c4_core_agree *agree)
{
    if (!is_running(agree))
        return;
    if (c4_agree_is_out(core, agree, agree->me)) { /* the others go on without it: it must decide nothing */
        core->spec.ops->decided(core->spec.shell, agree);
        return;
    }
    int coordinator = coordinator_of(core, agree);
    if (coordinator > agree->ballot)
        follow(core, agree, coordinator);
    if (agree->ballot == agree->me)
        lead(core, agree);
}

static void start_round(c4_core_agree *agree, const c4_control_proposal *mine)
{
    agree_member *me = &agree->each[agree->me];
    if (agree->phase == PHASE_DECIDED) {
        unsigned char *dead = agree->last.dead;
        agree->last = agree->proposal;
        agree->proposal.dead = dead;
        agree->has_last = true;
    }
    agree->round++;
    agree->ballot = agree->accepted = NO_BALLOT;
    for (int i = 0; i < mine->nexclude; i++)
        if (mine->exclude[i] >= 0 && mine->exclude[i] < agree->nmembers)
            agree->each[mine->exclude[i]].gone = true;
    me->tag = mine->tag;
    me->value = mine->value;
    me->minimum = mine->minimum;
    agree->blob_bytes = mine->blob_bytes;
    memset(agree->blob, 0, sizeof agree->blob);
    if (mine->blob_bytes)
        memcpy(agree->blob, mine->blob, mine->blob_bytes);
    agree->phase = PHASE_COLLECTING;
}

void c4_core_agree_begin(c4_core *core, c4_core_agree *agree, const c4_control_proposal *mine, uint64_t now_ns)
{
    core->now_ns = now_ns;
    if (!agree->wanted)
        start_round(agree, mine);
    agree->wanted = true;
    advance(core, agree);
}

int c4_core_agree_awaited(const c4_core *core, const c4_core_agree *agree, bool *leads)
{
    *leads = agree->ballot == agree->me;
    if (!*leads)
        return agree->ballot;
    agree_mark mark = agree->phase == PHASE_PROPOSING ? MARK_ACCEPTED : MARK_CONTRIBUTED;
    for (int i = 0; i < agree->nmembers; i++)
        if (!c4_agree_is_out(core, agree, i) && agree->each[i].mark < mark)
            return i;
    return -1;
}

/* ---- messages in ---- */

static void take_proposal(c4_core_agree *agree, const c4_overlay_agree *message)
{
    c4_core_proposal *proposal = &agree->proposal;
    proposal->differ = message->differ;
    proposal->value = message->value;
    proposal->minimum = message->minimum;
    proposal->lowest = (int)message->lowest;
    proposal->blob_bytes = message->blob_bytes;
    memcpy(proposal->blob, message->blob, message->blob_bytes);
    memcpy(proposal->dead, message->dead, c4_agree_bits_bytes(agree));
}

/* Then routes do not lead there, and the answer needs the same. */
static bool came_flooded(const c4_overlay_agree *message)
{
    return message->envelope.number != 0;
}

static void on_state(c4_core *core, c4_core_agree *agree, int member, const c4_overlay_agree *message)
{
    agree_member *each = &agree->each[member];
    if (agree->ballot != agree->me || message->ballot != (uint32_t)agree->me) {
        c4_agree_send_plain(core, agree, member, C4_AGREE_WAIT,
                            came_flooded(message)); /* not yet aware that it leads */
        return;
    }
    if (agree->phase == PHASE_PROPOSING) {
        c4_agree_send_proposal(core, agree, member, C4_AGREE_PROPOSE, came_flooded(message));
        return;
    }
    if (each->mark == MARK_CONTRIBUTED)
        c4_agree_send_plain(core, agree, member, C4_AGREE_WAIT, came_flooded(message));
    each->mark = MARK_CONTRIBUTED;
    each->tag = message->tag;
    each->value = message->value;
    each->minimum = message->minimum;
    if (message->accepted != UINT32_MAX && (int64_t)message->accepted > agree->accepted) {
        take_proposal(agree, message);
        agree->accepted = (int)message->accepted;
    }
    lead(core, agree);
}

static void on_accept(c4_core *core, c4_core_agree *agree, int member, const c4_overlay_agree *message)
{
    if (agree->phase != PHASE_PROPOSING || agree->ballot != agree->me || message->ballot != (uint32_t)agree->me)
        return;
    if (agree->each[member].mark == MARK_ACCEPTED)
        c4_agree_send_plain(core, agree, member, C4_AGREE_WAIT, came_flooded(message));
    agree->each[member].mark = MARK_ACCEPTED;
    lead(core, agree);
}

/* From a coordinator, which may know of deaths that this member does not. */
static void on_lead(c4_core *core, c4_core_agree *agree, int member, const c4_overlay_agree *message)
{
    if (message->ballot != (uint32_t)member || member < agree->ballot || member == agree->me)
        return;
    agree->unheard = 0;
    agree->led_again = agree->led == message->step && member == agree->ballot ? agree->led_again + 1 : 0;
    agree->led = message->step;
    if (member > agree->ballot) {
        if (member > agree->me) /* it takes this rank for dead; news of that will come */
            return;
        follow(core, agree, member);
    } else if (message->step == C4_AGREE_COLLECT) {
        c4_agree_send_mine(core, agree, agree->led_again % 4 == 2);
    }
    if (message->step != C4_AGREE_PROPOSE)
        return;
    take_proposal(agree, message);
    agree->accepted = agree->ballot;
    c4_agree_send_plain(core, agree, agree->ballot, C4_AGREE_ACCEPT, agree->led_again % 4 == 2);
}

static void on_running(c4_core *core, c4_core_agree *agree, int member, const c4_overlay_agree *message)
{
    switch (message->step) {
    case C4_AGREE_STATE:
        on_state(core, agree, member, message);
        break;
    case C4_AGREE_ACCEPT:
        on_accept(core, agree, member, message);
        break;
    case C4_AGREE_COLLECT:
    case C4_AGREE_PROPOSE:
        on_lead(core, agree, member, message);
        break;
    case C4_AGREE_WAIT:
        if (member == agree->ballot)
            agree->unheard = 0;
        break;
    case C4_AGREE_DECIDE:
        take_proposal(agree, message);
        decide(core, agree);
        break;
    }
}

/* This rank has not called for this round. */
static void answer_early(c4_core *core, uint32_t comm, int rank, uint64_t round)
{
    c4_control_header header = {C4_CONTROL_AGREE, 0, (uint32_t)core->spec.rank, comm};
    c4_overlay_agree message = {.step = C4_AGREE_WAIT, .ballot = UINT32_MAX, .accepted = UINT32_MAX, .round = round};
    header.bytes = (uint32_t)c4_overlay_agree_pack(&message, core->out);
    c4_core_post(core, &header, core->out, rank, false);
}

/* From one that waits and should know that this rank lives. */
static bool wants_sign(const c4_overlay_agree *message)
{
    return message->step == C4_AGREE_STATE || message->step == C4_AGREE_COLLECT;
}

static void on_step(c4_core *core, c4_core_agree *agree, int member, const c4_overlay_agree *message)
{
    bool asks =
        message->step == C4_AGREE_STATE || message->step == C4_AGREE_ACCEPT || message->step == C4_AGREE_COLLECT;
    agree->each[member].heard_ns = core->now_ns;
    if (message->round == agree->round && is_running(agree))
        on_running(core, agree, member, message);
    else if (message->round == agree->round && agree->phase == PHASE_DECIDED && asks)
        c4_agree_send_proposal(core, agree, member, C4_AGREE_DECIDE, came_flooded(message));
    else if (message->round + 1 == agree->round && agree->has_last && asks)
        c4_agree_send_last(core, agree, member, came_flooded(message));
    else if (message->round > agree->round && wants_sign(message))
        answer_early(core, agree->comm, agree->members[member], message->round);
}

c4_status c4_core_on_agree(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload)
{
    c4_overlay_agree message;
    C4_TRY(c4_overlay_agree_unpack(payload, header->bytes, (uint32_t)core->spec.nranks, &message));
    if (!c4_core_take(core, from, header, payload, &message.envelope))
        return C4_OK;
    for (c4_core_agree *agree = core->agrees; agree; agree = agree->next) {
        int member = agree->comm == header->value ? member_of(agree, (int)header->rank) : -1;
        if (member < 0)
            continue;
        if (message.nmembers && message.nmembers != (uint32_t)agree->nmembers)
            return C4_ERR_PROTOCOL;
        if (!c4_agree_is_out(core, agree, member) || message.step == C4_AGREE_DECIDE)
            on_step(core, agree, member, &message);
        return C4_OK;
    }
    if (wants_sign(&message) && !c4_core_has_left(core, header->value, core->spec.rank))
        answer_early(core, header->value, (int)header->rank, message.round);
    return C4_OK;
}

void c4_core_agree_without(c4_core *core, uint32_t comm, int rank)
{
    for (c4_core_agree *agree = core->agrees; agree; agree = agree->next) {
        int member = comm == 0 || comm == agree->comm ? member_of(agree, rank) : -1;
        if (member < 0)
            continue;
        agree->each[member].gone = true;
        advance(core, agree);
    }
}

/* ---- in vain ---- */

/* Is `member` still waited for? A silent one that the neighbours speak of is given up by core_silence.c. */
static bool waits_for(const c4_core *core, const c4_core_agree *agree, int member)
{
    agree_mark enough = agree->phase == PHASE_PROPOSING ? MARK_ACCEPTED : MARK_CONTRIBUTED;
    if (member == agree->me || c4_agree_is_out(core, agree, member))
        return false;
    return agree->ballot == agree->me ? agree->each[member].mark < enough : member == agree->ballot;
}

/* A message or its answer may have been lost on the way: now and then one is flooded. Not to a silent rank, for which
 * everybody may be waiting: n floods cost n * n messages. */
static bool should_flood(const c4_core *core, const c4_core_agree *agree, int member)
{
    return agree->unheard > 4 && agree->unheard % 4 == 1 && !core->peers[agree->members[member]].silent_since_ns;
}

static void ask_again(c4_core *core, c4_core_agree *agree)
{
    agree->unheard++;
    if (agree->ballot != agree->me) {
        c4_agree_send_mine(core, agree, should_flood(core, agree, agree->ballot));
        return;
    }
    for (int i = 0; i < agree->nmembers; i++) {
        if (!waits_for(core, agree, i))
            continue;
        bool lost = core->now_ns > agree->each[i].heard_ns + core->spec.heartbeat_ns; /* else the way there is known */
        bool flooded = lost && should_flood(core, agree, i);
        if (agree->phase == PHASE_COLLECTING)
            c4_agree_send_plain(core, agree, i, C4_AGREE_COLLECT, flooded);
        else
            c4_agree_send_proposal(core, agree, i, C4_AGREE_PROPOSE, flooded);
    }
}

static void give_up_unheard(c4_core *core, c4_core_agree *agree)
{
    for (int i = 0; i < agree->nmembers && is_running(agree); i++) {
        uint64_t heard_ns = agree->each[i].heard_ns;
        c4_core_peer *peer = &core->peers[agree->members[i]];
        if (!waits_for(core, agree, i) || core->now_ns < heard_ns + core->spec.silent_ns + core->spec.heartbeat_ns)
            continue;
        peer->silent_since_ns = peer->silent_since_ns ? peer->silent_since_ns : heard_ns;
        c4_core_give_up(core, agree->members[i]);
    }
}

void c4_core_agree_forgive(c4_core *core, uint64_t slept_ns)
{
    for (c4_core_agree *agree = core->agrees; agree; agree = agree->next)
        for (int i = 0; i < agree->nmembers; i++)
            agree->each[i].heard_ns += slept_ns;
}

uint64_t c4_core_agree_tick(c4_core *core)
{
    uint64_t next_ns = C4_CORE_NEVER_NS;
    for (c4_core_agree *agree = core->agrees; agree; agree = agree->next) {
        if (!is_running(agree) || agree->ballot == NO_BALLOT || c4_agree_is_out(core, agree, agree->me))
            continue;
        if (core->now_ns >= agree->retry_ns) {
            ask_again(core, agree);
            agree->gap_ns =
                agree->gap_ns * 2 < RETRY_MAX_MS * C4_CORE_MS ? agree->gap_ns * 2 : RETRY_MAX_MS * C4_CORE_MS;
            agree->retry_ns = core->now_ns + agree->gap_ns;
            give_up_unheard(core, agree);
        }
        next_ns = agree->retry_ns < next_ns ? agree->retry_ns : next_ns;
    }
    return next_ns;
}
