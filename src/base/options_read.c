/* Reading resolved options: typed getters, the view that c4info prints, the hash that ranks compare. */
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/options_internal.h"

static const c4_option_entry *find(const c4_options *options, const char *name, bool want_text)
{
    bool by_alias = false;
    const c4_option_entry *entry = c4_options_find(options, name, &by_alias);
    if (!entry || by_alias) {
        c4_log(C4_LOG_ERROR, "bug: option %s is in no table", name);
        return NULL;
    }
    c4_option_type type = entry->spec->type;
    bool is_text = type == C4_OPTION_STRING || type == C4_OPTION_LIST;
    if (is_text != want_text && type != C4_OPTION_ENUM) { /* an enum is both its index and its word */
        c4_log(C4_LOG_ERROR, "bug: option %s is read as %s", name, want_text ? "text" : "a number");
        return NULL;
    }
    return entry;
}

int64_t c4_option_int(const c4_options *options, const char *name)
{
    const c4_option_entry *entry = find(options, name, false);
    return entry ? entry->number : 0;
}

const char *c4_option_string(const c4_options *options, const char *name)
{
    const c4_option_entry *entry = find(options, name, true);
    return entry ? entry->value : "";
}

bool c4_option_is_default(const c4_options *options, const char *name)
{
    bool by_alias = false;
    const c4_option_entry *entry = c4_options_find(options, name, &by_alias);
    return entry && entry->strength / 2 == C4_OPTION_LAYER_DEFAULT;
}

size_t c4_options_count(const c4_options *options)
{
    return options->count;
}

c4_option_view c4_options_view(const c4_options *options, size_t index)
{
    if (index >= options->count)
        return (c4_option_view){NULL, NULL, NULL, NULL};
    const c4_option_entry *entry = &options->entries[index];
    bool hide = (entry->spec->flags & C4_OPTION_SECRET) && *entry->value;
    return (c4_option_view){entry->spec, entry->module, hide ? "(secret)" : entry->value, entry->source};
}

/* Numbers are hashed as numbers: 64K on one rank and 65536 on another agree. */
static uint64_t hash_entry(uint64_t hash, const c4_option_entry *entry)
{
    const c4_option_spec *spec = entry->spec;
    hash = c4_hash_bytes(hash, spec->name, strlen(spec->name) + 1);
    if (spec->type == C4_OPTION_STRING || spec->type == C4_OPTION_LIST)
        return c4_hash_bytes(hash, entry->value, strlen(entry->value) + 1);
    return c4_hash_bytes(hash, &entry->number, sizeof entry->number);
}

uint64_t c4_option_hash(const c4_options *options, size_t index)
{
    return index < options->count ? hash_entry(C4_HASH_INIT, &options->entries[index]) : 0;
}

/* Sorted by name, so that the order of the tables does not matter. */
uint64_t c4_options_agree_hash(const c4_options *options)
{
    uint64_t hash = C4_HASH_INIT;
    for (size_t i = 0; i < options->count; i++) {
        const c4_option_entry *entry = &options->entries[options->sorted[i]];
        if (entry->spec->flags & C4_OPTION_AGREE)
            hash = hash_entry(hash, entry);
    }
    return hash;
}
