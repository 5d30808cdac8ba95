/* After fork the child has the parent's handles but not its threads, sockets or place in the job: using them would corrupt
 * the parent's communication. A page that the kernel empties in the child tells the two apart, at the price of one load. */
#include <pthread.h>
#include <sys/mman.h>

#include "comm/internal.h"

static const uint32_t always_alive = 1;
static const uint32_t *guard = &always_alive;
static pthread_once_t guard_once = PTHREAD_ONCE_INIT;

static void guard_make(void)
{
    uint32_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return;
    if (madvise(page, 4096, MADV_WIPEONFORK) < 0) { /* before Linux 4.14: forks go undetected */
        munmap(page, 4096);
        return;
    }
    *page = 1;
    guard = page;
}

const uint32_t *c4_fork_guard(void)
{
    pthread_once(&guard_once, guard_make);
    if (*guard == 0) { /* the child of a process that had communicators makes its own */
        guard_make();
    }
    return guard;
}
