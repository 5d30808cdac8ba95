#include "rendezvous/pmix.h"

#include "base/status.h"

#ifdef C4_HAVE_PMIX
#include <dlfcn.h>
#include <pmix.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { RETRY_MS = 20 };

struct c4_pmix {
    void *library;
    pmix_proc_t self;
    pmix_status_t (*init)(pmix_proc_t *proc, pmix_info_t info[], size_t ninfo);
    pmix_status_t (*finalize)(const pmix_info_t info[], size_t ninfo);
    pmix_status_t (*put)(pmix_scope_t scope, const char key[], pmix_value_t *value);
    pmix_status_t (*commit)(void);
    pmix_status_t (*get)(const pmix_proc_t *proc, const char key[], const pmix_info_t info[], size_t ninfo,
                         pmix_value_t **value);
    const char *(*error_text)(pmix_status_t status);
};

/* All versions from 3 on have this name, and the structs that are used here. */
static c4_status load(c4_pmix *pmix)
{
    struct {
        const char *name;
        void *slot;
    } symbols[] = {{"PMIx_Init", &pmix->init}, {"PMIx_Finalize", &pmix->finalize},
                   {"PMIx_Put", &pmix->put},   {"PMIx_Commit", &pmix->commit},
                   {"PMIx_Get", &pmix->get},   {"PMIx_Error_string", &pmix->error_text}};
    pmix->library = dlopen("libpmix.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!pmix->library)
        return c4_fail(C4_ERR_OPTION,
                       "PMIx: %s: install libpmix (apt-get install libpmix2) on every host, or set C4_PMIX=off "
                       "and C4_RENDEZVOUS=HOST:PORT",
                       dlerror());
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        *(void **)symbols[i].slot = dlsym(pmix->library, symbols[i].name);
        if (!*(void **)symbols[i].slot)
            return c4_fail(C4_ERR_OPTION, "PMIx: libpmix.so.2 has no %s: install a newer one", symbols[i].name);
    }
    return C4_OK;
}

/* The connection lives as long as the process: after a last PMIx_Finalize an MPI_Init of Open MPI 4.1 fails, and a process
 * that ends without one is reported by mpirun. */
static struct {
    pthread_mutex_t lock;
    c4_pmix *pmix;
    pid_t owner;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void finalize_at_exit(void)
{
    if (shared.owner == getpid()) /* not in a child made by fork */
        shared.pmix->finalize(NULL, 0);
}

static c4_status connect_server(c4_pmix **pmix)
{
    c4_pmix *made = calloc(1, sizeof *made);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "PMIx");
    c4_status status = load(made);
    pmix_status_t error = status == C4_OK ? made->init(&made->self, NULL, 0) : PMIX_SUCCESS;
    if (error != PMIX_SUCCESS)
        status = c4_fail(C4_ERR_SYSTEM,
                         "PMIx: the launcher's server does not answer: %s; set C4_PMIX=off and C4_RENDEZVOUS=HOST:PORT",
                         made->error_text(error));
    if (status < 0) {
        free(made); /* the library stays open: others may use it by now */
        return status;
    }
    *pmix = made;
    return C4_OK;
}

c4_status c4_pmix_open(c4_pmix **pmix)
{
    c4_status status = C4_OK;
    pthread_mutex_lock(&shared.lock);
    if (!shared.pmix) {
        status = connect_server(&shared.pmix);
        shared.owner = getpid();
        if (status == C4_OK)
            atexit(finalize_at_exit);
    }
    *pmix = shared.pmix;
    pthread_mutex_unlock(&shared.lock);
    return status;
}

static void release(pmix_value_t *value)
{
    if (value->type == PMIX_STRING)
        free(value->data.string);
    free(value);
}

/* `proc`: of the job's own rank or, for facts about the job, the wildcard. */
static pmix_status_t get(c4_pmix *pmix, uint32_t rank, const char *name, int timeout_ms, pmix_value_t **value)
{
    pmix_proc_t proc = pmix->self;
    pmix_info_t wait;
    memset(&wait, 0, sizeof wait);
    memcpy(wait.key, PMIX_TIMEOUT, sizeof PMIX_TIMEOUT);
    wait.value.type = PMIX_INT;
    wait.value.data.integer = timeout_ms < 1000 ? 1 : timeout_ms / 1000;
    proc.rank = rank;
    *value = NULL;
    pmix_status_t error = pmix->get(&proc, name, timeout_ms ? &wait : NULL, timeout_ms ? 1 : 0, value);
    return error == PMIX_SUCCESS && !*value ? PMIX_ERR_NOT_FOUND : error;
}

