#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/export.h"
#include "base/fork_lock.h"
#include "transports/stubs.h"
#include "transports/ucx/channel.h"
#include "transports/ucx/greeting.h"
#include "transports/ucx/link.h"
#include "transports/ucx/progress.h"
#include "transports/ucx/receive.h"

/* Of a worker's address before the first device: 10 bytes in UCX 1.13, and a device has more than the difference. */
#define EMPTY_ADDRESS_BYTES 16u

/* What the choice of algorithm goes by: UCX does not say what it will find. Frames are of a size that a reduction finds in
 * the second-level cache. */
static void fill_caps(c4_transport_caps *caps)
{
    *caps = (c4_transport_caps){
        .struct_size = sizeof *caps,
        .flags = C4_CAP_FUSED_REDUCE,
        .latency_s = 4e-6,
        .seconds_per_byte = 0.3e-9,
        .inline_bytes = 0,
        .max_frame_bytes = C4_UCX_MAX_FRAME_BYTES,
        .zero_copy_bytes = SIZE_MAX,
        .max_readers = 1,
    };
}

/* Wire formats may change with UCX's minor version. */
static unsigned ucx_version(void)
{
    unsigned major, minor, release;
    ucp_get_version(&major, &minor, &release);
    return major << 16 | minor;
}

/* ---- opening ---- */

/* A fork waits until no other thread is in these calls: UCX's locks would stay held in the child for ever. */
static pthread_mutex_t ucx_lock = PTHREAD_MUTEX_INITIALIZER;

static void *do_nothing(void *arg)
{
    return arg;
}

/* UCX starts a thread, and ends the process when it cannot. */
static ucs_status_t try_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0)
        return UCS_ERR_EXCEEDS_LIMIT;
    pthread_join(thread, NULL);
    return UCS_OK;
}

/* Why UCX may refuse to start. */
static const char *advice(ucs_status_t status)
{
    if (status == UCS_ERR_EXCEEDS_LIMIT)
        return "no thread can be started: check `ulimit -u` and the pids.max of the cgroup";
    if (status == UCS_ERR_NO_DEVICE)
        return "UCX_TLS and UCX_NET_DEVICES must leave it a network; its shared memory does not notice that a peer has "
               "died";
    return "see UCX_TLS, UCX_NET_DEVICES and `ucx_info -d`";
}

static ucs_status_t open_context(ucp_context_h *context)
{
    ucp_config_t *config;
    const ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME,
                                 .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
                                 .name = "c4"};
    ucs_status_t status = ucp_config_read(NULL, NULL, &config); /* UCX_* of the environment */
    if (status != UCS_OK)
        return status;
    status = ucp_init(&params, config, context);
    ucp_config_release(config);
    return status;
}

/* Of networks only: UCX's shared memory does not notice that a peer has died, so that endpoints which do never use it.
 * (The transport shm serves ranks of one host better.) Without a network it is a head and no more. */
static ucs_status_t query_address(ucp_worker_h worker, ucp_worker_attr_t *attributes)
{
    *attributes = (ucp_worker_attr_t){.field_mask = UCP_WORKER_ATTR_FIELD_ADDRESS | UCP_WORKER_ATTR_FIELD_ADDRESS_FLAGS,
                                      .address_flags = UCP_WORKER_ADDRESS_FLAG_NET_ONLY};
    ucs_status_t status = ucp_worker_query(worker, attributes);
    if (status != UCS_OK || attributes->address_length > EMPTY_ADDRESS_BYTES)
        return status;
    ucp_worker_release_address(worker, attributes->address);
    return UCS_ERR_NO_DEVICE;
}

/* What there is stays the caller's, whatever comes of it. */
static ucs_status_t open_ucx(ucp_context_h *context, ucp_worker_h *worker, ucp_worker_attr_t *attributes)
{
    /* Threads take turns. */
    const ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                        .thread_mode = UCS_THREAD_MODE_SERIALIZED};
    ucs_status_t status = try_thread();
    if (status == UCS_OK)
        status = open_context(context);
    if (status == UCS_OK)
        status = ucp_worker_create(*context, &params, worker);
    if (status == UCS_OK)
        status = query_address(*worker, attributes);
    return status;
}

