/* Shrinking, in attempts of three steps:
 *
 *     agree   who lives; each offers an address where it listens, that of the lowest counts
 *     set up  the survivors meet there as for c4_comm_create, with a key derived from the old one
 *     agree   has everybody set up, and does everybody still live?
 *
 * The second agreement makes all ranks go the same way: all have the communicator, or all try again without those that
 * have died since, or all fail. A set-up that waits for somebody who has died is stopped by the old communicator's
 * control plane, which tells of the death. */
#include "comm/shrink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/export.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "comm/agree.h"
#include "comm/create.h"
#include "wire/bytes.h"
#include "wire/hmac.h"

enum {
    MAX_ATTEMPTS = 32, /* each but the last has lost a rank */
    SETTLE_MS = 10000, /* the last word may take longer than the set-up: ranks end theirs at different times */
    NONCE_BYTES = 16,
    OFFER_BYTES = C4_NET_ADDRESS_BYTES + NONCE_BYTES
};

#define VALUE_OK  (1ull << 60) /* of the first agreement; below it the list's hash and its complement, 30 bits each */
#define HASH_MASK 0x3fffffffull

struct c4_shrink {
    c4_comm *parent;
    c4_creation creation; /* its communicator is the new one */
    int *exclude;         /* sorted, without repetitions */
    int nexclude;
    unsigned char *dead, *dead_later; /* [of the parent] by the first and the second agreement */
    bool setting_up; /* under the parent's derive_lock: `dead` is fixed, further deaths stop the set-up */
    int door;        /* listens; -1: closed */
    uint64_t deadline_ns;
};

/* ---- news, on the control thread ---- */

/* Ends the set-up and the agreement that are under way. */
static void stop(c4_comm *child, c4_comm_abort_reason reason)
{
    atomic_store(&child->abort_requested, (int)reason);
    atomic_store(&child->control_abort, 1);
}

/* Ends the set-up only: the agreement after it finds out who is left. */
static void stop_setup(c4_comm *child)
{
    atomic_compare_exchange_strong(&child->abort_requested, &(int){0}, C4_COMM_ABORT_BY_DEATH);
}

/* "excluded: 3 7": the ranks that others leave behind. */
static const char list_prefix[] = "excluded:";

static bool is_listed(const char *list, int rank)
{
    char *end;
    for (long one = strtol(list, &end, 10); end != list; one = strtol(list, &end, 10)) {
        if (one == rank)
            return true;
        list = end;
    }
    return false;
}

bool c4_shrink_take_fault(c4_comm *comm, c4_status status, int member, const char *text)
{
    pthread_mutex_lock(&comm->derive_lock);
    c4_shrink *s = comm->shrinking;
    if (status == C4_ERR_EXCLUDED && strncmp(text, list_prefix, strlen(list_prefix)) == 0) {
        comm->excluded |= is_listed(text + strlen(list_prefix), comm->rank);
        if (s && comm->excluded)
            stop(s->creation.comm, C4_COMM_ABORT_BY_PEER);
    } else if (status == C4_ERR_EXCLUDED) {
        comm->quitter = member + 1;
        if (s)
            stop(s->creation.comm, C4_COMM_ABORT_BY_PEER);
    } else if (s && s->setting_up && (status == C4_ERR_PEER_DEAD || status == C4_ERR_PEER_SILENT) && !s->dead[member]) {
        stop_setup(s->creation.comm);
    }
    pthread_mutex_unlock(&comm->derive_lock);
    return status == C4_ERR_EXCLUDED;
}

