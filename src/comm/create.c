/* Creating a communicator: bootstrap, set-up, control thread; at once or behind a request. */
#include "comm/create.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/export.h"
#include "base/log.h"
#include "comm/launch.h"
#include "comm/options.h"
#include "comm/port.h"
#include "rendezvous/interfaces.h"

/* ---- unique ids ---- */

c4_status c4_creation_listen_spec(const c4_options *options, c4_listen_spec *spec)
{
    const char *ports = c4_option_string(options, "C4_PORT_RANGE");
    *spec = (c4_listen_spec){0};
    if (!c4_parse_port_range(ports, &spec->port_lo, &spec->port_hi))
        return c4_fail(C4_ERR_OPTION, "C4_PORT_RANGE=%s is not a range lo-hi of ports 1..65535", ports);
    return c4_interfaces_choose_one(options, &spec->bind);
}

C4_API c4_status c4_unique_id_create(c4_unique_id *id)
{
    if (!id)
        return c4_fail(C4_ERR_NULL, "c4_unique_id_create: id is NULL");
    c4_options *options;
    c4_listen_spec spec;
    C4_TRY(c4_comm_options_load(NULL, &options));
    c4_status status = c4_creation_listen_spec(options, &spec);
    if (status == C4_OK)
        status = c4_unique_id_listen(&spec, id);
    c4_options_destroy(options);
    return status;
}

/* ---- set-up ---- */

static c4_status gather_by_bootstrap(void *context, const void *in, size_t bytes, void *out)
{
    return c4_bootstrap_all_gather(context, in, bytes, out);
}

/* Where neighbours connect to: the interfaces that the user has named, or by default, of which nothing is set here, that by
 * which rank 0 has been reached. Without a key there is no such listener. */
static c4_status choose_listen(const void *context, c4_net_address *addresses, size_t *count)
{
    const c4_options *options = context;
    if (c4_interfaces_asked(options))
        return c4_interfaces_choose(options, addresses, count);
    *count = 0;
    return C4_OK;
}

c4_status c4_creation_run(c4_creation *c)
{
    c4_comm *comm = c->comm;
    c->bootstrap.choose_listen = choose_listen;
    c->bootstrap.choose_context = comm->options;
    C4_TRY(c4_bootstrap_open(&c->bootstrap, &comm->bootstrap));
    comm->given_id = comm->job_id;
    comm->job_id = c4_bootstrap_job_id(comm->bootstrap);
    const unsigned char *key = c4_bootstrap_key(comm->bootstrap);
    comm->has_key = key != NULL;
    if (key)
        memcpy(comm->key, key, sizeof comm->key);
    if (comm->nranks > 1)
        C4_TRY(c4_comm_port_create(comm));
    c4_exchange exchange = {gather_by_bootstrap, comm->bootstrap};
    C4_TRY(c4_setup_engine(comm, &exchange));
    if (c4_option_int(comm->options, "C4_PROGRESS"))
        C4_TRY(c4_progress_start(comm));
    /* Last: its exchange is the ranks' word that each has all it needs. */
    return comm->nranks > 1 ? c4_job_start(comm) : C4_OK;
}

c4_status c4_creation_finish(c4_creation *c, c4_status status)
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

c4_status c4_creation_begin(const c4_comm_config *config, const char *inherited, int rank, int nranks, c4_creation *c)
{
    C4_TRY(c4_comm_alloc(config->name, rank, nranks, &c->comm));
    c4_status status = c4_comm_resolve_options(c->comm, inherited, config->options);
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
    /* A range that is none is refused where somebody names it for the rendezvous or the data: here it is no port. */
    c4_parse_port_range(c4_option_string(c->comm->options, "C4_PORT_RANGE"), &c->bootstrap.port_lo,
                        &c->bootstrap.port_hi);
    return C4_OK;
}

