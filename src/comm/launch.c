#include "comm/launch.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "comm/join.h"
#include "comm/options.h"

enum { TICK_MS = 20 };

/* Owned by the thread and by the one that waits; the last frees it. */
typedef struct look_up {
    pthread_mutex_t lock;
    pthread_cond_t done_signal;
    bool done, abandoned;
    c4_status status;
    c4_launch launch;
    char error[C4_ERROR_TEXT_BYTES];
    char *options;
} look_up;

static void look_up_free(look_up *look)
{
    pthread_cond_destroy(&look->done_signal);
    pthread_mutex_destroy(&look->lock);
    explicit_bzero(&look->launch, sizeof look->launch);
    free(look->options);
    free(look);
}

/* Options are read twice, once here for the launcher and once by the communicator: set-up is no hot path. */
static c4_status detect(const char *text, c4_launch *launch)
{
    c4_options *options;
    bool joins;
    C4_TRY(c4_join_launch(launch, &joins));
    if (joins)
        return C4_OK;
    C4_TRY(c4_comm_options_load(text, &options));
    c4_status status = c4_launch_detect(options, launch);
    c4_options_destroy(options);
    return status;
}

static void *look_up_main(void *argument)
{
    look_up *look = argument;
    c4_launch launch = {.listen_fd = -1};
    c4_status status = detect(look->options, &launch);
    pthread_mutex_lock(&look->lock);
    look->status = status;
    look->launch = launch;
    if (status < 0)
        snprintf(look->error, sizeof look->error, "%s", c4_fail_text());
    look->done = true;
    bool abandoned = look->abandoned;
    pthread_cond_signal(&look->done_signal);
    pthread_mutex_unlock(&look->lock);
    if (abandoned) {
        if (status == C4_OK && launch.listen_fd >= 0)
            close(launch.listen_fd);
        look_up_free(look);
    }
    return NULL;
}

static c4_status look_up_start(const char *options, look_up **out)
{
    look_up *look = calloc(1, sizeof *look);
    pthread_condattr_t clock;
    pthread_t thread;
    if (!look)
        return c4_fail(C4_ERR_MEMORY, "look-up of rank 0's address");
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&look->lock, NULL);
    pthread_cond_init(&look->done_signal, &clock);
    pthread_condattr_destroy(&clock);
    look->options = options ? strdup(options) : NULL;
    int error = options && !look->options ? ENOMEM : pthread_create(&thread, NULL, look_up_main, look);
    if (error) {
        look_up_free(look);
        return c4_fail_thread(error, "the thread that looks up rank 0's address");
    }
    pthread_detach(thread);
    *out = look;
    return C4_OK;
}

/* Under the lock. C4_OK once the look-up is done. */
static c4_status await(look_up *look, int timeout_ms, const atomic_int *abort_flag)
{
    uint64_t deadline_ns = c4_now_ns() + (uint64_t)timeout_ms * 1000000u;
    while (!look->done) {
        struct timespec until;
        if (abort_flag && atomic_load(abort_flag))
            return c4_fail(C4_ERR_ABORTED, "aborted while the address of rank 0 was looked up");
        if (c4_now_ns() >= deadline_ns)
            return c4_fail(C4_ERR_TIMEOUT,
                           "the look-up of rank 0's address did not end within %d ms (C4_SETUP_TIMEOUT_MS): check the "
                           "name servers of this host, or name rank 0 by its address",
                           timeout_ms);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&look->done_signal, &look->lock, &until);
    }
    return C4_OK;
}

c4_status c4_launch_look_up(const char *call_options, int timeout_ms, const atomic_int *abort_flag, c4_launch *launch)
{
    look_up *look = NULL;
    C4_TRY(look_up_start(call_options, &look));
    pthread_mutex_lock(&look->lock);
    c4_status status = await(look, timeout_ms, abort_flag);
    look->abandoned = status < 0;
    pthread_mutex_unlock(&look->lock);
    if (status < 0)
        return status;
    status = look->status;
    if (status == C4_OK)
        *launch = look->launch;
    else
        c4_fail_keep(look->error);
    look_up_free(look);
    return status;
}
