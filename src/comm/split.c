/* Splitting: colors and keys are gathered by the parent's own all_gather; the children set themselves up by all-gathers
 * over the parent too (every parent rank takes part in as many as the largest set-up needs), so a split needs no
 * rendezvous. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/export.h"
#include "base/hash.h"
#include "base/options.h"
#include "comm/internal.h"
#include "comm/options.h"

typedef struct split_entry {
    int32_t color, key, rank;
} split_entry;

typedef struct split {
    c4_comm *parent;
    split_entry *all; /* by parent rank */
    int *members;     /* parent ranks of the child, in child order */
    int nmembers, child_rank;
    c4_comm *child;
    int gathers; /* done over the parent for set-ups */
} split;

/* The largest blob of a set-up's all-gather: rank cards (1 KiB), and one byte per member for reachability. */
static size_t blob_bytes(const split *s)
{
    return 1024 > s->parent->nranks ? 1024 : (size_t)s->parent->nranks;
}

#define SETUP_GATHERS 5 /* hosts, cards, reach, leaders, costs: see setup.c */

static c4_status parent_gather(c4_comm *parent, const void *in, size_t bytes, void *out)
{
    c4_call call = {.kind = C4_KIND_ALL_GATHER, .dtype = C4_UINT8, .send = in, .recv = out, .count = bytes};
    C4_TRY(c4_call_check(parent, &call));
    return c4_comm_submit(parent, &call, NULL);
}

static c4_status gather_for_child(void *context, const void *in, size_t bytes, void *out)
{
    split *s = context;
    size_t blob = blob_bytes(s);
    char *all = calloc((size_t)s->parent->nranks + 1, blob);
    if (!all)
        return c4_fail(C4_ERR_MEMORY, "split of %d ranks", s->parent->nranks);
    char *own = all + (size_t)s->parent->nranks * blob;
    if (bytes)
        memcpy(own, in, bytes);
    c4_status status = parent_gather(s->parent, own, blob, all);
    for (int i = 0; status == C4_OK && i < s->nmembers && out; i++)
        memcpy((char *)out + (size_t)i * bytes, all + (size_t)s->members[i] * blob, bytes);
    s->gathers++;
    free(all);
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    const split_entry *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->rank - y->rank;
}

static c4_status collect(split *s, int color, int key)
{
    int n = s->parent->nranks;
    split_entry own = {color, key, s->parent->rank};
    s->all = calloc((size_t)n, sizeof *s->all);
    s->members = calloc((size_t)n, sizeof *s->members);
    if (!s->all || !s->members)
        return c4_fail(C4_ERR_MEMORY, "split of %d ranks", n);
    C4_TRY(parent_gather(s->parent, &own, sizeof own, s->all));
    split_entry *mine = calloc((size_t)n, sizeof *mine);
    if (!mine)
        return c4_fail(C4_ERR_MEMORY, "split of %d ranks", n);
    for (int i = 0; i < n; i++)
        if (color >= 0 && s->all[i].color == color)
            mine[s->nmembers++] = s->all[i];
    qsort(mine, (size_t)s->nmembers, sizeof *mine, compare_entries);
    for (int i = 0; i < s->nmembers; i++) {
        s->members[i] = mine[i].rank;
        if (mine[i].rank == s->parent->rank)
            s->child_rank = i;
    }
    free(mine);
    return C4_OK;
}

static c4_status child_create(split *s, int color, const c4_comm_config *config)
{
    c4_comm *parent = s->parent;
    char name[C4_COMM_NAME_BYTES];
    uint64_t identity[3] = {parent->job_id, parent->splits, (uint64_t)color};
    snprintf(name, sizeof name, "%.40s.%d", parent->name, color);
    C4_TRY(c4_comm_alloc(config->name ? config->name : name, s->child_rank, s->nmembers, &s->child));
    c4_comm *child = s->child;
    child->job_id = c4_hash_bytes(C4_HASH_INIT, identity, sizeof identity);
    child->has_key = parent->has_key;
    memcpy(child->key, parent->key, sizeof child->key);
    C4_TRY(c4_comm_options_load(config->options, &child->options));
    c4_exchange exchange = {gather_for_child, s};
    C4_TRY(c4_setup_engine(child, &exchange));
    if (parent->job && child->nranks > 1)
        C4_TRY(c4_job_join(child, parent->job, parent, s->members));
    if (c4_option_int(child->options, "C4_PROGRESS"))
        C4_TRY(c4_progress_start(child));
    child->setup_status = C4_OK;
    return C4_OK;
}

static c4_status split_run(c4_comm *parent, int color, int key, const c4_comm_config *config, c4_comm **new_comm)
{
    split s = {.parent = parent};
    c4_status status = collect(&s, color, key);
    parent->splits++;
    if (status == C4_OK && color >= 0)
        status = child_create(&s, color, config);
    /* Ranks without a child, or whose set-up failed early, still take part in the others' gathers. */
    while (s.gathers < SETUP_GATHERS && c4_engine_status(parent->engine, NULL) == C4_OK)
        if (gather_for_child(&s, NULL, 0, NULL) < 0)
            break;
    if (status < 0 && s.child)
        c4_comm_free(s.child);
    else if (status == C4_OK)
        *new_comm = color >= 0 ? s.child : NULL;
    free(s.all);
    free(s.members);
    return status;
}

C4_API c4_status c4_comm_split(c4_comm *comm, int color, int key, const c4_comm_config *config, c4_request **request,
                               c4_comm **new_comm)
{
    c4_comm_config full;
    C4_TRY(c4_comm_enter(comm));
    c4_status status = c4_comm_config_read(config, &full);
    if (status == C4_OK && !new_comm)
        status = c4_fail(C4_ERR_NULL, "c4_comm_split: new_comm is NULL");
    else if (status == C4_OK && c4_group_active())
        status = c4_fail(C4_ERR_GROUP, "c4_comm_split inside a group");
    else if (status == C4_OK)
        status = split_run(comm, color, key, &full, new_comm);
    if (status == C4_OK && request)
        status = c4_request_create_done(comm, request);
    return c4_comm_leave(comm, status);
}