void c4_creation_identify(c4_creation *c, const c4_unique_id_fields *fields)
{
    memcpy(c->key, fields->key, sizeof c->key);
    memcpy(c->addresses, fields->addresses, sizeof c->addresses);
    c->bootstrap.job_id = c->comm->job_id = fields->job_id;
    c->bootstrap.key = c->key;
    c->bootstrap.addresses = c->addresses;
    c->bootstrap.naddresses = fields->naddresses;
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

/* ---- with a unique id ---- */

static void *create_main(void *argument)
{
    c4_request *request = argument;
    c4_creation *c = request->argument;
    c4_creation_finish(c, c4_creation_run(c));
    explicit_bzero(c->key, sizeof c->key);
    free(c);
    atomic_store_explicit(&request->setup_done, 1, memory_order_release);
    return NULL;
}

static c4_status create_in_background(c4_creation *c, c4_request **request)
{
    c4_creation *kept = malloc(sizeof *kept);
    if (!kept)
        return c4_fail(C4_ERR_MEMORY, "set-up");
    *kept = *c;
    kept->bootstrap.addresses = kept->addresses;
    kept->bootstrap.listen = c->bootstrap.listen ? kept->listen : NULL;
    kept->bootstrap.key = c->bootstrap.key ? kept->key : NULL;
    c4_status status = c4_request_start_setup(c->comm, create_main, kept, request);
    if (status < 0)
        free(kept);
    return status;
}

/* For rank 0, which others are to find by the caller's all-gather. */
static c4_status listen_here(c4_creation *c)
{
    c4_listen_spec spec;
    C4_TRY(c4_creation_listen_spec(c->comm->options, &spec));
    c->listen[0] = spec.bind;
    c->bootstrap.listen = c->listen;
    c->bootstrap.nlisten = 1;
    return C4_OK;
}

/* The id's listening socket, when set-up has ended before anybody took it: nobody should wait at a dead door. */
static void drop_listener(const c4_unique_id_fields *fields, int rank)
{
    int fd = rank == 0 ? c4_listener_take(fields->job_id) : -1;
    if (fd >= 0)
        close(fd);
}

C4_API c4_status c4_comm_create(const c4_unique_id *id, int nranks, int rank, const c4_comm_config *config,
                                c4_request **request, c4_comm **comm)
{
    c4_creation c = {0};
    c4_unique_id_fields fields;
    c4_comm_config full;
    if (!comm)
        return c4_fail(C4_ERR_NULL, "c4_comm_create: comm is NULL");
    C4_TRY(c4_comm_config_read(config, &full));
    if (!id && !full.all_gather)
        return c4_fail(C4_ERR_NULL, "c4_comm_create: id is NULL, and config has no all_gather");
    if (nranks < 1 || nranks > (int)C4_CONTROL_MAX_RANKS || rank < 0 || rank >= nranks)
        return c4_fail(C4_ERR_ROOT, "c4_comm_create: rank %d of %d", rank, nranks);
    if (!full.all_gather)
        C4_TRY(c4_unique_id_unpack(id, &fields));
    c4_status status = c4_creation_begin(&full, NULL, rank, nranks, &c);
    if (status == C4_OK) {
        c.bootstrap.all_gather = full.all_gather;
        c.bootstrap.all_gather_context = full.all_gather_context;
        if (full.all_gather)
            status = listen_here(&c);
        else
            c4_creation_identify(&c, &fields);
        if (status == C4_OK)
            status = request ? create_in_background(&c, request) : c4_creation_finish(&c, c4_creation_run(&c));
        if (status < 0)
            c4_comm_free(c.comm);
    }
    if (status < 0 && !full.all_gather)
        drop_listener(&fields, rank);
    if (status == C4_OK)
        *comm = c.comm;
    return status;
}

/* ---- with what the launcher says ---- */

/* Rank 0 listens on this host's address and says so in the file. Without a key nobody of another host is let in. */
static c4_status meet_by_file(c4_creation *c, const char *file)
{
    c4_bootstrap_spec *spec = &c->bootstrap;
    snprintf(c->file, sizeof c->file, "%s", file);
    spec->file = c->file;
    if (spec->rank != 0)
        return C4_OK;
    c->listen[0] = (c4_net_address){.family = 4, .bytes = {127, 0, 0, 1}};
    if (spec->key || spec->insecure)
        C4_TRY(c4_interfaces_choose_one(c->comm->options, c->listen));
    spec->listen = c->listen;
    spec->nlisten = 1;
    return C4_OK;
}

/* Finds out, where that may block on a name look-up, and sets up. */
static c4_status from_env(c4_creation *c, const char *options)
{
    c4_launch launch;
    C4_TRY(c4_launch_look_up(options, c->bootstrap.timeout_ms, &c->comm->abort_requested, &launch));
    if (launch.listen_fd >= 0)
        c->bootstrap.listen_fd = launch.listen_fd; /* the bootstrap's now, also when it fails */
    C4_TRY(c4_comm_reshape(c->comm, launch.rank, launch.nranks));
    c4_log_set_rank(launch.rank);
    memcpy(c->key, launch.key, sizeof c->key);
    memcpy(c->addresses, launch.addresses, sizeof c->addresses);
    c->bootstrap.rank = launch.rank;
    c->bootstrap.nranks = launch.nranks;
    c->bootstrap.job_id = c->comm->job_id = launch.job_id;
    c->bootstrap.key = launch.has_key ? c->key : NULL;
    c->bootstrap.addresses = c->addresses;
    c->bootstrap.naddresses = launch.naddresses;
    c->bootstrap.guessed = launch.guessed;
    c->bootstrap.fixed = !*launch.file;
    explicit_bzero(launch.key, sizeof launch.key);
    if (*launch.file && launch.nranks > 1)
        C4_TRY(meet_by_file(c, launch.file));
    return c4_creation_run(c);
}

static void *from_env_main(void *argument)
{
    c4_request *request = argument;
    c4_creation *c = request->argument;
    c4_creation_finish(c, from_env(c, c->comm->call_options));
    explicit_bzero(c->key, sizeof c->key);
    free(c);
    atomic_store_explicit(&request->setup_done, 1, memory_order_release);
    return NULL;
}

C4_API c4_status c4_comm_create_from_env(const c4_comm_config *config, c4_request **request, c4_comm **comm)
{
    c4_comm_config full;
    if (!comm)
        return c4_fail(C4_ERR_NULL, "c4_comm_create_from_env: comm is NULL");
    C4_TRY(c4_comm_config_read(config, &full));
    c4_creation *c = calloc(1, sizeof *c);
    if (!c)
        return c4_fail(C4_ERR_MEMORY, "set-up");
    c4_status status = c4_creation_begin(&full, NULL, 0, 1, c);
    if (status < 0) {
        free(c);
        return status;
    }
    c4_comm *made = c->comm;
    made->derived = true; /* rank and size are not known yet */
    if (request)
        status = c4_request_start_setup(made, from_env_main, c, request);
    else
        status = c4_creation_finish(c, from_env(c, made->call_options));
    if (status < 0)
        c4_comm_free(made);
    else
        *comm = made;
    if (!request || status < 0) {
        explicit_bzero(c->key, sizeof c->key);
        free(c);
    }
    return status;
}
