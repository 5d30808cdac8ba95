#include "tools/c4run/options.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "wire/control_message.h"

enum { MAX_NODES = 4096, MAX_SECONDS = 100 * 24 * 3600 };

typedef enum option_id {
    OPTION_RANKS = 'n',
    OPTION_HELP = 'h',
    OPTION_TAG = 256,
    OPTION_TIMEOUT,
    OPTION_KEEP_GOING,
    OPTION_QUIET,
    OPTION_GRACE,
    OPTION_WRAP,
    OPTION_BIND,
    OPTION_NNODES,
    OPTION_NODE_RANK,
    OPTION_MASTER,
    OPTION_HOSTS,
    OPTION_SSH,
    OPTION_REMOTE,
    OPTION_JOIN,
    OPTION_VERSION
} option_id;

static const struct option long_options[] = {
    {"ranks", required_argument, NULL, OPTION_RANKS},     {"tag", no_argument, NULL, OPTION_TAG},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT}, {"keep-going", no_argument, NULL, OPTION_KEEP_GOING},
    {"quiet", no_argument, NULL, OPTION_QUIET},           {"grace", required_argument, NULL, OPTION_GRACE},
    {"wrap", required_argument, NULL, OPTION_WRAP},       {"bind", required_argument, NULL, OPTION_BIND},
    {"nnodes", required_argument, NULL, OPTION_NNODES},   {"node-rank", required_argument, NULL, OPTION_NODE_RANK},
    {"master", required_argument, NULL, OPTION_MASTER},   {"hosts", required_argument, NULL, OPTION_HOSTS},
    {"ssh", required_argument, NULL, OPTION_SSH},         {"join", required_argument, NULL, OPTION_JOIN},
    {"remote", no_argument, NULL, OPTION_REMOTE},         {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},       {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "Usage: c4run -n N [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
    "Starts a job of N ranks of PROGRAM, ends it when one of them dies, and says which, of what, and in which "
    "collective\n"
    "the others were waiting for whom.\n"
    "\n"
    "  -n, --ranks N         ranks of the whole job\n"
    "      --tag             put \"[RANK] \" before each line that a rank prints\n"
    "      --timeout SECONDS end the job after this time, with exit status 124, and say who waits for whom\n"
    "      --keep-going      when a rank dies, leave the others running\n"
    "      --grace SECONDS   between SIGTERM and SIGKILL when the job is ended [5]\n"
    "      --bind core|none  bind each rank to a core of its own, or not\n"
    "                        [core, when no other c4run has taken too many of them]\n"
    "      --wrap 'COMMAND'  run `COMMAND PROGRAM ARGUMENT...`; %r in COMMAND is the rank\n"
    "      --quiet           print errors only\n"
    "\n"
    "Several hosts:\n"
    "      --hosts H1,H2,... start the job on these hosts through ssh; ranks are shared out evenly, in this order\n"
    "      --ssh COMMAND     use COMMAND instead of ssh, \"ssh -p 2222\" for example\n"
    "      --nnodes K        or start one c4run on each of K hosts by hand (or by a batch system), with\n"
    "      --node-rank I     this host's number, 0..K-1, and\n"
    "      --master HOST:PORT  where rank 0 listens, on host 0; C4_KEY_FILE names the job's key on every host.\n"
    "                        With --hosts: the address of host H1 as the others see it [as ssh reached it]\n"
    "\n"
    "More ranks for a running job:\n"
    "      --join PID        start N ranks more for the job of the c4run with this process number, on its host; they "
    "start\n"
    "                        when the program there takes them in (c4_comm_pending, c4_comm_grow)\n"
    "\n"
    "  -h, --help            this text\n"
    "      --version         version of C4\n"
    "\n"
    "Exit status: 0 when every rank's is 0, else that of the first rank that failed (128 + the signal's number when a\n"
    "signal killed it); 124 after --timeout; 2 for a wrong command line; 126 or 127 when PROGRAM cannot be started;\n"
    "1 when the job cannot be started.\n";

static int usage(const char *message, const char *value)
{
    fprintf(stderr, "c4run: %s%s (c4run --help)\n", message, value ? value : "");
    return 2;
}

static int unknown_option(const char *word)
{
    char name[64];
    const char *best = NULL;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    size_t nearest = strlen(name) / 3 + 2;
    for (const struct option *option = long_options; option->name; option++) {
        char candidate[64];
        snprintf(candidate, sizeof candidate, "--%s", option->name);
        size_t distance = c4_edit_distance(name, candidate);
        if (option->val != OPTION_REMOTE && distance < nearest) {
            nearest = distance;
            best = option->name;
        }
    }
    if (best)
        fprintf(stderr, "c4run: unknown option %s; did you mean --%s? (c4run --help)\n", name, best);
    else
        fprintf(stderr, "c4run: unknown option %s (c4run --help)\n", name);
    return 2;
}

static int missing_value(const char *word, const struct option *option)
{
    fprintf(stderr, "c4run: %s needs a value%s (c4run --help)\n", option ? option->name : word,
            option && option->val == OPTION_RANKS ? ", the number of ranks" : "");
    return 2;
}

static int wrong_value(const char *name, const char *value, const char *expected)
{
    fprintf(stderr, "c4run: %s '%s': expected %s (c4run --help)\n", name, value, expected);
    return 2;
}

static int read_count(const char *name, const char *text, int low, int high, int *count)
{
    int64_t value;
    if (!c4_parse_int(text, &value) || value < low || value > high) {
        char expected[64];
        snprintf(expected, sizeof expected, "a whole number in %d..%d", low, high);
        return wrong_value(name, text, expected);
    }
    *count = (int)value;
    return -1;
}

/* Seconds with a fraction, or with a unit: 500ms, 2m. */
static int read_time(const char *name, const char *text, int64_t *ms)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end) {
        if (!c4_parse_ms(text, ms) || *ms < 0)
            return wrong_value(name, text, "seconds, or a number with ms, s or m");
        seconds = (double)*ms / 1000;
    }
    if (!isfinite(seconds) || seconds < 0 || seconds > MAX_SECONDS)
        return wrong_value(name, text, "at most 100 days, not negative");
    *ms = (int64_t)ceil(seconds * 1000);
    return -1;
}