static c4_status get_count(c4_pmix *pmix, const char *name, int *count)
{
    pmix_value_t *value = NULL;
    pmix_status_t error = get(pmix, PMIX_RANK_WILDCARD, name, 0, &value);
    if (error != PMIX_SUCCESS)
        return c4_fail(C4_ERR_SYSTEM, "PMIx: the launcher's server does not tell %s: %s", name,
                       pmix->error_text(error));
    bool fits = value->type == PMIX_UINT32 && value->data.uint32 <= INT32_MAX;
    if (fits)
        *count = (int)value->data.uint32;
    release(value);
    return fits ? C4_OK : c4_fail(C4_ERR_SYSTEM, "PMIx: %s is not a number", name);
}

c4_status c4_pmix_count_ranks(c4_pmix *pmix, int *nranks, int *local_nranks)
{
    C4_TRY(get_count(pmix, PMIX_JOB_SIZE, nranks));
    return get_count(pmix, PMIX_LOCAL_SIZE, local_nranks);
}

c4_status c4_pmix_put(c4_pmix *pmix, const char *name, const char *text)
{
    pmix_value_t value;
    memset(&value, 0, sizeof value);
    value.type = PMIX_STRING;
    value.data.string = (char *)text; /* copied */
    pmix_status_t error = pmix->put(PMIX_GLOBAL, name, &value);
    if (error == PMIX_SUCCESS)
        error = pmix->commit();
    if (error != PMIX_SUCCESS)
        return c4_fail(C4_ERR_SYSTEM, "PMIx: the launcher's server does not take %s: %s", name,
                       pmix->error_text(error));
    return C4_OK;
}

c4_status c4_pmix_get(c4_pmix *pmix, int rank, const char *name, int timeout_ms, char *text, size_t bytes)
{
    pmix_value_t *value = NULL;
    uint64_t deadline_ns = c4_now_ns() + (uint64_t)timeout_ms * 1000000u;
    pmix_status_t error = get(pmix, (uint32_t)rank, name, timeout_ms, &value);
    /* 4.2 waits, but says so when it is asked in the moment in which the other rank publishes. */
    while (error == PMIX_ERR_NOT_FOUND && c4_now_ns() < deadline_ns) {
        poll(NULL, 0, RETRY_MS);
        error = get(pmix, (uint32_t)rank, name, timeout_ms, &value);
    }
    if (error != PMIX_SUCCESS)
        return c4_fail(error == PMIX_ERR_TIMEOUT || error == PMIX_ERR_NOT_FOUND ? C4_ERR_TIMEOUT : C4_ERR_SYSTEM,
                       "PMIx: rank %d has not published its %s in time (C4_SETUP_TIMEOUT_MS): %s", rank, name,
                       pmix->error_text(error));
    bool fits = value->type == PMIX_STRING && value->data.string && strlen(value->data.string) < bytes;
    if (fits)
        memcpy(text, value->data.string, strlen(value->data.string) + 1);
    release(value);
    return fits ? C4_OK : c4_fail(C4_ERR_PROTOCOL, "PMIx: %s of rank %d is not a text of this version", name, rank);
}
#else

c4_status c4_pmix_open(c4_pmix **pmix)
{
    (void)pmix;
    return c4_fail(C4_ERR_OPTION, "C4 was built without PMIx (configure --with-pmix): set C4_PMIX=off and "
                                  "C4_RENDEZVOUS=HOST:PORT");
}

c4_status c4_pmix_count_ranks(c4_pmix *pmix, int *nranks, int *local_nranks)
{
    (void)pmix, (void)nranks, (void)local_nranks;
    return C4_ERR_OPTION;
}

c4_status c4_pmix_put(c4_pmix *pmix, const char *name, const char *value)
{
    (void)pmix, (void)name, (void)value;
    return C4_ERR_OPTION;
}

c4_status c4_pmix_get(c4_pmix *pmix, int rank, const char *name, int timeout_ms, char *value, size_t bytes)
{
    (void)pmix, (void)rank, (void)name, (void)timeout_ms, (void)value, (void)bytes;
    return C4_ERR_OPTION;
}
#endif
