/* c4info: what C4 sees and would do on this machine. */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "tools/c4info/c4info.h"

#define MAX_RANKS 65536

static const char help_text[] =
    "Usage: c4info COMMAND [OPTION]...\n"
    "Shows what C4 sees and would do on this machine.\n"
    "\n"
    "  options     every C4_* option: value, where it comes from (environment, file, default), help\n"
    "  host        cores, memory nodes, NICs, shared memory and limits\n"
    "  transports  which transports are used here, and why others are not\n"
    "  launcher    which launcher has started this process, and why no other; rank, rendezvous and key by its word\n"
    "  algorithms  which algorithm serves which collective and size, and why\n"
    "  doctor      what on this machine will hurt a job, and what to do about it\n"
    "  clean       removes the files that dead jobs of this user have left\n"
    "  jobs        the jobs of this user that run here, and what their ranks are in\n"
    "  job probe [JOB|PID]  why it hangs: who is in what, who has not entered, who does not answer\n"
    "  job dump [JOB|PID]   what one rank knows: ranks, communicators, operations, options\n"
    "  job plan [JOB|PID]   which transports, algorithms and channels it uses\n"
    "  job abort JOB|PID    ends its communicators on all ranks with C4_ERR_ABORTED\n"
    "                       JOB: an id of `c4info jobs` or its beginning; PID: a rank's process, which is asked\n"
    "\n"
    "  -n, --ranks N         algorithms: of a job of N ranks [one per core, at least 2]\n"
    "                        doctor: the same [two hosts like this one]\n"
    "      --ranks-per-host N  with N of them on each host [algorithms: all; doctor: one per core]\n"
    "      --all             doctor: show what is in order, too\n"
    "      --peers LIST      doctor: can these be reached? HOST[:PORT], comma separated; `c4info doctor --listen`\n"
    "                        must run there, with the same key (C4_KEY_FILE)\n"
    "      --listen          doctor: instead of checking, wait for doctors of other hosts\n"
    "      --port N          doctor: port of --listen, and of --peers without one [lowest of C4_PORT_RANGE]\n"
    "      --seconds N       doctor --listen: for so long [60]\n"
    "      --count N         doctor --listen: end when N have come\n"
    "      --dry-run         clean: only list them\n"
    "      --older-than TIME clean: flight records only when so old, such as 30m or 3600s [0s]\n"
    "      --communicator NAME  job: only this one, by name or id\n"
    "      --reason TEXT     job abort: why; every rank's error tells it\n"
    "      --json            one JSON object with schema_version instead of tables\n"
    "      --no-color        no colours on terminals (also with NO_COLOR set)\n"
    "  -h, --help            this text\n"
    "      --version         version of libc4\n"
    "\n"
    "Exit status: 0; 1 when something could not be found out, the doctor has found a problem (notes are none), a file\n"
    "could not be removed, or no such job runs or its rank does not answer; 2 for a wrong command line.\n";

enum {
    OPTION_JSON = 256,
    OPTION_RANKS_PER_HOST,
    OPTION_VERSION,
    OPTION_ALL,
    OPTION_PEERS,
    OPTION_LISTEN,
    OPTION_PORT,
    OPTION_SECONDS,
    OPTION_COUNT,
    OPTION_DRY_RUN,
    OPTION_OLDER_THAN,
    OPTION_NO_COLOR,
    OPTION_COMMUNICATOR,
    OPTION_REASON
};

static const struct option long_options[] = {
    {"ranks", required_argument, NULL, 'n'},
    {"ranks-per-host", required_argument, NULL, OPTION_RANKS_PER_HOST},
    {"all", no_argument, NULL, OPTION_ALL},
    {"peers", required_argument, NULL, OPTION_PEERS},
    {"listen", no_argument, NULL, OPTION_LISTEN},
    {"port", required_argument, NULL, OPTION_PORT},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"dry-run", no_argument, NULL, OPTION_DRY_RUN},
    {"older-than", required_argument, NULL, OPTION_OLDER_THAN},
    {"communicator", required_argument, NULL, OPTION_COMMUNICATOR},
    {"reason", required_argument, NULL, OPTION_REASON},
    {"json", no_argument, NULL, OPTION_JSON},
    {"no-color", no_argument, NULL, OPTION_NO_COLOR},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
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
    COMMAND(options),    COMMAND(host),   COMMAND(transports), COMMAND(launcher),
    COMMAND(algorithms), COMMAND(doctor), COMMAND(clean),
