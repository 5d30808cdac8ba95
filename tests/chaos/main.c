/* Real faults against running jobs, by seed.
 *
 *     chaos [--seeds N] [--first SEED] [--seconds S] [--only KIND] [--json FILE] [--verbose]
 *
 * Prints a table of what was injected and what came of it (README, "Faults on purpose"); exit status 1 when anything was not as it must
 * be. One seed alone: --first SEED --seeds 1. Ends early after --seconds. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/chaos/chaos.h"

enum { ENOUGH_FAILURES = 10, PROGRESS_S = 10 };

typedef struct arguments {
    unsigned long long first, seeds;
    int seconds;
    bool verbose;
    const char *json;
    chaos_abilities abilities;
} arguments;

static void left_out(chaos_run *run, const char *what, const char *why)
{
    printf("chaos: without %s: %s\n", what, why);
    run->omissions[run->nomissions++] = (chaos_omission){what, why};
}

static void find_abilities(chaos_abilities *abilities, chaos_run *run)
{
    abilities->sockets = chaos_socket_supported();
    abilities->name_spaces = geteuid() == 0 && chaos_spaces_enter();
    abilities->net = abilities->name_spaces && chaos_net_up(2) && chaos_net_slow(1, true);
    if (abilities->name_spaces)
        chaos_net_down();
    if (!abilities->sockets)
        left_out(run, "shutting down others' sockets", "pidfd_getfd needs Linux 5.6 and permission to ptrace");
    if (!abilities->name_spaces)
        left_out(run, "several hosts", "name spaces are not permitted here (run as root with CAP_SYS_ADMIN)");
    if (!abilities->net)
        left_out(run, "network faults",
                 "network name spaces are not permitted, or ip(8) or tc(8) is missing (apt-get install iproute2)");
}

static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                        {"first", required_argument, NULL, 'f'},
                                        {"seconds", required_argument, NULL, 's'},
                                        {"only", required_argument, NULL, 'o'},
                                        {"json", required_argument, NULL, 'j'},
                                        {"verbose", no_argument, NULL, 'v'},
                                        {NULL, 0, NULL, 0}};

static bool parse(int argc, char **argv, arguments *a)
{
    int c;
    *a = (arguments){.first = 1, .seeds = 84, .seconds = 1 << 30};
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (c == 'n')
            a->seeds = strtoull(optarg, NULL, 10);
        else if (c == 'f')
            a->first = strtoull(optarg, NULL, 10);
        else if (c == 's')
            a->seconds = atoi(optarg);
        else if (c == 'o')
            a->abilities.only = optarg;
        else if (c == 'j')
            a->json = optarg;
        else if (c == 'v')
            a->verbose = true;
        else
            return false;
    }
    return optind == argc;
}

static bool is_kind(const char *name)
{
    for (int kind = 0; kind < CHAOS_NKINDS; kind++)
        if (strcmp(chaos_kinds[kind].name, name) == 0)
            return true;
    return false;
}

static void run_job(const arguments *a, const char *directory, chaos_run *run)
{
    chaos_plan plan;
    chaos_plan_make(a->first + (unsigned)run->done++, &a->abilities, &plan);
    int64_t before = chaos_now_ns();
    if (a->verbose)
        chaos_plan_print(&plan);
    run->failures += !chaos_job_run(&plan, directory, &run->tallies[plan.faults[0].kind][plan.transport]);
    if (a->verbose)
        fprintf(stderr, "    %.0f ms\n", (double)(chaos_now_ns() - before) * 1e-6);
}

static void run_all(const arguments *a, const char *directory, chaos_run *run)
{
    int64_t start = chaos_now_ns(), told = start;
    while (run->done < (int)a->seeds && run->failures < ENOUGH_FAILURES && run->seconds < a->seconds) {
        run_job(a, directory, run);
        run->seconds = (double)(chaos_now_ns() - start) * 1e-9;
        if (chaos_now_ns() - told < (int64_t)PROGRESS_S * 1000000000)
            continue;
        told = chaos_now_ns();
        printf("chaos: %d of %llu jobs in %.0f s, %d not as they must be\n", run->done, a->seeds, run->seconds,
               run->failures);
    }
}

int main(int argc, char **argv)
{
    static chaos_run run;
    arguments a;
    char directory[] = "/tmp/c4-chaos-XXXXXX";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(argc, argv, &a) || (a.abilities.only && !is_kind(a.abilities.only))) {
        fprintf(stderr,
                "usage: chaos [--seeds N] [--first SEED] [--seconds S] [--only KIND] [--json FILE] [--verbose]\n");
        return 2;
    }
    if (!mkdtemp(directory))
        return 2;
    run.first = a.first;
    find_abilities(&a.abilities, &run);
    run_all(&a, directory, &run);
    rmdir(directory);
    chaos_table_print(&run);
    chaos_table_report(&run);
    if (a.json && !chaos_table_write(&run, a.json)) {
        fprintf(stderr, "chaos: %s: %s\n", a.json, strerror(errno));
        return 2;
    }
    return run.failures ? 1 : 0;
}
