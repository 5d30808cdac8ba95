#include "comm/lend.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/status.h"
#include "comm/declared.h"

static int64_t lend_int(void *context, const char *name)
{
    return c4_option_int(context, name);
}

static const char *lend_string(void *context, const char *name)
{
    return c4_option_string(context, name);
}

static void lend_log(void *context, int level, const char *format, ...)
{
    char text[C4_ERROR_TEXT_BYTES];
    va_list args;
    (void)context;
    if (!c4_log_enabled((c4_log_level)level))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c4_log((c4_log_level)level, "%s", text);
}

static c4_status lend_fail(void *context, c4_status status, const char *text)
{
    (void)context;
    return c4_fail(status, "%s", text);
}

static int lend_memory_find(void *context, const void *pointer, size_t bytes, c4_transport_memory *memory)
{
    (void)context;
    return c4_declared_find(pointer, bytes, memory);
}

static uint64_t lend_memory_taken_back(void *context)
{
    (void)context;
    return c4_declared_removals();
}

c4_transport_host c4_lend(c4_options *options)
{
    return (c4_transport_host){.struct_size = sizeof(c4_transport_host),
                               .context = options,
                               .option_int = lend_int,
                               .option_string = lend_string,
                               .log = lend_log,
                               .fail = lend_fail,
                               .memory_find = lend_memory_find,
                               .memory_taken_back = lend_memory_taken_back};
}
