/* C4_PROGRESS=thread: a thread moves operations while the caller computes. It sleeps while there are none. */
#include <errno.h>
#include <sched.h>

#include "comm/internal.h"

static void *progress_main(void *argument)
{
    c4_comm *comm = argument;
    pthread_mutex_lock(&comm->progress_lock);
    while (!comm->progress_stop) {
        if (!c4_engine_busy(comm->engine)) {
            pthread_cond_wait(&comm->progress_work, &comm->progress_lock);
            continue;
        }
        bool moved = c4_engine_progress(comm->engine);
        if (c4_engine_status(comm->engine, NULL) < 0) /* this rank may not call for an hour */
            c4_comm_tell_peers(comm);
        pthread_mutex_unlock(&comm->progress_lock);
        if (!moved)
            sched_yield();
        pthread_mutex_lock(&comm->progress_lock);
    }
    pthread_mutex_unlock(&comm->progress_lock);
    return NULL;
}

c4_status c4_progress_start(c4_comm *comm)
{
    pthread_mutex_init(&comm->progress_lock, NULL);
    pthread_cond_init(&comm->progress_work, NULL);
    int error = pthread_create(&comm->progress_thread, NULL, progress_main, comm);
    if (error)
        return c4_fail_thread(error, "the progress thread (C4_PROGRESS=thread)");
    comm->threaded = true;
    return C4_OK;
}

void c4_progress_stop(c4_comm *comm)
{
    if (!comm->threaded)
        return;
    pthread_mutex_lock(&comm->progress_lock);
    comm->progress_stop = true;
    pthread_cond_signal(&comm->progress_work);
    pthread_mutex_unlock(&comm->progress_lock);
    pthread_join(comm->progress_thread, NULL);
    comm->threaded = false;
}

void c4_progress_leave(c4_comm *comm)
{
    if (c4_engine_busy(comm->engine))
        pthread_cond_signal(&comm->progress_work);
    pthread_mutex_unlock(&comm->progress_lock);
}
