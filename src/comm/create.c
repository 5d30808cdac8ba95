/* Creating a communicator: bootstrap, set-up, control thread; at once or behind a request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/export.h"
#include "base/log.h"
#include "comm/internal.h"
#include "comm/options.h"
#include "host/netif.h"
#include "rendezvous/launcher.h"
#include "rendezvous/listener.h"
#include "wire/unique_id.h"

/* ---- unique ids ---- */

static c4_status listen_interface(const c4_options *options, c4_net_address *bind)
{
    c4_netif list[64];
    size_t count = sizeof list / sizeof list[0];
    const c4_netif *chosen;
    c4_netif_wish wish = {.spec = c4_option_string(options, "C4_SOCKET_IFNAME")};
    C4_TRY(c4_netif_list(list, &count));
    C4_TRY(c4_netif_choose(list, count, &wish, &chosen));
    *bind = (c4_net_address){.family = chosen->family};
    memcpy(bind->bytes, chosen->ip, sizeof bind->bytes);
    return C4_OK;
}

C4_API c4_status c4_unique_id_create(c4_unique_id *id)
{
    if (!id)
        return c4_fail(C4_ERR_NULL, "c4_unique_id_create: id is NULL");
    c4_options *options;
    c4_listen_spec spec = {0};
    C4_TRY(c4_comm_options_load(NULL, &options));
    const char *ports = c4_option_string(options, "C4_PORT_RANGE");
    c4_status status = C4_OK;
    if (!c4_parse_port_range(ports, &spec.port_lo, &spec.port_hi))
        status = c4_fail(C4_ERR_OPTION, "C4_PORT_RANGE=%s is not a range lo-hi of ports 1..65535", ports);
    if (status == C4_OK)
        status = listen_interface(options, &spec.bind);
    if (status == C4_OK)
        status = c4_unique_id_listen(&spec, id);
    c4_options_destroy(options);
    return status;
}

/* ---- set-up ---- */

/* What a creation needs, kept for the set-up thread. */
typedef struct creation {
    c4_comm *comm;
    c4_bootstrap_spec bootstrap;
    c4_net_address addresses[C4_UNIQUE_ID_ADDRESSES];
    unsigned char key[C4_KEY_BYTES];
} creation;

static c4_status gather_by_bootstrap(void *context, const void *in, size_t bytes, void *out)
{
    return c4_bootstrap_all_gather(context, in, bytes, out);
}

static c4_status setup_run(creation *c)
{
    c4_comm *comm = c->comm;
    C4_TRY(c4_bootstrap_open(&c->bootstrap, &comm->bootstrap));
    const unsigned char *key = c4_bootstrap_key(comm->bootstrap);
    comm->has_key = key != NULL;
    if (key)
        memcpy(comm->key, key, sizeof comm->key);
    c4_exchange exchange = {gather_by_bootstrap, comm->bootstrap};
    C4_TRY(c4_setup_engine(comm, &exchange));
    if (c4_option_int(comm->options, "C4_PROGRESS"))
        C4_TRY(c4_progress_start(comm));
    /* Last: its exchange is the ranks' word that each has all it needs. */
    return comm->nranks > 1 ? c4_job_start(comm) : C4_OK;
}

static c4_status setup_finish(creation *c, c4_status status)
{
    c4_comm *comm = c->comm;
    if (status < 0) {
        snprintf(comm->error, sizeof comm->error, "%s", c4_fail_text());
        if (comm->bootstrap)
            c4_bootstrap_give_up(comm->bootstrap, c4_fail_text());
    }
    c4_bootstrap_close(comm->bootstrap);
    comm->bootstrap = NULL;
    comm->setup_status = status;
    /* An abort that came too late for the set-up to notice, and too early to find an engine. */
    if (status == C4_OK && atomic_load(&comm->abort_requested))
        c4_comm_abort(comm);
    return status;
}

static void *setup_main(void *argument)
{
    c4_request *request = argument;
    creation *c = request->argument;
    setup_finish(c, setup_run(c));
    free(c);
    atomic_store_explicit(&request->setup_done, 1, memory_order_release);
    return NULL;
}

static c4_status setup_in_background(creation *c, c4_request **request)
{
    creation *kept = malloc(sizeof *kept);
    if (!kept)
        return c4_fail(C4_ERR_MEMORY, "set-up");
    *kept = *c;
    kept->bootstrap.addresses = kept->addresses;
    kept->bootstrap.key = c->bootstrap.key ? kept->key : NULL;
    c4_status status = c4_request_start_setup(c->comm, setup_main, kept, request);
    if (status < 0)
        free(kept);
    return status;
}

