/* Choice, tuning rows, flows, sizes and costs of schedules. */
#include "tests/c4test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "schedule/builder.h"
#include "tests/schedule/cases.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static call_spec spec_of(const char *algorithm, c4_kind kind, int nranks, size_t count)
{
    return (call_spec){.kind = kind,
                       .algorithm = c4_algorithm_find(algorithm),
                       .nranks = nranks,
                       .count = count,
                       .element_bytes = 4,
                       .windows = true};
}

/* ---- flows ---- */

static void flows_of(const call_spec *spec, int rank, uint64_t *sent, uint64_t *received, uint64_t *sent_all)
{
    call c;
    C4TEST_OK_FATAL(call_create(spec, &c));
    c4_schedule_flows(c.schedules[rank], sent, received);
    *sent_all = 0;
    for (int p = 0; p < spec->nranks; p++)
        *sent_all += sent[p];
    call_destroy(&c);
}

static void test_flows_are_the_algorithms(void)
{
    enum { N = 8, COUNT = 8 * 1000 };
    uint64_t sent[N], received[N], all, bytes = 4 * COUNT;
    call_spec spec = spec_of("ring", C4_KIND_ALL_REDUCE, N, COUNT);
    flows_of(&spec, 3, sent, received, &all);
    CU_ASSERT_EQUAL(all, 2 * (N - 1) * bytes / N);
    CU_ASSERT_EQUAL(sent[4], all);
    CU_ASSERT_EQUAL(received[2], all);
    spec = spec_of("rhd", C4_KIND_ALL_REDUCE, N, COUNT);
    flows_of(&spec, 0, sent, received, &all);
    CU_ASSERT_EQUAL(all, 2 * (N - 1) * bytes / N);
    CU_ASSERT_EQUAL(sent[4], bytes); /* half when halving, half when doubling */
    CU_ASSERT_EQUAL(sent[1], bytes / 4);
    spec = spec_of("rsag", C4_KIND_ALL_REDUCE, N, COUNT);
    spec.windows = false;
    flows_of(&spec, 5, sent, received, &all);
    CU_ASSERT_EQUAL(all, 2 * (N - 1) * bytes / N);
    CU_ASSERT_EQUAL(sent[5], 0);
    spec = spec_of("pairwise", C4_KIND_ALL_TO_ALL, N, 100);
    flows_of(&spec, 1, sent, received, &all);
    for (int p = 0; p < N; p++) {
        CU_ASSERT_EQUAL(sent[p], p == 1 ? 0 : 400);
        CU_ASSERT_EQUAL(received[p], p == 1 ? 0 : 400);
    }
    spec = spec_of("tree", C4_KIND_BROADCAST, N, COUNT);
    flows_of(&spec, 0, sent, received, &all);
    CU_ASSERT_EQUAL(all, bytes);
}

/* What one rank says it sends to another, the other says it receives: every algorithm and kind. */
static void test_flows_match(void)
{
    enum { N = 7 };
    unsigned compared = 0;
    for (int algorithm = 0; algorithm < c4_nalgorithms; algorithm++) {
        for (int kind = 0; kind < C4_KIND_SEND; kind++) {
            call c;
            call_spec spec = {.kind = (c4_kind)kind,
                              .algorithm = algorithm,
                              .nranks = N,
                              .root = 2,
                              .count = 501,
                              .element_bytes = 4,
                              .windows = true,
                              .ranks_per_host = strcmp(c4_algorithms[algorithm].name, "hierarchical") ? 0 : 3};
            uint64_t sent[N][N], received[N][N];
            if (!(c4_algorithms[algorithm].kinds >> kind & 1) || call_create(&spec, &c) == C4_ERR_UNSUPPORTED)
                continue;
            for (int r = 0; r < N; r++)
                c4_schedule_flows(c.schedules[r], sent[r], received[r]);
            for (int r = 0; r < N; r++)
                for (int p = 0; p < N; p++)
                    CU_ASSERT_EQUAL(sent[r][p], received[p][r]);
            compared++;
            call_destroy(&c);
        }
    }
    CU_ASSERT(compared > 20);
}

/* ---- sizes ---- */

static uint32_t steps_of(const call_spec *spec, size_t *memory_bytes)
{
    call c;
    C4TEST_OK_FATAL(call_create(spec, &c));
    uint32_t nsteps = c.schedules[0]->nsteps;
    *memory_bytes = c.schedules[0]->memory_bytes;
    call_destroy(&c);
    return nsteps;
}

