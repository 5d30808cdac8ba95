#include "tests/conformance/host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transports/link/link.h"

static const unsigned char test_key[32] = "the job key of conformance tests";

/* Beside the module's own table, that of the links beneath has what all of them need: C4_SOCKET_IFNAME, C4_TLS .. */
static const c4_option_spec *spec_find(const c4_test_host *host, const char *name)
{
    const c4_option_table *const tables[] = {host->table, &c4_tlink_option_table};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (size_t i = 0; tables[t] != NULL && i < tables[t]->count; i++)
            if (strcmp(tables[t]->specs[i].name, name) == 0)
                return &tables[t]->specs[i];
    fprintf(stderr, "test host: the transport asks for the unknown option %s\n", name);
    abort();
}

static const char *value_text(c4_test_host *host, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = host->overrides; (at = strstr(at, name)) != NULL; at += length) {
        if (at[length] != '=' || (at > host->overrides && at[-1] != ' '))
            continue;
        snprintf(host->value, sizeof host->value, "%.*s", (int)strcspn(at + length + 1, " "), at + length + 1);
        return host->value;
    }
    return spec_find(host, name)->def;
}

static int64_t choice_index(const char *choices, const char *text)
{
    int64_t index = 0;
    size_t length = strlen(text);
    for (const char *at = choices;; index++) {
        size_t have = strcspn(at, "|");
        if (have == length && strncmp(at, text, length) == 0)
            return index;
        if (at[have] == '\0')
            return -1;
        at += have + 1;
    }
}

static int64_t option_int(void *context, const char *name)
{
    c4_test_host *host = context;
    const c4_option_spec *spec = spec_find(host, name);
    const char *text = value_text(host, name);
    int64_t value = 0;
    uint64_t bytes = 0;
    bool flag = false;
    bool ok = true;
    switch (spec->type) {
    case C4_OPTION_BOOL:
        ok = c4_parse_bool(text, &flag);
        value = flag;
        break;
    case C4_OPTION_INT:
        ok = c4_parse_int(text, &value);
        break;
    case C4_OPTION_BYTES:
        ok = c4_parse_bytes(text, &bytes);
        value = (int64_t)bytes;
        break;
    case C4_OPTION_MS:
        ok = c4_parse_ms(text, &value);
        break;
    case C4_OPTION_ENUM:
        value = choice_index(spec->choices, text);
        ok = value >= 0;
        break;
    default:
        ok = false;
        break;
    }
    if (!ok) {
        fprintf(stderr, "test host: %s=%s does not parse\n", name, text);
        abort();
    }
    return value;
}

static const char *option_string(void *context, const char *name)
{
    return value_text(context, name);
}

static void log_line(void *context, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void log_line(void *context, int level, const char *format, ...)
{
    c4_test_host *host = context;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (level == C4_TLOG_ERROR)
        host->errors_logged++;
    if (level == C4_TLOG_WARN) {
        host->warnings_logged++;
        memcpy(host->last_warning, line, sizeof line);
    }
    if (level == C4_TLOG_INFO)
        memcpy(host->last_info, line, sizeof line);
    if (level == C4_TLOG_DEBUG)
        memcpy(host->last_debug, line, sizeof line);
    if (level <= C4_TLOG_WARN)
        fprintf(stderr, "rank %d: %s\n", host->host.rank, line);
}

void c4_test_host_init(c4_test_host *host, const c4_option_table *table, const char *overrides, uint64_t job_id,
                       int rank, int nranks)
{
    memset(host, 0, sizeof *host);
    host->table = table;
    snprintf(host->overrides, sizeof host->overrides, "%s", overrides != NULL ? overrides : "");
    host->host = (c4_transport_host){
        .struct_size = sizeof host->host,
        .context = host,
        .option_int = option_int,
        .option_string = option_string,
        .log = log_line,
        .key = test_key,
        .job_id = job_id,
        .rank = rank,
        .nranks = nranks,
        .epoch = 1,
        .local_rank = rank,
        .local_nranks = nranks,
    };
}
