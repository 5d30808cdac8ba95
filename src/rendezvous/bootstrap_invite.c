/* A job whose caller can gather already (MPI, torch.distributed): rank 0 makes a job id and a key and listens, and the
 * caller's all-gather brings both to everybody. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/listener.h"
#include "wire/bytes.h"

/* What each rank gives: status 4, zero 4, a unique id (rank 0). */
enum { ID_AT = 8, INVITE_BYTES = ID_AT + sizeof(c4_unique_id) };

static c4_status make_id(const c4_bootstrap_spec *spec, c4_unique_id *id, int *listen_fd)
{
    c4_unique_id_fields fields = {.naddresses = 1};
    c4_listen_spec listen = {.bind = spec->listen[0], .port_lo = spec->port_lo, .port_hi = spec->port_hi};
    C4_TRY(c4_random_bytes(fields.key, sizeof fields.key));
    C4_TRY(c4_random_bytes(&fields.job_id, sizeof fields.job_id));
    C4_TRY(c4_listener_open(&listen, listen_fd, &fields.addresses[0]));
    for (size_t i = 0; i < spec->nadvertise; i++)
        fields.addresses[i] = spec->advertise[i];
    if (spec->nadvertise)
        fields.naddresses = spec->nadvertise;
    c4_unique_id_pack(&fields, id);
    explicit_bzero(&fields, sizeof fields);
    return C4_OK;
}

c4_status c4_bootstrap_invite(const c4_bootstrap_spec *spec, c4_unique_id_fields *fields, int *listen_fd)
{
    c4_unique_id id = {{0}};
    unsigned char own[INVITE_BYTES] = {0};
    *listen_fd = -1;
    unsigned char *all = malloc((size_t)spec->nranks * INVITE_BYTES);
    c4_status made = all ? C4_OK : c4_fail(C4_ERR_MEMORY, "invitation of %d ranks", spec->nranks);
    if (made == C4_OK && spec->rank == 0)
        made = make_id(spec, &id, listen_fd);
    if (!all)
        return made;
    c4_put_u32(own, (uint32_t)made);
    memcpy(own + ID_AT, &id, sizeof id);
    int error = spec->all_gather(spec->all_gather_context, own, sizeof own, all);
    c4_status theirs = (c4_status)(int32_t)c4_get_u32(all);
    memcpy(&id, all + ID_AT, sizeof id);
    explicit_bzero(all, INVITE_BYTES);
    free(all);
    if (made < 0)
        return made;
    if (error)
        made = c4_fail(C4_ERR_PEER_ERROR, "the caller's all-gather returned %d while the job was set up", error);
    else if (theirs < 0)
        made =
            c4_fail(C4_ERR_PEER_ERROR, "rank 0 could not listen for the job (%s); see its log", c4_status_text(theirs));
    else
        made = c4_unique_id_unpack(&id, fields);
    explicit_bzero(&id, sizeof id);
    return made;
}
