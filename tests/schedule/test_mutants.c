/* The prover must be able to say no: schedules are damaged in one place and each must be refused. */
#include "tests/c4test.h"

#include <stdio.h>
#include <string.h>

#include "schedule/builder.h"
#include "tests/schedule/cases.h"

typedef struct damage {
    const char *name;
    /* Damages step `step` of the schedule, in the `variant`-th way. False: there is no such way. */
    bool (*apply)(c4_schedule *schedule, uint32_t step, unsigned variant);
} damage;

/* Schedules are read-only to everybody else. */
static c4_step *step_of(c4_schedule *s, uint32_t step)
{
    return (c4_step *)(uintptr_t)&s->steps[step];
}

static c4_term *terms_of(c4_schedule *s, uint32_t step)
{
    return (c4_term *)(uintptr_t)&s->terms[s->steps[step].first_term];
}

static bool drop_step(c4_schedule *s, uint32_t step, unsigned variant)
{
    c4_step *x = step_of(s, step);
    x->nsources = x->ndestinations = 0;
    x->total = 0;
    x->flags = 0;
    return variant == 0;
}

/* Scratch is left out: what is staged there for a frame is not read again, and may lie anywhere. */
static bool shift_offset(c4_schedule *s, uint32_t step, unsigned variant)
{
    const c4_step *x = step_of(s, step);
    c4_term *terms = terms_of(s, step);
    for (unsigned i = 0; i < (unsigned)x->nsources + x->ndestinations; i++) {
        if (terms[i].kind == C4_TERM_CHANNEL || terms[i].buffer == C4_BUFFER_SCRATCH || variant-- > 0)
            continue;
        terms[i].offset += 4;
        return true;
    }
    return false;
}

static bool remove_gate(c4_schedule *s, uint32_t step, unsigned variant)
{
    c4_step *x = step_of(s, step);
    bool gated = x->flags & C4_STEP_GATED;
    x->flags = (uint8_t)(x->flags & ~C4_STEP_GATED);
    return gated && variant == 0;
}

static bool close_gate(c4_schedule *s, uint32_t step, unsigned variant)
{
    c4_step *x = step_of(s, step);
    x->gate_base += 1000000;
    return (x->flags & C4_STEP_GATED) && variant == 0;
}

static bool toggle_final(c4_schedule *s, uint32_t step, unsigned variant)
{
    c4_step *x = step_of(s, step);
    x->flags ^= C4_STEP_FINAL;
    return x->nsources > 1 && x->total > 0 && variant == 0;
}

static bool shorten(c4_schedule *s, uint32_t step, unsigned variant)
{
    c4_step *x = step_of(s, step);
    if (x->total < 8 || variant > 0)
        return false;
    x->total -= 4;
    return true;
}

/* Steps that read or write another channel of this rank than they should. */
static bool swap_channel(c4_schedule *s, uint32_t step, unsigned variant)
{
    const c4_step *x = step_of(s, step);
    c4_term *terms = terms_of(s, step);
    for (unsigned i = 0; i < (unsigned)x->nsources + x->ndestinations; i++) {
        if (terms[i].kind != C4_TERM_CHANNEL || variant-- > 0)
            continue;
        for (uint32_t c = 0; c < s->nchannels; c++) {
            if (c == terms[i].index || (s->channels[c].writer == s->rank) != (i >= x->nsources))
                continue;
            terms[i].index = (uint16_t)c;
            return true;
        }
    }
    return false;
}

/* Folds another tree on one rank: wrong only where all must agree, or where the order is fixed. */
static bool reorder_sources(c4_schedule *s, uint32_t step, unsigned variant)
{
    const c4_step *x = step_of(s, step);
    c4_term *terms = terms_of(s, step);
    if (x->nsources < 3 || x->total == 0 || variant > 0)
        return false;
    c4_term first = terms[0];
    terms[0] = terms[2];
    terms[2] = first;
    return true;
}

