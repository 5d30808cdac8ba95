/* c4_info_get_choice: the choice of algorithm for a job that need not exist. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/export.h"
#include "comm/choice.h"
#include "comm/info.h"
#include "transports/builtin.h"

#define LARGEST_BYTES ((size_t)1 << 40)
#define MAX_RANKS     65536

/* A job that does not exist. */
typedef struct imagined_job {
    int nranks;
    int *host_of;
    c4_layout layout;
    c4_cost_params cost;
    c4_tuning tuning;
    int forced;
    uint32_t forced_kinds;
    bool deterministic, may_map;
    size_t chunk_bytes;
} imagined_job;

typedef struct choice_table {
    c4_info *info;
    size_t room;
} choice_table;

/* ---- the job ---- */

static void add_rail(c4_info *info, int ranks_per_host, const char *name, c4_rail *rails, int *nrails)
{
    char reason[480];
    int index = c4_transport_index(name);
    const char *path = c4_option_string(info->options, "C4_MODULE_PATH");
    const c4_transport_ops *ops;
    c4_transport_host host = c4_info_host(info, ranks_per_host);
    c4_rail *rail = &rails[*nrails];
    if (index < 0 || *nrails == C4_ENGINE_MAX_RAILS ||
        c4_transport_get(&c4_transports[index], path, &ops, reason, sizeof reason) < 0)
        return;
    *rail = (c4_rail){.ops = ops, .caps.struct_size = sizeof rail->caps};
    if (ops->probe(&host, &rail->caps, reason, sizeof reason) >= 0)
        (*nrails)++;
}

static void find_cost(c4_info *info, int ranks_per_host, c4_cost_params *cost)
{
    c4_rail rails[C4_ENGINE_MAX_RAILS];
    int nrails = 0;
    char names[256];
    char *save = NULL;
    add_rail(info, ranks_per_host, "loop", rails, &nrails);
    snprintf(names, sizeof names, "%s", c4_setup_transports(info->options));
    for (char *name = strtok_r(names, ", ", &save); name; name = strtok_r(NULL, ", ", &save))
        if (strcmp(name, "loop") != 0)
            add_rail(info, ranks_per_host, name, rails, &nrails);
    c4_setup_cost(rails, nrails, ranks_per_host, cost);
}

static void job_fini(imagined_job *job)
{
    free(job->host_of);
    c4_tuning_fini(&job->tuning);
}

static c4_status job_init(c4_info *info, int nranks, int ranks_per_host, imagined_job *job)
{
    const c4_options *options = info->options;
    c4_status status;
    *job = (imagined_job){.nranks = nranks,
                          .deterministic = c4_option_int(options, "C4_DETERMINISTIC") != 0,
                          .chunk_bytes = (size_t)c4_option_int(options, "C4_CHUNK_BYTES")};
    job->host_of = calloc((size_t)nranks, sizeof *job->host_of);
    if (!job->host_of)
        return c4_fail(C4_ERR_MEMORY, "table of choices for %d ranks", nranks);
    for (int rank = 0; rank < nranks; rank++)
        job->host_of[rank] = rank / ranks_per_host;
    job->layout = (c4_layout){
        .nranks = nranks, .host_of = job->host_of, .nhosts = (nranks + ranks_per_host - 1) / ranks_per_host};
    find_cost(info, ranks_per_host, &job->cost);
    job->may_map = c4_option_int(options, "C4_MAP") != 0 && job->layout.nhosts == 1 && job->cost.local.map;
    C4_TRY_GOTO(c4_setup_forced_algorithm(options, &job->forced, &job->forced_kinds), fail);
    C4_TRY_GOTO(c4_setup_read_tuning(options, &job->tuning, NULL), fail);
    return C4_OK;
fail:
    job_fini(job);
    return status;
}

/* ---- rows ---- */

static int lanes_of(const c4_query *query)
{
    c4_schedule *schedule;
    if (query->lanes)
        return (int)query->lanes;
    if (c4_schedule_build(query, &schedule) < 0)
        return 0;
    int lanes = (int)schedule->nlanes;
    c4_schedule_destroy(schedule);
    return lanes;
}

static c4_status add_row(void *context, const c4_query *query, const char *reason)
{
    choice_table *table = context;
    c4_info *info = table->info;
    if (info->nrows == table->room) {
        size_t room = table->room ? 2 * table->room : 32;
        c4_info_choice *rows = realloc(info->rows, room * sizeof *rows);
        if (!rows)
            return c4_fail(C4_ERR_MEMORY, "table of choices");
        info->rows = rows;
        table->room = room;
    }
    const c4_algorithm *algorithm = &c4_algorithms[query->algorithm];
    bool first = query->count <= 1;
    info->rows[info->nrows++] =
        (c4_info_choice){.struct_size = sizeof(c4_info_choice),
                         .collective = c4_kind_name(query->kind),
                         .min_bytes = first ? 0 : c4_query_bytes(query),
                         .max_bytes = SIZE_MAX,
                         .algorithm = algorithm->name,
                         .chunk_bytes = query->chunk_bytes,
                         .lanes = lanes_of(query),
                         .predicted_us = algorithm->cost(query) * 1e6,
                         .reason = strcmp(reason, "tuning file") == 0 ? info->tuning_reason : reason};
    c4_info_choice *row = &info->rows[info->nrows - 1];
    if (!first) /* of a barrier there is one row */
        row[-1].max_bytes = row->min_bytes - 1;
    return C4_OK;
}