/* The others would wait for this rank until their deadline. */
static void tell_quit(c4_comm *parent)
{
    char text[C4_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", c4_fail_text());
    if (parent->attachment)
        c4_control_report(parent->attachment, C4_ERR_EXCLUDED, text);
}

/* An excluded rank may be in a shrink, too, and would wait for ranks that have gone on. */
static void tell_excluded(const c4_shrink *s)
{
    char text[C4_CONTROL_TEXT_MAX_BYTES];
    size_t used = (size_t)snprintf(text, sizeof text, "%s", list_prefix);
    for (int i = 0; i < s->nexclude && used + 16 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " %d", s->exclude[i]);
    if (s->nexclude && s->parent->attachment)
        c4_control_report(s->parent->attachment, C4_ERR_EXCLUDED, text);
}

static void set_phase(c4_shrink *s, bool setting_up)
{
    c4_comm *parent = s->parent;
    pthread_mutex_lock(&parent->derive_lock);
    s->setting_up = setting_up;
    pthread_mutex_unlock(&parent->derive_lock);
    for (int i = 0; setting_up && parent->attachment && i < parent->nranks; i++)
        if (!s->dead[i] && c4_control_member_state(parent->attachment, i) == C4_CONTROL_DEAD)
            stop_setup(s->creation.comm); /* told before this rank listened */
}

/* ---- who lives ---- */

static int remaining_ms(const c4_shrink *s)
{
    uint64_t now_ns = c4_now_ns();
    return now_ns < s->deadline_ns ? (int)((s->deadline_ns - now_ns) / 1000000u) + 1 : 1;
}

static void close_door(c4_shrink *s)
{
    if (s->door >= 0)
        close(s->door);
    s->door = -1;
}

static c4_status open_door(c4_shrink *s, unsigned char offer[OFFER_BYTES])
{
    c4_listen_spec spec;
    c4_net_address bound;
    C4_TRY(c4_creation_listen_spec(s->creation.comm->options, &spec));
    C4_TRY(c4_random_bytes(offer + C4_NET_ADDRESS_BYTES, NONCE_BYTES));
    C4_TRY(c4_listener_open(&spec, &s->door, &bound));
    c4_net_address_pack(&bound, offer);
    return C4_OK;
}

static uint64_t list_value(const c4_shrink *s)
{
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, s->exclude, (size_t)s->nexclude * sizeof *s->exclude);
    hash = (hash ^ hash >> 32) & HASH_MASK;
    return hash | (~hash & HASH_MASK) << 30;
}

/* They have gone on without this rank, and destroyed what it still holds. */
static bool all_others_left(const c4_shrink *s)
{
    const c4_comm *parent = s->parent;
    for (int i = 0; i < parent->nranks; i++)
        if (i != parent->rank &&
            (!parent->attachment || c4_control_member_state(parent->attachment, i) != C4_CONTROL_LEFT))
            return false;
    return parent->nranks > 1;
}

static c4_status check_first(const c4_shrink *s, const c4_control_agreement *agreement)
{
    const c4_comm *parent = s->parent;
    if ((agreement->value & (VALUE_OK - 1)) != list_value(s))
        return c4_fail(C4_ERR_MISMATCH, "c4_comm_shrink of \"%s\": the ranks name different ranks to exclude",
                       parent->name);
    if (!(agreement->value & VALUE_OK))
        return c4_fail(C4_ERR_PEER_ERROR, "c4_comm_shrink of \"%s\": rank %d could not take part: see its log",
                       parent->name, (int)agreement->minimum);
    if (agreement->dead[parent->rank])
        return c4_fail(C4_ERR_EXCLUDED, "the other ranks of \"%s\" took rank %d for dead", parent->name, parent->rank);
    if (agreement->nlive == 1 && all_others_left(s))
        return c4_fail(C4_ERR_EXCLUDED, "c4_comm_shrink of \"%s\": all other ranks have left it", parent->name);
    if (agreement->blob_bytes != OFFER_BYTES)
        return c4_fail(C4_ERR_PROTOCOL, "c4_comm_shrink of \"%s\": rank %d offers %zu bytes where %d are due",
                       parent->name, agreement->lowest, agreement->blob_bytes, OFFER_BYTES);
    return C4_OK;
}

