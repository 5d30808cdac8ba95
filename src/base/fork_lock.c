#include "base/fork_lock.h"

#include <stdatomic.h>

/* More locks than there are in the library; one too many would only be unknown to forks. */
#define MAX_LOCKS 16

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* of adding; taken by forks before all others */
static _Atomic(pthread_mutex_t *) locks[MAX_LOCKS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&list_lock);
    for (int i = 0; i < MAX_LOCKS && locks[i]; i++)
        pthread_mutex_lock(locks[i]);
}

static void after_fork(void)
{
    for (int i = 0; i < MAX_LOCKS && locks[i]; i++)
        pthread_mutex_unlock(locks[i]);
    pthread_mutex_unlock(&list_lock);
}

static void prepare(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

static void add(pthread_mutex_t *lock)
{
    int at = 0;
    pthread_once(&once, prepare);
    pthread_mutex_lock(&list_lock);
    while (at < MAX_LOCKS && locks[at] && locks[at] != lock)
        at++;
    if (at < MAX_LOCKS)
        atomic_store(&locks[at], lock);
    pthread_mutex_unlock(&list_lock);
}

void c4_fork_lock(pthread_mutex_t *lock)
{
    int at = 0;
    while (at < MAX_LOCKS) {
        const pthread_mutex_t *known = atomic_load_explicit(&locks[at], memory_order_acquire);
        if (!known || known == lock)
            break;
        at++;
    }
    if (at < MAX_LOCKS && !atomic_load(&locks[at]))
        add(lock);
    pthread_mutex_lock(lock);
}