typedef struct totals {
    unsigned refused, accepted;
} totals;

static c4_status prove_damaged(const call_spec *spec, const damage *how, int rank, uint32_t step, unsigned variant,
                               bool *applied)
{
    call c;
    c4_proof proof = {0};
    C4TEST_OK_FATAL(call_create(spec, &c));
    *applied = step < c.schedules[rank]->nsteps && how->apply(c.schedules[rank], step, variant);
    c4_status status = *applied ? call_prove(&c, &proof) : C4_OK;
    if (*applied && status == C4_OK)
        printf("%s of rank %d step %u (%u) accepted: %s\n", how->name, rank, step, variant, call_name(spec));
    CU_ASSERT(status == C4_OK || proof.text[0]);
    call_destroy(&c);
    return status;
}

static void damage_everywhere(const call_spec *spec, const damage *how, totals *t)
{
    call c;
    if (call_create(spec, &c) == C4_ERR_UNSUPPORTED)
        return;
    for (int rank = 0; rank < spec->nranks; rank++) {
        for (uint32_t step = 0; step < c.schedules[rank]->nsteps; step++) {
            bool applied = true;
            for (unsigned variant = 0; applied; variant++) {
                c4_status status = prove_damaged(spec, how, rank, step, variant, &applied);
                if (applied)
                    ++*(status == C4_OK ? &t->accepted : &t->refused);
            }
        }
    }
    call_destroy(&c);
}

/* One lane and two, in place and not, one chunk and several; every algorithm that has the kind. */
static void run_damage(const damage *how, const char *only, bool deterministic, c4_kind first_kind, c4_kind last_kind)
{
    totals t = {0};
    for (int algorithm = 0; algorithm < c4_nalgorithms; algorithm++) {
        if (only && !strstr(only, c4_algorithms[algorithm].name))
            continue;
        for (int kind = (int)first_kind; kind <= (int)last_kind; kind++) {
            if (!(c4_algorithms[algorithm].kinds >> kind & 1))
                continue;
            for (int n = 2; n <= 5; n++) {
                call_spec spec = {.kind = (c4_kind)kind,
                                  .algorithm = algorithm,
                                  .nranks = n,
                                  .root = n / 2,
                                  .count = 13,
                                  .element_bytes = 4,
                                  .chunk_bytes = 8,
                                  .windows = n % 2,
                                  .ranks_per_host = strcmp(c4_algorithms[algorithm].name, "hierarchical") ? 0 : 2,
                                  .may_map = true,
                                  .place = n % 2 ? PLACE_IN : PLACE_OUT,
                                  .deterministic = deterministic};
                damage_everywhere(&spec, how, &t);
                spec.count = kind == C4_KIND_ALL_REDUCE ? 9001 : 1300;
                spec.chunk_bytes = 4900;
                damage_everywhere(&spec, how, &t);
            }
        }
    }
    printf("%s: %u refused, %u accepted\n", how->name, t.refused, t.accepted);
    CU_ASSERT(t.refused > 0);
    C4TEST_INT(t.accepted, 0);
}

static void test_dropped_step(void)
{
    run_damage(&(damage){"drop", drop_step}, NULL, false, C4_KIND_ALL_REDUCE, C4_KIND_ALL_TO_ALL);
}

static void test_changed_offset(void)
{
    run_damage(&(damage){"offset", shift_offset}, NULL, false, C4_KIND_ALL_REDUCE, C4_KIND_ALL_TO_ALL);
}

/* pairwise and bruck gate some sends only to keep pace; hierarchical gates each send of a block, and the first would do. */
static void test_removed_gate(void)
{
    run_damage(&(damage){"no gate", remove_gate}, "direct ring rhd", false, C4_KIND_ALL_REDUCE, C4_KIND_ALL_TO_ALL);
}