#ifdef C4_HAVE_CJSON
    COMMAND(jobs),       COMMAND(job),
#else
    {"jobs", NULL, NULL}, {"job", NULL, NULL}, /* answers are JSON */
#endif
};

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
    char names[sizeof long_options / sizeof long_options[0] + 1][24];
    const char *list[sizeof long_options / sizeof long_options[0] + 1];
    size_t count = 0;
    for (const struct option *one = long_options; one->name; one++) {
        snprintf(names[count], sizeof names[count], "--%s", one->name);
        list[count] = names[count];
        count++;
    }
    list[count++] = "-n";
    list[count++] = "-h";
    return unknown("option", word, list, count);
}

static const command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* -1 to go on, else the exit status. */
static int read_number(const char *name, int most, int *number)
{
    int64_t value;
    if (!c4_parse_int(optarg, &value) || value < 1 || value > most) {
        fprintf(stderr, "c4info: %s '%s': expected a whole number in 1..%d (c4info --help)\n", name, optarg, most);
        return 2;
    }
    *number = (int)value;
    return -1;
}

static int read_time(const char *name, int64_t *ms)
{
    if (c4_parse_ms(optarg, ms))
        return -1;
    fprintf(stderr, "c4info: %s '%s': expected a time such as 3600s or 30m (c4info --help)\n", name, optarg);
    return 2;
}

