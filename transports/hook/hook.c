#include "transports/hook/hook.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fork_lock.h"
#include "base/status.h"
#include "transports/hook/rules.h"
#include "transports/stubs.h"

static const c4_option_spec specs[] = {
    {"C4_HOOK", C4_OPTION_STRING, 0, "", NULL, NULL,
     "Faults to inject into transports, for tests and exercises, such as slow=shm:200us,close=tcp@frame:17."},
};

const c4_option_table c4_hook_option_table = {"hook", specs, sizeof specs / sizeof specs[0]};

struct c4_module {
    const c4_transport_ops *ops; /* the wrapped transport */
    c4_module *inner;
    c4_transport_host host;
    c4_hook_rules rules;
    c4_channel *channels;
    uint64_t frames; /* sent or about to be */
    uint64_t dropped;
};

struct c4_channel {
    c4_channel *next;
    c4_module *module;
    c4_channel *inner;
    int writer, reader;      /* ranks; of several readers the first */
    c4_xfer *first, *last;   /* held back; scratch[0]: when it may go, in ns */
    uint64_t reserve_due_ns; /* a reservation is held back till then; 0: none is */
};

/* What the rules say about one frame. */
struct verdict {
    uint64_t delay_ns;
    bool drop, fail;
};

static struct verdict judge(c4_module *module, size_t bytes)
{
    struct verdict verdict = {0};
    uint64_t frame = ++module->frames;
    for (unsigned i = 0; i < module->rules.count; i++) {
        const c4_hook_rule *rule = &module->rules.rules[i];
        if (!c4_hook_rule_applies(rule, frame))
            continue;
        switch (rule->action) {
        case C4_HOOK_DELAY:
            verdict.delay_ns += rule->duration_ns;
            break;
        case C4_HOOK_INJECT:
            module->ops->inject(module->inner, rule->fault);
            break;
        case C4_HOOK_DROP:
            verdict.drop = true;
            module->dropped++;
            break;
        case C4_HOOK_FAIL:
            verdict.fail = true;
            break;
        case C4_HOOK_TRACE:
            module->host.log(module->host.context, C4_TLOG_INFO, "hook: %s frame %llu of %zu bytes", module->ops->name,
                             (unsigned long long)frame, bytes);
            break;
        case C4_HOOK_COUNT:
            break;
        }
    }
    return verdict;
}

/* ---- module ---- */

static c4_status hook_open(const c4_transport_ops *ops, const c4_transport_host *host, c4_module **out)
{
    c4_module *module = calloc(1, sizeof *module);
    if (module == NULL)
        return c4_fail(C4_ERR_MEMORY, "hook: module");
    module->ops = ops;
    module->host = *host;
    c4_status status =
        c4_hook_rules_parse(host->option_string(host->context, "C4_HOOK"), ops->name, host->rank, &module->rules);
    if (status == C4_OK)
        status = ops->open(host, &module->inner);
    if (status < 0) {
        free(module);
        return status;
    }
    *out = module;
    return C4_OK;
}

static void report_counts(const c4_module *module)
{
    for (unsigned i = 0; i < module->rules.count; i++)
        if (module->rules.rules[i].action == C4_HOOK_COUNT)
            module->host.log(module->host.context, C4_TLOG_INFO, "hook: %s sent %llu frames, dropped %llu",
                             module->ops->name, (unsigned long long)module->frames,
                             (unsigned long long)module->dropped);
}

static void hook_close(c4_module *module)
{
    report_counts(module);
    module->ops->close(module->inner);
    while (module->channels != NULL) {
        c4_channel *next = module->channels->next;
        free(module->channels);
        module->channels = next;
    }
    free(module);
}

static c4_status hook_caps(c4_module *module, c4_transport_caps *caps)
{
    return module->ops->caps(module->inner, caps);
}

static c4_status hook_address(c4_module *module, void *address, size_t *bytes)
{
    return module->ops->address(module->inner, address, bytes);
}

static c4_status hook_add_peer(c4_module *module, int peer, const void *address, size_t bytes, char *reason,
                               size_t reason_bytes)
{
    return module->ops->add_peer(module->inner, peer, address, bytes, reason, reason_bytes);
}

static c4_status hook_channel_open(c4_module *module, const c4_channel_spec *spec, c4_channel **out)
{
    c4_channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return c4_fail(C4_ERR_MEMORY, "hook: channel");
    c4_status status = module->ops->channel_open(module->inner, spec, &channel->inner);
    if (status < 0) {
        free(channel);
        return status;
    }
    channel->module = module;
    channel->writer = spec->writer;
    channel->reader = spec->nreaders > 0 ? spec->readers[0] : spec->writer;
    channel->next = module->channels;
    module->channels = channel;
    *out = channel;
    return C4_OK;
}

