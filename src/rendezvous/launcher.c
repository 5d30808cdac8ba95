#include "rendezvous/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/status.h"
#include "host/resolve.h"
#include "rendezvous/launcher_internal.h"
#include "rendezvous/pmix.h"
#include "wire/control_message.h"

const char c4_launch_how_to_start[] =
    "start the program with `c4run -n N PROGRAM` (or torchrun, mpirun, mpiexec, srun, "
    "flux run), or set C4_RANK, C4_NRANKS, C4_RENDEZVOUS=HOST:PORT (or file:/PATH) "
    "and C4_KEY_FILE on every rank";

/* A whole number in [low, high]; *value stays when it is unset and not required. */
static c4_status read_number(const char *name, int64_t low, int64_t high, bool required, int *value)
{
    const char *text = c4_env_get(name);
    int64_t number = 0;
    if (!text && !required)
        return C4_OK;
    if (!text)
        return c4_fail(C4_ERR_OPTION, "%s is not set: %s", name, c4_launch_how_to_start);
    if (!c4_parse_int(text, &number) || number < low || number > high)
        return c4_fail(C4_ERR_OPTION, "%s=%.32s: expected a whole number in %lld..%lld", name, text, (long long)low,
                       (long long)high);
    *value = (int)number;
    return C4_OK;
}

/* The same for the first of `names` that is set; the first of all is required if any is. */
static c4_status read_first(const char *const *names, size_t limit, int64_t low, int64_t high, bool required,
                            int *value)
{
    const char *text = NULL;
    const char *name = c4_launcher_variable(names, limit, &text);
    return name || names[0] ? read_number(name ? name : names[0], low, high, required, value) : C4_OK;
}

#define READ(names, low, high, required, value) \
    read_first(names, sizeof(names) / sizeof(names)[0], low, high, required, value)

c4_status c4_launch_read_ranks(const c4_launcher *launcher, c4_launch *launch)
{
    int nhosts = 0;
    if (launcher->nranks[0])
        C4_TRY(READ(launcher->nranks, 1, C4_CONTROL_MAX_RANKS, true, &launch->nranks));
    int limit = launch->nranks > 0 ? launch->nranks : (int)C4_CONTROL_MAX_RANKS;
    C4_TRY(READ(launcher->rank, 0, limit - 1, true, &launch->rank));
    C4_TRY(READ(launcher->local_nranks, 1, limit, false, &launch->local_nranks));
    int most = launch->local_nranks > 0 ? launch->local_nranks : limit;
    C4_TRY(READ(launcher->local_rank, 0, most - 1, false, &launch->local_rank));
    C4_TRY(READ(launcher->nhosts, 1, INT32_MAX, false, &nhosts));
    if (launch->local_nranks > 0)
        nhosts = launch->local_nranks == launch->nranks ? 1 : 2;
    launch->nhosts = nhosts > 1 ? 2 : nhosts;
    return C4_OK;
}

static c4_status resolve(const char *text, c4_launch *launch)
{
    if (c4_net_address_parse(text, &launch->addresses[0])) {
        launch->naddresses = 1;
        return C4_OK;
    }
    char host[256];
    const char *colon = strrchr(text, ':');
    int64_t port = 0;
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof host || strchr(text, ':') != colon ||
        !c4_parse_int(colon + 1, &port) || port < 1 || port > UINT16_MAX)
        return c4_fail(C4_ERR_OPTION, "C4_RENDEZVOUS=%.120s: expected HOST:PORT, [IPv6]:PORT or file:/PATH", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    struct sockaddr_storage found[C4_UNIQUE_ID_ADDRESSES];
    int error = c4_resolve(host, found, C4_UNIQUE_ID_ADDRESSES, &launch->naddresses);
    if (error)
        return c4_fail(C4_ERR_UNREACHABLE, "C4_RENDEZVOUS=%.120s: cannot resolve %.120s: %s", text, host,
                       gai_strerror(error));
    for (size_t i = 0; i < launch->naddresses; i++) {
        c4_net_address_from_sockaddr((struct sockaddr *)&found[i], &launch->addresses[i]);
        launch->addresses[i].port = (uint16_t)port;
    }
    return C4_OK;
}

/* Absolute: the ranks may have been started in different directories. */
static c4_status take_file(const char *path, c4_launch *launch)
{
    if (*path != '/' || strlen(path) >= sizeof launch->file)
        return c4_fail(
            C4_ERR_OPTION,
            "C4_RENDEZVOUS=file:%.120s: expected file:/PATH, an absolute path of less than %zu characters that "
            "all hosts share",
            path, sizeof launch->file);
    strcpy(launch->file, path);
    return C4_OK;
}

