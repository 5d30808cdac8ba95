#include "base/options.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options_internal.h"
#include "base/status.h"

/* C4_* variables that are not options: they say who this process is, where the files are, or belong to a tool. */
static const char *const other_variables[] = {
    "C4_RANK",        "C4_NRANKS",     "C4_LOCAL_RANK",    "C4_LOCAL_NRANKS", "C4_NODE_RANK",
    "C4_NNODES",      "C4_RENDEZVOUS", "C4_RENDEZVOUS_FD", "C4_KEY",          "C4_JOB_ID",
    "C4_CONFIG_FILE", "C4_LAUNCHER",   "C4_TOPOLOGY",      "C4_RUN_SOCKET",   "C4_UNIQUE_ID",
};
static const char test_prefix[] = "C4_TEST_";

const char *c4_env_get(const char *name)
{
    return secure_getenv(name);
}

/* ---- looking up ---- */

static int sorted_order(const void *a, const void *b, void *context)
{
    const c4_options *options = context;
    const c4_option_entry *entries = options->entries;
    return strcmp(entries[*(const uint32_t *)a].spec->name, entries[*(const uint32_t *)b].spec->name);
}

static c4_option_entry *find_name(const c4_options *options, const char *name)
{
    size_t low = 0;
    size_t high = options->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        c4_option_entry *entry = &options->entries[options->sorted[middle]];
        int order = strcmp(name, entry->spec->name);
        if (order == 0)
            return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

c4_option_entry *c4_options_find(const c4_options *options, const char *name, bool *by_alias)
{
    c4_option_entry *entry = find_name(options, name);
    *by_alias = !entry;
    for (size_t i = 0; !entry && i < options->count; i++) {
        const char *alias = options->entries[i].spec->alias;
        if (alias && strcmp(alias, name) == 0)
            entry = &options->entries[i];
    }
    return entry;
}

/* ---- unknown names ---- */

size_t c4_edit_distance(const char *a, const char *b)
{
    size_t width = strlen(b);
    if (width > 63 || strlen(a) > 63)
        return SIZE_MAX;
    size_t row[64];
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j + 1] + 1 < best)
                best = row[j + 1] + 1;
            row[j + 1] = best;
        }
    }
    return row[width];
}

static const char *nearer(const char *name, const char *candidate, const char *best, size_t *distance)
{
    size_t found = c4_edit_distance(name, candidate);
    if (found >= *distance)
        return best;
    *distance = found;
    return candidate;
}

const char *c4_options_nearest(const c4_options *options, const char *name)
{
    const char *best = NULL;
    size_t distance = strlen(name) / 3 + 1;
    for (size_t i = 0; i < options->count; i++)
        best = nearer(name, options->entries[i].spec->name, best, &distance);
    for (size_t i = 0; i < sizeof other_variables / sizeof other_variables[0]; i++)
        best = nearer(name, other_variables[i], best, &distance);
    return best;
}

bool c4_env_is_other(const char *name)
{
    for (size_t i = 0; i < sizeof other_variables / sizeof other_variables[0]; i++)
        if (strcmp(other_variables[i], name) == 0)
            return true;
    return strncmp(name, test_prefix, sizeof test_prefix - 1) == 0;
}

static void warn_unknown_variables(const c4_options *options)
{
    for (char **variable = environ; variable && *variable; variable++) {
        char name[64];
        size_t length = strcspn(*variable, "=");
        if (strncmp(*variable, "C4_", 3) != 0 || length >= sizeof name)
            continue;
        memcpy(name, *variable, length);
        name[length] = '\0';
        bool by_alias = false;
        if (c4_env_is_other(name) || c4_options_find(options, name, &by_alias))
            continue;
        const char *nearest = c4_options_nearest(options, name);
        c4_log(C4_LOG_WARN, "environment: unknown variable %s is ignored%s%s%s", name,
               nearest ? "; did you mean " : "; `c4info options` lists the known ones", nearest ? nearest : "",
               nearest ? "?" : "");
    }
}

/* ---- the layers ---- */

c4_status c4_options_set(c4_option_entry *entry, bool by_alias, const char *value, int layer, const char *source)
{
    const c4_option_spec *spec = entry->spec;
    int strength = 2 * layer + !by_alias;
    if (entry->value && strength < entry->strength)
        return C4_OK;
    int64_t number = 0;
    char expected[160];
    if (!c4_option_value_parse(spec, value, &number, expected, sizeof expected)) {
        bool secret = spec->flags & C4_OPTION_SECRET;
        if (!by_alias)
            return c4_fail(C4_ERR_OPTION, "%s=%.64s (%s): expected %s", spec->name, secret ? "..." : value, source,
                           expected);
        c4_log(C4_LOG_WARN, "%s=%.64s (%s) is ignored: %s takes %s", spec->alias, value, source, spec->name, expected);
        return C4_OK;
    }
    char *value_copy = strdup(value);
    char *source_copy = strdup(source);
    if (!value_copy || !source_copy) {
        free(value_copy);
        free(source_copy);
        return c4_fail(C4_ERR_MEMORY, "options");
    }
    free(entry->value);
    free(entry->source);
    entry->value = value_copy;
    entry->source = source_copy;
    entry->number = number;
    entry->strength = strength;
    return C4_OK;
}