static void hook_channel_close(c4_channel *channel)
{
    c4_channel **at = &channel->module->channels;
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    channel->module->ops->channel_close(channel->inner);
    free(channel);
}

/* ---- posted frames ---- */

static void hold(c4_channel *channel, c4_xfer *xfer, uint64_t due_ns)
{
    xfer->scratch[0] = due_ns;
    xfer->next = NULL;
    xfer->state = C4_IN_PROGRESS;
    xfer->handed_over = 0;
    if (channel->first != NULL)
        channel->last->next = xfer;
    else
        channel->first = xfer;
    channel->last = xfer;
}

static c4_status hook_send(c4_channel *channel, c4_xfer *xfer)
{
    c4_module *module = channel->module;
    struct verdict verdict = judge(module, xfer->bytes);
    if (verdict.fail)
        return xfer->state = c4_fail(C4_ERR_LINK, "hook: frame %llu from rank %d to rank %d fails as asked",
                                     (unsigned long long)module->frames, channel->writer, channel->reader);
    if (verdict.drop) {
        xfer->handed_over = 1;
        return xfer->state = C4_OK;
    }
    if (verdict.delay_ns == 0 && channel->first == NULL)
        return module->ops->send(channel->inner, xfer);
    hold(channel, xfer, verdict.delay_ns != 0 ? c4_now_ns() + verdict.delay_ns : 0);
    return C4_IN_PROGRESS;
}

static c4_status hook_recv(c4_channel *channel, c4_xfer *xfer)
{
    return channel->module->ops->recv(channel->inner, xfer);
}

static void hook_cancel(c4_channel *channel, c4_xfer *xfer)
{
    c4_xfer *before = NULL;
    c4_xfer *at = channel->first;
    while (at != NULL && at != xfer) {
        before = at;
        at = at->next;
    }
    if (at == NULL) {
        channel->module->ops->cancel(channel->inner, xfer);
        return;
    }
    if (before != NULL)
        before->next = xfer->next;
    else
        channel->first = xfer->next;
    if (channel->last == xfer)
        channel->last = before;
}

/* Sends what has been held back long enough. */
static bool channel_release(c4_channel *channel)
{
    bool moved = false;
    while (channel->first != NULL && channel->first->scratch[0] <= c4_now_ns()) {
        c4_xfer *xfer = channel->first;
        channel->first = xfer->next;
        /* A refusal is in xfer->state, where its owner looks. */
        channel->module->ops->send(channel->inner, xfer);
        moved = true;
    }
    return moved;
}

static c4_status hook_progress(c4_module *module, int *peer)
{
    bool moved = false;
    for (c4_channel *channel = module->channels; channel != NULL; channel = channel->next)
        moved |= channel_release(channel);
    c4_status status = module->ops->progress(module->inner, peer);
    return status == C4_IN_PROGRESS && moved ? C4_OK : status;
}

/* ---- windows ---- */

static c4_status hook_peek(c4_channel *channel, c4_window *window)
{
    return channel->module->ops->peek(channel->inner, window);
}

static void hook_consume(c4_channel *channel)
{
    channel->module->ops->consume(channel->inner);
}

static uint64_t reserve_delay(const c4_module *module)
{
    uint64_t delay_ns = 0;
    for (unsigned i = 0; i < module->rules.count; i++) {
        const c4_hook_rule *rule = &module->rules.rules[i];
        if (rule->action == C4_HOOK_DELAY && c4_hook_rule_applies(rule, module->frames + 1))
            delay_ns += rule->duration_ns;
    }
    return delay_ns;
}

/* A frame in a window is the transport's already: what can be held back is the room for it. */
static c4_status hook_reserve(c4_channel *channel, size_t bytes, c4_window *window)
{
    c4_module *module = channel->module;
    if (channel->reserve_due_ns == 0) {
        uint64_t delay_ns = reserve_delay(module);
        channel->reserve_due_ns = delay_ns != 0 ? c4_now_ns() + delay_ns : 1;
    }
    if (channel->reserve_due_ns > 1 && c4_now_ns() < channel->reserve_due_ns)
        return C4_IN_PROGRESS;
    return module->ops->reserve(channel->inner, bytes, window);
}

static void hook_commit(c4_channel *channel, const c4_frame *frame)
{
    struct verdict verdict = judge(channel->module, frame->bytes);
    channel->reserve_due_ns = 0;
    if (!verdict.drop && !verdict.fail) /* a window cannot fail: it is lost */
        channel->module->ops->commit(channel->inner, frame);
}

