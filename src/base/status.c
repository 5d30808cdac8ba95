#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/export.h"
#include "base/log.h"

struct status_entry {
    c4_status value;
    const char *name;
    const char *text;
    const char *advice;
};

static const struct status_entry status_table[] = {
#define STATUS_ENTRY(name, value, text, advice) {C4_##name, "C4_" #name, text, advice},
    C4_STATUS_MAP(STATUS_ENTRY)
#undef STATUS_ENTRY
};

static const struct status_entry *status_find(c4_status status)
{
    static const struct status_entry unknown = {C4_ERR_INTERNAL, "C4_STATUS_UNKNOWN", "unknown status",
                                                "check that header and library are of one version"};
    for (size_t i = 0; i < sizeof status_table / sizeof status_table[0]; i++)
        if (status_table[i].value == status)
            return &status_table[i];
    return &unknown;
}

C4_API const char *c4_status_name(c4_status status)
{
    return status_find(status)->name;
}

C4_API const char *c4_status_text(c4_status status)
{
    return status_find(status)->text;
}

C4_API const char *c4_status_advice(c4_status status)
{
    return status_find(status)->advice;
}

static __thread char last_text[C4_ERROR_TEXT_BYTES];

const char *c4_fail_text(void)
{
    return last_text;
}

void c4_fail_keep(const char *text)
{
    snprintf(last_text, sizeof last_text, "%s", text);
}

void c4_fail_advise(c4_status status, char *text, size_t bytes)
{
    char advice[C4_ERROR_TEXT_BYTES / 2];
    const struct status_entry *entry = status_find(status);
    size_t length = (size_t)snprintf(advice, sizeof advice, " [%s: %s]", entry->name, entry->advice);
    if (strstr(text, advice) || bytes <= length)
        return;
    const char *cut = NULL; /* what may be left of it at the end of a text that was cut */
    for (const char *at = text; (at = strstr(at, " [C4_")) != NULL; at++)
        cut = at;
    size_t used = cut && strncmp(advice, cut, strlen(cut)) == 0 ? (size_t)(cut - text) : strlen(text);
    if (used > bytes - 1 - length)
        used = bytes - 1 - length;
    memcpy(text + used, advice, length + 1);
}

/* Set by a module, in the module's own copy of this layer: all of its communicators lend the same function. */
static _Atomic(c4_fail_teller) teller;

void c4_fail_tell(c4_fail_teller tell)
{
    atomic_store(&teller, tell);
}

static __thread bool hushed;

void c4_fail_hush(bool hush)
{
    hushed = hush;
}

static c4_status fail_finish(c4_status status)
{
    if (hushed)
        return status;
    c4_fail_teller tell = atomic_load(&teller);
    if (tell != NULL)
        return tell(NULL, status, last_text);
    c4_fail_advise(status, last_text, sizeof last_text);
    bool caller_fault = status <= -100 && status > -200;
    c4_log(caller_fault ? C4_LOG_WARN : C4_LOG_ERROR, "%s", last_text);
    return status;
}

static size_t clamp_printed(int printed)
{
    return printed < 0 ? 0 : (size_t)printed;
}

c4_status c4_fail(c4_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(last_text, sizeof last_text, format, args);
    va_end(args);
    return fail_finish(status);
}

c4_status c4_fail_errno(c4_status status, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t used = clamp_printed(vsnprintf(last_text, sizeof last_text, format, args));
    va_end(args);
    if (used < sizeof last_text) {
        char buffer[96];
        snprintf(last_text + used, sizeof last_text - used, ": %s (errno %d)", strerror_r(error, buffer, sizeof buffer),
                 error);
    }
    return fail_finish(status);
}

c4_status c4_fail_thread(int error, const char *what)
{
    return c4_fail_errno(
        C4_ERR_SYSTEM, error,
        "cannot start %s: check `ulimit -u`, the pids.max of the cgroup (docker: --pids-limit) and memory", what);
}

c4_status c4_status_from_errno(int error)
{
    switch (error) {
    case ENOMEM:
        return C4_ERR_MEMORY;
    case EMFILE:
    case ENFILE:
        return C4_ERR_FILES;
    case EADDRINUSE:
    case EADDRNOTAVAIL:
        return C4_ERR_PORTS;
    case ENOSPC:
        return C4_ERR_SHM;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
        return C4_ERR_LINK;
    case ETIMEDOUT:
        return C4_ERR_TIMEOUT;
    default:
        return C4_ERR_SYSTEM;
    }
}
