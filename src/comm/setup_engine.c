/* What the engine is told: costs from the transports' capabilities, policies from the options. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/mismatch.h"
#include "comm/setup.h"
#include "host/topology.h"

#define SPIN_OWN_CORE    20000u /* about 20 us: longer than any frame takes to cross */
#define SPIN_SHARED_CORE 1u     /* one round of some 100 polls, see wait.c */

/* c4run tells the cores of the job on this host; a rank bound to one of them cannot see the others. Without c4run, one
 * usable hardware thread means that somebody else has bound the ranks, presumably each to its own. */
static double ranks_per_core(int local_nranks)
{
    cpu_set_t set;
    c4_topology topology;
    const char *text = c4_env_get("C4_TOPOLOGY");
    if (text && c4_topology_parse(text, &topology) == C4_OK) {
        double ratio = (double)local_nranks / (double)topology.ncores;
        c4_topology_fini(&topology);
        return ratio;
    }
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 1 ? (double)local_nranks / cores : 1.0;
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
    *cost = (c4_cost_params){.local = link_of(&local->caps),
                             .remote = link_of(&remote->caps),
                             .step_s = 5e-9,
                             .ranks_per_core = ranks_per_core(local_nranks),
                             .cache_bytes = cpu.l3_bytes};
}

static c4_wait_policy wait_policy(const c4_comm *comm, double ranks_per_core)
{
    int64_t polls = c4_option_int(comm->options, "C4_SPIN_POLLS");
    bool own_core = ranks_per_core <= 1.0;
    return (c4_wait_policy){.spin_polls = polls >= 0 ? (unsigned)polls + 1
                                          : own_core ? SPIN_OWN_CORE
                                                     : SPIN_SHARED_CORE,
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
                             .job_id = comm->given_id ? comm->given_id : comm->job_id,
                             .rank = comm->rank,
                             .keep_s = (uint64_t)c4_option_int(options, "C4_RECORD_KEEP_S"),
                             .keep_bytes = (uint64_t)c4_option_int(options, "C4_RECORD_KEEP_BYTES")};
    comm->recorder = c4_option_int(options, "C4_RECORD") ? c4_recorder_acquire(&spec) : NULL;
    c4_record_writer_open(comm->recorder, (uint32_t)(comm->job_id ^ comm->job_id >> 32), comm->epoch, comm->rank,
                          comm->nranks, comm->roster.layout.nhosts, comm->name, &comm->writer);
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
    start_record(comm);
    c4_setup_cost(setup->rails, setup->nrails, comm->roster.local_nranks, &comm->cost);
    double ranks_per_core = comm->cost.ranks_per_core; /* waiting is each host's own matter */
    C4_TRY(c4_setup_agree_cost(setup, &comm->cost));
    c4_engine_spec spec = {.rank = comm->rank,
                           .nranks = comm->nranks,
                           .name = comm->name,
                           .comm_id = (uint32_t)(comm->job_id ^ comm->job_id >> 32),
                           .epoch = comm->epoch,
                           .layout = &comm->roster.layout,
                           .cost = &comm->cost,
                           .rails = setup->rails,
                           .nrails = setup->nrails,
                           .rail_of = setup->rail_of,
                           .tuning = &comm->tuning,
                           .writer = &comm->writer,
                           .cpu_level = level,
                           .wait = wait_policy(comm, ranks_per_core),
                           .watch_fd = c4_job_watch_fd,
                           .unwatch_fd = c4_job_unwatch_fd,
                           .watch_context = comm,
                           .chunk_bytes = (size_t)c4_option_int(options, "C4_CHUNK_BYTES"),
                           .deterministic = c4_option_int(options, "C4_DETERMINISTIC") != 0,
                           .map = c4_option_int(options, "C4_MAP") != 0,
                           .timeout_ms = (int)c4_option_int(options, "C4_TIMEOUT_MS"),
                           .late_ms = (int)c4_option_int(options, "C4_HEARTBEAT_MS"),
                           .ask = c4_comm_ask_peer,
                           .describe = c4_comm_describe_peer,
                           .ask_context = comm};
    C4_TRY(c4_setup_forced_algorithm(options, &spec.forced_algorithm, &spec.forced_kinds));
    for (int i = 1; i < setup->nrails && !comm->doorbell; i++)
        if (setup->rails[i].caps.flags & C4_CAP_DOORBELL)
            C4_TRY(setup->rails[i].ops->doorbell(setup->rails[i].module, &comm->doorbell));
    spec.doorbell = comm->doorbell;
    spec.map = spec.map && comm->roster.layout.nhosts == 1 && comm->cost.local.map;
    return c4_engine_create(&spec, &comm->engine);
}
