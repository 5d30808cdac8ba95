/* Proofs: every algorithm, kind and way of calling, for many rank counts. `test_prove --long` proves n = 1 .. 64 and larger. */
#include "tests/c4test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/builder.h"
#include "schedule/kinds.h"
#include "tests/schedule/cases.h"

static bool long_run;

typedef struct tally {
    unsigned proofs, failures;
    uint64_t steps;
    size_t largest_bytes;
    char largest[200];
} tally;

static void prove(const call_spec *spec, tally *t)
{
    call c;
    c4_proof proof;
    c4_status status = call_create(spec, &c);
    if (status == C4_ERR_UNSUPPORTED)
        return;
    C4TEST_OK_FATAL(status);
    status = call_prove(&c, &proof);
    if (status != C4_OK && t->failures++ < 20)
        printf("%s: %s\n", call_name(spec), proof.text);
    for (int r = 0; r < spec->nranks; r++) {
        if (c.schedules[r]->memory_bytes > t->largest_bytes) {
            t->largest_bytes = c.schedules[r]->memory_bytes;
            snprintf(t->largest, sizeof t->largest, "%s", call_name(spec));
        }
    }
    t->proofs++;
    t->steps += proof.steps;
    call_destroy(&c);
}

static void report(const tally *t)
{
    printf("%u proofs, %llu steps, largest schedule %zu bytes (%s)\n", t->proofs, (unsigned long long)t->steps,
           t->largest_bytes, t->largest);
    C4TEST_INT(t->failures, 0);
    CU_ASSERT(t->proofs > 0);
}

/* spec.count elements for the kinds of one vector, `block_count` for those of a block per rank. */
static void prove_kinds(call_spec spec, size_t block_count, tally *t)
{
    const uint32_t whole =
        C4_KIND_BIT(C4_KIND_ALL_REDUCE) | C4_KIND_BIT(C4_KIND_REDUCE) | C4_KIND_BIT(C4_KIND_BROADCAST);
    for (int kind = 0; kind < C4_NKINDS; kind++) {
        bool p2p = kind == C4_KIND_SEND || kind == C4_KIND_RECV;
        if (!(c4_algorithms[spec.algorithm].kinds >> kind & 1) || (p2p && spec.nranks != 2))
            continue;
        call_spec s = spec;
        s.kind = (c4_kind)kind;
        s.count = whole >> kind & 1 ? spec.count : block_count;
        s.place = p2p ? PLACE_OUT : spec.place;
        if (s.place == PLACE_MIXED && kind == C4_KIND_ALL_TO_ALL_V)
            s.place = PLACE_IN;
        prove(&s, t);
        int other = (spec.nranks * 2 / 3) % spec.nranks;
        if (!c4_kind_is_rooted(s.kind) || other == 0)
            continue;
        s.root = other;
        prove(&s, t);
        s.root = spec.nranks - 1;
        if (other != s.root)
            prove(&s, t);
    }
}

/* Counts around n, small frames (one lane) and frames too large to leave without a reader (two lanes), one and many chunks. */
static void prove_counts(call_spec spec, tally *t, bool all)
{
    size_t n = (size_t)spec.nranks;
    const size_t small[] = {0, 1, n - 1, n, n + 1, 3 * n + 2};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        if (!all && i != 1 && i != 5)
            continue;
        spec.count = small[i];
        spec.place = i % 3 == 0 ? PLACE_OUT : i % 3 == 1 ? PLACE_MIXED : PLACE_IN;
        spec.element_bytes = i == 5 ? 2 : 4;
        spec.chunk_bytes = i == 5 ? 6 : 0;
        prove_kinds(spec, i == 5 ? 7 : spec.count, t);
    }
    /* Blocks of 2 chunks above the eager size, and (whole vectors) parts of as much. */
    spec.element_bytes = 4;
    spec.chunk_bytes = 4900;
    for (int part = 0; part < 2; part++) {
        spec.place = part ? PLACE_OUT : PLACE_IN;
        spec.count = part ? (n <= 17 || long_run ? 1300 * n + 1 : 9001) : 1300;
        prove_kinds(spec, 1300, t);
    }
    /* The builders' own chunks, above the sizes at which they change form. */
    spec.chunk_bytes = 0;
    spec.count = 70001;
    for (int lanes = 1; n <= 5 && lanes <= 3; lanes++) {
        spec.lanes = (unsigned)lanes;
        spec.place = (place_mode)(lanes - 1);
        prove_kinds(spec, 20001, t);
    }
}

/* ---- all rank counts, each algorithm a case of its own ---- */

static bool in_short_run(int n)
{
    return n <= 17 || n == 24 || n == 31 || n == 32 || n == 33 || n == 48 || n == 63 || n == 64;
}