static c4_status hook_put(c4_channel *channel, const c4_frame *frame, const void *payload)
{
    return c4_put_by_window(channel, frame, payload, hook_reserve, hook_commit);
}

/* ---- the rest ---- */

static c4_status hook_mem_map(c4_module *module, int peer, const c4_memory_handle *handle, void **pointer)
{
    return module->ops->mem_map(module->inner, peer, handle, pointer);
}

static c4_status hook_arm(c4_module *module, int *fd)
{
    c4_status status = module->ops->arm(module->inner, fd);
    for (const c4_channel *channel = module->channels; channel != NULL; channel = channel->next)
        if (channel->first != NULL || channel->reserve_due_ns > 1)
            return C4_OK; /* time alone makes these move: keep polling */
    return status;
}

static void hook_disarm(c4_module *module)
{
    module->ops->disarm(module->inner);
}

static c4_status hook_doorbell(c4_module *module, uint32_t **word)
{
    return module->ops->doorbell(module->inner, word);
}

static c4_status hook_counters(c4_channel *channel, c4_edge_counters *counters)
{
    return channel->module->ops->counters(channel->inner, counters);
}

static c4_status hook_inject(c4_module *module, const char *fault)
{
    return module->ops->inject(module->inner, fault);
}

/* ---- wrapping ----
 *
 * Slots get their context from the module or channel that they are given. Only `open` has none: each wrapped table
 * therefore has an open of its own. probe, device and mem_* need no wrapping. */

struct wrapped {
    const c4_transport_ops *inner;
    c4_transport_ops ops;
};

static pthread_mutex_t wrapped_lock = PTHREAD_MUTEX_INITIALIZER;
static struct wrapped wrapped_tables[C4_HOOK_MAX_WRAPPED]; /* filled once per transport, at start-up */

#define OPEN_FUNCTION(n)                                                         \
    static c4_status open_##n(const c4_transport_host *host, c4_module **module) \
    {                                                                            \
        return hook_open(wrapped_tables[n].inner, host, module);                 \
    }
OPEN_FUNCTION(0)
OPEN_FUNCTION(1)
OPEN_FUNCTION(2)
OPEN_FUNCTION(3)
OPEN_FUNCTION(4)
OPEN_FUNCTION(5)
OPEN_FUNCTION(6)
OPEN_FUNCTION(7)

static c4_status (*const open_functions[C4_HOOK_MAX_WRAPPED])(const c4_transport_host *, c4_module **) = {
    open_0, open_1, open_2, open_3, open_4, open_5, open_6, open_7};

static void fill_table(const c4_transport_ops *inner, unsigned index)
{
    wrapped_tables[index].ops = (c4_transport_ops){
        .struct_size = sizeof(c4_transport_ops),
        .abi = C4_TRANSPORT_ABI,
        .name = inner->name,
        .probe = inner->probe,
        .open = open_functions[index],
        .close = hook_close,
        .caps = hook_caps,
        .address = hook_address,
        .add_peer = hook_add_peer,
        .channel_open = hook_channel_open,
        .channel_close = hook_channel_close,
        .send = hook_send,
        .recv = hook_recv,
        .cancel = hook_cancel,
        .progress = hook_progress,
        .peek = hook_peek,
        .consume = hook_consume,
        .reserve = hook_reserve,
        .commit = hook_commit,
        .put = hook_put,
        .mem_alloc = inner->mem_alloc,
        .mem_free = inner->mem_free,
        .mem_export = inner->mem_export,
        .mem_map = hook_mem_map,
        .arm = hook_arm,
        .disarm = hook_disarm,
        .doorbell = hook_doorbell,
        .counters = hook_counters,
        .inject = hook_inject,
        .device = inner->device,
    };
    wrapped_tables[index].inner = inner;
}

const c4_transport_ops *c4_hook_wrap(const c4_transport_ops *inner)
{
    unsigned index = 0;
    c4_fork_lock(&wrapped_lock);
    while (index < C4_HOOK_MAX_WRAPPED && wrapped_tables[index].inner != NULL && wrapped_tables[index].inner != inner)
        index++;
    if (index < C4_HOOK_MAX_WRAPPED && wrapped_tables[index].inner == NULL)
        fill_table(inner, index);
    pthread_mutex_unlock(&wrapped_lock);
    return index < C4_HOOK_MAX_WRAPPED ? &wrapped_tables[index].ops : NULL;
}
