/* Shared by the options_*.c files only. */
#ifndef C4_BASE_OPTIONS_INTERNAL_H
#define C4_BASE_OPTIONS_INTERNAL_H

#include "base/options.h"

/* Where a value came from; a later layer overrides an earlier one, and inside a layer a name overrides an alias. */
typedef struct c4_option_entry {
    const c4_option_spec *spec;
    const char *module;
    char *value;    /* owned */
    char *source;   /* owned */
    int64_t number; /* of BOOL INT BYTES MS ENUM */
    int strength;   /* twice the layer, plus one when given by its own name */
} c4_option_entry;

struct c4_options {
    size_t count;
    c4_option_entry *entries;
    uint32_t *sorted; /* entry indexes ordered by name, for bsearch */
};

enum {
    C4_OPTION_LAYER_DEFAULT = 0,
    C4_OPTION_LAYER_FILE = 1, /* and the next two: system, user, C4_CONFIG_FILE */
    C4_OPTION_LAYER_ENVIRONMENT = 4,
    C4_OPTION_LAYER_CALL = 5
};

/* Text -> number after the spec's type and range; *number is 0 for STRING and LIST. On failure `expected` says in
 * words what would have been right. */
bool c4_option_value_parse(const c4_option_spec *spec, const char *text, int64_t *number, char *expected, size_t bytes);

/* The entry with this name or, failing that, this alias; NULL when unknown. *by_alias tells which. */
c4_option_entry *c4_options_find(const c4_options *options, const char *name, bool *by_alias);

/* Sets a value from one layer; keeps the old value when that came from a stronger one. C4_ERR_OPTION when the value
 * does not parse (a warning only, when it came through an alias: that variable is another library's). */
c4_status c4_options_set(c4_option_entry *entry, bool by_alias, const char *value, int layer, const char *source);

/* Nearest known name within a third of its length, or NULL. */
const char *c4_options_nearest(const c4_options *options, const char *name);

/* Reads the configuration files into `options`: C4_CONFIG_FILE, ~/.config/c4/c4.conf, /etc/c4.conf. */
c4_status c4_options_read_files(c4_options *options, bool warn_unknown);

#endif