/* Fills in s->dead and the lowest survivor's offer. */
static c4_status agree_on_survivors(c4_shrink *s, unsigned char offer[OFFER_BYTES])
{
    c4_status own = open_door(s, offer);
    char text[C4_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", c4_fail_text());
    c4_control_agreement agreement = {.dead = s->dead};
    c4_control_proposal proposal = {.tag = C4_AGREE_SURVIVORS,
                                    .value = list_value(s) | (own < 0 ? 0 : VALUE_OK),
                                    .minimum = own < 0 ? (uint64_t)s->parent->rank : UINT64_MAX,
                                    .blob = offer,
                                    .blob_bytes = own < 0 ? 0 : OFFER_BYTES,
                                    .exclude = s->exclude,
                                    .nexclude = s->nexclude,
                                    .timeout_ms = remaining_ms(s),
                                    .abort_flag = &s->creation.comm->control_abort};
    C4_TRY(c4_agree(s->parent, &proposal, &agreement));
    if (own < 0)
        c4_fail_keep(text);
    C4_TRY(own);
    C4_TRY(check_first(s, &agreement));
    memcpy(offer, agreement.blob, OFFER_BYTES);
    if (agreement.lowest == s->parent->rank)
        tell_excluded(s);
    return C4_OK;
}

/* ---- set-up ---- */

/* The nonce makes each attempt a job of its own; the old key makes it known to the old members only. */
static c4_status derive_identity(c4_shrink *s, const unsigned char *nonce)
{
    c4_comm *parent = s->parent, *child = s->creation.comm;
    unsigned char epoch[2];
    c4_put_u16(epoch, child->epoch);
    struct iovec parts[] = {{(void *)"C4 shrink", 9},
                            {(void *)nonce, NONCE_BYTES},
                            {epoch, sizeof epoch},
                            {s->dead, parent->nranks < 256 ? (size_t)parent->nranks : 256}};
    uint64_t job_id = c4_hash_bytes(C4_HASH_INIT, &parent->job_id, sizeof parent->job_id);
    job_id = c4_hash_bytes(job_id, nonce, NONCE_BYTES);
    s->creation.bootstrap.job_id = child->job_id = job_id;
    s->creation.bootstrap.key = parent->has_key ? s->creation.key : NULL;
    if (!parent->has_key)
        return C4_OK;
    return c4_hmac_sha256(parent->key, sizeof parent->key, parts, sizeof parts / sizeof parts[0], s->creation.key);
}

static c4_status set_up(c4_shrink *s, const unsigned char offer[OFFER_BYTES])
{
    c4_bootstrap_spec *bootstrap = &s->creation.bootstrap;
    c4_comm *parent = s->parent;
    int rank = 0, nranks = 0;
    for (int i = 0; i < parent->nranks; i++) {
        rank += i < parent->rank && !s->dead[i];
        nranks += !s->dead[i];
    }
    C4_TRY(c4_comm_reshape(s->creation.comm, rank, nranks));
    C4_TRY(derive_identity(s, offer + C4_NET_ADDRESS_BYTES));
    C4_TRY(c4_net_address_unpack(offer, &s->creation.addresses[0]));
    bootstrap->rank = rank;
    bootstrap->nranks = nranks;
    bootstrap->epoch = s->creation.comm->epoch;
    bootstrap->addresses = s->creation.addresses;
    bootstrap->naddresses = 1;
    bootstrap->timeout_ms = remaining_ms(s);
    if (rank == 0) {
        bootstrap->listen_fd = s->door; /* the bootstrap's now */
        s->door = -1;
    }
    return c4_creation_run(&s->creation);
}

/* ---- the last word ---- */

static bool lost_more(const c4_shrink *s)
{
    for (int i = 0; i < s->parent->nranks; i++)
        if (s->dead_later[i] && !s->dead[i])
            return true;
    return false;
}

/* C4_IN_PROGRESS: try again. `status`: of this rank's set-up, with its text. */
static c4_status settle(c4_shrink *s, c4_status status)
{
    c4_comm *child = s->creation.comm;
    char text[C4_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", c4_fail_text());
    if (status < 0 && child->bootstrap)
        c4_bootstrap_give_up(child->bootstrap, text);
    c4_control_agreement agreement = {.dead = s->dead_later};
    c4_control_proposal proposal = {.tag = C4_AGREE_SURVIVED,
                                    .value = status == C4_OK,
                                    .minimum = status == C4_OK ? UINT64_MAX : (uint64_t)s->parent->rank,
                                    .exclude = s->exclude,
                                    .nexclude = s->nexclude,
                                    .timeout_ms = remaining_ms(s) + SETTLE_MS,
                                    .abort_flag = &child->control_abort};
    C4_TRY(c4_agree(s->parent, &proposal, &agreement));
    if (lost_more(s))
        return C4_IN_PROGRESS;
    if (agreement.value == 1)
        return C4_OK;
    if (status == C4_OK)
        return c4_fail(C4_ERR_PEER_ERROR, "c4_comm_shrink of \"%s\": rank %d could not be set up: see its log",
                       s->parent->name, (int)agreement.minimum);
    c4_fail_keep(text);
    return status;
}

static c4_status attempt(c4_shrink *s)
{
    unsigned char offer[OFFER_BYTES] = {0};
    c4_status status = agree_on_survivors(s, offer);
    if (status == C4_OK) {
        atomic_compare_exchange_strong(&s->creation.comm->abort_requested, &(int){C4_COMM_ABORT_BY_DEATH}, 0);
        set_phase(s, true);
        status = set_up(s, offer);
        set_phase(s, false);
        status = settle(s, status);
    }
    close_door(s);
    return status;
}

/* Why it ended, when it was told to end. */
static c4_status explain(const c4_shrink *s, c4_status status)
{
    int reason = atomic_load(&s->creation.comm->abort_requested);
    if (status >= 0 || !atomic_load(&s->creation.comm->control_abort))
        return status;
    if (s->parent->excluded)
        return c4_fail(C4_ERR_EXCLUDED, "the other ranks of \"%s\" have shrunk it without rank %d", s->parent->name,
                       s->parent->rank);
    if (reason == C4_COMM_ABORT_BY_PEER)
        return c4_fail(C4_ERR_PEER_ERROR, "c4_comm_shrink of \"%s\": rank %d has given it up: see its log",
                       s->parent->name, s->parent->quitter - 1);
    return c4_fail(C4_ERR_ABORTED, "c4_comm_shrink of \"%s\" was aborted on rank %d", s->parent->name, s->parent->rank);
}

static c4_status shrink_run(c4_shrink *s)
{
    c4_comm *parent = s->parent, *child = s->creation.comm;
    pthread_mutex_lock(&parent->derive_lock);
    parent->shrinking = s;
    if (parent->quitter || parent->excluded)
        stop(child, C4_COMM_ABORT_BY_PEER);
    pthread_mutex_unlock(&parent->derive_lock);
    c4_status status = C4_IN_PROGRESS;
    for (int i = 0; status == C4_IN_PROGRESS && i < MAX_ATTEMPTS; i++) {
        if (i > 0) {
            c4_log(C4_LOG_INFO, "shrinking \"%s\" once more: ranks died meanwhile", parent->name);
            c4_comm_undo(child);
        }
        status = attempt(s);
    }
    if (status == C4_IN_PROGRESS)
        status = c4_fail(C4_ERR_PEER_DEAD, "c4_comm_shrink of \"%s\": ranks died in each of %d attempts", parent->name,
                         MAX_ATTEMPTS);
    status = explain(s, status);
    if (status == C4_ERR_ABORTED)
        tell_quit(parent);
    atomic_compare_exchange_strong(&child->abort_requested, &(int){C4_COMM_ABORT_BY_DEATH}, 0);
    pthread_mutex_lock(&parent->derive_lock);
    parent->shrinking = NULL;
    parent->quitter = 0;
    pthread_mutex_unlock(&parent->derive_lock);
    return c4_creation_finish(&s->creation, status);
}

/* ---- calls ---- */

static void shrink_free(c4_shrink *s)
{
    free(s->exclude);
    free(s->dead);
    free(s->dead_later);
    explicit_bzero(s, sizeof *s);
    free(s);
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static c4_status read_exclude(c4_shrink *s, const int *exclude, int nexclude)
{
    const c4_comm *parent = s->parent;
    for (int i = 0; i < nexclude; i++) {
        if (exclude[i] < 0 || exclude[i] >= parent->nranks)
            return c4_fail(C4_ERR_ROOT, "c4_comm_shrink: exclude[%d] is %d; \"%s\" has ranks 0..%d", i, exclude[i],
                           parent->name, parent->nranks - 1);
        if (exclude[i] == parent->rank)
            return c4_fail(C4_ERR_EXCLUDED, "c4_comm_shrink of \"%s\": exclude[%d] is this rank, %d", parent->name, i,
                           parent->rank);
        s->exclude[i] = exclude[i];
    }
    qsort(s->exclude, (size_t)nexclude, sizeof *s->exclude, compare_ints);
    for (int i = 0; i < nexclude; i++)
        if (i == 0 || s->exclude[i] != s->exclude[i - 1])
            s->exclude[s->nexclude++] = s->exclude[i];
    return C4_OK;
}

static c4_status shrink_create(c4_comm *parent, const int *exclude, int nexclude, const c4_comm_config *config,
                               c4_shrink **out)
{
    char name[C4_COMM_NAME_BYTES];
    c4_comm_config named = *config;
    size_t n = (size_t)parent->nranks;
    snprintf(name, sizeof name, "%.40s-", parent->name);
    if (!named.name)
        named.name = name;
    c4_shrink *s = calloc(1, sizeof *s);
    if (!s)
        return c4_fail(C4_ERR_MEMORY, "shrink of \"%s\"", parent->name);
    s->parent = parent;
    s->door = -1;
    s->exclude = calloc((size_t)nexclude + 1, sizeof *s->exclude);
    s->dead = calloc(n, 1);
    s->dead_later = calloc(n, 1);
    c4_status status = s->exclude && s->dead && s->dead_later
                           ? read_exclude(s, exclude, nexclude)
                           : c4_fail(C4_ERR_MEMORY, "shrink of \"%s\"", parent->name);
    if (status == C4_OK)
        status = c4_creation_begin(&named, parent->call_options, 0, parent->nranks, &s->creation);
    if (status < 0) {
        shrink_free(s);
        return status;
    }
    c4_comm *child = s->creation.comm;
    child->derived = true;
    child->epoch = (uint16_t)(parent->epoch + 1);
    s->deadline_ns = c4_now_ns() + (uint64_t)s->creation.bootstrap.timeout_ms * 1000000u;
    *out = s;
    return C4_OK;
}

static void *shrink_main(void *argument)
{
    c4_request *request = argument;
    c4_shrink *s = request->argument;
    c4_comm *parent = s->parent;
    c4_status status = shrink_run(s);
    shrink_free(s);
    c4_comm_leave_control(parent, status);
    atomic_store_explicit(&request->setup_done, 1, memory_order_release);
    return NULL;
}

static c4_status shrink_now(c4_shrink *s, c4_comm **new_comm)
{
    c4_comm *parent = s->parent, *child = s->creation.comm;
    c4_comm_derive(parent, child);
    c4_status status = shrink_run(s);
    c4_comm_derive(parent, NULL);
    shrink_free(s);
    if (status < 0)
        c4_comm_free(child);
    else
        *new_comm = child;
    return status;
}

static c4_status shrink_later(c4_shrink *s, c4_request **request, c4_comm **new_comm)
{
    c4_comm *child = s->creation.comm;
    c4_status status = c4_request_start_setup(child, shrink_main, s, request);
    if (status == C4_OK) {
        *new_comm = child;
        return C4_OK;
    }
    tell_quit(s->parent);
    shrink_free(s);
    c4_comm_free(child);
    return status;
}

C4_API c4_status c4_comm_shrink(c4_comm *comm, const int *exclude, int nexclude, const c4_comm_config *config,
                                c4_request **request, c4_comm **new_comm)
{
    c4_comm_config full;
    c4_shrink *s = NULL;
    C4_TRY(c4_comm_enter_control(comm, "c4_comm_shrink"));
    c4_status status = c4_comm_config_read(config, &full);
    if (status == C4_OK && (!new_comm || (nexclude > 0 && !exclude)))
        status = c4_fail(C4_ERR_NULL, "c4_comm_shrink: new_comm or exclude is NULL");
    else if (status == C4_OK && nexclude < 0)
        status = c4_fail(C4_ERR_COUNT, "c4_comm_shrink: nexclude is %d", nexclude);
    if (status < 0)
        return c4_comm_leave_control(comm, status);
    status = shrink_create(comm, exclude, nexclude, &full, &s);
    if (status == C4_ERR_MEMORY)
        tell_quit(comm);
    if (status < 0)
        return c4_comm_leave_control(comm, status);
    if (!request)
        return c4_comm_leave_control(comm, shrink_now(s, new_comm));
    status = shrink_later(s, request, new_comm);
    return status < 0 ? c4_comm_leave_control(comm, status) : C4_OK;
}
