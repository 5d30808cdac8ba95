/* Growth: the members of a communicator and ranks that are new to it meet with a unique id that rank 0 has made, as for
 * c4_comm_create. The members learn the id by one all-gather over the communicator they have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/export.h"
#include "comm/create.h"
#include "comm/join.h"

/* What each member brings to the all-gather. */
typedef struct growth_card {
    int32_t status;
    int32_t nranks;
    c4_unique_id id; /* of rank 0 */
    char text[116];  /* of the error */
} growth_card;

typedef struct growth {
    c4_comm *parent;
    growth_card own;
    growth_card *all;
    bool gathered; /* the exchange over the parent has ended well: the other members know the id */
    int nmembers;  /* of the parent, which may be gone by the end */
    c4_creation creation;
} growth;

C4_API c4_status c4_comm_grow_id(c4_comm *comm, c4_unique_id *id)
{
    c4_listen_spec spec;
    C4_TRY(c4_comm_enter(comm));
    c4_status status = c4_comm_usable(comm);
    if (status == C4_OK && !id)
        status = c4_fail(C4_ERR_NULL, "c4_comm_grow_id: id is NULL");
    else if (status == C4_OK && comm->rank != 0)
        status =
            c4_fail(C4_ERR_ROOT, "c4_comm_grow_id on rank %d: the id is made by rank 0, where the others will meet",
                    comm->rank);
    if (status == C4_OK)
        status = c4_creation_listen_spec(comm->options, &spec);
    if (status == C4_OK)
        status = c4_unique_id_listen(&spec, id);
    return c4_comm_leave(comm, status);
}

/* ---- among the members ---- */

static c4_status check_cards(const growth *g)
{
    const c4_comm *parent = g->parent;
    for (int i = 0; i < parent->nranks; i++) {
        const growth_card *card = &g->all[i];
        if (i != parent->rank && card->status < 0)
            return c4_fail(C4_ERR_PEER_ERROR, "\"%s\" cannot grow, because rank %d failed: %.*s", parent->name, i,
                           (int)sizeof card->text - 1, card->text);
        if (card->nranks != g->own.nranks)
            return c4_fail(C4_ERR_MISMATCH, "c4_comm_grow: rank %d wants \"%s\" to grow to %d ranks, rank %d to %d", i,
                           parent->name, card->nranks, parent->rank, g->own.nranks);
    }
    return C4_OK;
}