static c4_status comm_begin(const c4_comm_config *config, int rank, int nranks, creation *c)
{
    C4_TRY(c4_comm_alloc(config->name, rank, nranks, &c->comm));
    c4_status status = c4_comm_resolve_options(c->comm, NULL, config->options);
    if (status < 0) {
        c4_comm_free(c->comm);
        return status;
    }
    int timeout_ms = config->timeout_ms;
    c->bootstrap = (c4_bootstrap_spec){
        .rank = rank,
        .nranks = nranks,
        .insecure = c4_option_int(c->comm->options, "C4_INSECURE") != 0,
        .listen_fd = -1,
        .timeout_ms = timeout_ms > 0 ? timeout_ms : (int)c4_option_int(c->comm->options, "C4_SETUP_TIMEOUT_MS"),
        .abort_flag = &c->comm->abort_requested};
    return C4_OK;
}

/* Runs the set-up here or in a thread. On failure nothing is left. */
static c4_status comm_finish(creation *c, c4_request **request, c4_comm **comm)
{
    c->comm->job_id = c->bootstrap.job_id;
    c4_status status = request ? setup_in_background(c, request) : setup_finish(c, setup_run(c));
    if (status < 0) {
        c4_comm_free(c->comm);
        return status;
    }
    *comm = c->comm;
    return C4_OK;
}

/* The caller's struct may be of an older, shorter version: what it lacks is zero. */
c4_status c4_comm_config_read(const c4_comm_config *config, c4_comm_config *full)
{
    *full = (c4_comm_config){.struct_size = sizeof *full};
    if (!config)
        return C4_OK;
    if (config->struct_size < sizeof(size_t) + sizeof(char *))
        return c4_fail(C4_ERR_ARGUMENT, "c4_comm_config.struct_size is %zu; set it to sizeof(c4_comm_config)",
                       config->struct_size);
    memcpy(full, config, config->struct_size < sizeof *full ? config->struct_size : sizeof *full);
    return C4_OK;
}

C4_API c4_status c4_comm_create(const c4_unique_id *id, int nranks, int rank, const c4_comm_config *config,
                                c4_request **request, c4_comm **comm)
{
    creation c = {0};
    c4_unique_id_fields fields;
    c4_comm_config full;
    if (!id || !comm)
        return c4_fail(C4_ERR_NULL, "c4_comm_create: id or comm is NULL");
    C4_TRY(c4_comm_config_read(config, &full));
    if (nranks < 1 || nranks > (int)C4_CONTROL_MAX_RANKS || rank < 0 || rank >= nranks)
        return c4_fail(C4_ERR_ROOT, "c4_comm_create: rank %d of %d", rank, nranks);
    C4_TRY(c4_unique_id_unpack(id, &fields));
    C4_TRY(comm_begin(&full, rank, nranks, &c));
    memcpy(c.key, fields.key, sizeof c.key);
    memcpy(c.addresses, fields.addresses, sizeof c.addresses);
    c.bootstrap.job_id = fields.job_id;
    c.bootstrap.key = c.key;
    c.bootstrap.addresses = c.addresses;
    c.bootstrap.naddresses = fields.naddresses;
    return comm_finish(&c, request, comm);
}

/* Options are read twice, once here for the launcher and once by the communicator: set-up is no hot path. */
static c4_status read_launch(const c4_comm_config *config, c4_launch *launch)
{
    c4_options *options;
    C4_TRY(c4_comm_options_load(config->options, &options));
    c4_status status = c4_launch_detect(options, launch);
    c4_options_destroy(options);
    return status;
}

C4_API c4_status c4_comm_create_from_env(const c4_comm_config *config, c4_request **request, c4_comm **comm)
{
    creation c = {0};
    c4_launch launch;
    c4_comm_config full;
    if (!comm)
        return c4_fail(C4_ERR_NULL, "c4_comm_create_from_env: comm is NULL");
    C4_TRY(c4_comm_config_read(config, &full));
    C4_TRY(read_launch(&full, &launch));
    C4_TRY(comm_begin(&full, launch.rank, launch.nranks, &c));
    c4_log_set_rank(launch.rank);
    memcpy(c.key, launch.key, sizeof c.key);
    memcpy(c.addresses, launch.addresses, sizeof c.addresses);
    c.bootstrap.job_id = launch.job_id;
    c.bootstrap.key = launch.has_key ? c.key : NULL;
    c.bootstrap.addresses = c.addresses;
    c.bootstrap.naddresses = launch.naddresses;
    c.bootstrap.listen_fd = launch.listen_fd;
    return comm_finish(&c, request, comm);
}