static void test_size_does_not_follow_the_message(void)
{
    size_t bytes;
    for (int algorithm = 0; algorithm < c4_nalgorithms; algorithm++) {
        call_spec spec = {.kind = C4_KIND_ALL_REDUCE,
                          .algorithm = algorithm,
                          .nranks = 8,
                          .element_bytes = 4,
                          .count = 64 * MIB / 4,
                          .windows = true,
                          .lanes = 1,
                          .may_map = true,
                          .ranks_per_host = strcmp(c4_algorithms[algorithm].name, "hierarchical") ? 0 : 4};
        if (!(c4_algorithms[algorithm].kinds & 1))
            continue;
        uint32_t large = steps_of(&spec, &bytes);
        printf("%s: 64 MiB, 8 ranks: %u steps, %zu bytes\n", c4_algorithms[algorithm].name, large, bytes);
        CU_ASSERT(large <= 64);
        CU_ASSERT(bytes < 8 * KIB);
    }
    call_spec small = spec_of("ring", C4_KIND_ALL_REDUCE, 8, 8 * KIB / 4), large = small;
    large.count = 64 * MIB / 4;
    small.lanes = large.lanes = 1;
    C4TEST_INT(steps_of(&large, &bytes), steps_of(&small, &bytes));
}

static uint64_t largest_chunk(const char *algorithm, c4_kind kind, bool windows)
{
    call_spec spec = spec_of(algorithm, kind, 2, 16 * MIB / 4);
    spec.windows = windows;
    call c;
    C4TEST_OK_FATAL(call_create(&spec, &c));
    uint64_t largest = 0;
    for (uint32_t i = 0; i < c.schedules[0]->nsteps; i++)
        largest = c.schedules[0]->steps[i].chunk > largest ? c.schedules[0]->steps[i].chunk : largest;
    call_destroy(&c);
    return largest;
}

/* Where a frame is a system call and nobody waits for single frames. */
static void test_frames_of_plain_data(void)
{
    CU_ASSERT_EQUAL(largest_chunk("direct", C4_KIND_BROADCAST, false), MIB);
    CU_ASSERT_EQUAL(largest_chunk("direct", C4_KIND_ALL_GATHER, false), MIB);
    CU_ASSERT_EQUAL(largest_chunk("pairwise", C4_KIND_ALL_TO_ALL, false), MIB);
    CU_ASSERT_EQUAL(largest_chunk("direct", C4_KIND_BROADCAST, true), 128 * KIB);
    CU_ASSERT_EQUAL(largest_chunk("direct", C4_KIND_ALL_REDUCE, false), 128 * KIB);
    CU_ASSERT_EQUAL(largest_chunk("pairwise", C4_KIND_REDUCE_SCATTER, false), 128 * KIB);
}

/* The path of the shortest calls: one lane, one loop, a send and a fold. */
static void test_two_ranks_are_two_steps(void)
{
    call c;
    call_spec spec = spec_of("direct", C4_KIND_ALL_REDUCE, 2, 2);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    C4TEST_INT(c.schedules[0]->nlanes, 1);
    C4TEST_INT(c.schedules[0]->nsteps, 2);
    C4TEST_INT(c.schedules[0]->loops[0].iterations, 1);
    C4TEST_INT(c.schedules[0]->steps[0].ndestinations, 1);
    C4TEST_INT(c.schedules[0]->steps[1].nsources, 2);
    call_destroy(&c);
    spec = spec_of("direct", C4_KIND_BARRIER, 2, 0);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    C4TEST_INT(c.schedules[0]->nlanes, 1);
    C4TEST_INT(c.schedules[0]->nsteps, 2);
    C4TEST_INT(c.schedules[0]->steps[0].total, 0);
    call_destroy(&c);
    spec = spec_of("direct", C4_KIND_ALL_REDUCE, 4, 0);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    C4TEST_INT(c.schedules[0]->nlanes, 0);
    call_destroy(&c);
}

/* ---- choice ---- */