/* An empty variable counts as unset, except where a text may be empty. */
static bool is_given(const c4_option_spec *spec, const char *value)
{
    return value && (*value || spec->type == C4_OPTION_STRING || spec->type == C4_OPTION_LIST);
}

static c4_status set_from_environment(c4_options *options)
{
    for (size_t i = 0; i < options->count; i++) {
        c4_option_entry *entry = &options->entries[i];
        const c4_option_spec *spec = entry->spec;
        const char *value = c4_env_get(spec->name);
        if (is_given(spec, value)) {
            C4_TRY(c4_options_set(entry, false, value, C4_OPTION_LAYER_ENVIRONMENT, "environment"));
            continue;
        }
        value = spec->alias ? c4_env_get(spec->alias) : NULL;
        if (!is_given(spec, value))
            continue;
        char source[96];
        snprintf(source, sizeof source, "environment (%s)", spec->alias);
        C4_TRY(c4_options_set(entry, true, value, C4_OPTION_LAYER_ENVIRONMENT, source));
    }
    return C4_OK;
}

static c4_status set_from_call(c4_options *options, char *text)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\n", &rest); word; word = strtok_r(NULL, " \t\n", &rest)) {
        char *equals = strchr(word, '=');
        if (!equals)
            return c4_fail(C4_ERR_OPTION, "options given in the call: \"%.80s\" is not NAME=value", word);
        *equals = '\0';
        bool by_alias = false;
        c4_option_entry *entry = c4_options_find(options, word, &by_alias);
        const char *nearest = entry ? NULL : c4_options_nearest(options, word);
        if (!entry)
            return c4_fail(C4_ERR_OPTION, "options given in the call: unknown option %.80s%s%s%s", word,
                           nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
        C4_TRY(c4_options_set(entry, by_alias, equals + 1, C4_OPTION_LAYER_CALL, "call"));
    }
    return C4_OK;
}

static c4_status resolve(c4_options *options, const char *call)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT; /* one warning per process, not per communicator */
    for (size_t i = 0; i < options->count; i++) {
        c4_option_entry *entry = &options->entries[i];
        C4_TRY(c4_options_set(entry, false, entry->spec->def, C4_OPTION_LAYER_DEFAULT, "default"));
    }
    bool warn = !atomic_flag_test_and_set(&warned);
    C4_TRY(c4_options_read_files(options, warn));
    C4_TRY(set_from_environment(options));
    if (warn && !getauxval(AT_SECURE))
        warn_unknown_variables(options);
    if (!call)
        return C4_OK;
    char *text = strdup(call);
    if (!text)
        return c4_fail(C4_ERR_MEMORY, "options");
    c4_status status = set_from_call(options, text);
    free(text);
    return status;
}

/* ---- life cycle ---- */

static c4_status fill_entries(c4_options *options, const c4_option_table *const *tables, size_t ntables)
{
    size_t next = 0;
    for (size_t t = 0; t < ntables; t++) {
        for (size_t i = 0; i < tables[t]->count; i++, next++) {
            options->entries[next].spec = &tables[t]->specs[i];
            options->entries[next].module = tables[t]->module;
            options->sorted[next] = (uint32_t)next;
        }
    }
    qsort_r(options->sorted, options->count, sizeof options->sorted[0], sorted_order, options);
    for (size_t i = 1; i < options->count; i++)
        if (sorted_order(&options->sorted[i - 1], &options->sorted[i], options) == 0)
            return c4_fail(C4_ERR_INTERNAL, "option %s is in two tables",
                           options->entries[options->sorted[i]].spec->name);
    return C4_OK;
}

c4_status c4_options_create(const c4_option_table *const *tables, size_t ntables, const char *call,
                            c4_options **options)
{
    c4_status status = C4_OK;
    c4_options *made = calloc(1, sizeof *made);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "options");
    for (size_t t = 0; t < ntables; t++)
        made->count += tables[t]->count;
    made->entries = calloc(made->count + 1, sizeof *made->entries);
    made->sorted = calloc(made->count + 1, sizeof *made->sorted);
    if (!made->entries || !made->sorted)
        C4_TRY_GOTO(c4_fail(C4_ERR_MEMORY, "options"), fail);
    C4_TRY_GOTO(fill_entries(made, tables, ntables), fail);
    C4_TRY_GOTO(resolve(made, call), fail);
    *options = made;
    return C4_OK;
fail:
    c4_options_destroy(made);
    return status;
}

void c4_options_destroy(c4_options *options)
{
    if (!options)
        return;
    for (size_t i = 0; options->entries && i < options->count; i++) {
        free(options->entries[i].value);
        free(options->entries[i].source);
    }
    free(options->entries);
    free(options->sorted);
    free(options);
}