static int read_bind(const char *text, c4run_bind *bind)
{
    if (strcmp(text, "core") != 0 && strcmp(text, "none") != 0)
        return wrong_value("--bind", text, "core or none");
    *bind = text[0] == 'c' ? C4RUN_BIND_CORE : C4RUN_BIND_NONE;
    return -1;
}

static int apply_flag(int id, c4run_options *options)
{
    switch (id) {
    case OPTION_TAG:
        options->tag = true;
        return -1;
    case OPTION_KEEP_GOING:
        options->keep_going = true;
        return -1;
    case OPTION_QUIET:
        options->quiet = true;
        return -1;
    case OPTION_REMOTE:
        options->remote = true;
        return -1;
    case OPTION_HELP:
        fputs(help_text, stdout);
        return 0;
    default:
        printf("%d.%d.%d\n", C4_VERSION_MAJOR, C4_VERSION_MINOR, C4_VERSION_PATCH);
        return 0;
    }
}

static int apply(int id, c4run_options *options)
{
    switch (id) {
    case OPTION_RANKS:
        return read_count("-n", optarg, 1, C4_CONTROL_MAX_RANKS, &options->nranks);
    case OPTION_TIMEOUT:
        return read_time("--timeout", optarg, &options->timeout_ms);
    case OPTION_GRACE:
        return read_time("--grace", optarg, &options->grace_ms);
    case OPTION_WRAP:
        options->wrap = optarg;
        return -1;
    case OPTION_BIND:
        return read_bind(optarg, &options->bind);
    case OPTION_NNODES:
        return read_count("--nnodes", optarg, 1, MAX_NODES, &options->nnodes);
    case OPTION_NODE_RANK:
        return read_count("--node-rank", optarg, 0, MAX_NODES - 1, &options->node_rank);
    case OPTION_MASTER:
        options->master = optarg;
        return -1;
    case OPTION_HOSTS:
        options->hosts = optarg;
        return -1;
    case OPTION_SSH:
        options->ssh = optarg;
        return -1;
    case OPTION_JOIN:
        return read_count("--join", optarg, 1, INT32_MAX, &options->join_pid);
    default:
        return apply_flag(id, options);
    }
}

static int check(const c4run_options *options)
{
    bool nodes = options->nnodes > 0;
    if (!options->nranks)
        return usage("how many ranks? -n 4, for example", NULL);
    if (!options->program[0])
        return usage("which program? c4run -n 4 PROGRAM, for example", NULL);
    if (options->hosts && (nodes || options->node_rank >= 0))
        return usage("--hosts starts all nodes by itself: leave out --nnodes and --node-rank", NULL);
    if (options->join_pid && (nodes || options->hosts || options->master))
        return usage("--join takes its place from the running job: leave out --hosts, --nnodes and --master", NULL);
    if (nodes && options->node_rank < 0)
        return usage("--nnodes needs --node-rank, this host's number", NULL);
    if (!nodes && options->node_rank >= 0)
        return usage("--node-rank needs --nnodes, the number of hosts", NULL);
    if (nodes && options->node_rank >= options->nnodes)
        return usage("--node-rank is at most --nnodes minus 1", NULL);
    if (nodes && options->nnodes > options->nranks)
        return usage("--nnodes is more than -n: every host needs a rank", NULL);
    if (options->nnodes > 1 && !options->master && !options->remote)
        return usage("--nnodes needs --master HOST:PORT, where rank 0 listens", NULL);
    return -1;
}

int c4run_options_parse(int argc, char **argv, c4run_options *options)
{
    *options = (c4run_options){.grace_ms = 5000, .node_rank = -1, .ssh = "ssh"};
    opterr = 0;
    for (;;) {
        int word = optind, index = -1;
        /* '+': PROGRAM's own options are its own. ':': a missing value is told apart. */
        int id = getopt_long(argc, argv, "+:n:h", long_options, &index);
        if (id == -1)
            break;
        if (id == ':')
            return missing_value(argv[word], NULL);
        if (id == '?' && optopt && optopt < 256 && argv[word][1] != '-') {
            char text[3] = {'-', (char)optopt, '\0'};
            return unknown_option(text);
        }
        if (id == '?' && optopt)
            return usage("this option takes no value: ", argv[word]);
        if (id == '?')
            return unknown_option(argv[word]);
        int status = apply(id, options);
        if (status >= 0)
            return status;
    }
    options->program = argv + optind;
    int status = check(options);
    if (status < 0 && !options->nnodes) {
        options->nnodes = 1;
        options->node_rank = 0;
    }
    return status;
}
