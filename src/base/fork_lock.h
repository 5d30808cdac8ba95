/* Locks of the whole process. A fork while another thread holds one would leave it held in the child for ever: so forks wait
 * until such a lock is free (pthread_atfork), and the child finds what it protects whole. For locks that are held briefly,
 * and while none of which another one of them is taken. */
#ifndef C4_BASE_FORK_LOCK_H
#define C4_BASE_FORK_LOCK_H

#include <pthread.h>

/* pthread_mutex_lock of a static mutex, which becomes known to forks by its first time; unlocked as any other. A few ns
 * dearer: not on the way of a message. */
void c4_fork_lock(pthread_mutex_t *lock);

#endif
