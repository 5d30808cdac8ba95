/* `c4info jobs`: this user's jobs on this host, with what their ranks are in. Ranks that do not answer are listed as well:
 * their sockets, /proc and the other ranks know of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/c4info/job.h"

/* ---- reading ---- */

const char *c4info_text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

double c4info_number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

const cJSON *c4info_first_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsArray(item) ? item->child : NULL;
}

const char *c4info_format_time(double seconds, char *text)
{
    long long whole = seconds < 1e15 ? (long long)seconds : 0;
    if (seconds < 60)
        snprintf(text, 32, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(text, 32, "%lld m %lld s", whole / 60, whole % 60);
    else
        snprintf(text, 32, "%lld h %lld m", whole / 3600, whole / 60 % 60);
    return text;
}

cJSON *c4info_rank_parse(c4info_rank *rank)
{
    cJSON *answer = rank->answer ? cJSON_Parse(rank->answer) : NULL;
    if (rank->answer && !cJSON_IsObject(answer))
        snprintf(rank->why, sizeof rank->why, "its answer is not understood: another version of C4?");
    else if (answer && *c4info_text_of(answer, "error"))
        snprintf(rank->why, sizeof rank->why, "%s", c4info_text_of(answer, "error"));
    else
        return answer;
    cJSON_Delete(answer);
    return NULL;
}

size_t c4info_job_size(const c4info_ranks *ranks, size_t first)
{
    size_t end = first;
    while (end < ranks->count && ranks->all[end].name.job == ranks->all[first].name.job)
        end++;
    return end - first;
}

/* ---- one job ---- */

typedef struct job_view {
    c4info_rank *ranks;
    size_t count;
    cJSON **status; /* [count]: NULL where none came */
    cJSON *dump;    /* of one that answers; NULL: none does */
} job_view;

static void job_read(const c4info_ranks *ranks, c4info_rank *first, size_t count, job_view *job)
{
    *job = (job_view){.ranks = first, .count = count, .status = calloc(count, sizeof *job->status)};
    if (!job->status)
        exit(c4info_complain(C4_ERR_MEMORY, "jobs"));
    for (size_t i = 0; i < count; i++)
        job->status[i] = c4info_rank_parse(&first[i]);
    for (size_t i = 0; i < count && !job->dump; i++) {
        if (!job->status[i])
            continue;
        c4info_ranks_ask(ranks, &first[i], 1, "dump\n", C4INFO_STATUS_MS);
        job->dump = c4info_rank_parse(&first[i]);
    }
}

static void job_free(job_view *job)
{
    for (size_t i = 0; i < job->count; i++)
        cJSON_Delete(job->status[i]);
    free(job->status);
    cJSON_Delete(job->dump);
}

static bool is_gone(const job_view *job)
{
    for (size_t i = 0; i < job->count; i++)
        if (!job->ranks[i].gone)
            return false;
    return true;
}

static int find_local(const job_view *job, int rank)
{
    for (size_t i = 0; i < job->count; i++)
        if (job->ranks[i].name.rank == rank)
            return (int)i;
    return -1;
}

/* In a word. */
static const char *state_of(const c4info_rank *rank, const cJSON *status, const char *others)
{
    char state = c4info_process_state(rank->pid);
    if (rank->gone)
        return "gone";
    if (status)
        return "alive";
    if (state == 'T' || state == 't')
        return "stopped";
    return *others && strcmp(others, "alive") != 0 ? others : "no answer";
}

/* The communicator whose operation has been under way for longest, else the first. */
static const cJSON *busiest(const cJSON *status, const cJSON **operation)
{
    const cJSON *comm, *one, *found = NULL;
    *operation = NULL;
    for (comm = c4info_first_of(status, "communicators"); comm; comm = comm->next) {
        if (!found)
            found = comm;
        for (one = c4info_first_of(comm, "operations"); one; one = one->next)
            if (!*operation || c4info_number_of(one, "age_s") > c4info_number_of(*operation, "age_s")) {
                *operation = one;
                found = comm;
            }
    }
    return found;
}

static void set_activity(c4info_row *row, const cJSON *status)
{
    const cJSON *operation, *comm = busiest(status, &operation);
    const cJSON *last = cJSON_GetObjectItemCaseSensitive(comm, "last");
    const cJSON *waits = cJSON_GetObjectItemCaseSensitive(comm, "waits");
    const cJSON *timed = operation ? operation : last;
    snprintf(row->comm, sizeof row->comm, "%s", c4info_text_of(comm, "name"));
    if (*c4info_text_of(comm, "error"))
        snprintf(row->what, sizeof row->what, "%s", c4info_text_of(comm, "status"));
    else if (operation)
        snprintf(row->what, sizeof row->what, "%s", c4info_text_of(operation, "text"));
    else
        snprintf(row->what, sizeof row->what, "no operation%s%s", last ? "; last " : "", c4info_text_of(last, "text"));
    if (timed)
        row->since_s = c4info_number_of(timed, "age_s");
    if (waits)
        snprintf(row->waits, sizeof row->waits, "rank %.0f", c4info_number_of(waits, "for"));
}

/* What is to be said of a rank that told nothing. */
static const char *why_unknown(const job_view *job, int local, const cJSON *known)
{
    const char *state = c4info_text_of(known, "state");
    if (local >= 0)
        return job->ranks[local].why;
    if (strcmp(state, "left") == 0 || strcmp(state, "dead") == 0)
        return "";
    if (strcmp(c4info_text_of(known, "host"), c4info_text_of(job->dump, "host")) != 0)
        return "on another host: c4info job probe asks it";
    return "no socket of it is here: C4_ADMIN=off, another C4_RECORD_DIR?";
}

static void add_rank(c4info_rows *rows, const job_view *job, int rank, const cJSON *known)
{
    int local = find_local(job, rank);
    const cJSON *status = local >= 0 ? job->status[local] : NULL;
    const char *host = c4info_text_of(known, "host"), *others = c4info_text_of(known, "state");
    c4info_row row = {.first = rank, .last = rank, .since_s = -1};
    row.pid = local >= 0 ? (double)job->ranks[local].pid : c4info_number_of(known, "pid");
    snprintf(row.host, sizeof row.host, "%s", *host ? host : "here");
    snprintf(row.state, sizeof row.state, "%s", local >= 0 ? state_of(&job->ranks[local], status, others) : others);
    if (status)
        set_activity(&row, status);
    else
        snprintf(row.what, sizeof row.what, "%s", why_unknown(job, local, known));
    c4info_rows_add(rows, &row);
}

static void print_job(const job_view *job)
{
    char up[32];
    c4info_rows rows;
    const cJSON *known;
    printf("job %016llx: ", (unsigned long long)job->ranks[0].name.job);
    if (job->dump)
        printf("%.0f ranks, %zu of them here; %s, up %s\n", c4info_number_of(job->dump, "nranks"), job->count,
               c4info_text_of(job->dump, "program"), c4info_format_time(c4info_number_of(job->dump, "uptime_s"), up));
    else
        printf("%zu ranks here, none of which answers\n", job->count);
    c4info_rows_init(&rows, job->dump ? (int)c4info_number_of(job->dump, "nranks") : (int)job->count, true);
    if (job->dump)
        for (known = c4info_first_of(job->dump, "ranks"); known; known = known->next)
            add_rank(&rows, job, (int)c4info_number_of(known, "rank"), known);
    else
        for (size_t i = 0; i < job->count; i++)
            add_rank(&rows, job, job->ranks[i].name.rank, NULL);
    c4info_rows_print(&rows);
}

/* ---- all jobs ---- */

int c4info_jobs_text(const c4info_request *request)
{
    c4info_ranks ranks;
    size_t jobs = 0, gone = 0;
    (void)request;
    if (c4info_ranks_find(&ranks) < 0)
        return 1;
    c4info_ranks_ask(&ranks, ranks.all, ranks.count, "status\n", C4INFO_STATUS_MS);
    for (size_t at = 0, count; at < ranks.count; at += count) {
        job_view job;
        count = c4info_job_size(&ranks, at);
        job_read(&ranks, &ranks.all[at], count, &job);
        if (is_gone(&job)) {
            gone++;
        } else {
            printf("%s", jobs++ ? "\n" : "");
            print_job(&job);
        }
        job_free(&job);
    }
    if (jobs == 0)
        printf("No job of this user runs on this host with its admin socket in %s.\n", ranks.top);
    if (gone)
        printf("%s%zu dead job%s left sockets behind: c4info clean removes them.\n", jobs ? "\n" : "", gone,
               gone == 1 ? " has" : "s have");
    c4info_ranks_free(&ranks);
    return 0;
}

static void add_job(cJSON *jobs, job_view *job)
{
    cJSON *item = c4info_json_item(jobs);
    char id[17];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)job->ranks[0].name.job);
    cJSON_AddStringToObject(item, "job", id);
    cJSON *ranks = cJSON_AddArrayToObject(item, "ranks");
    for (size_t i = 0; i < job->count; i++) {
        cJSON *rank = c4info_json_item(ranks);
        cJSON_AddNumberToObject(rank, "rank", job->ranks[i].name.rank);
        cJSON_AddNumberToObject(rank, "pid", (double)job->ranks[i].pid);
        cJSON_AddStringToObject(rank, "state", state_of(&job->ranks[i], job->status[i], ""));
        if (!job->status[i])
            cJSON_AddStringToObject(rank, "why", job->ranks[i].why);
        cJSON_AddItemToObject(rank, "status", job->status[i] ? job->status[i] : cJSON_CreateNull());
        job->status[i] = NULL;
    }
    cJSON_AddItemToObject(item, "dump", job->dump ? job->dump : cJSON_CreateNull());
    job->dump = NULL;
}

int c4info_jobs_json(const c4info_request *request)
{
    c4info_ranks ranks;
    (void)request;
    if (c4info_ranks_find(&ranks) < 0)
        return 1;
    c4info_ranks_ask(&ranks, ranks.all, ranks.count, "status\n", C4INFO_STATUS_MS);
    cJSON *root = c4info_json_document("jobs");
    cJSON *jobs = cJSON_AddArrayToObject(root, "jobs");
    for (size_t at = 0, count; at < ranks.count; at += count) {
        job_view job;
        count = c4info_job_size(&ranks, at);
        job_read(&ranks, &ranks.all[at], count, &job);
        if (!is_gone(&job))
            add_job(jobs, &job);
        job_free(&job);
    }
    c4info_ranks_free(&ranks);
    return c4info_json_finish(root);
}
