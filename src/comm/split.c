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

typedef struct split_entry {
    int32_t color, key, rank;
} split_entry;

/* How one rank's part has ended, for the ranks of its child. */
typedef struct split_verdict {
    int32_t status;
    char text[252];
} split_verdict;

typedef struct split {
    c4_comm *parent;
    int color, key;
    split_entry *all;  /* by parent rank */
    split_entry *mine; /* of this rank's color */
    int *members;      /* parent ranks of the child, in child order */
    int nmembers, child_rank;
    c4_comm *child;                 /* NULL: negative color */
    c4_status status;               /* why this rank's part has failed so far; it still takes part in the gathers */
    char text[C4_ERROR_TEXT_BYTES]; /* of that failure */
    int gathers;                    /* done over the parent for set-ups */
} split;

/* The largest blob of a set-up's all-gather, then a byte that tells it from the empty one of a rank that has failed. */
static size_t blob_bytes(const split *s)
{
    size_t peers = (size_t)s->parent->nranks;
    return 1 + (C4_EXCHANGE_BYTES > peers ? C4_EXCHANGE_BYTES : peers);
}

/* This rank cannot take part: the others, which wait for it, must hear so. */
static c4_status give_up(c4_comm *parent)
{
    c4_status status = c4_fail(C4_ERR_MEMORY, "split of \"%s\", %d ranks", parent->name, parent->nranks);
    c4_engine_fault(parent->engine, status, parent->rank, c4_fail_text());
    return status;
}

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
    if (bytes >= blob)
        return c4_fail(C4_ERR_INTERNAL, "set-up after a split gathers %zu bytes of a rank, %zu at the most", bytes,
                       blob - 1);
    char *all = calloc((size_t)s->parent->nranks + 1, blob);
    if (!all)
        return give_up(s->parent);
    char *own = all + (size_t)s->parent->nranks * blob;
    if (bytes)
        memcpy(own, in, bytes);
    own[blob - 1] = out != NULL;
    c4_status status = parent_gather(s->parent, own, blob, all);
    for (int i = 0; status == C4_OK && i < s->nmembers && out; i++) {
        const char *theirs = all + (size_t)s->members[i] * blob;
        memcpy((char *)out + (size_t)i * bytes, theirs, bytes);
        if (!theirs[blob - 1])
            status = C4_ERR_PEER_ERROR; /* which one and why, agree() will say */
    }
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

static c4_status collect(split *s)
{
    int n = s->parent->nranks;
    split_entry own = {s->color, s->key, s->parent->rank};
    C4_TRY(parent_gather(s->parent, &own, sizeof own, s->all));
    for (int i = 0; i < n; i++)
        if (s->color >= 0 && s->all[i].color == s->color)
            s->mine[s->nmembers++] = s->all[i];
    qsort(s->mine, (size_t)s->nmembers, sizeof *s->mine, compare_entries);
    for (int i = 0; i < s->nmembers; i++) {
        s->members[i] = s->mine[i].rank;
        if (s->mine[i].rank == s->parent->rank)
            s->child_rank = i;
    }
    return C4_OK;
}

/* ---- the child ---- */

/* The handle, before anything is known of the other ranks. */
static c4_status child_alloc(split *s, const c4_comm_config *config)
{
    c4_comm *parent = s->parent;
    char name[C4_COMM_NAME_BYTES];
    uint64_t identity[3] = {parent->job_id, parent->splits, (uint64_t)s->color};
    snprintf(name, sizeof name, "%.40s.%d", parent->name, s->color);
    C4_TRY(c4_comm_alloc(config->name ? config->name : name, 0, parent->nranks, &s->child));
    c4_comm *child = s->child;
    child->derived = true;
    child->epoch = parent->epoch;
    child->job_id = c4_hash_bytes(C4_HASH_INIT, identity, sizeof identity);
    child->has_key = parent->has_key;
    memcpy(child->key, parent->key, sizeof child->key);
    s->status = c4_comm_resolve_options(child, parent->call_options, config->options);
    if (s->status < 0)
        snprintf(s->text, sizeof s->text, "%s", c4_fail_text());
    return C4_OK;
}

static c4_status child_setup(split *s)
{
    c4_comm *child = s->child, *parent = s->parent;
    child->rank = s->child_rank;
    child->nranks = s->nmembers;
    if (s->status < 0)
        c4_fail_keep(s->text);
    C4_TRY(s->status);
    child->port = child->nranks > 1 ? parent->port : NULL; /* with the job, which one rank alone does not hold */
    c4_exchange exchange = {gather_for_child, s};
    C4_TRY(c4_setup_engine(child, &exchange));
    if (parent->job && child->nranks > 1)
        C4_TRY(c4_job_join(child, parent->job, parent, s->members));
    if (c4_option_int(child->options, "C4_PROGRESS"))
        C4_TRY(c4_progress_start(child));
    return C4_OK;
}

/* Whether the rank failed by itself, not because of another. */
static bool is_cause(const split_verdict *verdict)
{
    return verdict->status != C4_OK && verdict->status != C4_ERR_PEER_ERROR;
}

