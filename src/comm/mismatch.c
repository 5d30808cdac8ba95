/* Between the engine, which finds out that ranks called different things, and the control plane, which asks them. */
#include <stdio.h>

#include "comm/mismatch.h"

static c4_control_answer on_question(void *context, int asker, uint64_t token,
                                     const unsigned char card[C4_CONTROL_CARD_BYTES],
                                     unsigned char reply[C4_CONTROL_CARD_BYTES])
{
    c4_comm *comm = context;
    (void)asker, (void)token;
    return c4_engine_answer(comm->engine, card, reply);
}

static void on_reply(void *context, int member, uint64_t token, c4_control_answer answer,
                     const unsigned char reply[C4_CONTROL_CARD_BYTES])
{
    c4_comm *comm = context;
    c4_engine_hear(comm->engine, member, token, answer, reply);
}

void c4_comm_answer_peers(c4_comm *comm)
{
    c4_control_answer_with(comm->attachment, on_question, on_reply);
}

c4_status c4_comm_ask_peer(void *context, int member, uint64_t token, const unsigned char card[C4_CONTROL_CARD_BYTES])
{
    c4_comm *comm = context;
    return comm->attachment ? c4_control_ask(comm->attachment, member, token, card) : C4_ERR_UNSUPPORTED;
}

void c4_comm_describe_peer(void *context, int member, char text[C4_ENGINE_WHO_BYTES])
{
    const c4_comm *comm = context;
    const c4_process *process = NULL;
    if (comm->job && comm->job_ranks && member >= 0 && member < comm->nranks)
        process = c4_control_process(comm->job->control, comm->job_ranks[member]);
    if (!process)
        snprintf(text, C4_ENGINE_WHO_BYTES, "rank %d", member);
    else if (comm->job_ranks[member] == member)
        snprintf(text, C4_ENGINE_WHO_BYTES, "rank %d (host %s)", member, process->host);
    else
        snprintf(text, C4_ENGINE_WHO_BYTES, "rank %d (rank %d of the job, host %s)", member, comm->job_ranks[member],
                 process->host);
}
