/* Where rank 0 is, under launchers that do not say so in C4_RENDEZVOUS. */
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/status.h"
#include "host/resolve.h"
#include "rendezvous/interfaces.h"
#include "rendezvous/launcher_internal.h"
#include "rendezvous/listener.h"
#include "rendezvous/node_list.h"
#include "rendezvous/pmix.h"

enum { RESOLVE_PAUSE_MS = 250 };

/* Nine tenths of the time that set-up has: who waits for the look-up shall hear what it has found out. */
static int patience_ms(const c4_options *options)
{
    return (int)(c4_option_int(options, "C4_SETUP_TIMEOUT_MS") * 9 / 10);
}

static const char how_to_key[] = "make one with (umask 077; openssl rand -hex 32 > KEY), put it on every host and set "
                                 "C4_KEY_FILE=KEY for all ranks";

/* ---- listening ---- */

/* This host's address on the interface that the user wants, or the best; its port is 0. */
static c4_status own_address(const c4_options *options, c4_net_address *address)
{
    return c4_interfaces_choose_one(options, address);
}

/* ---- PMIx ---- */

/* What rank 0 has told the others, for the next communicator of this process. */
static struct {
    pthread_mutex_t lock;
    bool known;
    char card[C4_NET_ADDRESS_TEXT_BYTES + 2 * C4_KEY_BYTES + 2]; /* "10.0.0.5:4711 KEY" */
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char card_name[] = "c4.rendezvous";

static c4_status publish(const c4_options *options, c4_pmix *pmix, c4_launch *launch, char *card, size_t bytes)
{
    c4_listen_spec spec = {0};
    char address[C4_NET_ADDRESS_TEXT_BYTES];
    unsigned char key[C4_KEY_BYTES];
    uint16_t lo = 0, hi = 0;
    if (c4_parse_port_range(c4_option_string(options, "C4_PORT_RANGE"), &lo, &hi) && lo)
        spec.port_lo = lo, spec.port_hi = hi;
    else
        spec.bind.port = (uint16_t)c4_option_int(options, "C4_RENDEZVOUS_PORT");
    uint16_t port = spec.bind.port;
    C4_TRY(own_address(options, &spec.bind));
    spec.bind.port = port;
    C4_TRY(c4_random_bytes(key, sizeof key));
    C4_TRY(c4_listener_open(&spec, &launch->listen_fd, &launch->addresses[0]));
    int used = snprintf(card, bytes, "%s ", c4_net_address_format(&launch->addresses[0], address));
    for (size_t i = 0; i < sizeof key; i++)
        used += snprintf(card + used, bytes - (size_t)used, "%02x", key[i]);
    explicit_bzero(key, sizeof key);
    return c4_pmix_put(pmix, card_name, card);
}

/* The key in the card is for jobs whose user has given none. */
static c4_status read_card(char *card, c4_launch *launch)
{
    char *space = strchr(card, ' ');
    unsigned char key[C4_KEY_BYTES];
    if (space)
        *space = '\0';
    bool good = space && c4_net_address_parse(card, &launch->addresses[0]) && c4_key_parse(space + 1, key);
    if (!good)
        return c4_fail(C4_ERR_PROTOCOL, "PMIx: rank 0 has published something that is not its address and key; do all "
                                        "ranks run the same version of C4?");
    launch->naddresses = 1;
    if (!launch->has_key)
        memcpy(launch->key, key, sizeof key);
    launch->has_key = true;
    explicit_bzero(key, sizeof key);
    return C4_OK;
}

static c4_status exchange(const c4_options *options, c4_launch *launch)
{
    c4_pmix *pmix = NULL;
    C4_TRY(c4_pmix_open(&pmix));
    if (launch->rank == 0)
        return publish(options, pmix, launch, told.card, sizeof told.card);
    return c4_pmix_get(pmix, 0, card_name, patience_ms(options), told.card, sizeof told.card);
}

static c4_status locate_by_pmix(const c4_options *options, c4_launch *launch)
{
    char card[sizeof told.card];
    c4_status status = C4_OK;
    pthread_mutex_lock(&told.lock);
    if (!told.known)
        status = exchange(options, launch);
    told.known = status == C4_OK;
    memcpy(card, told.card, sizeof card);
    pthread_mutex_unlock(&told.lock);
    if (status == C4_OK)
        status = read_card(card, launch);
    explicit_bzero(card, sizeof card);
    return status;
}

/* Decided by what is equal on all ranks: who asks PMIx alone waits in vain. */
static bool wants_pmix(const c4_launcher *launcher, const c4_options *options, const c4_launch *launch)
{
    enum { AUTO, ON, OFF };
    int64_t wish = c4_option_int(options, "C4_PMIX");
    bool needed = launch->nhosts != 1 && (launcher->host == C4_HOST_NONE || !launch->has_key);
    return c4_env_get("PMIX_NAMESPACE") && c4_env_get("PMIX_RANK") && wish != OFF && (wish == ON || needed);
}

/* ---- ports ---- */

static c4_status choose_ports(const c4_launcher *launcher, const c4_options *options, const c4_launch *launch,
                              c4_listen_spec *spec)
{
    const char *text = launcher->host == C4_HOST_MASTER ? c4_env_get("MASTER_PORT") : NULL;
    uint16_t fixed = (uint16_t)c4_option_int(options, "C4_RENDEZVOUS_PORT");
    int64_t master = 0;
    spec->range = "this job (one for all ranks may be set: C4_RENDEZVOUS_PORT)";
    if (fixed) {
        spec->range = "C4_RENDEZVOUS_PORT";
        spec->port_lo = spec->port_hi = fixed;
    } else if (text) {
        if (!c4_parse_int(text, &master) || master < 1 || master > UINT16_MAX)
            return c4_fail(C4_ERR_OPTION, "MASTER_PORT=%.32s: expected a port, 1..65535", text);
        /* torch's store has MASTER_PORT itself */
        int64_t lo = master + C4_LAUNCH_TRIES <= UINT16_MAX ? master + 1 : master - C4_LAUNCH_TRIES;
        spec->port_lo = (uint16_t)lo;
        spec->port_hi = (uint16_t)(lo + C4_LAUNCH_TRIES - 1);
    } else {
        spec->port_lo = (uint16_t)(C4_LAUNCH_FIRST_PORT + launch->job_id % C4_LAUNCH_PORTS);
        spec->port_hi = (uint16_t)(spec->port_lo + C4_LAUNCH_TRIES - 1);
    }
    return C4_OK;
}

/* ---- the host of rank 0 ---- */

bool c4_kubernetes_first(const char *pod, const char *index, const char *service, char *host, size_t bytes)
{
    size_t name = strcspn(pod, "."), digits = strlen(index);
    const char *domain = pod + name; /* with its dot */
    if (name < digits + 2 || memcmp(pod + name - digits, index, digits) != 0 || pod[name - digits - 1] != '-')
        return false;
    if (!*service && !domain[0])
        return false;
    int used = snprintf(host, bytes, "%.*s0%s%s", (int)(name - digits), pod, *service ? "." : domain, service);
    return used > 0 && (size_t)used < bytes;
}

/* The pod's full name, if the resolver knows one (kubelet writes it into /etc/hosts when the pod has a subdomain). */
static void full_name(char *name, size_t bytes)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME}, *found = NULL;
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    snprintf(name, bytes, "%s", own);
    if (strchr(own, '.') || getaddrinfo(own, NULL, &hints, &found) != 0)
        return;
    size_t length = strlen(own);
    if (found->ai_canonname && strncmp(found->ai_canonname, own, length) == 0 && found->ai_canonname[length] == '.')
        snprintf(name, bytes, "%s", found->ai_canonname);
    freeaddrinfo(found);
}

