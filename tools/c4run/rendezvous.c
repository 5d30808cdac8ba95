#include "tools/c4run/rendezvous.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "base/rng.h"
#include "host/resolve.h"
#include "wire/net_address.h"

/* Every rank may knock before rank 0 looks; the system caps this at net.core.somaxconn. */
#define BACKLOG 4096

/* 0 or an errno. */
static int try_listen(c4_net_address *address, int *fd)
{
    struct sockaddr_storage name;
    socklen_t bytes = c4_net_address_to_sockaddr(address, &name);
    int on = 1, error = 0;
    int made = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0)
        return errno;
    /* A fixed port may still have connections of the job before in TIME_WAIT. */
    if ((address->port && setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) ||
        bind(made, (struct sockaddr *)&name, bytes) < 0 ||
        /* of any port: so that rank 0 may listen here again for its next communicator */
        setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || listen(made, BACKLOG) < 0)
        error = errno;
    bytes = sizeof name;
    if (!error && getsockname(made, (struct sockaddr *)&name, &bytes) < 0)
        error = errno;
    if (error) {
        close(made);
        return error;
    }
    c4_net_address_from_sockaddr((struct sockaddr *)&name, address);
    *fd = made;
    return 0;
}

static int listen_anywhere(c4_net_address *address, int *fd)
{
    uint16_t low, high;
    /* A malformed range is refused by the ranks. */
    if (address->port || !c4_parse_port_range(c4_env_get("C4_PORT_RANGE"), &low, &high) || low == 0)
        return try_listen(address, fd);
    int error = EADDRINUSE;
    for (unsigned port = low; port <= high && error == EADDRINUSE; port++) {
        address->port = (uint16_t)port;
        error = try_listen(address, fd);
    }
    return error;
}

/* "HOST:PORT", "[IPv6]:PORT" or (port 0) HOST alone. */
static int resolve(c4run_job *job, const char *master, c4_net_address *address)
{
    char host[256];
    const char *colon = strrchr(master, ':');
    int64_t port = 0;
    if (c4_net_address_parse(master, address))
        return 0;
    size_t length = colon ? (size_t)(colon - master) : strlen(master);
    if (!length || length >= sizeof host || memchr(master, ':', length) ||
        (colon && (!c4_parse_int(colon + 1, &port) || port < 0 || port > UINT16_MAX))) {
        c4run_say(job, "--master '%s': expected HOST:PORT or [IPv6]:PORT", master);
        return 1;
    }
    snprintf(host, sizeof host, "%.*s", (int)length, master);
    struct sockaddr_storage found;
    size_t count;
    int error = c4_resolve(host, &found, 1, &count);
    if (error || !c4_net_address_from_sockaddr((struct sockaddr *)&found, address)) {
        c4run_say(job, "--master %s: cannot resolve %s: %s", master, host, gai_strerror(error));
        return 1;
    }
    address->port = (uint16_t)port;
    return 0;
}

int c4run_rendezvous_listen(c4run_job *job, const char *master)
{
    c4_net_address address = {.family = 4, .bytes = {127, 0, 0, 1}};
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    if (*master && resolve(job, master, &address))
        return 1;
    bool any_port = address.port == 0;
    int error = listen_anywhere(&address, &job->listen_fd);
    c4_net_address_format(&address, text);
    /* The wrapper may move rank 0 to where the address exists (a network namespace): then rank 0 listens itself. */
    bool elsewhere = error == EADDRNOTAVAIL && job->options->wrap && !any_port;
    if (!error || elsewhere) {
        snprintf(job->rendezvous, sizeof job->rendezvous, "%s", any_port ? text : master);
        return 0;
    }
    if (error == EADDRNOTAVAIL)
        c4run_say(job, "cannot listen on %s: it is not an address of this host (%s), which is host 0 of the job", text,
                  job->host);
    else if (error == EADDRINUSE)
        c4run_say(job, "cannot listen on %s: %s", text,
                  any_port ? "all ports of C4_PORT_RANGE are in use" : "the port is in use; choose another one");
    else
        c4run_say(job, "cannot listen on %s: %s", text, strerror(error));
    return 1;
}

static int make_hex(c4run_job *job, size_t bytes, char *text)
{
    unsigned char random[C4_KEY_BYTES];
    if (c4_random_bytes(random, bytes) < 0) {
        c4run_say(job, "the system gives no random numbers for the job's key");
        return 1;
    }
    for (size_t i = 0; i < bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", random[i]);
    return 0;
}

/* Started by hand on each host: the key is the user's. */
static int check_shared_key(c4run_job *job)
{
    const char *insecure = c4_env_get("C4_INSECURE");
    bool open_to_all = false;
    if (c4_env_get("C4_KEY") || c4_env_get("C4_KEY_FILE") ||
        (insecure && c4_parse_bool(insecure, &open_to_all) && open_to_all))
        return 0;
    c4run_say(job, "a job of several hosts needs a key that they share: `openssl rand -hex 32 > KEY; chmod 600 KEY`, "
                   "copy it to every host, set C4_KEY_FILE=KEY (or let --hosts do all this)");
    return 1;
}

static int open_by_hand(c4run_job *job)
{
    const c4run_options *options = job->options;
    c4_net_address address;
    const char *colon = strrchr(options->master, ':');
    if (check_shared_key(job))
        return 1;
    if (!colon || strcmp(colon, ":0") == 0 || strchr(colon, ']')) {
        c4run_say(job, "--master '%s': all hosts must know the port, HOST:29400 for example", options->master);
        return 1;
    }
    if (options->node_rank == 0)
        return c4run_rendezvous_listen(job, options->master);
    if (resolve(job, options->master, &address))
        return 1;
    snprintf(job->rendezvous, sizeof job->rendezvous, "%s", options->master);
    return 0;
}

int c4run_rendezvous_open(c4run_job *job)
{
    if (job->options->nnodes > 1)
        return open_by_hand(job);
    if (make_hex(job, C4_KEY_BYTES, job->key) || make_hex(job, 8, job->id))
        return 1;
    if (job->options->hosts)
        return 0;
    return c4run_rendezvous_listen(job, job->options->master ? job->options->master : "");
}