static void test_closed_gate(void)
{
    run_damage(&(damage){"closed gate", close_gate}, NULL, false, C4_KIND_ALL_REDUCE, C4_KIND_ALL_TO_ALL);
}

static void test_final(void)
{
    run_damage(&(damage){"final", toggle_final}, NULL, false, C4_KIND_ALL_REDUCE, C4_KIND_REDUCE);
}

static void test_short_frame(void)
{
    run_damage(&(damage){"short", shorten}, NULL, false, C4_KIND_ALL_REDUCE, C4_KIND_ALL_TO_ALL);
}

static void test_wrong_channel(void)
{
    run_damage(&(damage){"channel", swap_channel}, NULL, false, C4_KIND_ALL_REDUCE, C4_KIND_ALL_TO_ALL);
}

static void test_reordered_sources(void)
{
    run_damage(&(damage){"reordered", reorder_sources}, "direct", false, C4_KIND_ALL_REDUCE, C4_KIND_ALL_REDUCE);
    run_damage(&(damage){"reordered", reorder_sources}, "direct rsag mapped", true, C4_KIND_ALL_REDUCE, C4_KIND_REDUCE);
}

/* ---- damage that has to be made by hand ---- */

static call_spec two_ranks(size_t count, place_mode place)
{
    return (call_spec){.kind = C4_KIND_ALL_REDUCE,
                       .algorithm = c4_algorithm_find("direct"),
                       .nranks = 2,
                       .count = count,
                       .element_bytes = 4,
                       .place = place,
                       .windows = true};
}

static void expect_refusal(call *c, const char *text)
{
    c4_proof proof;
    C4TEST_INT(call_prove(c, &proof), C4_ERR_INTERNAL);
    C4TEST_CONTAINS(proof.text, text);
}

/* Receives first, on both ranks. */
static void test_swapped_steps(void)
{
    call c;
    call_spec spec = two_ranks(2, PLACE_OUT);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    for (int rank = 0; rank < 2; rank++) {
        c4_step *steps = step_of(c.schedules[rank], 0), first = steps[0];
        C4TEST_INT_FATAL(c.schedules[rank]->nsteps, 2);
        steps[0] = steps[1];
        steps[1] = first;
    }
    expect_refusal(&c, "deadlock");
    call_destroy(&c);
}

/* In place, without the copy that is sent: the frame may have to be sent again when its bytes are gone. */
static void send_unstaged(c4_schedule *s)
{
    c4_step *send = step_of(s, 0);
    c4_term *terms = terms_of(s, 0);
    C4TEST_INT_FATAL(send->ndestinations, 2);
    terms[1] = terms[2];
    send->ndestinations = 1;
}

static void test_unstaged_send(void)
{
    call c;
    call_spec spec = two_ranks(2, PLACE_IN);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    send_unstaged(c.schedules[0]);
    send_unstaged(c.schedules[1]);
    expect_refusal(&c, "overwritten before the frame was received");
    call_destroy(&c);
}

/* The same on rank 0 alone, which happens to overwrite after the receipt, but does not know of it. */
static void test_unstaged_send_of_one_rank(void)
{
    call c;
    call_spec spec = two_ranks(2, PLACE_IN);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    send_unstaged(c.schedules[0]);
    expect_refusal(&c, "overwrites what global lane 1 reads or receives");
    call_destroy(&c);
}

/* Receives where the other lane puts the own block. */
static void test_two_lanes_write(void)
{
    call c;
    call_spec spec = two_ranks(10000, PLACE_OUT);
    spec.kind = C4_KIND_ALL_TO_ALL;
    C4TEST_OK_FATAL(call_create(&spec, &c));
    C4TEST_INT_FATAL(c.schedules[0]->nlanes, 2);
    for (uint32_t i = 0; i < c.schedules[0]->nsteps; i++) {
        c4_term *terms = terms_of(c.schedules[0], i);
        if (terms[0].kind == C4_TERM_CHANNEL)
            terms[1].offset = 0;
    }
    expect_refusal(&c, "writes what global lane");
    call_destroy(&c);
}

