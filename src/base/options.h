/* The options registry: one static table per module, resolved once, with the source of every value.
 *
 * Precedence: call (c4_comm_config.options) > environment > file (C4_CONFIG_FILE, ~/.config/c4/c4.conf,
 * /etc/c4.conf) > default. getenv appears in options.c and nowhere else. */
#ifndef C4_BASE_OPTIONS_H
#define C4_BASE_OPTIONS_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum c4_option_type {
    C4_OPTION_BOOL,   /* 1/0, on/off, yes/no, true/false */
    C4_OPTION_INT,    /* signed decimal */
    C4_OPTION_BYTES,  /* 4096, 64K, 2M, 1G (powers of 1024) */
    C4_OPTION_MS,     /* milliseconds; 500ms, 30s, 2m accepted */
    C4_OPTION_ENUM,   /* one of `choices`, "a|b|c" */
    C4_OPTION_STRING, /* anything */
    C4_OPTION_LIST    /* comma separated */
} c4_option_type;

enum {
    C4_OPTION_AGREE = 1, /* must be equal on all ranks; checked at set-up */
    C4_OPTION_SECRET = 2 /* never printed */
};

typedef struct c4_option_spec {
    const char *name; /* "C4_SHM_RING_BYTES" */
    c4_option_type type;
    unsigned flags;
    const char *def;     /* default as text */
    const char *choices; /* ENUM: "inline|thread"; INT, BYTES, MS: "lo..hi" or NULL */
    const char *alias;   /* NCCL's name for it, or NULL */
    const char *help;    /* one sentence */
} c4_option_spec;

/* A module's table. Modules are listed in base/options_list.c... by whoever links them: see c4_options_create. */
typedef struct c4_option_table {
    const char *module;
    const c4_option_spec *specs;
    size_t count;
} c4_option_table;

typedef struct c4_options c4_options;

/* Resolves all `tables`. `call` is "NAME=value NAME=value" or NULL. Warns once per process about unknown C4_*
 * variables with the nearest known name. C4_ERR_OPTION with an exact text for a value that does not parse. Caller
 * destroys. */
c4_status c4_options_create(const c4_option_table *const *tables, size_t ntables, const char *call,
                            c4_options **options);
void c4_options_destroy(c4_options *options);

/* Typed getters, for set-up time (a look-up by name, about 100 ns). An unknown name or wrong type is a bug and
 * returns 0 / "" after logging. ENUM: index in `choices`. */
int64_t c4_option_int(const c4_options *options, const char *name); /* BOOL INT BYTES MS ENUM */
const char *c4_option_string(const c4_options *options, const char *name);
bool c4_option_is_default(const c4_options *options, const char *name);

typedef struct c4_option_view {
    const c4_option_spec *spec;
    const char *module;
    const char *value;
    const char *source; /* "default", "file PATH", "environment", "environment (NCCL_DEBUG)", "call" */
} c4_option_view;
size_t c4_options_count(const c4_options *options);
c4_option_view c4_options_view(const c4_options *options, size_t index);
/* FNV-1a over one option's name and value (numbers as numbers). */
uint64_t c4_option_hash(const c4_options *options, size_t index);
/* FNV-1a over names and values of C4_OPTION_AGREE options: ranks compare it at set-up. */
uint64_t c4_options_agree_hash(const c4_options *options);

/* Parsers, also used by the tools' command lines. */
bool c4_parse_bytes(const char *text, uint64_t *bytes);
bool c4_parse_int(const char *text, int64_t *value);
bool c4_parse_bool(const char *text, bool *value);
bool c4_parse_ms(const char *text, int64_t *ms);
/* C4_PORT_RANGE: "lo-hi" or one port, 1..65535; NULL or "": no range, 0 and 0. */
bool c4_parse_port_range(const char *text, uint16_t *lo, uint16_t *hi);

/* Levenshtein's distance of names up to 63 characters; longer ones are SIZE_MAX away. For "did you mean". */
size_t c4_edit_distance(const char *a, const char *b);

/* A C4_* variable that is no option, and no mistake either: C4_RANK and the like. */
bool c4_env_is_other(const char *name);
/* The one getenv: for launcher variables (C4_RANK, ...) that are not options. NULL when unset. In set-uid programs:
 * NULL. */
const char *c4_env_get(const char *name);

#endif
