#include "rendezvous/launcher.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/status.h"
#include "host/resolve.h"
#include "wire/control_message.h"

/* The variables of each launcher; the first row whose rank variable is set is taken. */
typedef struct launcher_row {
    const char *name;
    const char *rank, *nranks, *local_rank, *local_nranks;
} launcher_row;

static const launcher_row launchers[] = {
    {"c4run", "C4_RANK", "C4_NRANKS", "C4_LOCAL_RANK", "C4_LOCAL_NRANKS"},
};

static const char how_to_start[] = "start the program with `c4run -n N PROGRAM`, or set C4_RANK, C4_NRANKS, "
                                   "C4_RENDEZVOUS=HOST:PORT and C4_KEY_FILE on every rank";

static const launcher_row *find_launcher(void)
{
    for (size_t i = 0; i < sizeof launchers / sizeof launchers[0]; i++)
        if (c4_env_get(launchers[i].rank))
            return &launchers[i];
    return NULL;
}

/* A whole number in [low, high]; *value stays when it is unset and not required. */
static c4_status read_number(const char *name, int64_t low, int64_t high, bool required, int *value)
{
    const char *text = c4_env_get(name);
    int64_t number = 0;
    if (!text && !required)
        return C4_OK;
    if (!text)
        return c4_fail(C4_ERR_OPTION, "%s is not set: %s", name, how_to_start);
    if (!c4_parse_int(text, &number) || number < low || number > high)
        return c4_fail(C4_ERR_OPTION, "%s=%.32s: expected a whole number in %lld..%lld", name, text, (long long)low,
                       (long long)high);
    *value = (int)number;
    return C4_OK;
}

static c4_status read_ranks(const launcher_row *row, c4_launch *launch)
{
    C4_TRY(read_number(row->nranks, 1, C4_CONTROL_MAX_RANKS, true, &launch->nranks));
    C4_TRY(read_number(row->rank, 0, launch->nranks - 1, true, &launch->rank));
    C4_TRY(read_number(row->local_nranks, 1, launch->nranks, false, &launch->local_nranks));
    int most = launch->local_nranks > 0 ? launch->local_nranks : launch->nranks;
    return read_number(row->local_rank, 0, most - 1, false, &launch->local_rank);
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
        return c4_fail(C4_ERR_OPTION, "C4_RENDEZVOUS=%.120s: expected HOST:PORT or [IPv6]:PORT", text);
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

static c4_status read_rendezvous(c4_launch *launch)
{
    const char *text = c4_env_get("C4_RENDEZVOUS");
    const char *job = c4_env_get("C4_JOB_ID");
    if (!text && launch->nranks > 1)
        return c4_fail(C4_ERR_OPTION, "C4_RENDEZVOUS is not set: it must name HOST:PORT of rank 0; %s", how_to_start);
    if (!job)
        job = text ? text : "";
    launch->job_id = c4_hash_bytes(C4_HASH_INIT, job, strlen(job));
    return text ? resolve(text, launch) : C4_OK;
}

static c4_status read_key(const c4_options *options, c4_launch *launch)
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

/* Only rank 0 listens. The descriptor must not live on in the program's own children. */
static c4_status read_listener(c4_launch *launch)
{
    int fd = -1;
    if (launch->rank != 0)
        return C4_OK;
    C4_TRY(read_number("C4_RENDEZVOUS_FD", 0, INT32_MAX, false, &fd));
    if (fd < 0)
        return C4_OK;
    int listens = 0;
    socklen_t bytes = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) < 0 || !listens)
        return C4_OK; /* used up by an earlier communicator of this process, or lost by a wrapper: listen anew */
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    launch->listen_fd = fd;
    return C4_OK;
}

c4_status c4_launch_detect(const c4_options *options, c4_launch *launch)
{
    c4_launch made = {.local_rank = -1, .local_nranks = -1, .listen_fd = -1};
    const launcher_row *row = find_launcher();
    if (!row)
        return c4_fail(C4_ERR_OPTION, "no launcher found (C4_RANK is not set): %s", how_to_start);
    made.launcher = row->name;
    C4_TRY(read_ranks(row, &made));
    C4_TRY(read_rendezvous(&made));
    C4_TRY(read_key(options, &made));
    C4_TRY(read_listener(&made));
    *launch = made;
    return C4_OK;
}
