/* What the engine is told: costs from the transports' capabilities, policies from the options. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/setup.h"

#define SPIN_OWN_CORE 20000u  /* about 20 us: longer than any frame takes to cross */
#define SPIN_SHARED_CORE 100u /* see wait.c */

static int cores_available(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static c4_link_class link_of(const c4_transport_caps *caps)
{
    return (c4_link_class){.latency_s = caps->latency_s,
                           .seconds_per_byte = caps->seconds_per_byte,
                           .reduce_seconds_per_byte = 1.0 / 20e9, /* 3 accesses per element at 1 MiB, Zen 4 */
                           .windows = (caps->flags & C4_CAP_WINDOWS) != 0,
                           .map = (caps->flags & C4_CAP_MAP) != 0,
                           .max_readers = caps->max_readers,
                           .max_frame_bytes = caps->max_frame_bytes};
}

void c4_setup_cost(const c4_rail *rails, int nrails, int local_nranks, c4_cost_params *cost)
{
    c4_cpu cpu;
    c4_cpu_detect(&cpu);
    const c4_rail *local = NULL, *remote = NULL;
    for (int i = nrails - 1; i >= 1; i--) { /* 0 is loop */
        if (rails[i].caps.flags & C4_CAP_SAME_HOST)
            local = &rails[i];
        else
            remote = &rails[i];
    }
    if (!local)
        local = remote ? remote : &rails[0];
    if (!remote)
        remote = local;
    int cores = cores_available() > 1 ? cores_available() : local_nranks;
    *cost = (c4_cost_params){.local = link_of(&local->caps),
                             .remote = link_of(&remote->caps),
                             .step_s = 5e-9,
                             .ranks_per_core = (double)local_nranks / cores,
                             .cache_bytes = cpu.l3_bytes};
}

/* "ring" or "all_reduce:ring,broadcast:tree" */
static c4_status parse_algorithm(const char *text, int *algorithm, uint32_t *kinds)
{
    char copy[256];
    char *save = NULL;
    *algorithm = -1;
    *kinds = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok_r(copy, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
        char *colon = strchr(word, ':');
        uint32_t mask = ~0u;
        if (colon) {
            *colon = '\0';
            mask = 0;
            for (int kind = 0; kind < C4_NKINDS; kind++)
                if (strcmp(c4_kind_name((c4_kind)kind), word) == 0)
                    mask = 1u << kind;
            if (!mask)
                return c4_fail(C4_ERR_OPTION, "C4_ALGO names the collective \"%s\"; try all_reduce, broadcast, ...",
                               word);
            word = colon + 1;
        }
        int found = c4_algorithm_find(word);
        if (found < 0)
            return c4_fail(C4_ERR_OPTION, "C4_ALGO names \"%s\"; `c4info algorithms` lists them", word);
        if (*algorithm >= 0 && found != *algorithm)
            return c4_fail(C4_ERR_OPTION, "C4_ALGO names two algorithms; use C4_TUNING_FILE for that");
        *algorithm = found;
        *kinds |= mask;
    }
    return C4_OK;
}

static c4_status read_tuning(c4_comm *comm)
{
    const char *name = c4_option_string(comm->options, "C4_TUNING_FILE");
    if (!*name)
        return C4_OK;
    FILE *file = fopen(name, "re");
    if (!file)
        return c4_fail(C4_ERR_OPTION, "C4_TUNING_FILE %s cannot be opened", name);
    enum { LIMIT = 1 << 20 };
    char *text = malloc(LIMIT + 1);
    size_t got = text ? fread(text, 1, LIMIT, file) : 0;
    fclose(file);
    if (!text)
        return c4_fail(C4_ERR_MEMORY, "tuning file");
    text[got] = '\0';
    c4_status status = c4_tuning_parse(text, name, &comm->tuning);
    free(text);
    return status;
}

static c4_wait_policy wait_policy(const c4_comm *comm)
{
    int64_t polls = c4_option_int(comm->options, "C4_SPIN_POLLS");
    bool own_core = comm->cost.ranks_per_core <= 1.0;
    return (c4_wait_policy){.spin_polls = polls >= 0 ? (unsigned)polls + 1 : own_core ? SPIN_OWN_CORE : SPIN_SHARED_CORE,
                            .yield_ns = (uint64_t)c4_option_int(comm->options, "C4_YIELD_US") * 1000,
                            .pause = false};
}

static void start_record(c4_comm *comm)
{
    const c4_options *options = comm->options;
    size_t bytes = (size_t)c4_option_int(options, "C4_RECORD_BYTES");
    /* Up front on every rank: keep a crowded host's total near 64 MiB. */
    if (c4_option_is_default(options, "C4_RECORD_BYTES") && comm->roster.local_nranks > 64)
        bytes /= 4;
    c4_recorder_spec spec = {.directory = c4_option_string(options, "C4_RECORD_DIR"),
                             .bytes = bytes,
                             .job_id = comm->job_id,
                             .rank = comm->rank};
    comm->recorder = c4_option_int(options, "C4_RECORD") ? c4_recorder_acquire(&spec) : NULL;
    c4_record_writer_open(comm->recorder, (uint32_t)(comm->job_id ^ comm->job_id >> 32), 0, comm->rank, comm->nranks,
                          comm->roster.layout.nhosts, comm->name, &comm->writer);
}

c4_status c4_setup_start_engine(c4_setup *setup)
{
    c4_comm *comm = setup->comm;
    const c4_options *options = comm->options;
    c4_cpu cpu;
    c4_cpu_level level;
    c4_cpu_detect(&cpu);
    static const char *const levels[] = {"auto", "scalar", "avx2", "avx512"};
    C4_TRY(c4_cpu_level_select(&cpu, levels[c4_option_int(options, "C4_CPU")], &level));
    C4_TRY(read_tuning(comm));
    start_record(comm);
    c4_setup_cost(setup->rails, setup->nrails, comm->roster.local_nranks, &comm->cost);
    c4_engine_spec spec = {.rank = comm->rank,
                           .nranks = comm->nranks,
                           .comm_id = (uint32_t)(comm->job_id ^ comm->job_id >> 32),
                           .layout = &comm->roster.layout,
                           .cost = &comm->cost,
                           .rails = setup->rails,
                           .nrails = setup->nrails,
                           .rail_of = setup->rail_of,
                           .tuning = &comm->tuning,
                           .writer = &comm->writer,
                           .cpu_level = level,
                           .wait = wait_policy(comm),
                           .watch_fd = c4_job_watch_fd,
                           .unwatch_fd = c4_job_unwatch_fd,
                           .watch_context = comm,
                           .chunk_bytes = (size_t)c4_option_int(options, "C4_CHUNK_BYTES"),
                           .deterministic = c4_option_int(options, "C4_DETERMINISTIC") != 0,
                           .map = c4_option_int(options, "C4_MAP") != 0,
                           .timeout_ms = (int)c4_option_int(options, "C4_TIMEOUT_MS")};
    C4_TRY(parse_algorithm(c4_option_string(options, "C4_ALGO"), &spec.forced_algorithm, &spec.forced_kinds));
    for (int i = 1; i < setup->nrails && !comm->doorbell; i++)
        if (setup->rails[i].caps.flags & C4_CAP_DOORBELL)
            C4_TRY(setup->rails[i].ops->doorbell(setup->rails[i].module, &comm->doorbell));
    spec.doorbell = comm->doorbell;
    spec.map = spec.map && comm->roster.layout.nhosts == 1 && comm->cost.local.map;
    return c4_engine_create(&spec, &comm->engine);
}
