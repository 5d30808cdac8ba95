/* Waiting: spin, yield, sleep.
 *
 * One poll costs about 1 ns and a frame takes 60 to 250 ns to cross, so with a core per rank spinning wins. With more
 * ranks than cores the peer may need this very core: at most 100 polls, then sched_yield in a loop (0.6 us each);
 * measured with 4 ranks on 2 cores at 8 B: 4.3 us, against 5.3 with 1,000 polls, 17 with 10,000 and 13 to 27 with a
 * futex as the first resort. Sleeping in the kernel comes after `yield_ns` without a frame. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/stuck.h"

#define SLEEP_LIMIT_MS 50 /* nothing should be missed; if it is, it costs this long once */
/* Who has a frame that it does not wait for cannot sleep on the rails; after so long without a frame that it does wait for, it naps. */
#define NAP_AFTER_NS 20000000u
#define NAP_NS       200000

static void futex_sleep(uint32_t *word, uint32_t value)
{
    struct timespec limit = {.tv_sec = 0, .tv_nsec = SLEEP_LIMIT_MS * 1000000L};
    syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, NULL, 0);
}

/* All of them, armed or not. When a rail has something that this operation does not wait for (another rank's part of it, early),
 * this rank never sleeps and the rails behind are never armed: but only after a wait do they look at what is rare, as a peer that
 * has lost its connection and comes again. With 8 ranks on 2 busy cores such a peer was heard so seldom that it gave up after 36 s. */
static void wake_modules(c4_engine *engine)
{
    for (int i = 0; i < engine->spec.nrails; i++)
        engine->rails[i].ops->disarm(engine->rails[i].module);
}

/* Arms every rail, until one says that something is there already: true. */
static bool arm_rails(c4_engine *engine, struct pollfd *fds, nfds_t *nfds)
{
    bool ready = false;
    for (int i = 0; i < engine->spec.nrails && !ready; i++) {
        const c4_rail *rail = &engine->rails[i];
        int fd = -1;
        ready = rail->ops->arm(rail->module, &fd) != C4_IN_PROGRESS;
        if (fd < 0)
            continue;
        fds[(*nfds)++] = (struct pollfd){.fd = fd, .events = POLLIN};
        if (!ready && engine->spec.doorbell && engine->spec.watch_fd(engine->spec.watch_context, fd) == C4_OK)
            engine->watched[i] = fd;
    }
    return ready;
}

/* Something is there, but nothing that moves an operation: perhaps a frame of a rank that is ahead, which this operation does not
 * wait for yet. Others may need the core; and a rank that waits for one that computes for a minute shall not burn a core meanwhile,
 * at the price of one part in a hundred of what it has waited. */
static void doze(uint64_t waited_ns)
{
    if (waited_ns < NAP_AFTER_NS)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
}

/* Sleeps until a frame, a fault or the limit: on the doorbell when there is one (the control thread rings it for the
 * descriptors), else on the descriptors. */
static void sleep_once(c4_engine *engine, uint64_t waited_ns)
{
    struct pollfd fds[C4_ENGINE_MAX_RAILS];
    nfds_t nfds = 0;
    uint32_t *doorbell = engine->spec.doorbell;
    uint32_t value = doorbell ? __atomic_load_n(doorbell, __ATOMIC_ACQUIRE) : 0;
    bool ready = arm_rails(engine, fds, &nfds);
    ready |= atomic_load_explicit(&engine->fault, memory_order_acquire) != 0;
    if (!ready && doorbell)
        futex_sleep(doorbell, value);
    else if (!ready)
        poll(fds, nfds, SLEEP_LIMIT_MS);
    wake_modules(engine);
    if (ready)
        doze(waited_ns);
}

void c4_operation_check_deadline(c4_engine *engine, c4_operation *op)
{
    int limit = engine->spec.timeout_ms;
    uint64_t now = c4_now_ns();
    if (op->start_ns == 0)
        op->start_ns = now;
    if (now - op->start_ns < (uint64_t)limit * 1000000u)
        return;
    char context[C4_ERROR_TEXT_BYTES / 2];
    c4_operation_context(engine, op, context, sizeof context);
    c4_status status = c4_fail(C4_ERR_TIMEOUT, "%s: did not complete within C4_TIMEOUT_MS=%d", context, limit);
    c4_operation_fail(engine, op, status);
}

#define PEEK_POLLS 64u

/* Most waits are of one lane for one frame: poll just that (a few ns) instead of going through everything (some 40). */
static void peek_blocked(const c4_engine *engine, const c4_operation *op)
{
    c4_edge *edge = op->blocked;
    c4_window window;
    if (engine->has_posted_rails || engine->first != op || op->next || op->state != OPERATION_RUNNING ||
        op->lanes_left != 1 || !edge || !edge->windows || edge->writer)
        return;
    for (unsigned i = 0; i < PEEK_POLLS && edge->ops->peek(edge->channel, &window) == C4_IN_PROGRESS; i++)
        ;
}

void c4_engine_wait(c4_engine *engine, c4_operation *op)
{
    const c4_wait_policy *policy = &engine->spec.wait;
    unsigned idle = 0;
    uint64_t idle_since = 0;
    while (!c4_operation_done(op)) {
        peek_blocked(engine, op);
        if (c4_engine_move(engine)) {
            idle = 0;
            continue;
        }
        if (++idle < policy->spin_polls) {
            if (policy->pause)
                c4_cpu_pause();
            continue;
        }
        uint64_t now = c4_now_ns();
        if (idle == policy->spin_polls)
            idle_since = now;
        if (c4_stuck_due(engine))
            c4_stuck_look(engine, op);
        if (now - idle_since < policy->yield_ns)
            sched_yield();
        else if (!c4_operation_done(op))
            sleep_once(engine, now - idle_since);
    }
    c4_stuck_leave_wait(engine);
}