/* `status`, unless another rank of the child failed. */
static c4_status others_verdict(const split *s, split_verdict *all, c4_status status)
{
    for (int i = 0; i < s->nmembers; i++) {
        split_verdict *other = &all[s->members[i]];
        other->text[sizeof other->text - 1] = '\0';
        if (is_cause(other))
            return c4_fail(C4_ERR_PEER_ERROR, "\"%s\" cannot be set up, because rank %d of \"%s\" failed: %s",
                           s->child->name, s->members[i], s->parent->name, other->text);
    }
    return status;
}

/* All ranks of a child have it, or none: the last word over the parent. */
static c4_status agree(split *s, c4_status status)
{
    c4_comm *parent = s->parent;
    split_verdict own = {.status = status};
    split_verdict *all = calloc((size_t)parent->nranks, sizeof *all);
    if (!all)
        return give_up(parent);
    if (status < 0)
        snprintf(own.text, sizeof own.text, "%s", c4_fail_text());
    c4_status gathered = parent_gather(parent, &own, sizeof own, all);
    if (gathered < 0)
        status = gathered;
    else if (is_cause(&own))
        c4_fail_keep(own.text);
    else
        status = others_verdict(s, all, status);
    free(all);
    return status;
}

static c4_status split_run(split *s)
{
    C4_TRY(collect(s));
    c4_status status = s->child ? child_setup(s) : C4_OK;
    char text[C4_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", c4_fail_text());
    /* Ranks without a child, or whose set-up failed early, still take part in the others' gathers. */
    while (s->gathers < C4_SETUP_GATHERS)
        C4_TRY(gather_for_child(s, NULL, 0, NULL));
    if (status == C4_OK && s->child && atomic_load(&s->child->abort_requested))
        status = c4_fail(C4_ERR_ABORTED, "\"%s\" was aborted during its set-up", s->child->name);
    else
        c4_fail_keep(text);
    return agree(s, status);
}

static void split_free(split *s)
{
    free(s->all);
    free(s->mine);
    free(s->members);
    free(s);
}

/* What this rank needs to take part. */
static c4_status split_create(c4_comm *parent, int color, int key, const c4_comm_config *config, split **out)
{
    size_t n = (size_t)parent->nranks;
    split *s = calloc(1, sizeof *s);
    if (!s)
        return give_up(parent);
    *s = (split){.parent = parent, .color = color, .key = key};
    s->all = calloc(n, sizeof *s->all);
    s->mine = calloc(n, sizeof *s->mine);
    s->members = calloc(n, sizeof *s->members);
    if (!s->all || !s->mine || !s->members || (color >= 0 && child_alloc(s, config) < 0)) {
        split_free(s);
        return give_up(parent);
    }
    parent->splits++;
    *out = s;
    return C4_OK;
}

static c4_status split_now(split *s, c4_comm **new_comm)
{
    c4_status status = split_run(s);
    if (status == C4_OK) {
        *new_comm = s->child;
        if (s->child)
            s->child->setup_status = C4_OK;
    } else if (s->child) {
        c4_comm_free(s->child);
    }
    split_free(s);
    return status;
}

/* ---- behind a request ---- */

/* The parent stays entered: calls on it are refused until this is over. */
static void *split_main(void *argument)
{
    c4_request *request = argument;
    split *s = request->argument;
    c4_comm *parent = s->parent, *child = s->child;
    c4_comm_take_over(parent);
    c4_status status = split_run(s);
    split_free(s);
    if (!child) {
        request->status = status;
        request->error = status < 0 ? strdup(c4_fail_text()) : NULL;
    } else {
        if (status < 0)
            snprintf(child->error, sizeof child->error, "%s", c4_fail_text());
        child->setup_status = status;
        if (status == C4_OK && atomic_load(&child->abort_requested)) /* too late for the set-up to notice */
            c4_comm_abort(child);
    }
    c4_comm_leave(parent, status);
    atomic_store_explicit(&request->setup_done, 1, memory_order_release);
    return NULL;
}

/* On success the thread leaves the parent. */
static c4_status split_later(split *s, c4_request **request, c4_comm **new_comm)
{
    c4_comm *parent = s->parent, *child = s->child;
    c4_comm_hand_over(parent);
    c4_status status = c4_request_start_setup(child, split_main, s, request);
    if (status == C4_OK) {
        *new_comm = child;
        return C4_OK;
    }
    c4_comm_take_over(parent);
    c4_engine_fault(parent->engine, status, parent->rank, c4_fail_text()); /* the others wait for this rank */
    if (child)
        c4_comm_free(child);
    split_free(s);
    return status;
}

C4_API c4_status c4_comm_split(c4_comm *comm, int color, int key, const c4_comm_config *config, c4_request **request,
                               c4_comm **new_comm)
{
    c4_comm_config full;
    split *s = NULL;
    C4_TRY(c4_comm_enter(comm));
    c4_status status = c4_comm_config_read(config, &full);
    if (status == C4_OK && !new_comm)
        status = c4_fail(C4_ERR_NULL, "c4_comm_split: new_comm is NULL");
    else if (status == C4_OK && c4_group_active())
        status = c4_fail(C4_ERR_GROUP, "c4_comm_split inside a group");
    if (status == C4_OK)
        status = c4_comm_usable(comm);
    if (status == C4_OK)
        status = split_create(comm, color, key, &full, &s);
    if (status == C4_OK && request) {
        status = split_later(s, request, new_comm);
        if (status == C4_OK)
            return C4_OK;
    } else if (status == C4_OK) {
        status = split_now(s, new_comm);
    }
    return c4_comm_leave(comm, status);
}