static const char *chosen(call_spec spec, const c4_tuning *tuning, c4_query *out, const char **reason)
{
    static const char *none = "";
    call c;
    spec.algorithm = c4_algorithm_find("direct");
    C4TEST_OK_FATAL(call_create(&spec, &c));
    c4_query q = c.queries[0];
    q.algorithm = -1;
    C4TEST_OK_FATAL(c4_schedule_choose(&q, tuning, reason));
    for (int r = 1; r < spec.nranks; r++) {
        c4_query other = c.queries[r];
        const char *why;
        other.algorithm = -1;
        other.in_place = !other.in_place;
        C4TEST_OK_FATAL(c4_schedule_choose(&other, tuning, &why));
        C4TEST_INT(other.algorithm, q.algorithm);
    }
    call_destroy(&c);
    *out = q;
    return q.algorithm >= 0 ? c4_algorithms[q.algorithm].name : none;
}

static void test_choice_table(void)
{
    static const struct {
        c4_kind kind;
        int nranks, ranks_per_host;
        size_t bytes; /* count * 4 */
        bool may_map, deterministic;
        const char *algorithm, *reason;
    } rows[] = {
        {C4_KIND_ALL_REDUCE, 2, 0, 8, false, false, "direct", "measured"},
        {C4_KIND_ALL_REDUCE, 2, 0, 8 * KIB, false, false, "direct", "measured"},
        {C4_KIND_ALL_REDUCE, 2, 0, 16 * KIB, false, false, "direct", "measured"},
        {C4_KIND_ALL_REDUCE, 2, 0, 24 * KIB, false, false, "rsag", "measured"},
        {C4_KIND_ALL_REDUCE, 2, 0, 64 * MIB, false, false, "rsag", "measured"},
        {C4_KIND_ALL_REDUCE, 2, 0, 8, true, false, "direct", "measured"},
        {C4_KIND_ALL_REDUCE, 2, 0, 4 * KIB, true, false, "mapped", "measured"},
        {C4_KIND_ALL_REDUCE, 2, 0, 64 * MIB, true, true, "mapped", "measured"},
        {C4_KIND_ALL_REDUCE, 4, 0, 8, false, false, "direct", "measured"},
        {C4_KIND_ALL_REDUCE, 4, 0, 64 * KIB, false, false, "rsag", "measured"},
        {C4_KIND_ALL_REDUCE, 64, 0, 8, false, false, "rhd", "cost"},
        {C4_KIND_ALL_REDUCE, 64, 1, 256 * MIB, false, false, "ring", "cost"},
        {C4_KIND_ALL_REDUCE, 64, 1, 256 * MIB, false, true, "rsag", "cost"},
        {C4_KIND_ALL_REDUCE, 64, 8, 1 * MIB, false, false, "hierarchical", "cost"},
        {C4_KIND_ALL_REDUCE, 64, 8, 256 * MIB, false, false, "ring", "cost"},
        {C4_KIND_BROADCAST, 64, 1, 1 * MIB, false, false, "tree", "cost"},
        {C4_KIND_ALL_GATHER, 64, 1, 8, false, false, "bruck", "cost"},
        {C4_KIND_ALL_TO_ALL, 64, 1, 8, false, false, "bruck", "cost"},
        {C4_KIND_ALL_TO_ALL, 64, 1, 1 * MIB, false, false, "direct", "cost"},
        {C4_KIND_BARRIER, 64, 1, 0, false, false, "bruck", "cost"},
        {C4_KIND_BARRIER, 2, 0, 0, false, false, "direct", "measured"},
        {C4_KIND_GATHER, 5, 0, 100, false, false, "direct", "cost"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *reason = "";
        c4_query q;
        call_spec spec = {.kind = rows[i].kind,
                          .nranks = rows[i].nranks,
                          .ranks_per_host = rows[i].ranks_per_host,
                          .count = rows[i].bytes / 4,
                          .element_bytes = 4,
                          .may_map = rows[i].may_map,
                          .deterministic = rows[i].deterministic,
                          .windows = true};
        const char *algorithm = chosen(spec, NULL, &q, &reason);
        if (strcmp(algorithm, rows[i].algorithm) != 0)
            printf("row %zu: %s\n", i, call_name(&spec));
        C4TEST_STRING(algorithm, rows[i].algorithm);
        C4TEST_CONTAINS(reason, rows[i].reason);
    }
}

/* Where ranks take turns on the cores every message over a socket is work: few of them win, however few rounds many take. */
static void test_choice_on_crowded_cores(void)
{
    static const struct {
        int nranks;
        size_t bytes;
        const char *alone, *crowded;
    } rows[] = {{4, 8, "direct", "rhd"}, {8, 8, "direct", "rhd"}, {8, 64 * KIB, "rsag", "rhd"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int crowded = 0; crowded < 2; crowded++) {
            call_spec spec = {.kind = C4_KIND_ALL_REDUCE,
                              .nranks = rows[i].nranks,
                              .count = rows[i].bytes / 4,
                              .element_bytes = 4,
                              .algorithm = c4_algorithm_find("rhd")};
            const char *reason = "";
            call c;
            C4TEST_OK_FATAL(call_create(&spec, &c));
            c4_query q = c.queries[0];
            c4_cost_params cost = {
                .local = {.latency_s = 6e-6, .seconds_per_byte = 0.4e-9, .reduce_seconds_per_byte = 0.1e-9},
                .step_s = 5e-9,
                .ranks_per_core = crowded ? rows[i].nranks / 2.0 : 1};
            cost.remote = cost.local;
            q.cost = &cost;
            q.algorithm = -1;
            C4TEST_OK_FATAL(c4_schedule_choose(&q, NULL, &reason));
            C4TEST_STRING(c4_algorithms[q.algorithm].name, crowded ? rows[i].crowded : rows[i].alone);
            call_destroy(&c);
        }
}

static void test_forced_algorithm(void)
{
    const char *reason;
    c4_query q;
    chosen(spec_of("direct", C4_KIND_ALL_REDUCE, 4, 100), NULL, &q, &reason);
    q.layout = NULL;
    q.cost = NULL;
    q.algorithm = c4_algorithm_find("ring");
    C4TEST_OK(c4_schedule_choose(&q, NULL, &reason));
    C4TEST_STRING(reason, "C4_ALGO");
    q.deterministic = true;
    C4TEST_INT(c4_schedule_choose(&q, NULL, &reason), C4_ERR_UNSUPPORTED);
    q.kind = C4_KIND_GATHER;
    C4TEST_INT(c4_schedule_choose(&q, NULL, &reason), C4_ERR_UNSUPPORTED);
    q.algorithm = c4_nalgorithms;
    C4TEST_INT(c4_schedule_choose(&q, NULL, &reason), C4_ERR_UNSUPPORTED);
    C4TEST_INT(c4_algorithm_find("nonsense"), -1);
}

static void test_tuning_rows(void)
{
    c4_tuning tuning;
    c4_query q;
    const char *reason;
    const char *text = "# measured here\n"
                       "all_reduce 0 0 0 999 ring 0 0   # first match wins\n"
                       "\n"
                       "all_reduce 4 4 1000 1000 rhd 4096 3\r\n"
                       "all_reduce 5 0 1000 * tree 0 0\n"
                       "all_reduce 4 2 1001 * tree 0 0";
    C4TEST_OK_FATAL(c4_tuning_parse(text, "t", &tuning));
    C4TEST_INT(tuning.nrows, 4);
    C4TEST_STRING(chosen(spec_of("direct", C4_KIND_ALL_REDUCE, 4, 10), &tuning, &q, &reason), "ring");
    C4TEST_STRING(reason, "tuning file");
    C4TEST_STRING(chosen(spec_of("direct", C4_KIND_ALL_REDUCE, 4, 250), &tuning, &q, &reason), "rhd");
    C4TEST_INT(q.chunk_bytes, 4096);
    C4TEST_INT(q.lanes, 3);
    C4TEST_STRING(chosen(spec_of("direct", C4_KIND_ALL_REDUCE, 5, MIB), &tuning, &q, &reason), "tree");
    C4TEST_STRING(chosen(spec_of("direct", C4_KIND_ALL_REDUCE, 4, MIB), &tuning, &q, &reason), "rsag");
    call_spec deterministic = spec_of("direct", C4_KIND_ALL_REDUCE, 4, 10);
    deterministic.deterministic = true;
    C4TEST_STRING(chosen(deterministic, &tuning, &q, &reason), "direct");
    c4_tuning_fini(&tuning);
}

static void test_tuning_errors(void)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"all_reduce 2 2 0 8191 direct 0", "t:1: lanes is missing"},
        {"\n\nall_reduce 2", "t:3: ranks_per_host is missing"},
        {"all_reduce 2 2 0 8191 direct 0 0 0", "t:1: more than 8 fields"},
        {"allreduce 2 2 0 8191 direct 0 0", "t:1: unknown collective \"allreduce\""},
        {"all_reduce 2 2 0 8191 fast 0 0", "t:1: unknown algorithm \"fast\""},
        {"gather 2 2 0 8191 ring 0 0", "t:1: algorithm \"ring\" has no gather"},
        {"all_reduce x 2 0 8191 ring 0 0", "t:1: nranks must be 0 .. 65535, not \"x\""},
        {"all_reduce 2 -1 0 8191 ring 0 0", "t:1: ranks_per_host must be"},
        {"all_reduce 2 2 5 4 ring 0 0", "t:1: min_bytes is above max_bytes \"5\""},
        {"all_reduce 2 2 0 99999999999999999999 ring 0 0", "t:1: max_bytes must be"},
        {"all_reduce 2 2 0 1 ring 0 65", "t:1: lanes must be 0 .. 64"},
        {"a_word_that_is_far_too_long_for_any_field 2", "t:1: word of"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        c4_tuning tuning = {.nrows = 77};
        C4TEST_INT(c4_tuning_parse(rows[i].text, "t", &tuning), C4_ERR_OPTION);
        C4TEST_CONTAINS(c4_fail_text(), rows[i].error);
        C4TEST_INT(tuning.nrows, 77);
    }
}

