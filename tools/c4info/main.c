/* c4info: what C4 sees and would do on this machine. */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"
#include "tools/c4info/c4info.h"

#define MAX_RANKS 65536

static const char help_text[] =
    "Usage: c4info COMMAND [OPTION]...\n"
    "Shows what C4 sees and would do on this machine.\n"
    "\n"
    "  options     every C4_* option: value, where it comes from (environment, file, default), help\n"
    "  host        cores, memory nodes, NICs, shared memory and limits\n"
    "  transports  which transports are used here, and why others are not\n"
    "  algorithms  which algorithm serves which collective and size, and why\n"
    "\n"
    "  -n, --ranks N         algorithms: of a job of N ranks [one per core, at least 2]\n"
    "      --ranks-per-host N  algorithms: with N of them on each host [all]\n"
    "      --json            one JSON object with schema_version instead of tables\n"
    "  -h, --help            this text\n"
    "      --version         version of libc4\n"
    "\n"
    "Exit status: 0, 1 when something could not be found out, 2 for a wrong command line.\n";

enum { OPTION_JSON = 256, OPTION_RANKS_PER_HOST, OPTION_VERSION };

static const struct option long_options[] = {
    {"ranks", required_argument, NULL, 'n'},        {"ranks-per-host", required_argument, NULL, OPTION_RANKS_PER_HOST},
    {"json", no_argument, NULL, OPTION_JSON},       {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION}, {NULL, 0, NULL, 0},
};

typedef struct command {
    const char *name;
    int (*text)(const c4info_request *request);
    int (*json)(const c4info_request *request);
} command;

static const command commands[] = {
#ifdef C4_HAVE_CJSON
#define COMMAND(name)                                     \
    {                                                     \
#name, c4info_##name##_text, c4info_##name##_json \
    }
#else
#define COMMAND(name)                     \
    {                                     \
#name, c4info_##name##_text, NULL \
    }
#endif
    COMMAND(options),
    COMMAND(host),
    COMMAND(transports),
    COMMAND(algorithms),
};

int c4info_complain(c4_status status, const char *what)
{
    /* The library's own errors, then those of the layers that are linked into this program. */
    const char *detail = *c4_last_error(NULL) ? c4_last_error(NULL) : c4_fail_text();
    fprintf(stderr, "c4info: %s: %s: %s\n", what, c4_status_name(status), *detail ? detail : c4_status_text(status));
    return 1;
}

/* ---- the command line ---- */

static int unknown(const char *what, const char *word, const char *const *names, size_t count)
{
    char name[64];
    const char *best = NULL;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    size_t nearest = strlen(name) / 3 + 2;
    for (size_t i = 0; i < count; i++) {
        size_t distance = c4_edit_distance(name, names[i]);
        if (distance < nearest) {
            nearest = distance;
            best = names[i];
        }
    }
    fprintf(stderr, "c4info: unknown %s %s%s%s%s (c4info --help)\n", what, name, best ? "; did you mean " : "",
            best ? best : "", best ? "?" : "");
    return 2;
}

static int unknown_option(const char *word)
{
    static const char *const names[] = {"--ranks", "--ranks-per-host", "--json", "--help", "--version", "-n", "-h"};
    return unknown("option", word, names, sizeof names / sizeof names[0]);
}

static const command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int read_ranks(const char *name, int *ranks)
{
    int64_t value;
    if (!c4_parse_int(optarg, &value) || value < 1 || value > MAX_RANKS) {
        fprintf(stderr, "c4info: %s '%s': expected a whole number in 1..%d (c4info --help)\n", name, optarg, MAX_RANKS);
        return 2;
    }
    *ranks = (int)value;
    return -1;
}

static int apply(int id, const char *word, c4info_request *request)
{
    switch (id) {
    case 'n':
        return read_ranks("-n", &request->nranks);
    case OPTION_RANKS_PER_HOST:
        return read_ranks("--ranks-per-host", &request->ranks_per_host);
    case OPTION_JSON:
        request->json = true;
        return -1;
    case 'h':
        fputs(help_text, stdout);
        return 0;
    case OPTION_VERSION:
        puts(c4_version());
        return 0;
    case ':':
        fprintf(stderr, "c4info: %s needs a value (c4info --help)\n", word);
        return 2;
    default:
        return unknown_option(word);
    }
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, c4info_request *request, const char **name)
{
    opterr = 0;
    *name = NULL;
    for (;;) {
        int word = optind;
        /* '-': words that are no options come as option 1, so that options may stand before and after the command. */
        int id = getopt_long(argc, argv, "-:n:h", long_options, NULL);
        if (id == -1)
            break;
        if (id == 1 && *name) {
            fprintf(stderr, "c4info: one command, not both %s and %s (c4info --help)\n", *name, optarg);
            return 2;
        }
        int status = -1;
        if (id == 1)
            *name = optarg;
        else
            status = apply(id, argv[word], request);
        if (status >= 0)
            return status;
    }
    return -1;
}

static int check(const c4info_request *request, const char *name)
{
    const char *names[sizeof commands / sizeof commands[0]];
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        names[i] = commands[i].name;
    if (!name) {
        fprintf(stderr, "c4info: which command? options, host, transports or algorithms (c4info --help)\n");
        return 2;
    }
    if (!find_command(name))
        return unknown("command", name, names, sizeof names / sizeof names[0]);
    if ((request->nranks || request->ranks_per_host) && strcmp(name, "algorithms") != 0) {
        fprintf(stderr, "c4info: -n and --ranks-per-host are for `c4info algorithms` (c4info --help)\n");
        return 2;
    }
    if (request->json && !find_command(name)->json) {
        fprintf(stderr, "c4info: this build has no JSON: configure it with --with-cjson (libcjson-dev)\n");
        return 1;
    }
    return -1;
}

static int set_defaults(c4info_request *request)
{
    c4_topology topology;
    if (!request->nranks) {
        c4_status status = c4_topology_init(&topology);
        if (status < 0)
            return c4info_complain(status, "cores");
        request->nranks = topology.ncores > 2 ? (int)topology.ncores : 2;
        c4_topology_fini(&topology);
    }
    if (!request->ranks_per_host || request->ranks_per_host > request->nranks)
        request->ranks_per_host = request->nranks;
    return 0;
}

int main(int argc, char **argv)
{
    c4info_request request = {.json = false};
    const char *name;
    int status = parse(argc, argv, &request, &name);
    if (status < 0)
        status = check(&request, name);
    if (status >= 0)
        return status;
    if (set_defaults(&request))
        return 1;
    const command *found = find_command(name);
    status = request.json ? found->json(&request) : found->text(&request);
    return fflush(stdout) != 0 ? 1 : status;
}
