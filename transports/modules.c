#include "transports/modules.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/fork_lock.h"

/* Where a module may be: the first that has it is taken, for a broken module is better told than passed over. */
typedef struct search {
    const c4_transport_entry *entry;
    char file[PATH_MAX]; /* found */
    char own[PATH_MAX];  /* the folder for modules beside libc4; "": unknown */
} search;

static bool try_folder(search *s, const char *folder, size_t bytes, const char *below)
{
    if (bytes == 0 || folder[0] != '/')
        return false; /* not from wherever the program happens to be */
    int length = snprintf(s->file, sizeof s->file, "%.*s%s/%s", (int)bytes, folder, below, s->entry->file);
    return length > 0 && (size_t)length < sizeof s->file && access(s->file, R_OK) == 0;
}

static bool try_path(search *s, const char *path)
{
    if (getauxval(AT_SECURE))
        return false;
    while (*path != '\0') {
        size_t bytes = strcspn(path, ":");
        if (try_folder(s, path, bytes, ""))
            return true;
        path += bytes + (path[bytes] == ':');
    }
    return false;
}

/* What this very function is in: libc4.so, or a program that has linked it whole. */
static bool try_beside(search *s)
{
    Dl_info self;
    char file[PATH_MAX], below[64];
    if (dladdr((const void *)c4_transports, &self) == 0 || realpath(self.dli_fname, file) == NULL)
        return false;
    char *slash = strrchr(file, '/');
    size_t bytes = (size_t)(slash - file);
    int length = snprintf(s->own, sizeof s->own, "%.*s/c4", (int)bytes, file);
    if (length < 0 || (size_t)length >= sizeof s->own)
        s->own[0] = '\0';
    if (try_folder(s, file, bytes, "/c4"))
        return true;
    *slash = '\0';
    slash = strrchr(file, '/');
    if (slash == NULL || strcmp(slash, "/.libs") != 0)
        return false; /* libtool's folder: src/.libs/libc4.so of a build tree */
    snprintf(below, sizeof below, "/../../transports/%s/.libs", s->entry->name);
    return try_folder(s, file, bytes, below);
}

/* dlerror names the file first; the rest is what is new. */
static const char *without_file(const char *text, const char *file)
{
    size_t bytes = strlen(file);
    return strncmp(text, file, bytes) == 0 && strncmp(text + bytes, ": ", 2) == 0 ? text + bytes + 2 : text;
}

static c4_status check_table(const search *s, const c4_transport_ops *ops, char *reason, size_t reason_bytes)
{
    if (ops->abi != C4_TRANSPORT_ABI || ops->struct_size != sizeof *ops)
        snprintf(reason, reason_bytes, "%s is of another version of C4 (table %u of %zu bytes, here %u of %zu)",
                 s->file, ops->abi, ops->struct_size, C4_TRANSPORT_ABI, sizeof *ops);
    else if (strcmp(ops->name, s->entry->name) != 0)
        snprintf(reason, reason_bytes, "%s holds the transport \"%.16s\"", s->file, ops->name);
    else
        return C4_OK;
    return C4_ERR_UNSUPPORTED;
}

/* UCX takes the signals of crashes for itself when it is loaded. They are the program's: whatever a module does to them is
 * undone. (Who wants UCX's reports sets UCX_HANDLE_ERRORS; then they stay.) */
static const int crash_signals[] = {SIGHUP, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGPIPE};
#define NSIGNALS (sizeof crash_signals / sizeof crash_signals[0])

static void *open_quietly(const char *file)
{
    struct sigaction before[NSIGNALS];
    bool wanted = c4_env_get("UCX_HANDLE_ERRORS") != NULL;
    for (size_t i = 0; i < NSIGNALS; i++)
        sigaction(crash_signals[i], NULL, &before[i]);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    for (size_t i = 0; i < NSIGNALS && !wanted; i++)
        sigaction(crash_signals[i], &before[i], NULL);
    return handle;
}

static c4_status open_file(const search *s, const c4_transport_ops **ops, char *reason, size_t reason_bytes)
{
    void *handle = open_quietly(s->file);
    if (handle == NULL) {
        const char *why = dlerror();
        snprintf(reason, reason_bytes, "%s: %s", s->file,
                 why != NULL ? without_file(why, s->file) : "cannot be opened");
        return C4_ERR_UNSUPPORTED;
    }
    const c4_transport_ops *table = dlsym(handle, s->entry->symbol);
    c4_status status = C4_ERR_UNSUPPORTED;
    if (table == NULL)
        snprintf(reason, reason_bytes, "%s has no symbol %s", s->file, s->entry->symbol);
    else
        status = check_table(s, table, reason, reason_bytes);
    dlclose(handle); /* it stays all the same: see RTLD_NODELETE */
    if (status == C4_OK)
        *ops = table;
    return status;
}

static bool find(search *s, const char *path, char *reason, size_t reason_bytes)
{
    if (try_path(s, path) || try_beside(s))
        return true;
    snprintf(reason, reason_bytes, "%s is not installed%s%s: %s", s->entry->file, s->own[0] != '\0' ? " in " : "",
             s->own, s->entry->mend);
    return false;
}

bool c4_module_is_installed(const c4_transport_entry *entry, const char *path, char *reason, size_t reason_bytes)
{
    search s = {.entry = entry};
    return find(&s, path, reason, reason_bytes);
}

c4_status c4_module_load(const c4_transport_entry *entry, const char *path, const c4_transport_ops **ops, char *reason,
                         size_t reason_bytes)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a child of fork must not inherit half a module */
    search s = {.entry = entry};
    if (!find(&s, path, reason, reason_bytes))
        return C4_ERR_UNSUPPORTED;
    c4_fork_lock(&lock);
    c4_status status = open_file(&s, ops, reason, reason_bytes);
    pthread_mutex_unlock(&lock);
    return status;
}
