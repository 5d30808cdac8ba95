#include "tools/c4perf/options.h"

#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "tools/c4perf/pattern.h"

#define MAX_BYTES_DEFAULT   ((size_t)64 << 20)
#define TUNE_FACTOR_DEFAULT 4

enum {
    OPTION_IN_PLACE = 256,
    OPTION_OUT_OF_PLACE,
    OPTION_JSON,
    OPTION_MAPPED,
    OPTION_UNTOUCHED,
    OPTION_TUNE,
    OPTION_VERSION
};

static const struct option long_options[] = {
    {"minbytes", required_argument, NULL, 'b'},
    {"maxbytes", required_argument, NULL, 'e'},
    {"stepfactor", required_argument, NULL, 'f'},
    {"stepbytes", required_argument, NULL, 'i'},
    {"iters", required_argument, NULL, 'n'},
    {"warmup_iters", required_argument, NULL, 'w'},
    {"datatype", required_argument, NULL, 'd'},
    {"op", required_argument, NULL, 'o'},
    {"root", required_argument, NULL, 'r'},
    {"check", required_argument, NULL, 'c'},
    {"in-place", no_argument, NULL, OPTION_IN_PLACE},
    {"out-of-place", no_argument, NULL, OPTION_OUT_OF_PLACE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"mapped", no_argument, NULL, OPTION_MAPPED},
    {"untouched", no_argument, NULL, OPTION_UNTOUCHED},
    {"tune", no_argument, NULL, OPTION_TUNE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "Usage: c4run -n N c4perf COLLECTIVE [OPTION]...\n"
    "Measures and verifies collective operations. Without c4run: one rank.\n"
    "\n"
    "COLLECTIVE: all_reduce all_gather reduce_scatter broadcast reduce gather scatter all_to_all send_recv barrier,\n"
    "several of them, or all.\n"
    "\n"
    "  -b, --minbytes SIZE      smallest size [8]; SIZE is bytes or 64K, 1M, 2G\n"
    "  -e, --maxbytes SIZE      largest size [64M]\n"
    "  -f, --stepfactor N       next size = size * N [2; with --tune 4]\n"
    "  -i, --stepbytes SIZE     next size = size + SIZE, instead of -f\n"
    "  -n, --iters N            timed calls per row [1000 up to 4K, 200 to 64K, 50 to 1M, 20 above]\n"
    "  -w, --warmup_iters N     calls before them [5]\n"
    "  -d, --datatype TYPE      float32, int8, bfloat16, ... or all [float32]\n"
    "  -o, --op OP              sum, prod, max, min, avg, band, bor, bxor or all [sum]\n"
    "  -r, --root N             root of broadcast, reduce, gather and scatter [0]\n"
    "  -c, --check 0|1          verify every result [1]\n"
    "      --in-place           measure in place only\n"
    "      --out-of-place       measure out of place only\n"
    "      --mapped             buffers from c4_mem_alloc, which peers on this host can map\n"
    "      --untouched          do not rewrite inputs and read results around every call: flatters small caches;\n"
    "                           one more call is verified instead of all\n"
    "      --json [FILE]        one JSON object on standard output instead of the table, or in FILE beside it\n"
    "      --tune [FILE]        measure every algorithm, write the fastest ones as a tuning file (C4_TUNING_FILE)\n"
    "  -h, --help               this text\n"
    "      --version            version of libc4\n"
    "\n"
    "Size is that of the larger buffer, as in nccl-tests. The time of a call is the maximum over the ranks; time and\n"
    "p99 are its median and 99th percentile in us. Exit status: 0, 1 when a call failed or a result was wrong, 2 for\n"
    "a wrong command line.\n";

static int wrong_usage(bool complain, const char *message, const char *value)
{
    if (complain) {
        fprintf(stderr, "c4perf: %s%s%s (c4perf --help)\n", message, value != NULL ? ": " : "",
                value != NULL ? value : "");
    }
    return 2;
}

static bool parse_size(const char *text, size_t *bytes)
{
    uint64_t value;
    if (!c4_parse_bytes(text, &value) || value > (uint64_t)1 << 46) {
        return false;
    }
    *bytes = (size_t)value;
    return true;
}

static bool parse_number(const char *text, int64_t low, int64_t high, int64_t *value)
{
    return c4_parse_int(text, value) && *value >= low && *value <= high;
}

static bool parse_dtypes(const char *text, bool *dtypes)
{
    bool found = false;
    for (int dtype = 0; dtype < C4_NDTYPES; dtype++) {
        dtypes[dtype] = strcmp(text, "all") == 0 || strcmp(text, c4_dtype_name((c4_dtype)dtype)) == 0;
        found |= dtypes[dtype];
    }
    return found;
}

static bool parse_ops(const char *text, bool *ops)
{
    bool found = false;
    for (int op = 0; op < C4_NOPS; op++) {
        ops[op] = strcmp(text, "all") == 0 || strcmp(text, c4_op_name((c4_op)op)) == 0;
        found |= ops[op];
    }
    return found;
}

/* One numeric or named option; false when the value is unacceptable. */
static bool option_value(int option, const char *text, c4perf_options *options)
{
    int64_t number = 0;
    switch (option) {
    case 'b':
        return parse_size(text, &options->min_bytes);
    case 'e':
        return parse_size(text, &options->max_bytes);
    case 'i':
        return parse_size(text, &options->step_bytes) && options->step_bytes > 0;
    case 'f':
        if (!parse_number(text, 2, 1 << 20, &number)) {
            return false;
        }
        options->step_factor = (size_t)number;
        return true;
    case 'n':
        if (!parse_number(text, 1, 100000000, &number)) {
            return false;
        }
        options->iterations = (int)number;
        return true;
    case 'w':
        if (!parse_number(text, 0, 100000000, &number)) {
            return false;
        }
        options->warmup = (int)number;
        return true;
    case 'r':
        if (!parse_number(text, 0, INT_MAX, &number)) {
            return false;
        }
        options->root = (int)number;
        return true;
    case 'c':
        if (!parse_number(text, 0, 1, &number)) {
            return false;
        }
        options->check = number != 0;
        return true;
    case 'd':
        return parse_dtypes(text, options->dtypes);
    default:
        return parse_ops(text, options->ops);
    }
}

static void option_flag(int option, c4perf_options *options)
{
    switch (option) {
    case OPTION_IN_PLACE:
        options->places = C4PERF_IN_PLACE;
        break;
    case OPTION_OUT_OF_PLACE:
        options->places = C4PERF_OUT_OF_PLACE;
        break;
    case OPTION_MAPPED:
        options->mapped = true;
        break;
    case OPTION_UNTOUCHED:
        options->touch = false;
        break;
    case OPTION_TUNE:
        options->tune = true;
        break;
    default:
        options->json = true;
        break;
    }
}

static bool collective_add(const char *name, c4perf_options *options)
{
    const c4perf_collective *collective = c4perf_collective_find(name);
    if (strcmp(name, "all") == 0) {
        options->ncollectives = C4PERF_NCOLLECTIVES;
        for (size_t i = 0; i < C4PERF_NCOLLECTIVES; i++) {
            options->collectives[i] = &c4perf_collectives[i];
        }
        return true;
    }
    if (collective == NULL) {
        return false;
    }
    for (size_t i = 0; i < options->ncollectives; i++) {
        if (options->collectives[i] == collective) {
            return true;
        }
    }
    options->collectives[options->ncollectives++] = collective;
    return true;
}

/* --json and --tune take the next word as their file unless it is an option or a collective. */
static const char *optional_file(int argc, char **argv)
{
    const char *next = optind < argc ? argv[optind] : NULL;
    if (next == NULL || next[0] == '-' || strcmp(next, "all") == 0 || c4perf_collective_find(next) != NULL) {
        return NULL;
    }
    optind++;
    return next;
}

static int finish(bool complain, c4perf_options *options)
{
    if (options->ncollectives == 0) {
        return wrong_usage(complain, "which collective? all_reduce, for example", NULL);
    }
    if (options->min_bytes > options->max_bytes) {
        return wrong_usage(complain, "-b is larger than -e", NULL);
    }
    if (options->step_factor == 0) {
        options->step_factor = options->tune ? TUNE_FACTOR_DEFAULT : 2;
    }
    if (options->tune && options->json) {
        return wrong_usage(complain, "--tune and --json exclude each other", NULL);
    }
    bool any = false;
    for (int dtype = 0; dtype < C4_NDTYPES; dtype++) {
        for (int op = 0; op < C4_NOPS; op++) {
            any |= options->dtypes[dtype] && options->ops[op] && c4perf_pattern_supports((c4_dtype)dtype, (c4_op)op);
        }
    }
    return any ? -1 : wrong_usage(complain, "the op does not exist for this datatype: bitwise ops need integers", NULL);
}

/* Returns -1 to go on, else the exit status. */
static int option_apply(int option, int argc, char **argv, bool complain, c4perf_options *options)
{
    if (option == '?') {
        return 2;
    }
    if (option == 'h' || option == OPTION_VERSION) {
        if (complain && option == 'h') {
            fputs(help_text, stdout);
        } else if (complain) {
            puts(c4_version());
        }
        return 0;
    }
    if (option >= OPTION_IN_PLACE) {
        option_flag(option, options);
        if (option == OPTION_JSON) {
            options->json_file = optional_file(argc, argv);
        } else if (option == OPTION_TUNE) {
            options->tune_file = optional_file(argc, argv);
        }
        return -1;
    }
    if (!option_value(option, optarg, options)) {
        if (complain) {
            fprintf(stderr, "c4perf: -%c does not accept '%s' (c4perf --help)\n", option, optarg);
        }
        return 2;
    }
    return -1;
}

int c4perf_options_parse(int argc, char **argv, bool complain, c4perf_options *options)
{
    *options =
        (c4perf_options){.min_bytes = 8, .max_bytes = MAX_BYTES_DEFAULT, .warmup = 5, .check = true, .touch = true};
    options->dtypes[C4_FLOAT32] = true;
    options->ops[C4_SUM] = true;
    opterr = complain;
    int option;
    /* '-': words that are no options come as option 1, in place, so that `--json all_reduce` is unambiguous. */
    while ((option = getopt_long(argc, argv, "-b:e:f:i:n:w:d:o:r:c:h", long_options, NULL)) != -1) {
        int status = option == 1
                         ? (collective_add(optarg, options) ? -1 : wrong_usage(complain, "unknown collective", optarg))
                         : option_apply(option, argc, argv, complain, options);
        if (status >= 0) {
            return status;
        }
    }
    return finish(complain, options);
}

size_t c4perf_options_next(const c4perf_options *options, size_t bytes)
{
    size_t next = options->step_bytes != 0 ? bytes + options->step_bytes
                  : bytes == 0             ? 1
                                           : bytes * options->step_factor;
    return next > options->max_bytes ? 0 : next;
}
