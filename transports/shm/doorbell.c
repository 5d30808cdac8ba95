/* Sleeping until a peer does something.
 *
 * Lost wake-ups: the sleeper publishes `asleep`, then looks again; a writer publishes its frame, then looks at `asleep`.
 * Each needs a full barrier between its two steps. The writer's would cost every frame the time its line takes to
 * cross (nothing else waits for that), so the sleeper pays for both: a global expedited membarrier makes every running
 * registered process execute one. Where that is not available both sides fence (c4_shm_bells). */
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/status.h"
#include "transports/shm/module.h"

void c4_shm_wake(uint32_t *asleep)
{
    if (__atomic_exchange_n(asleep, 0, __ATOMIC_SEQ_CST) == 0)
        return; /* another peer was first */
    c4_shm_head *head = (c4_shm_head *)(void *)((char *)asleep - offsetof(c4_shm_head, asleep));
    __atomic_fetch_add(&head->doorbell, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &head->doorbell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

c4_status c4_shm_doorbell(c4_module *module, uint32_t **word)
{
    C4_TRY(c4_shm_module_settle(module));
    *word = &c4_shm_arena_head(&module->arena)->doorbell;
    return C4_OK;
}

static bool channel_ready(c4_channel *channel)
{
    if (channel->is_writer && channel->out.starving) {
        if (c4_shm_has_credit(channel))
            return true;
    }
    c4_window window;
    return channel->is_reader && c4_shm_peek(channel, &window) != C4_IN_PROGRESS;
}

c4_status c4_shm_arm(c4_module *module, int *fd)
{
    c4_shm_head *head = c4_shm_arena_head(&module->arena);
    *fd = -1;
    __atomic_store_n(&head->asleep, 1, __ATOMIC_SEQ_CST);
    if (head->expedited)
        syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* All of them, whatever the first says: a look at a channel also gives its writer the credit it starves for. */
    bool ready = false;
    for (c4_channel *channel = module->channels; channel; channel = channel->next)
        ready |= channel_ready(channel);
    if (!ready)
        return C4_IN_PROGRESS;
    c4_shm_disarm(module);
    return C4_OK;
}

void c4_shm_disarm(c4_module *module)
{
    __atomic_store_n(&c4_shm_arena_head(&module->arena)->asleep, 0, __ATOMIC_SEQ_CST);
}
