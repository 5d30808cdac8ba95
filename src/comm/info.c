#include "comm/info.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/export.h"
#include "comm/lend.h"
#include "comm/options.h"

#define STRING(x)                         #x
#define VERSION_TEXT(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

C4_API const char *c4_version(void)
{
    return VERSION_TEXT(C4_VERSION_MAJOR, C4_VERSION_MINOR, C4_VERSION_PATCH);
}

/* ---- one per thread ---- */

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;

static void info_free(void *memory)
{
    c4_info *info = memory;
    c4_info_forget_choices(info);
    c4_options_destroy(info->options);
    free(info);
}

static void make_key(void)
{
    key_made = pthread_key_create(&key, info_free) == 0;
}

static c4_status info_find(c4_info **info)
{
    pthread_once(&key_once, make_key);
    *info = key_made ? pthread_getspecific(key) : NULL;
    if (*info)
        return C4_OK;
    c4_info *made = key_made ? calloc(1, sizeof *made) : NULL;
    if (!made || pthread_setspecific(key, made) != 0) {
        free(made);
        return c4_fail(C4_ERR_MEMORY, "introspection");
    }
    *info = made;
    return C4_OK;
}

c4_status c4_info_open(bool fresh, c4_info **info)
{
    c4_options *options;
    c4_info *found;
    C4_TRY(info_find(&found));
    if (fresh || !found->options) {
        C4_TRY(c4_comm_options_load(NULL, &options));
        c4_info_forget_choices(found);
        c4_options_destroy(found->options);
        found->options = options;
    }
    *info = found;
    return C4_OK;
}

void c4_info_forget_choices(c4_info *info)
{
    free(info->rows);
    info->rows = NULL;
    info->nrows = 0;
    info->nranks = info->ranks_per_host = 0;
}

c4_status c4_info_check(const void *out, size_t struct_size, size_t least)
{
    if (!out)
        return c4_fail(C4_ERR_NULL, "c4_info: the output is NULL");
    if (struct_size < least)
        return c4_fail(C4_ERR_ARGUMENT, "c4_info: struct_size is %zu; set it to sizeof of the struct, %zu", struct_size,
                       least);
    return C4_OK;
}

c4_transport_host c4_info_host(c4_info *info, int nranks)
{
    c4_transport_host host = c4_lend(info->options);
    host.nranks = host.local_nranks = nranks;
    return host;
}

bool c4_info_wants(const c4_info *info, const char *transport)
{
    const char *at = c4_setup_transports(info->options);
    size_t bytes = strlen(transport);
    while (*at) {
        size_t length = strcspn(at, ", ");
        if (length == bytes && strncmp(at, transport, bytes) == 0)
            return true;
        at += length;
        at += strspn(at, ", ");
    }
    return false;
}