static void close_ucx(ucp_context_h context, ucp_worker_h worker)
{
    if (worker != NULL)
        ucp_worker_destroy(worker);
    if (context != NULL)
        ucp_cleanup(context);
}

static ucs_status_t set_handler(c4_module *module, unsigned id, ucp_am_recv_callback_t callback)
{
    const ucp_am_handler_param_t param = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS | UCP_AM_HANDLER_PARAM_FIELD_CB |
                      UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = id,
        .flags = UCP_AM_FLAG_WHOLE_MSG,
        .cb = callback,
        .arg = module,
    };
    return ucp_worker_set_am_recv_handler(module->worker, &param);
}

/* It grows with the host's devices. */
static c4_status take_address(c4_module *module, const ucp_worker_attr_t *attributes)
{
    module->address_bytes = sizeof module->address;
    c4_status status = c4_ucx_address_pack(attributes->address, attributes->address_length, ucx_version(),
                                           module->address, &module->address_bytes);
    ucp_worker_release_address(module->worker, attributes->address);
    if (status != C4_ERR_COUNT)
        return status;
    return c4_fail(C4_ERR_UNSUPPORTED,
                   "ucx: this host's address has %zu bytes, and %u fit: name fewer devices in UCX_NET_DEVICES or "
                   "transports in UCX_TLS",
                   attributes->address_length, C4_ADDRESS_MAX_BYTES - C4_UCX_ADDRESS_BYTES);
}

static c4_status open_worker(c4_module *module, int *event_fd)
{
    ucp_worker_attr_t attributes;
    c4_fork_lock(&ucx_lock);
    ucs_status_t status = open_ucx(&module->context, &module->worker, &attributes);
    pthread_mutex_unlock(&ucx_lock);
    if (status == UCS_OK) {
        C4_TRY(take_address(module, &attributes));
        status = set_handler(module, C4_UCX_AM_GREETING, c4_ucx_on_greeting);
    }
    if (status == UCS_OK)
        status = set_handler(module, C4_UCX_AM_FRAME, c4_ucx_on_frame);
    if (status == UCS_OK)
        status = ucp_worker_get_efd(module->worker, event_fd);
    if (status == UCS_OK)
        return C4_OK;
    return c4_fail(c4_ucx_status(status), "ucx: UCX does not start: %s (%s)", ucs_status_string(status),
                   advice(status));
}

