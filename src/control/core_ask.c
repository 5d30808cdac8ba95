/* Questions about calls, and their answers. */
#include <string.h>

#include "base/status.h"
#include "control/core_internal.h"

/* ---- asking ---- */

static c4_core_question *find(c4_core *core, uint32_t comm, int rank)
{
    for (int i = 0; i < C4_CORE_QUESTIONS; i++) {
        c4_core_question *question = &core->questions[i];
        if (question->used && question->comm == comm && question->rank == rank)
            return question;
    }
    return NULL;
}

c4_status c4_core_ask(c4_core *core, uint32_t comm, int rank, uint64_t sequence, const unsigned char *card,
                      uint64_t now_ns)
{
    c4_core_question *question = find(core, comm, rank);
    for (int i = 0; !question && i < C4_CORE_QUESTIONS; i++)
        if (!core->questions[i].used)
            question = &core->questions[i];
    if (!question)
        return C4_ERR_MEMORY;
    *question = (c4_core_question){.used = true,
                                   .comm = comm,
                                   .rank = rank,
                                   .sequence = sequence,
                                   .next_ns = now_ns,
                                   .end_ns = now_ns + C4_CORE_ANSWER_MS * C4_CORE_MS};
    memcpy(question->card, card, C4_CONTROL_CARD_BYTES);
    return C4_OK;
}

void c4_core_forget_questions(c4_core *core, uint32_t comm)
{
    for (int i = 0; i < C4_CORE_QUESTIONS; i++)
        if (core->questions[i].comm == comm)
            core->questions[i].used = false;
}

void c4_core_questions_hasten(c4_core *core, int rank)
{
    for (int i = 0; i < C4_CORE_QUESTIONS; i++)
        if (core->questions[i].used && core->questions[i].rank == rank)
            core->questions[i].next_ns = core->now_ns;
}

static void finish(c4_core *core, c4_core_question *question, c4_control_answer answer, const unsigned char *reply)
{
    static const unsigned char none[C4_CONTROL_CARD_BYTES];
    question->used = false;
    core->spec.ops->answered(core->spec.shell, question->comm, question->rank, question->sequence, answer,
                             reply ? reply : none);
}

/* What this rank knows of `rank` by itself. */
static bool known_answer(const c4_core *core, uint32_t comm, int rank, c4_control_answer *answer)
{
    c4_control_state state = c4_core_rank_state(core, rank);
    if (state == C4_CONTROL_DEAD)
        *answer = C4_ANSWER_DEAD;
    else if (state == C4_CONTROL_LEFT || c4_core_has_left(core, comm, rank))
        *answer = C4_ANSWER_LEFT;
    else if (state == C4_CONTROL_SILENT)
        *answer = C4_ANSWER_SILENT;
    else
        return false;
    return true;
}

/* Routed first; flooded when that was lost on the way; then again now and then. */
static void pose(c4_core *core, c4_core_question *question)
{
    static const uint64_t gaps_ms[] = {500, 1000, 2000};
    c4_overlay_card card = {.about = (uint32_t)question->rank, .sequence = question->sequence};
    c4_control_header header = {C4_CONTROL_QUESTION, C4_OVERLAY_CARD_BYTES, (uint32_t)core->spec.rank, question->comm};
    int attempt = question->attempts++;
    memcpy(card.card, question->card, sizeof card.card);
    c4_overlay_card_pack(&card, core->out);
    c4_core_post(core, &header, core->out, question->rank, attempt % 2 == 1);
    question->next_ns = core->now_ns + gaps_ms[attempt < 2 ? attempt : 2] * C4_CORE_MS;
}

uint64_t c4_core_questions_tick(c4_core *core)
{
    uint64_t next_ns = C4_CORE_NEVER_NS;
    for (int i = 0; i < C4_CORE_QUESTIONS; i++) {
        c4_core_question *question = &core->questions[i];
        c4_control_answer answer;
        if (question->used && core->now_ns >= question->next_ns) {
            if (known_answer(core, question->comm, question->rank, &answer))
                finish(core, question, answer, NULL);
            else if (core->now_ns >= question->end_ns)
                finish(core, question, C4_ANSWER_UNKNOWN, NULL);
            else
                pose(core, question);
        }
        if (question->used && question->next_ns < next_ns)
            next_ns = question->next_ns;
    }
    return next_ns;
}

/* ---- answering ---- */

static void reply(c4_core *core, uint32_t comm, int asker, c4_overlay_card *card, bool flooded)
{
    c4_control_header header = {C4_CONTROL_ANSWER, C4_OVERLAY_CARD_BYTES, (uint32_t)core->spec.rank, comm};
    c4_overlay_card_pack(card, core->out);
    c4_core_post(core, &header, core->out, asker, flooded);
}

static void on_question(c4_core *core, uint32_t comm, int asker, const c4_overlay_card *question)
{
    c4_overlay_card answer = {.about = (uint32_t)core->spec.rank, .sequence = question->sequence};
    answer.answer = C4_ANSWER_LEFT;
    if (!c4_core_has_left(core, comm, core->spec.rank))
        answer.answer =
            core->spec.ops->question(core->spec.shell, comm, asker, question->sequence, question->card, answer.card);
    reply(core, comm, asker, &answer, question->envelope.number != 0);
}

/* A question on its way to a rank that will not answer. */
static bool answer_for(c4_core *core, uint32_t comm, int asker, const c4_overlay_card *question)
{
    c4_control_answer known;
    if (question->envelope.number || question->envelope.target == (uint32_t)core->spec.rank ||
        !known_answer(core, comm, (int)question->envelope.target, &known) || known == C4_ANSWER_SILENT)
        return false;
    c4_overlay_card answer = {.about = question->envelope.target, .answer = known, .sequence = question->sequence};
    reply(core, comm, asker, &answer, false);
    return true;
}

c4_status c4_core_on_card(c4_core *core, int from, const c4_control_header *header, const unsigned char *payload)
{
    c4_overlay_card card;
    int origin = (int)header->rank;
    C4_TRY(c4_overlay_card_unpack(payload, header->bytes, (uint32_t)core->spec.nranks, &card));
    if (header->kind == C4_CONTROL_QUESTION && answer_for(core, header->value, origin, &card))
        return C4_OK;
    if (!c4_core_take(core, from, header, payload, &card.envelope))
        return C4_OK;
    if (header->kind == C4_CONTROL_QUESTION) {
        on_question(core, header->value, origin, &card);
        return C4_OK;
    }
    c4_core_question *question = find(core, header->value, (int)card.about);
    if (card.answer >= C4_NANSWERS)
        return C4_ERR_PROTOCOL;
    if (question && question->sequence == card.sequence)
        finish(core, question, (c4_control_answer)card.answer, card.card);
    return C4_OK;
}