/* Everybody learns the id and whether everybody can. */
static c4_status meet_members(growth *g)
{
    c4_comm *parent = g->parent;
    c4_unique_id_fields fields;
    c4_call call = {
        .kind = C4_KIND_ALL_GATHER, .dtype = C4_UINT8, .send = &g->own, .recv = g->all, .count = sizeof g->own};
    c4_status own = g->own.status;
    char text[C4_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", c4_fail_text());
    C4_TRY(c4_call_check(parent, &call));
    C4_TRY(c4_comm_submit(parent, &call, NULL));
    g->gathered = true;
    if (own < 0)
        c4_fail_keep(text);
    C4_TRY(own);
    C4_TRY(check_cards(g));
    C4_TRY(c4_unique_id_unpack(&g->all[0].id, &fields));
    c4_creation_identify(&g->creation, &fields);
    explicit_bzero(&fields, sizeof fields);
    return C4_OK;
}

/* The door of an id that nobody will use; one that a set-up has taken is that set-up's to close. */
static void drop_listener(const c4_comm *comm, const c4_unique_id *id)
{
    c4_unique_id_fields fields;
    if (comm->rank != 0 || !id || c4_unique_id_unpack(id, &fields) < 0)
        return;
    int fd = c4_listener_take(fields.job_id);
    if (fd >= 0)
        close(fd);
}

/* The exchange failed here, by an abort for example, and may have succeeded elsewhere: who comes to this rank's door is
 * told for half a second that it is in vain. */
static void refuse_latecomers(growth *g)
{
    c4_unique_id_fields fields;
    c4_comm *child = g->creation.comm;
    char text[C4_ERROR_TEXT_BYTES];
    if (g->parent->rank != 0 || g->own.status < 0 || c4_unique_id_unpack(&g->own.id, &fields) < 0)
        return;
    snprintf(text, sizeof text, "%s", c4_fail_text());
    c4_creation_identify(&g->creation, &fields);
    atomic_store(&child->abort_requested, C4_COMM_ABORT_ASKED);
    g->creation.bootstrap.abort_text = text;
    if (c4_bootstrap_open(&g->creation.bootstrap, &child->bootstrap) == C4_OK)
        c4_bootstrap_give_up(child->bootstrap, text);
    g->creation.bootstrap.abort_text = NULL;
    c4_fail_keep(text);
}

static void growth_free(growth *g)
{
    if (g->all)
        explicit_bzero(g->all, (size_t)g->nmembers * sizeof *g->all);
    free(g->all);
    explicit_bzero(g, sizeof *g);
    free(g);
}

/* Leaves the parent when the exchange over it is done; then sets up with the new ranks. */
static c4_status growth_run(growth *g)
{
    c4_status status = meet_members(g);
    if (status < 0 && !g->gathered)
        refuse_latecomers(g);
    c4_comm_leave(g->parent, status);
    if (status == C4_OK)
        status = c4_creation_run(&g->creation);
    if (status < 0 && g->own.status == C4_OK)
        drop_listener(g->parent, &g->own.id);
    return c4_creation_finish(&g->creation, status);
}

/* ---- calls ---- */

static void *growth_main(void *argument)
{
    c4_request *request = argument;
    growth *g = request->argument;
    c4_comm_take_over(g->parent);
    growth_run(g);
    growth_free(g);
    atomic_store_explicit(&request->setup_done, 1, memory_order_release);
    return NULL;
}

/* Not what this call alone can refuse, but what the other members must hear of, too. */
static c4_status check_wish(c4_comm *comm, const c4_unique_id *id, int nranks, growth_card *card)
{
    c4_unique_id_fields fields;
    if (nranks <= comm->nranks || nranks > (int)C4_CONTROL_MAX_RANKS)
        return c4_fail(C4_ERR_COUNT,
                       "c4_comm_grow of \"%s\" from %d to %d ranks: it takes at least one more, and %u at most",
                       comm->name, comm->nranks, nranks, C4_CONTROL_MAX_RANKS);
    if (comm->rank != 0)
        return C4_OK;
    if (!id)
        return c4_join_offer(comm, nranks, &card->id);
    card->id = *id;
    return c4_unique_id_unpack(id, &fields);
}

static c4_status growth_create(c4_comm *comm, const c4_unique_id *id, int nranks, const c4_comm_config *config,
                               growth **out)
{
    char name[C4_COMM_NAME_BYTES];
    c4_comm_config named = *config;
    growth *g = calloc(1, sizeof *g);
    snprintf(name, sizeof name, "%.40s+", comm->name);
    if (!named.name)
        named.name = name;
    if (g)
        g->all = calloc((size_t)comm->nranks, sizeof *g->all);
    if (!g || !g->all) {
        free(g);
        return c4_fail(C4_ERR_MEMORY, "growth of \"%s\" to %d ranks", comm->name, nranks);
    }
    g->parent = comm;
    g->nmembers = comm->nranks;
    g->own.nranks = nranks;
    g->own.status = check_wish(comm, id, nranks, &g->own);
    if (g->own.status < 0)
        snprintf(g->own.text, sizeof g->own.text, "%s", c4_fail_text());
    c4_status status = c4_creation_begin(&named, comm->call_options, comm->rank,
                                         g->own.status < 0 ? comm->nranks : nranks, &g->creation);
    if (status < 0) {
        growth_free(g);
        return status;
    }
    g->creation.comm->epoch = (uint16_t)(comm->epoch + 1);
    *out = g;
    return C4_OK;
}

static c4_status grow_later(growth *g, c4_request **request, c4_comm **new_comm)
{
    c4_comm *parent = g->parent, *child = g->creation.comm;
    c4_comm_hand_over(parent);
    c4_status status = c4_request_start_setup(child, growth_main, g, request);
    if (status == C4_OK) {
        *new_comm = child;
        return C4_OK;
    }
    c4_comm_take_over(parent);
    drop_listener(parent, g->own.status < 0 ? NULL : &g->own.id);
    c4_engine_fault(parent->engine, status, parent->rank, c4_fail_text()); /* the others wait for this rank */
    c4_comm_free(child);
    growth_free(g);
    return c4_comm_leave(parent, status);
}

static c4_status grow_now(growth *g, c4_comm **new_comm)
{
    c4_comm *parent = g->parent, *child = g->creation.comm;
    c4_comm_derive(parent, child);
    c4_status status = growth_run(g);
    c4_comm_derive(parent, NULL);
    growth_free(g);
    if (status < 0) {
        c4_comm_note_error(parent);
        c4_comm_free(child);
    } else {
        *new_comm = child;
    }
    return status;
}

C4_API c4_status c4_comm_grow(c4_comm *comm, const c4_unique_id *id, int nranks, int rank, const c4_comm_config *config,
                              c4_request **request, c4_comm **new_comm)
{
    c4_comm_config full;
    growth *g = NULL;
    if (!comm) /* a new rank */
        return c4_comm_create(id, nranks, rank, config, request, new_comm);
    C4_TRY(c4_comm_enter(comm));
    c4_status status = c4_comm_config_read(config, &full);
    if (status == C4_OK && !new_comm)
        status = c4_fail(C4_ERR_NULL, "c4_comm_grow: new_comm is NULL");
    else if (status == C4_OK && c4_group_active())
        status = c4_fail(C4_ERR_GROUP, "c4_comm_grow inside a group");
    if (status == C4_OK)
        status = c4_comm_usable(comm);
    if (status == C4_OK) {
        status = growth_create(comm, id, nranks, &full, &g);
        if (status < 0) {
            drop_listener(comm, id);
            c4_engine_fault(comm->engine, status, comm->rank, c4_fail_text()); /* the others wait for this rank */
        }
    }
    if (status < 0)
        return c4_comm_leave(comm, status);
    return request ? grow_later(g, request, new_comm) : grow_now(g, new_comm);
}