/* C4_RENDEZVOUS, under whatever launcher. */
static c4_status read_rendezvous(c4_launch *launch)
{
    const char *text = c4_env_get("C4_RENDEZVOUS");
    const char *job = c4_env_get("C4_JOB_ID");
    if (!text && launch->nranks > 1)
        return c4_fail(C4_ERR_OPTION, "C4_RENDEZVOUS is not set: it must name HOST:PORT of rank 0, or file:/PATH; %s",
                       c4_launch_how_to_start);
    if (!job)
        job = text ? text : "";
    launch->job_id = c4_hash_bytes(C4_HASH_INIT, job, strlen(job));
    if (text && strncmp(text, "file:", 5) == 0)
        return take_file(text + 5, launch);
    return text ? resolve(text, launch) : C4_OK;
}

/* Of the port that the others look for. The number may meanwhile be that of something else, because a wrapper has not
 * passed the descriptor on, or because the program has closed it. */
static bool is_listener(int fd, uint16_t port)
{
    struct sockaddr_storage name;
    c4_net_address bound;
    int listens = 0;
    socklen_t bytes = sizeof listens, name_bytes = sizeof name;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) == 0 && listens &&
           getsockname(fd, (struct sockaddr *)&name, &name_bytes) == 0 &&
           c4_net_address_from_sockaddr((struct sockaddr *)&name, &bound) && bound.port == port;
}

/* Only rank 0 listens. Each communicator gets a copy, since the next one needs the socket, too: a wrapper that lives on
 * (strace) holds it as well, and then nobody can listen there anew. It must not live on in the program's own children. */
static c4_status read_listener(c4_launch *launch)
{
    int fd = -1;
    if (launch->rank != 0 || launch->naddresses == 0)
        return C4_OK;
    C4_TRY(read_number("C4_RENDEZVOUS_FD", 0, INT32_MAX, false, &fd));
    if (fd < 0 || !is_listener(fd, launch->addresses[0].port))
        return C4_OK; /* listen anew */
    launch->listen_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (launch->listen_fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return c4_fail_errno(c4_status_from_errno(errno), errno, "C4_RENDEZVOUS_FD=%d", fd);
    return C4_OK;
}

c4_status c4_launch_identify(const c4_launcher *launcher, c4_launch *launch)
{
    if (c4_launcher_job_id(launcher, &launch->job_id))
        return C4_OK;
    return c4_fail(C4_ERR_OPTION,
                   "%s does not tell this job from others: give all ranks the same C4_JOB_ID, any text (%s)",
                   launcher->name, launcher->set);
}

/* A launcher that tells the rank alone. */
static c4_status count_by_pmix(c4_launch *launch)
{
    c4_pmix *pmix = NULL;
    C4_TRY(c4_pmix_open(&pmix));
    return c4_pmix_count_ranks(pmix, &launch->nranks, &launch->local_nranks);
}

static c4_status find_rendezvous(const c4_launcher *launcher, const c4_options *options, c4_launch *launch)
{
    if (!launcher->set || launch->nranks == 1 || c4_env_get("C4_RENDEZVOUS")) {
        C4_TRY(read_rendezvous(launch));
        return read_listener(launch);
    }
    C4_TRY(c4_launch_identify(launcher, launch));
    return c4_launch_locate(launcher, options, launch);
}

c4_status c4_launch_read_key(const c4_options *options, c4_launch *launch)
{
    const char *text = c4_env_get("C4_KEY");
    const char *path = c4_option_string(options, "C4_KEY_FILE");
    if (text) {
        if (!c4_key_parse(text, launch->key))
            return c4_fail(C4_ERR_OPTION, "C4_KEY must be 64 hexadecimal digits");
        launch->has_key = true;
    } else if (*path) {
        C4_TRY(c4_key_read_file(path, launch->key));
        launch->has_key = true;
    }
    return C4_OK;
}

static void report(const c4_launch *launch)
{
    char address[C4_NET_ADDRESS_TEXT_BYTES] = "nowhere";
    if (launch->naddresses)
        c4_net_address_format(&launch->addresses[0], address);
    c4_log(C4_LOG_INFO, "launched by %s: rank %d of %d, rendezvous at %s%.200s%s, %s", launch->launcher, launch->rank,
           launch->nranks, *launch->file ? "file:" : address, launch->file,
           launch->guessed && launch->naddresses > 1 ? " or the next two ports" : "",
           launch->has_key ? "with a key" : "no key");
}

c4_status c4_launch_detect(const c4_options *options, c4_launch *launch)
{
    c4_launch made = {.local_rank = -1, .local_nranks = -1, .listen_fd = -1};
    const c4_launcher *launcher = c4_launcher_find();
    if (!launcher)
        return c4_fail(C4_ERR_OPTION, "no launcher found (C4_RANK is not set): %s", c4_launch_how_to_start);
    made.launcher = launcher->name;
    if (!launcher->nranks[0])
        C4_TRY(count_by_pmix(&made));
    C4_TRY(c4_launch_read_ranks(launcher, &made));
    C4_TRY(c4_launch_read_key(options, &made));
    C4_TRY(find_rendezvous(launcher, options, &made));
    report(&made);
    *launch = made;
    return C4_OK;
}