/* ---- queries that cannot be ---- */

static void test_bad_queries(void)
{
    c4_schedule *schedule = NULL;
    const c4_query good = {.kind = C4_KIND_ALL_REDUCE, .nranks = 4, .count = 1, .element_bytes = 4, .reduces = true};
    c4_query q = good;
    q.count = SIZE_MAX / 4;
    C4TEST_INT(c4_schedule_build(&q, &schedule), C4_ERR_COUNT);
    q = good;
    q.rank = 4;
    C4TEST_INT(c4_schedule_build(&q, &schedule), C4_ERR_ROOT);
    q = good;
    q.kind = C4_KIND_BROADCAST;
    q.root = -1;
    C4TEST_INT(c4_schedule_build(&q, &schedule), C4_ERR_ROOT);
    q = good;
    q.element_bytes = 0;
    C4TEST_INT(c4_schedule_build(&q, &schedule), C4_ERR_DTYPE);
    q = good;
    q.kind = C4_NKINDS;
    C4TEST_INT(c4_schedule_build(&q, &schedule), C4_ERR_ARGUMENT);
    const size_t counts[4] = {SIZE_MAX / 8, 1, 1, 1}, displs[4] = {0};
    q = good;
    q.kind = C4_KIND_ALL_GATHER_V;
    q.recv_counts = counts;
    q.recv_displs = displs;
    C4TEST_INT(c4_schedule_build(&q, &schedule), C4_ERR_COUNT);
    CU_ASSERT_PTR_NULL(schedule);
    CU_ASSERT_PTR_NULL(c4_kind_name(C4_NKINDS));
}