static c4_status make_table(c4_info *info, int nranks, int ranks_per_host)
{
    imagined_job job;
    c4_status status = C4_OK;
    C4_TRY(job_init(info, nranks, ranks_per_host, &job));
    choice_table table = {.info = info};
    c4_choice_job asked = {.nranks = job.nranks,
                           .layout = &job.layout,
                           .cost = &job.cost,
                           .tuning = &job.tuning,
                           .forced = job.forced,
                           .forced_kinds = job.forced_kinds,
                           .deterministic = job.deterministic,
                           .may_map = job.may_map,
                           .chunk_bytes = job.chunk_bytes,
                           .largest_bytes = LARGEST_BYTES};
    snprintf(info->tuning_reason, sizeof info->tuning_reason, "tuning file %.280s",
             c4_option_string(info->options, "C4_TUNING_FILE"));
    status = c4_choice_scan(&asked, add_row, &table);
    job_fini(&job);
    if (status < 0) {
        c4_info_forget_choices(info);
        return status;
    }
    info->nranks = nranks;
    info->ranks_per_host = ranks_per_host;
    return C4_OK;
}

C4_API c4_status c4_info_get_choice(int nranks, int ranks_per_host, size_t index, c4_info_choice *choice)
{
    c4_info *info;
    C4_TRY(c4_info_check(choice, choice ? choice->struct_size : 0, sizeof *choice));
    if (nranks < 1 || nranks > MAX_RANKS || ranks_per_host < 1)
        return c4_fail(C4_ERR_ARGUMENT, "%d ranks, %d on each host: expected 1..%d ranks, at least 1 on each host",
                       nranks, ranks_per_host, MAX_RANKS);
    if (ranks_per_host > nranks)
        ranks_per_host = nranks;
    C4_TRY(c4_info_open(index == 0, &info));
    if (info->nranks != nranks || info->ranks_per_host != ranks_per_host) {
        c4_info_forget_choices(info);
        C4_TRY(make_table(info, nranks, ranks_per_host));
    }
    if (index >= info->nrows)
        return C4_ERR_COUNT;
    size_t struct_size = choice->struct_size;
    *choice = info->rows[index];
    choice->struct_size = struct_size;
    return C4_OK;
}

/* ---- of a communicator ---- */

static int find_kind(const char *name)
{
    if (strcmp(name, "send_recv") == 0)
        return C4_KIND_SEND;
    for (int kind = 0; kind < C4_NKINDS; kind++)
        if (strcmp(c4_kind_name((c4_kind)kind), name) == 0)
            return kind;
    return -1;
}

static c4_status ask_engine(c4_comm *comm, c4_kind kind, size_t bytes, const char **algorithm)
{
    size_t n = (size_t)comm->nranks;
    size_t count = bytes / (C4_CHOICE_ELEMENT_BYTES * (c4_choice_has_blocks(kind) ? n : 1));
    size_t *counts = calloc(n, sizeof *counts); /* of v-calls: equal blocks */
    if (!counts)
        return c4_fail(C4_ERR_MEMORY, "counts of %d ranks", comm->nranks);
    for (size_t i = 0; i < n; i++)
        counts[i] = bytes / (C4_CHOICE_ELEMENT_BYTES * n);
    c4_call call = {.kind = kind,
                    .dtype = C4_FLOAT32,
                    .op = C4_SUM,
                    .count = count,
                    .send_counts = counts,
                    .send_displs = comm->displs,
                    .recv_counts = counts,
                    .recv_displs = comm->displs};
    c4_status status = c4_engine_algorithm(comm->engine, &call, algorithm);
    free(counts);
    return status;
}

C4_API c4_status c4_info_comm_algorithm(c4_comm *comm, const char *collective, size_t bytes, const char **algorithm)
{
    if (!collective || !algorithm)
        return c4_fail(C4_ERR_NULL, "c4_info_comm_algorithm: collective or algorithm is NULL");
    int kind = find_kind(collective);
    if (kind < 0)
        return c4_fail(C4_ERR_ARGUMENT, "no collective \"%.40s\"; all_reduce, for example", collective);
    C4_TRY(c4_comm_enter(comm));
    return c4_comm_leave(comm, ask_engine(comm, (c4_kind)kind, bytes, algorithm));
}