static int apply(int id, const char *word, c4info_request *request)
{
    switch (id) {
    case 'n':
        return read_number("-n", MAX_RANKS, &request->nranks);
    case OPTION_RANKS_PER_HOST:
        return read_number("--ranks-per-host", MAX_RANKS, &request->ranks_per_host);
    case OPTION_PORT:
        return read_number("--port", 65535, &request->port);
    case OPTION_SECONDS:
        return read_number("--seconds", 86400, &request->seconds);
    case OPTION_COUNT:
        return read_number("--count", MAX_RANKS, &request->count);
    case OPTION_OLDER_THAN:
        return read_time("--older-than", &request->older_ms);
    case OPTION_PEERS:
        request->peers = optarg;
        return -1;
    case OPTION_COMMUNICATOR:
        request->comm = optarg;
        return -1;
    case OPTION_REASON:
        request->reason = optarg;
        return -1;
    case OPTION_LISTEN:
        request->listen = true;
        return -1;
    case OPTION_ALL:
        request->all = true;
        return -1;
    case OPTION_DRY_RUN:
        request->dry_run = true;
        return -1;
    case OPTION_NO_COLOR:
        request->colour = false;
        return -1;
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

/* A word after the command. */
static int take_word(c4info_request *request, const char *name)
{
    const char **free_word = request->words[0] ? &request->words[1] : &request->words[0];
    if (strcmp(name, "job") == 0 && !*free_word) {
        *free_word = optarg;
        return -1;
    }
    if (strcmp(name, "job") == 0)
        fprintf(stderr, "c4info: one job, not both %s and %s (c4info --help)\n", request->words[1], optarg);
    else
        fprintf(stderr, "c4info: one command, not both %s and %s (c4info --help)\n", name, optarg);
    return 2;
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
        int status = -1;
        if (id == 1 && *name)
            status = take_word(request, *name);
        else if (id == 1)
            *name = optarg;
        else
            status = apply(id, argv[word], request);
        if (status >= 0)
            return status;
    }
    return -1;
}

static int check_job(const c4info_request *request, const char *name)
{
    static const char *const names[] = {"probe", "dump", "plan", "abort"};
    if (strcmp(name, "job") != 0)
        return -1;
    if (!request->words[0]) {
        fprintf(stderr, "c4info: job what? probe, dump, plan or abort (c4info --help)\n");
        return 2;
    }
    if (strcmp(request->words[0], "abort") == 0 && !request->words[1]) { /* never by accident the only one there is */
        fprintf(stderr, "c4info: abort which job? c4info job abort JOB|PID (c4info jobs lists them)\n");
        return 2;
    }
    if (request->reason && strcmp(request->words[0], "abort") != 0) {
        fprintf(stderr, "c4info: --reason is for `c4info job abort` (c4info --help)\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(request->words[0], names[i]) == 0)
            return -1;
    return unknown("word after job:", request->words[0], names, sizeof names / sizeof names[0]);
}

/* Options that only some commands have. */
static int check_options(const c4info_request *request, const char *name)
{
    bool doctor = strcmp(name, "doctor") == 0, clean = strcmp(name, "clean") == 0;
    const char *wrong = NULL;
    if ((request->nranks || request->ranks_per_host) && !doctor && strcmp(name, "algorithms") != 0)
        wrong = "-n and --ranks-per-host are for `c4info algorithms` and `c4info doctor`";
    else if (!doctor && (request->all || request->peers || request->listen || request->port))
        wrong = "--all, --peers, --listen and --port are for `c4info doctor`";
    else if (!request->listen && (request->seconds || request->count))
        wrong = "--seconds and --count are for `c4info doctor --listen`";
    else if (request->listen && (request->peers || request->json || request->all))
        wrong = "--listen goes without --peers, --all and --json";
    else if (!clean && (request->dry_run || request->older_ms))
        wrong = "--dry-run and --older-than are for `c4info clean`";
    else if (strcmp(name, "job") != 0 && (request->comm || request->reason))
        wrong = "--communicator and --reason are for `c4info job`";
    if (wrong)
        fprintf(stderr, "c4info: %s (c4info --help)\n", wrong);
    return wrong ? 2 : check_job(request, name);
}

static int check(const c4info_request *request, const char *name)
{
    const char *names[sizeof commands / sizeof commands[0]];
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        names[i] = commands[i].name;
    if (!name) {
        fprintf(stderr,
                "c4info: which command? options, host, transports, launcher, algorithms, doctor, clean, jobs or job "
                "(c4info --help)\n");
        return 2;
    }
    if (!find_command(name))
        return unknown("command", name, names, sizeof names / sizeof names[0]);
    if (check_options(request, name) >= 0)
        return 2;
    if (!find_command(name)->json && (request->json || !find_command(name)->text)) {
        fprintf(stderr, "c4info: this build has no JSON: configure it with --with-cjson (libcjson-dev)\n");
        return 1;
    }
    return -1;
}

static int set_defaults(c4info_request *request, bool doctor)
{
    c4_topology topology;
    int cores = 0;
    if (!request->nranks || (doctor && !request->ranks_per_host)) {
        c4_status status = c4_topology_init(&topology);
        if (status < 0)
            return c4info_complain(status, "cores");
        cores = (int)topology.ncores;
        c4_topology_fini(&topology);
    }
    if (doctor && !request->ranks_per_host)
        request->ranks_per_host = cores;
    if (!request->nranks)
        request->nranks = doctor ? 2 * request->ranks_per_host : cores > 2 ? cores : 2;
    if (!request->ranks_per_host || request->ranks_per_host > request->nranks)
        request->ranks_per_host = request->nranks;
    if (!request->seconds)
        request->seconds = 60;
    return 0;
}

int main(int argc, char **argv)
{
    c4info_request request = {.colour = true};
    const char *name;
    int status = parse(argc, argv, &request, &name);
    if (status < 0)
        status = check(&request, name);
    if (status >= 0)
        return status;
    if (set_defaults(&request, strcmp(name, "doctor") == 0))
        return 1;
    const command *found = find_command(name);
    status = request.json ? found->json(&request) : found->text(&request);
    return fflush(stdout) != 0 ? 1 : status;
}