/* ---- cost ---- */

static double predicted(const char *algorithm, c4_kind kind, int nranks, size_t count)
{
    call c;
    call_spec spec = spec_of(algorithm, kind, nranks, count);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    double seconds = c4_schedule_cost(c.schedules[0], &c.layout, &c.cost);
    call_destroy(&c);
    return seconds;
}

static void test_cost_of_schedules(void)
{
    double small = predicted("direct", C4_KIND_ALL_REDUCE, 2, 2),
           large = predicted("direct", C4_KIND_ALL_REDUCE, 2, MIB);
    CU_ASSERT(small > 0.1e-6 && small < 1e-6);
    CU_ASSERT(large > 100 * small);
    CU_ASSERT(predicted("ring", C4_KIND_ALL_REDUCE, 32, 8) > predicted("rhd", C4_KIND_ALL_REDUCE, 32, 8));
    CU_ASSERT(predicted("ring", C4_KIND_ALL_REDUCE, 32, 16 * MIB) <
              predicted("direct", C4_KIND_ALL_REDUCE, 32, 16 * MIB));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(flows_are_the_algorithms),
        C4TEST(flows_match),
        C4TEST(size_does_not_follow_the_message),
        C4TEST(frames_of_plain_data),
        C4TEST(two_ranks_are_two_steps),
        C4TEST(choice_table),
        C4TEST(choice_on_crowded_cores),
        C4TEST(forced_algorithm),
        C4TEST(tuning_rows),
        C4TEST(tuning_errors),
        C4TEST(bad_queries),
        C4TEST(cost_of_schedules),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
