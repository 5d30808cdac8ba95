/* Real faults against running jobs, by seed.
 *
 *     chaos [--seeds N] [--first SEED] [--seconds S] [--only KIND] [--verbose]
 *
 * Prints a table of what was injected and what came of it, and one line for machines; exit status 1 when anything was
 * not as it must be. One seed alone: --first SEED --seeds 1. Ends early after --seconds. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/chaos/chaos.h"

enum { ENOUGH_FAILURES = 10 };

typedef struct arguments {
    unsigned long long first, seeds;
    int seconds;
    bool verbose;
    chaos_abilities abilities;
} arguments;

static bool has_option(const char *name)
{
    c4_info_option option = {.struct_size = sizeof option};
    for (size_t i = 0; c4_info_get_option(i, &option) == C4_OK; i++)
        if (strcmp(option.name, name) == 0)
            return true;
    return false;
}

static void left_out(const char *what, const char *why)
{
    printf("chaos: without %s: %s\n", what, why);
}

static void find_abilities(chaos_abilities *abilities)
{
    abilities->sockets = chaos_socket_supported();
    abilities->silence = has_option("C4_SILENT_MS");
    abilities->name_spaces = geteuid() == 0 && chaos_spaces_enter();
    abilities->net = abilities->name_spaces && chaos_net_up(2) && chaos_net_slow(1, true);
    if (abilities->name_spaces)
        chaos_net_down();
    if (!abilities->sockets)
        left_out("shutting down others' sockets", "pidfd_getfd needs Linux 5.6 and permission to ptrace");
    if (!abilities->silence)
        left_out("long stops and cut links", "this library has no C4_SILENT_MS");
    if (!abilities->name_spaces)
        left_out("several hosts", "name spaces are not permitted here (run as root with CAP_SYS_ADMIN)");
    else if (!abilities->net)
        left_out("network faults",
                 "ip(8) with veth and bridges, or tc(8) with tbf, is missing (apt-get install iproute2)");
}

static bool parse(int argc, char **argv, arguments *a)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'},   {"first", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 's'}, {"only", required_argument, NULL, 'o'},
        {"verbose", no_argument, NULL, 'v'},       {NULL, 0, NULL, 0}};
    int c;
    *a = (arguments){.first = 1, .seeds = 60, .seconds = 1 << 30};
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (c == 'n')
            a->seeds = strtoull(optarg, NULL, 10);
        else if (c == 'f')
            a->first = strtoull(optarg, NULL, 10);
        else if (c == 's')
            a->seconds = atoi(optarg);
        else if (c == 'o')
            a->abilities.only = optarg;
        else if (c == 'v')
            a->verbose = true;
        else
            return false;
    }
    return optind == argc;
}

static void print_line(const char *name, int jobs, const chaos_tally *t)
{
    printf("%-16s %6d %9d %6d %6d %8d %9d %7d", name, jobs, t->injected, t->hangs, t->wrong, t->unnamed, t->spurious,
           t->left_behind);
    if (t->slowest_ms > 0)
        printf(" %14.0f ms\n", t->slowest_ms);
    else
        printf(" %14s\n", "-");
}

static chaos_tally print_table(const chaos_tally *tallies, const int *jobs)
{
    chaos_tally sum = {0};
    int all = 0;
    printf("%-16s %6s %9s %6s %6s %8s %9s %7s %17s\n", "fault", "jobs", "injected", "hangs", "wrong", "unnamed",
           "spurious", "left", "slowest naming");
    for (int kind = 0; kind < CHAOS_NKINDS; kind++) {
        const chaos_tally *t = &tallies[kind];
        if (jobs[kind])
            print_line(chaos_kinds[kind].name, jobs[kind], t);
        all += jobs[kind];
        sum.injected += t->injected;
        sum.hangs += t->hangs;
        sum.wrong += t->wrong;
        sum.unnamed += t->unnamed;
        sum.spurious += t->spurious;
        sum.left_behind += t->left_behind;
        sum.slowest_ms = t->slowest_ms > sum.slowest_ms ? t->slowest_ms : sum.slowest_ms;
    }
    print_line("all", all, &sum);
    return sum;
}

int main(int argc, char **argv)
{
    arguments a;
    chaos_tally tallies[CHAOS_NKINDS] = {0};
    int jobs[CHAOS_NKINDS] = {0}, failures = 0, done = 0;
    char directory[] = "/tmp/c4-chaos-XXXXXX";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(argc, argv, &a)) {
        fprintf(stderr, "usage: chaos [--seeds N] [--first SEED] [--seconds S] [--only KIND] [--verbose]\n");
        return 2;
    }
    if (!mkdtemp(directory))
        return 2;
    find_abilities(&a.abilities);
    int64_t start = chaos_now_ns();
    printf("chaos: seeds %llu to %llu\n", a.first, a.first + a.seeds - 1);
    while (done < (int)a.seeds && failures < ENOUGH_FAILURES &&
           (chaos_now_ns() - start) / 1000000000 < (int64_t)a.seconds) {
        chaos_plan plan;
        chaos_plan_make(a.first + (unsigned)done++, &a.abilities, &plan);
        int64_t before = chaos_now_ns();
        if (a.verbose)
            chaos_plan_print(&plan);
        jobs[plan.faults[0].kind]++;
        failures += !chaos_job_run(&plan, directory, tallies);
        if (a.verbose)
            fprintf(stderr, "    %.0f ms\n", (double)(chaos_now_ns() - before) * 1e-6);
    }
    rmdir(directory);
    chaos_tally sum = print_table(tallies, jobs);
    printf("CHAOS seeds=%d injected=%d hangs=%d wrong=%d unnamed=%d spurious=%d left_behind=%d slowest_ms=%.0f "
           "failed_seeds=%d seconds=%.0f\n",
           done, sum.injected, sum.hangs, sum.wrong, sum.unnamed, sum.spurious, sum.left_behind, sum.slowest_ms,
           failures, (double)(chaos_now_ns() - start) * 1e-9);
    return failures ? 1 : 0;
}
