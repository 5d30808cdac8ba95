/* Agreements among the living ranks, over the control plane: they need no transport, and so work after a failure. */
#include "comm/agree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/export.h"
#include "comm/internal.h"

/* The control plane calls a rank dead that the others have given up or excluded. */
static c4_status agree_status(const c4_comm *comm, c4_status status)
{
    char text[C4_ERROR_TEXT_BYTES];
    if (status != C4_ERR_PEER_DEAD)
        return status;
    snprintf(text, sizeof text, "%s", c4_fail_text());
    return c4_fail(C4_ERR_EXCLUDED, "communicator \"%s\", rank %d: %.400s", comm->name, comm->rank, text);
}

static c4_status agree_alone(const c4_control_proposal *proposal, c4_control_agreement *agreement)
{
    agreement->value = proposal->value;
    agreement->minimum = proposal->minimum;
    agreement->lowest = 0;
    agreement->nlive = 1;
    agreement->blob_bytes = proposal->blob_bytes;
    if (proposal->blob_bytes)
        memcpy(agreement->blob, proposal->blob, proposal->blob_bytes);
    agreement->dead[0] = 0;
    return C4_OK;
}

c4_status c4_agree(c4_comm *comm, const c4_control_proposal *proposal, c4_control_agreement *agreement)
{
    if (!comm->attachment) /* a single rank */
        return agree_alone(proposal, agreement);
    return agree_status(comm, c4_control_agree(comm->attachment, proposal, agreement));
}

/* Inside enter_control. `live` may be NULL. */
static c4_status agree_on(c4_comm *comm, const c4_control_proposal *proposal, c4_control_agreement *agreement,
                          int *live)
{
    agreement->dead = calloc((size_t)comm->nranks, 1);
    if (!agreement->dead)
        return c4_fail(C4_ERR_MEMORY, "agreement of %d ranks", comm->nranks);
    c4_status status = c4_agree(comm, proposal, agreement);
    for (int i = 0, n = 0; status == C4_OK && live && i < comm->nranks; i++)
        if (!agreement->dead[i])
            live[n++] = i;
    free(agreement->dead);
    return status;
}

static c4_status check_timeout(const char *what, int timeout_ms)
{
    return timeout_ms > 0 ? C4_OK
                          : c4_fail(C4_ERR_ARGUMENT, "%s: timeout_ms is %d; it must be positive", what, timeout_ms);
}

C4_API c4_status c4_comm_agree(c4_comm *comm, uint64_t mine, int timeout_ms, uint64_t *all, int *live, int *nlive)
{
    c4_control_agreement agreement;
    c4_control_proposal proposal = {.tag = C4_AGREE_CALL, .value = mine, .timeout_ms = timeout_ms};
    C4_TRY(c4_comm_enter_control(comm, "c4_comm_agree"));
    proposal.abort_flag = &comm->control_abort;
    c4_status status = check_timeout("c4_comm_agree", timeout_ms);
    if (status == C4_OK && (!all || !live != !nlive))
        status = c4_fail(C4_ERR_NULL, "c4_comm_agree: all is NULL, or only one of live and nlive is");
    if (status == C4_OK)
        status = agree_on(comm, &proposal, &agreement, live);
    if (status == C4_OK) {
        *all = agreement.value;
        if (nlive)
            *nlive = agreement.nlive;
    }
    return c4_comm_leave_control(comm, status);
}

C4_API c4_status c4_comm_last_complete(c4_comm *comm, int timeout_ms, uint64_t *sequence)
{
    c4_control_agreement agreement;
    c4_control_proposal proposal = {.tag = C4_AGREE_LAST, .timeout_ms = timeout_ms};
    C4_TRY(c4_comm_enter_control(comm, "c4_comm_last_complete"));
    c4_status status = check_timeout("c4_comm_last_complete", timeout_ms);
    if (status == C4_OK && !sequence)
        status = c4_fail(C4_ERR_NULL, "c4_comm_last_complete: sequence is NULL");
    if (status == C4_OK) {
        proposal.abort_flag = &comm->control_abort;
        proposal.minimum = c4_engine_last_complete(comm->engine);
        status = agree_on(comm, &proposal, &agreement, NULL);
    }
    if (status == C4_OK)
        *sequence = agreement.minimum;
    return c4_comm_leave_control(comm, status);
}
