#include "transports/link/tls_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fork_lock.h"

#define LIBRARY "libssl.so.3"

static const struct {
    const char *name;
    size_t at;
} functions[] = {
#define FUNCTION(name) {#name, offsetof(c4_tls_library, name)},
    C4_TLS_FUNCTIONS(FUNCTION)
#undef FUNCTION
};

/* Filled once, under the lock; a failure is tried again (file descriptors may have run out for a moment). */
static struct {
    pthread_mutex_t lock;
    bool ready;
    c4_tls_library library;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool find_functions(void *handle, c4_tls_library *library, char *reason, size_t bytes)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *function = dlsym(handle, functions[i].name);
        if (function == NULL) {
            snprintf(reason, bytes, "%s has no %s", LIBRARY, functions[i].name);
            return false;
        }
        memcpy((char *)library + functions[i].at, &function, sizeof function);
    }
    return true;
}

static bool open_library(char *reason, size_t bytes)
{
    void *handle = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        snprintf(reason, bytes, "%s", dlerror());
        return false;
    }
    if (find_functions(handle, &state.library, reason, bytes))
        return true; /* stays open until the process ends */
    dlclose(handle);
    return false;
}

const c4_tls_library *c4_tls_library_get(char *reason, size_t bytes)
{
    c4_fork_lock(&state.lock);
    state.ready = state.ready || open_library(reason, bytes);
    bool ready = state.ready;
    pthread_mutex_unlock(&state.lock);
    return ready ? &state.library : NULL;
}

const c4_tls_library *c4_tls_library_opened(void)
{
    return &state.library;
}