static void run_algorithm(void)
{
    const char *name = c4test_arg();
    int algorithm = c4_algorithm_find(name);
    CU_ASSERT_FATAL(algorithm >= 0);
    tally t = {0};
    for (int n = 1; n <= 64; n++) {
        if (!long_run && (!in_short_run(n) || n > c4test_samples(64)))
            continue;
        call_spec spec = {.algorithm = algorithm,
                          .nranks = n,
                          .windows = n % 2 == 0,
                          .may_map = strcmp(name, "mapped") == 0,
                          .cache_bytes = n % 2 ? 0 : 48 << 10};
        prove_counts(spec, &t, n <= 16 || long_run);
        if (n > 2) {
            spec.windows = !spec.windows;
            spec.ranks_per_host = n % 3 == 0 ? 3 : n % 2 == 0 ? 2 : -1;
            prove_counts(spec, &t, n <= 9 || long_run);
        }
    }
    report(&t);
}

static void run_large(void)
{
    const char *name = c4test_arg();
    int algorithm = c4_algorithm_find(name);
    const int sizes[] = {100, 128, 255, 256};
    CU_ASSERT_FATAL(algorithm >= 0);
    tally t = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (!long_run && i != 0)
            continue;
        call_spec spec = {.algorithm = algorithm,
                          .nranks = sizes[i],
                          .windows = i % 2,
                          .element_bytes = 4,
                          .count = 2 * (size_t)sizes[i] + 1,
                          .may_map = strcmp(name, "mapped") == 0};
        if (strcmp(name, "hierarchical") == 0 || i == 1)
            spec.ranks_per_host = 16;
        prove_kinds(spec, 3, &t);
    }
    report(&t);
}

/* The fixed tree, whatever layout, links and algorithm. */
static void test_deterministic(void)
{
    tally t = {0};
    const int sizes[] = {2, 3, 5, 8, 17, 64, 65, 100, 130};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int algorithm = 0; algorithm < c4_nalgorithms && sizes[i] <= c4test_samples(130); algorithm++) {
            size_t n = (size_t)sizes[i];
            call_spec spec = {.algorithm = algorithm,
                              .nranks = sizes[i],
                              .deterministic = true,
                              .element_bytes = 2,
                              .count = 3 * n + 1,
                              .may_map = true,
                              .windows = i % 2,
                              .place = (place_mode)(i % 3),
                              .ranks_per_host = i % 2 ? 0 : -1};
            prove_kinds(spec, spec.count, &t);
            spec.count = n > 20 ? 1 : 3000 * n + 1;
            prove_kinds(spec, n > 20 ? 1 : 3001, &t);
        }
    }
    report(&t);
}

/* Symbolic memory costs nothing: sizes beyond 2^31 elements. */
static void test_huge_counts(void)
{
    tally t = {0};
    for (int algorithm = 0; algorithm < c4_nalgorithms; algorithm++) {
        call_spec spec = {.algorithm = algorithm,
                          .nranks = 3,
                          .element_bytes = 8,
                          .count = ((size_t)5 << 30) + 3,
                          .may_map = true,
                          .windows = true};
        for (int kind = 0; kind < C4_NKINDS; kind++) {
            call c;
            bool p2p = kind == C4_KIND_SEND || kind == C4_KIND_RECV;
            spec.kind = (c4_kind)kind;
            if (p2p || !(c4_algorithms[algorithm].kinds >> kind & 1) || call_create(&spec, &c) == C4_ERR_UNSUPPORTED)
                continue;
            for (int r = 0; r < 3; r++)
                CU_ASSERT(c.schedules[r]->nsteps < 100);
            t.proofs++;
            call_destroy(&c);
        }
    }
    CU_ASSERT(t.proofs > 0);
}

#define MAX_CASES 40

int main(int argc, char **argv)
{
    static c4test_case cases[MAX_CASES];
    static char names[MAX_CASES][40];
    int ncases = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--long") == 0) {
            long_run = true;
            memmove(&argv[i], &argv[i + 1], (size_t)(argc - i) * sizeof *argv);
            argc--;
        }
    }
    int deadline_s = long_run ? 3600 : 120;
    for (int i = 0; i < c4_nalgorithms; i++) {
        snprintf(names[ncases], sizeof names[0], "prove_%s", c4_algorithms[i].name);
        cases[ncases] = (c4test_case)C4TEST_WITH(names[ncases], run_algorithm, deadline_s, c4_algorithms[i].name);
        ncases++;
        if (strcmp(c4_algorithms[i].name, "mapped") == 0)
            continue; /* ends at C4_FOLD_SOURCES ranks */
        snprintf(names[ncases], sizeof names[0], "prove_large_%s", c4_algorithms[i].name);
        cases[ncases] = (c4test_case)C4TEST_WITH(names[ncases], run_large, deadline_s, c4_algorithms[i].name);
        ncases++;
    }
    cases[ncases++] = (c4test_case)C4TEST_DEADLINE(deterministic, 120);
    cases[ncases++] = (c4test_case)C4TEST(huge_counts);
    cases[ncases] = (c4test_case)C4TEST_END;
    return c4test_main(argc, argv, cases);
}