/* A send that reads what the other lane happens to have written before, without waiting for it. */
static void test_unordered_read(void)
{
    call c;
    call_spec spec = two_ranks(10000, PLACE_IN);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    for (int rank = 0; rank < 2; rank++) {
        c4_schedule *s = c.schedules[rank];
        c4_lane *lanes = (c4_lane *)(uintptr_t)s->lanes, first = lanes[0];
        C4TEST_INT_FATAL(s->nlanes, 2);
        lanes[0] = lanes[1];
        lanes[1] = first;
        for (uint32_t i = 0; i < s->nsteps; i++)
            remove_gate(s, i, 0);
    }
    expect_refusal(&c, "reads what global lane");
    call_destroy(&c);
}

/* One lane that sends more than a channel takes without a reader. */
static void test_large_frames_in_one_lane(void)
{
    call c;
    call_spec spec = two_ranks(1024, PLACE_OUT);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    for (int rank = 0; rank < 2; rank++) {
        c.queries[rank].count = 4096;
        for (uint32_t i = 0; i < 2; i++) {
            step_of(c.schedules[rank], i)->total = 16384;
            step_of(c.schedules[rank], i)->chunk = 16384;
        }
    }
    expect_refusal(&c, "deadlock (rendezvous)");
    call_destroy(&c);
}

static void test_large_frame(void)
{
    call c;
    call_spec spec = two_ranks(1000, PLACE_OUT);
    C4TEST_OK_FATAL(call_create(&spec, &c));
    c.cost.local.max_frame_bytes = 100;
    expect_refusal(&c, "limit 100");
    call_destroy(&c);
}

/* Nobody tells anybody that it has finished with its buffers. */
static void test_missing_end(void)
{
    call c;
    call_spec spec = two_ranks(2000, PLACE_OUT);
    spec.algorithm = c4_algorithm_find("mapped");
    spec.may_map = true;
    C4TEST_OK_FATAL(call_create(&spec, &c));
    for (int rank = 0; rank < 2; rank++)
        for (uint32_t i = 0; i < c.schedules[rank]->nsteps; i++)
            if (c.schedules[rank]->steps[i].total == 0)
                drop_step(c.schedules[rank], i, 0);
    expect_refusal(&c, "may return while a peer reads");
    call_destroy(&c);
}

static void test_barrier_without_a_rank(void)
{
    call c;
    call_spec spec = {.kind = C4_KIND_BARRIER, .algorithm = c4_algorithm_find("bruck"), .nranks = 5};
    C4TEST_OK_FATAL(call_create(&spec, &c));
    for (int rank = 0; rank < 5; rank++) {
        uint32_t last = c.schedules[rank]->nsteps;
        drop_step(c.schedules[rank], last - 1, 0);
        drop_step(c.schedules[rank], last - 2, 0);
    }
    expect_refusal(&c, "without having heard");
    call_destroy(&c);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST_DEADLINE(dropped_step, 120),
        C4TEST_DEADLINE(changed_offset, 120),
        C4TEST_DEADLINE(removed_gate, 120),
        C4TEST_DEADLINE(closed_gate, 120),
        C4TEST_DEADLINE(final, 120),
        C4TEST_DEADLINE(short_frame, 120),
        C4TEST_DEADLINE(wrong_channel, 120),
        C4TEST_DEADLINE(reordered_sources, 120),
        C4TEST(swapped_steps),
        C4TEST(unstaged_send),
        C4TEST(unstaged_send_of_one_rank),
        C4TEST(two_lanes_write),
        C4TEST(unordered_read),
        C4TEST(large_frames_in_one_lane),
        C4TEST(large_frame),
        C4TEST(missing_end),
        C4TEST(barrier_without_a_rank),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
