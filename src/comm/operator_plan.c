/* The plan: by which transport each peer is reached, which algorithm serves which size, what has been run so far, and what
 * has gone over each channel. */
#include <string.h>

#include "comm/choice.h"
#include "comm/operator.h"

#define LARGEST_BYTES ((size_t)1 << 33)

typedef struct edge_writer {
    const c4_comm *comm;
    c4_json *json;
} edge_writer;

static void write_transports(const c4_comm *comm, c4_json *json)
{
    c4_json_open(json, "transports", '[');
    for (int peer = 0; peer < comm->nranks; peer++) {
        const c4_process *process = c4_control_process(comm->job->control, comm->job_ranks[peer]);
        if (peer == comm->rank)
            continue;
        c4_json_open(json, NULL, '{');
        c4_json_int(json, "rank", peer);
        c4_json_string(json, "host", process ? process->host : NULL);
        c4_json_string(json, "transport", c4_engine_transport_to(comm->engine, peer));
        c4_json_close(json, '{');
    }
    c4_json_close(json, '[');
}

/* ---- what would be chosen ---- */

static c4_status write_row(void *context, const c4_query *query, const char *reason)
{
    c4_json *json = context;
    const c4_algorithm *algorithm = &c4_algorithms[query->algorithm];
    c4_json_open(json, NULL, '{');
    c4_json_string(json, "collective", c4_kind_name(query->kind));
    c4_json_uint(json, "min_bytes", query->count <= 1 ? 0 : c4_query_bytes(query));
    c4_json_string(json, "algorithm", algorithm->name);
    c4_json_uint(json, "chunk_bytes", query->chunk_bytes);
    c4_json_real(json, "predicted_us", algorithm->cost(query) * 1e6);
    c4_json_string(json, "reason", reason);
    c4_json_close(json, '{');
    return C4_OK;
}

static void write_choice(const c4_comm *comm, c4_json *json)
{
    const c4_engine_spec *spec = c4_engine_spec_of(comm->engine);
    c4_choice_job job = {.nranks = comm->nranks,
                         .layout = spec->layout,
                         .cost = spec->cost,
                         .tuning = spec->tuning,
                         .forced = spec->forced_algorithm,
                         .forced_kinds = spec->forced_kinds,
                         .deterministic = spec->deterministic,
                         .may_map = spec->map,
                         .chunk_bytes = spec->chunk_bytes,
                         .largest_bytes = LARGEST_BYTES};
    c4_json_open(json, "algorithms", '[');
    c4_choice_scan(&job, write_row, json);
    c4_json_close(json, '[');
}

/* ---- what has been run ---- */

static void write_program(void *context, const c4_record_program *program)
{
    c4_json *json = context;
    char name[sizeof program->algorithm_name + 1] = "";
    memcpy(name, program->algorithm_name, sizeof program->algorithm_name);
    c4_json_open(json, NULL, '{');
    c4_json_string(json, "collective", c4_kind_name((c4_kind)program->kind));
    c4_json_uint(json, "count", program->count);
    c4_json_string(json, "dtype", c4_dtype_name((c4_dtype)program->dtype));
    c4_json_string(json, "algorithm", name);
    c4_json_uint(json, "chunk_bytes", program->chunk_bytes);
    c4_json_uint(json, "lanes", program->lanes);
    c4_json_uint(json, "channels", program->channels);
    c4_json_close(json, '{');
}

static void write_edge(void *context, const c4_record_edge *edge)
{
    const edge_writer *to = context;
    c4_json *json = to->json;
    c4_json_open(json, NULL, '{');
    c4_json_int(json, "peer", edge->peer);
    c4_json_string(json, "direction", edge->direction == C4_RECORD_SENDS ? "send" : "receive");
    c4_json_string(json, "transport", c4_engine_transport_name(to->comm->engine, edge->transport));
    c4_json_uint(json, "bytes", edge->bytes);
    c4_json_uint(json, "messages", edge->messages);
    c4_json_uint(json, "resends", edge->resends);
    c4_json_real(json, "waited_s", (double)c4_tsc_to_ns(edge->waited_ticks) / 1e9);
    c4_json_close(json, '{');
}

void c4_operator_write_plan(c4_comm *comm, c4_json *json)
{
    edge_writer edges = {comm, json};
    write_transports(comm, json);
    write_choice(comm, json);
    c4_json_open(json, "programs", '[');
    c4_record_programs_visit(&comm->writer, write_program, json);
    c4_json_close(json, '[');
    c4_json_open(json, "channels", '[');
    c4_record_edges_visit(&comm->writer, write_edge, &edges);
    c4_json_close(json, '[');
}