static bool watch(const c4_module *module, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(module->idle_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static c4_status open_waiters(c4_module *module, int event_fd)
{
    module->idle_fd = epoll_create1(EPOLL_CLOEXEC);
    module->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (module->idle_fd >= 0 && module->timer_fd >= 0 && watch(module, event_fd) && watch(module, module->timer_fd))
        return C4_OK;
    int error = errno;
    return c4_fail(c4_status_from_errno(error), "ucx: epoll: %s", strerror(error));
}

static c4_status module_fill(c4_module *module)
{
    int event_fd = -1;
    size_t n = (size_t)module->host.nranks;
    module->addresses = calloc(n, sizeof *module->addresses);
    module->links = calloc(n, sizeof *module->links);
    module->bounce = aligned_alloc(64, C4_UCX_BOUNCE_BYTES);
    if (module->addresses == NULL || module->links == NULL || module->bounce == NULL)
        return c4_fail(C4_ERR_MEMORY, "ucx: module for %zu ranks", n);
    module->patience_ns = C4_UCX_PATIENCE_NS;
    module->nap_ns = C4_UCX_SHORTEST_NAP_NS;
    C4_TRY(open_worker(module, &event_fd));
    return open_waiters(module, event_fd);
}

static void module_free(c4_module *module)
{
    for (int peer = 0; module->links != NULL && peer < module->host.nranks; peer++)
        if (module->links[peer] != NULL)
            c4_ucx_link_free(module->links[peer]);
    c4_fork_lock(&ucx_lock);
    close_ucx(module->context, module->worker);
    pthread_mutex_unlock(&ucx_lock);
    while (module->all_works != NULL) {
        c4_ucx_work *work = module->all_works;
        module->all_works = work->all;
        free(work->buffer);
        free(work);
    }
    if (module->idle_fd >= 0)
        close(module->idle_fd);
    if (module->timer_fd >= 0)
        close(module->timer_fd);
    for (int peer = 0; module->addresses != NULL && peer < module->host.nranks; peer++)
        free(module->addresses[peer]);
    free(module->addresses);
    free(module->links);
    free(module->bounce);
    free(module->spare_buffer);
    free(module);
}

static c4_status ucx_open(const c4_transport_host *host, c4_module **out)
{
    c4_fail_tell(host->fail);
    c4_module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return c4_fail(C4_ERR_MEMORY, "ucx: module");
    size_t known = host->struct_size < sizeof module->host ? host->struct_size : sizeof module->host;
    memcpy(&module->host, host, known);
    module->idle_fd = module->timer_fd = -1;
    c4_status status = module_fill(module);
    if (status < 0) {
        module_free(module);
        return status;
    }
    *out = module;
    return C4_OK;
}

static void ucx_close(c4_module *module)
{
    c4_ucx_leave(module);
    module_free(module);
}

static c4_status ucx_probe(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t reason_bytes)
{
    ucp_context_h context = NULL;
    ucp_worker_h worker = NULL;
    ucp_worker_attr_t attributes;
    (void)host;
    c4_fork_lock(&ucx_lock);
    ucs_status_t status = open_ucx(&context, &worker, &attributes);
    if (status == UCS_OK)
        ucp_worker_release_address(worker, attributes.address);
    close_ucx(context, worker);
    pthread_mutex_unlock(&ucx_lock);
    if (status != UCS_OK) {
        snprintf(reason, reason_bytes, "UCX does not start: %s (%s)", ucs_status_string(status), advice(status));
        return c4_ucx_status(status);
    }
    fill_caps(caps);
    return C4_OK;
}

/* ---- addresses ---- */

static c4_status ucx_caps(c4_module *module, c4_transport_caps *caps)
{
    (void)module;
    fill_caps(caps);
    return C4_OK;
}

static c4_status ucx_address(c4_module *module, void *address, size_t *bytes)
{
    if (*bytes < module->address_bytes)
        return C4_ERR_COUNT;
    memcpy(address, module->address, module->address_bytes);
    *bytes = module->address_bytes;
    return C4_OK;
}

static c4_status ucx_add_peer(c4_module *module, int peer, const void *bytes, size_t nbytes, char *reason,
                              size_t reason_bytes)
{
    if (peer < 0 || peer >= module->host.nranks)
        return c4_fail(C4_ERR_ROOT, "ucx: peer %d of %d ranks", peer, module->host.nranks);
    const char *wrong = c4_ucx_address_check(bytes, nbytes, ucx_version());
    if (peer == module->host.rank)
        wrong = "ucx does not carry a rank's messages to itself";
    if (wrong != NULL) {
        snprintf(reason, reason_bytes, "%s", wrong);
        return C4_ERR_UNREACHABLE;
    }
    unsigned char *copy = malloc(nbytes);
    if (copy == NULL)
        return c4_fail(C4_ERR_MEMORY, "ucx: address of rank %d", peer);
    memcpy(copy, bytes, nbytes);
    free(module->addresses[peer]);
    module->addresses[peer] = copy;
    return C4_OK;
}

C4_API const c4_transport_ops c4_ucx_ops = {
    .struct_size = sizeof c4_ucx_ops,
    .abi = C4_TRANSPORT_ABI,
    .name = "ucx",
    .probe = ucx_probe,
    .open = ucx_open,
    .close = ucx_close,
    .caps = ucx_caps,
    .address = ucx_address,
    .add_peer = ucx_add_peer,
    .channel_open = c4_ucx_channel_open,
    .channel_close = c4_ucx_channel_close,
    .send = c4_ucx_channel_send,
    .recv = c4_ucx_channel_recv,
    .cancel = c4_ucx_channel_cancel,
    .progress = c4_ucx_progress,
    C4_STUB_WINDOWS,
    C4_STUB_MEMORY,
    .arm = c4_ucx_arm,
    .disarm = c4_ucx_disarm,
    .doorbell = c4_stub_doorbell,
    .counters = c4_ucx_channel_counters,
    .inject = c4_stub_inject,
    .device = c4_stub_device,
};
