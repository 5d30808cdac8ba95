/* What was injected and what came of it: for people, for programs, and for `make check`'s totals. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/chaos/chaos.h"

static const char *const transport_labels[CHAOS_NTRANSPORTS] = {"shm", "tcp", "shm+tcp"};

/* Columns that must be zero. */
static int bad(const chaos_tally *t)
{
    return t->hangs + t->wrong + t->spurious + t->unnamed + t->late + t->left_behind;
}

static void add(chaos_tally *sum, const chaos_tally *t)
{
    sum->jobs += t->jobs;
    sum->injected += t->injected;
    sum->hangs += t->hangs;
    sum->wrong += t->wrong;
    sum->spurious += t->spurious;
    sum->unnamed += t->unnamed;
    sum->late += t->late;
    sum->excused += t->excused;
    sum->left_behind += t->left_behind;
    sum->slowest_ms = t->slowest_ms > sum->slowest_ms ? t->slowest_ms : sum->slowest_ms;
}

static chaos_tally sum_of(const chaos_run *run)
{
    chaos_tally sum = {0};
    for (int kind = 0; kind < CHAOS_NKINDS; kind++)
        for (int t = 0; t < CHAOS_NTRANSPORTS; t++)
            add(&sum, &run->tallies[kind][t]);
    return sum;
}

static void print_line(const char *fault, const char *transport, const chaos_tally *t)
{
    printf("%-15s %-8s %5d %9d %6d %6d %9d %8d %5d %8d %5d", fault, transport, t->jobs, t->injected, t->hangs, t->wrong,
           t->spurious, t->unnamed, t->late, t->excused, t->left_behind);
    if (t->slowest_ms > 0)
        printf(" %11.0f ms\n", t->slowest_ms);
    else
        printf(" %14s\n", "-");
}

void chaos_table_print(const chaos_run *run)
{
    chaos_tally sum = sum_of(run);
    printf("%-15s %-8s %5s %9s %6s %6s %9s %8s %5s %8s %5s %14s\n", "fault", "over", "jobs", "injected", "hangs",
           "wrong", "spurious", "unnamed", "late", "excused", "left", "slowest naming");
    for (int kind = 0; kind < CHAOS_NKINDS; kind++)
        for (int t = 0; t < CHAOS_NTRANSPORTS; t++)
            if (run->tallies[kind][t].jobs)
                print_line(chaos_kinds[kind].name, transport_labels[t], &run->tallies[kind][t]);
    print_line("all", "", &sum);
    for (int i = 0; i < run->nomissions; i++)
        printf("left out: %s: %s\n", run->omissions[i].what, run->omissions[i].why);
    printf("%d jobs from seed %llu on in %.0f s, %d of them not as they must be\n", run->done, run->first, run->seconds,
           run->failures);
}

static void write_tally(FILE *file, const char *fault, const char *transport, const chaos_tally *t)
{
    fprintf(file,
            "{\"fault\": \"%s\", \"over\": \"%s\", \"jobs\": %d, \"injected\": %d, \"hangs\": %d, \"wrong\": %d, "
            "\"spurious\": %d, \"unnamed\": %d, \"late\": %d, \"excused\": %d, \"left_behind\": %d, "
            "\"slowest_ms\": %.1f}",
            fault, transport, t->jobs, t->injected, t->hangs, t->wrong, t->spurious, t->unnamed, t->late, t->excused,
            t->left_behind, t->slowest_ms);
}

bool chaos_table_write(const chaos_run *run, const char *path)
{
    chaos_tally sum = sum_of(run);
    const char *separator = "";
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    fprintf(file,
            "{\"schema_version\": 1, \"first_seed\": %llu, \"jobs\": %d, \"failed_jobs\": %d, \"seconds\": %.1f,\n",
            run->first, run->done, run->failures, run->seconds);
    fprintf(file, " \"rows\": [");
    for (int kind = 0; kind < CHAOS_NKINDS; kind++)
        for (int t = 0; t < CHAOS_NTRANSPORTS; t++)
            if (run->tallies[kind][t].jobs) {
                fprintf(file, "%s\n  ", separator);
                write_tally(file, chaos_kinds[kind].name, transport_labels[t], &run->tallies[kind][t]);
                separator = ",";
            }
    fprintf(file, "],\n \"all\": ");
    write_tally(file, "all", "all", &sum);
    fprintf(file, ",\n \"left_out\": [");
    for (int i = 0; i < run->nomissions; i++)
        fprintf(file, "%s{\"what\": \"%s\", \"why\": \"%s\"}", i ? ", " : "", run->omissions[i].what,
                run->omissions[i].why);
    fprintf(file, "]}\n");
    bool good = !ferror(file);
    return fclose(file) == 0 && good;
}

void chaos_table_report(const chaos_run *run)
{
    const char *path = getenv("C4_TEST_RESULTS");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file)
        return;
    for (int kind = 0; kind < CHAOS_NKINDS; kind++)
        for (int t = 0; t < CHAOS_NTRANSPORTS; t++) {
            const chaos_tally *tally = &run->tallies[kind][t];
            if (tally->jobs)
                fprintf(file, "%s %s over %s\n", bad(tally) ? "FAIL" : "PASS", chaos_kinds[kind].name,
                        transport_labels[t]);
        }
    for (int i = 0; i < run->nomissions; i++)
        fprintf(file, "SKIP %s: %s\n", run->omissions[i].what, run->omissions[i].why);
    fclose(file);
}