static c4_status host_in_kubernetes(const c4_options *options, c4_launch *launch, char *host, size_t bytes)
{
    char pod[256];
    const char *service = c4_option_string(options, "C4_KUBERNETES_SERVICE");
    full_name(pod, sizeof pod);
    if (!c4_kubernetes_first(pod, c4_env_get("JOB_COMPLETION_INDEX"), service, host, bytes))
        return c4_fail(
            C4_ERR_OPTION,
            "Kubernetes: pod %s of index %.16s: cannot tell the name of pod 0; give the pod template a "
            "`subdomain` and a headless service of that name, or set C4_KUBERNETES_SERVICE to the service, or "
            "C4_RENDEZVOUS=HOST:PORT",
            pod, c4_env_get("JOB_COMPLETION_INDEX"));
    if (!c4_env_get("C4_JOB_ID"))
        launch->job_id = c4_hash_bytes(launch->job_id, host, strlen(host));
    return C4_OK;
}

static c4_status host_in_slurm(char *host, size_t bytes)
{
    static const char *const names[] = {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"};
    const char *list = NULL;
    const char *name = c4_launcher_variable(names, 3, &list);
    if (!name)
        return c4_fail(C4_ERR_OPTION, "Slurm: SLURM_STEP_NODELIST is not set: start the program with srun, or set "
                                      "C4_RENDEZVOUS=HOST:PORT");
    if (!c4_node_list_first(list, host, bytes))
        return c4_fail(C4_ERR_OPTION,
                       "%s=%.120s: expected a list of hosts like node[01-16,20]; set C4_RENDEZVOUS=HOST:PORT "
                       "to do without",
                       name, list);
    return C4_OK;
}

static c4_status find_host(const c4_launcher *launcher, const c4_options *options, c4_launch *launch, char *host,
                           size_t bytes)
{
    if (launcher->host == C4_HOST_SLURM)
        return host_in_slurm(host, bytes);
    if (launcher->host == C4_HOST_KUBERNETES)
        return host_in_kubernetes(options, launch, host, bytes);
    snprintf(host, bytes, "%s", c4_env_get("MASTER_ADDR"));
    return C4_OK;
}

/* Rank 0 need not know itself by the name that others use, and may know itself by it as 127.0.1.1 (Debian). The others
 * wait: in Kubernetes a name exists only once its pod does. */
static c4_status resolve(const c4_options *options, const c4_launch *launch, const char *host, c4_net_address *address)
{
    struct sockaddr_storage found;
    size_t count = 0;
    uint64_t deadline_ns = c4_now_ns() + (uint64_t)patience_ms(options) * 1000000u;
    int error = c4_resolve(host, &found, 1, &count);
    while (error && launch->rank != 0 && c4_now_ns() + RESOLVE_PAUSE_MS * 1000000u < deadline_ns) {
        poll(NULL, 0, RESOLVE_PAUSE_MS);
        error = c4_resolve(host, &found, 1, &count);
    }
    if (!error)
        c4_net_address_from_sockaddr((struct sockaddr *)&found, address);
    if (launch->rank == 0 && (error || c4_net_address_is_loopback(address)))
        return own_address(options, address);
    if (error)
        return c4_fail(C4_ERR_UNREACHABLE,
                       "%s says that rank 0 is on %.120s, which cannot be resolved within C4_SETUP_TIMEOUT_MS: %s; set "
                       "C4_RENDEZVOUS=HOST:PORT of rank 0",
                       launch->launcher, host, gai_strerror(error));
    if (c4_net_address_is_loopback(address))
        return c4_fail(
            C4_ERR_UNREACHABLE,
            "%s says that rank 0 is on %.120s, but here that is this host itself, and the job has several: set "
            "C4_RENDEZVOUS=HOST:PORT of rank 0",
            launch->launcher, host);
    return C4_OK;
}

static c4_status check_hosts(const c4_launcher *launcher, const c4_options *options, const c4_launch *launch)
{
    if (launcher->host == C4_HOST_NONE)
        return c4_fail(
            C4_ERR_OPTION,
            "%s %s and does not tell where rank 0 is: give all ranks C4_RENDEZVOUS=HOST:PORT, the host of rank "
            "0 and a free port, and C4_KEY_FILE=PATH (%s)",
            launcher->name, launch->nhosts ? "runs this job on several hosts" : "may run this job on several hosts",
            launcher->set);
    if (!launch->has_key && !c4_option_int(options, "C4_INSECURE"))
        return c4_fail(C4_ERR_OPTION, "%s runs this job on several hosts, which need a key: %s (%s)", launcher->name,
                       how_to_key, launcher->set);
    return C4_OK;
}

c4_status c4_launch_make_plan(const c4_launcher *launcher, const c4_options *options, c4_launch *launch,
                              c4_launch_plan *plan)
{
    c4_listen_spec spec = {0};
    *plan = (c4_launch_plan){.pmix = wants_pmix(launcher, options, launch)};
    if (plan->pmix)
        return C4_OK;
    if (launch->nhosts == 1) {
        snprintf(plan->host, sizeof plan->host, "127.0.0.1");
    } else {
        C4_TRY(check_hosts(launcher, options, launch));
        C4_TRY(find_host(launcher, options, launch, plan->host, sizeof plan->host));
    }
    C4_TRY(choose_ports(launcher, options, launch, &spec));
    plan->port_lo = spec.port_lo;
    plan->port_hi = spec.port_hi;
    return C4_OK;
}

c4_status c4_launch_locate(const c4_launcher *launcher, const c4_options *options, c4_launch *launch)
{
    c4_launch_plan plan;
    C4_TRY(c4_launch_make_plan(launcher, options, launch, &plan));
    if (plan.pmix)
        return locate_by_pmix(options, launch);
    c4_listen_spec spec = {.bind = {.family = 4, .bytes = {127, 0, 0, 1}}};
    if (launch->nhosts != 1)
        C4_TRY(resolve(options, launch, plan.host, &spec.bind));
    C4_TRY(choose_ports(launcher, options, launch, &spec));
    spec.told = true;
    if (launch->rank == 0) {
        launch->naddresses = 1;
        return c4_listener_open(&spec, &launch->listen_fd, &launch->addresses[0]);
    }
    for (unsigned port = spec.port_lo; port <= spec.port_hi; port++) {
        launch->addresses[launch->naddresses] = spec.bind;
        launch->addresses[launch->naddresses++].port = (uint16_t)port;
    }
    launch->guessed = true;
    return C4_OK;
}
