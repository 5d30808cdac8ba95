/* c4train's parts, each by itself: options, data order, buckets, AdamW, chart, progress line. */
#include "tests/c4test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/tools/test_c4train_text.h"
#include "tools/c4train/adamw.h"
#include "tools/c4train/buckets.h"
#include "tools/c4train/chart.h"
#include "tools/c4train/corpus.h"
#include "tools/c4train/options.h"
#include "tools/c4train/progress.h"
#include "tools/c4train/synthetic.h"

static c4_train_job make_job(void)
{
    c4_train_job job;
    C4TEST_OK_FATAL(c4_train_job_open(&job));
    C4TEST_INT(job.nranks, 1);
    return job;
}

/* ---- options ---- */

static c4_status parse(const char *line, c4_train_options *options)
{
    static char copy[512];
    char *argv[32] = {"c4train"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return c4_train_options_parse(argc, argv, options);
}

static void test_options(void)
{
    c4_train_options o;
    C4TEST_OK_FATAL(parse("", &o));
    C4TEST_INT(o.steps, 60);
    C4TEST_INT(o.warmup, 6);
    C4TEST_INT(o.bucket_bytes, 1 << 20);
    CU_ASSERT_PTR_NULL(o.data);
    CU_ASSERT_FALSE(o.resume);
    C4TEST_OK_FATAL(parse("--steps 7 --lr=0.5 --bucket-bytes 64K --no-overlap --data x --checkpoint c --resume", &o));
    C4TEST_INT(o.steps, 7);
    C4TEST_INT(o.bucket_bytes, 65536);
    CU_ASSERT_EQUAL(o.lr, 0.5);
    CU_ASSERT(o.no_overlap && o.resume);
    C4TEST_STRING(o.data, "x");
    C4TEST_OK_FATAL(parse("--steps 1000 --warmup 3", &o));
    C4TEST_INT(o.warmup, 3);
}

static void test_options_refused(void)
{
    static const char *const lines[][2] = {
        {"--steps 0", "--steps '0': expected a whole number from 1 to"},
        {"--steps 5x", "--steps '5x'"},
        {"--steps 9999999999999999999999", "--steps"},
        {"--lr nan", "--lr 'nan': expected a number"},
        {"--bucket-bytes 1Q", "--bucket-bytes '1Q': expected bytes"},
        {"--dim 100 --heads 3", "--dim 100 is not a multiple of 2 x --heads 3"},
        {"--resume", "--resume needs --checkpoint"},
        {"--checkpoint-every 5", "--checkpoint-every needs --checkpoint"},
        {"--step-ms 5 --sample 10", "--step-ms trains nothing"},
        {"--bogus", "--help"},
        {"--steps", "--help"},
        {"word", "unexpected argument 'word'"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        c4_train_options o;
        c4_text_catch();
        c4_status status = parse(lines[i][0], &o);
        char *text = c4_text_caught();
        C4TEST_INT(status, C4_ERR_OPTION);
        C4TEST_CONTAINS(text, lines[i][1]);
        free(text);
    }
}

/* ---- data ---- */

static c4_corpus make_corpus(size_t size, size_t seq)
{
    uint8_t *bytes = malloc(size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    c4_text_write(c4test_path("text"), bytes, size);
    free(bytes);
    c4_corpus corpus;
    C4TEST_OK_FATAL(c4_corpus_map(c4test_path("text"), seq, &corpus));
    return corpus;
}

/* A batch is the same bytes whether one rank takes it whole or several take parts. */
static void test_batch_does_not_depend_on_ranks(void)
{
    enum { SEQ = 16, BATCH = 10 };
    c4_corpus corpus = make_corpus(5000, SEQ);
    uint8_t whole[2][BATCH * SEQ], part[2][BATCH * SEQ], other[2][BATCH * SEQ];
    c4_corpus_batch(&corpus, 5, 3, 0, BATCH, SEQ, whole[0], whole[1]);
    for (int nranks = 1; nranks <= 13; nranks++) {
        c4_train_job job = {.nranks = nranks};
        size_t next = 0;
        memset(part, 0, sizeof part);
        for (int rank = 0; rank < nranks; rank++) {
            size_t first = c4_train_job_first(&job, rank, BATCH), end = c4_train_job_first(&job, rank + 1, BATCH);
            CU_ASSERT_EQUAL(first, next);
            next = end;
            c4_corpus_batch(&corpus, 5, 3, first, end - first, SEQ, part[0] + first * SEQ, part[1] + first * SEQ);
        }
        CU_ASSERT_EQUAL(next, BATCH);
        CU_ASSERT_EQUAL(memcmp(whole, part, sizeof whole), 0);
    }
    c4_corpus_batch(&corpus, 5, 4, 0, BATCH, SEQ, other[0], other[1]);
    CU_ASSERT_NOT_EQUAL(memcmp(whole, other, sizeof whole), 0);
    c4_corpus_batch(&corpus, 6, 3, 0, BATCH, SEQ, other[0], other[1]);
    CU_ASSERT_NOT_EQUAL(memcmp(whole, other, sizeof whole), 0);
    for (int i = 0; i + 1 < SEQ; i++)
        CU_ASSERT_EQUAL(whole[1][i], whole[0][i + 1]);
    c4_corpus_close(&corpus);
}

/* Training text ends before the held-out text begins, at the smallest file too. */
static void test_held_out_text_is_apart(void)
{
    enum { SEQ = 18, SMALLEST = 20 * (SEQ + 2), BATCH = 4 };
    c4_corpus corpus = make_corpus(SMALLEST, SEQ);
    CU_ASSERT_EQUAL(corpus.train_size, SMALLEST - SEQ - 2);
    uint8_t inputs[BATCH * SEQ], targets[BATCH * SEQ];
    const uint8_t *held_out = corpus.bytes + corpus.train_size;
    c4_corpus_eval(&corpus, 0, BATCH, BATCH, SEQ, inputs, targets);
    CU_ASSERT_EQUAL(memcmp(inputs, held_out, SEQ), 0);
    CU_ASSERT_EQUAL(memcmp(targets + 3 * SEQ, held_out + 2, SEQ), 0); /* place 2 * 3 / 4 = 1, targets one further */
    c4_corpus_close(&corpus);
    CU_ASSERT_EQUAL(truncate(c4test_path("text"), SMALLEST - 1), 0);
    c4_text_catch();
    c4_status status = c4_corpus_map(c4test_path("text"), SEQ, &corpus);
    char *text = c4_text_caught();
    C4TEST_INT(status, C4_ERR_COUNT);
    C4TEST_CONTAINS(text, "--seq 18 needs at least 400");
    free(text);
}

/* ---- AdamW ---- */

static void test_rate_schedule(void)
{
    c4_adamw_schedule s = {.lr = 2, .warmup = 4, .steps = 104};
    CU_ASSERT_DOUBLE_EQUAL(c4_adamw_rate(&s, 0), 0.5, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(c4_adamw_rate(&s, 3), 2, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(c4_adamw_rate(&s, 4), 2, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(c4_adamw_rate(&s, 54), 1.1, 1e-12); /* half way: between the peak and a tenth of it */
    CU_ASSERT_DOUBLE_EQUAL(c4_adamw_rate(&s, 104), 0.2, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(c4_adamw_rate(&s, 1000), 0.2, 1e-12);
    c4_adamw_schedule none = {.lr = 2, .warmup = 0, .steps = 0};
    CU_ASSERT(isfinite(c4_adamw_rate(&none, 0)));
}

/* The textbook update of one parameter, in double. */
typedef struct textbook {
    double x, mean, square;
} textbook;

static void textbook_step(textbook *p, long step, double rate, double g, double decay)
{
    p->mean = 0.9 * p->mean + 0.1 * g;
    p->square = 0.95 * p->square + 0.05 * g * g;
    double mean = p->mean / (1 - pow(0.9, (double)step + 1)), square = p->square / (1 - pow(0.95, (double)step + 1));
    p->x -= rate * (mean / (sqrt(square) + 1e-8) + decay * p->x);
}

/* Gradients in -scale .. scale; returns their norm. */
static double random_gradients(size_t count, double scale, float *grads)
{
    double square = 0;
    for (size_t i = 0; i < count; i++) {
        grads[i] = (float)(((double)c4test_rand_below(1000) / 500 - 1) * scale);
        square += (double)grads[i] * grads[i];
    }
    return sqrt(square);
}

static void check_update(const c4_model_config *config, const float *params, const textbook *expected)
{
    for (size_t i = 0; i < c4_layout_params(config); i++)
        if (fabs(expected[i].x - params[i]) > 2e-5)
            CU_FAIL_FATAL("update differs from the formula");
}

/* Three steps, clipped much, not at all, and a little. */
static void test_adamw_matches_formula(void)
{
    c4_model_config config = {.layers = 1, .dim = 4, .heads = 1, .seq = 4, .hidden = 4};
    size_t count = c4_layout_params(&config);
    float *params = calloc(2 * count, sizeof *params), *grads = params + count;
    textbook *expected = calloc(count, sizeof *expected);
    CU_ASSERT_FATAL(params && expected);
    c4_adamw adamw;
    C4TEST_OK_FATAL(c4_adamw_init(&adamw, count, 0.5F, 3.0F));
    random_gradients(count, 1, params);
    for (size_t i = 0; i < count; i++)
        expected[i].x = params[i];
    for (long step = 0; step < 3; step++) {
        static const double scales[] = {1, 1e-3, 0.16};
        double rate = 0.01 * (double)(step + 1), norm = random_gradients(count, scales[step], grads);
        CU_ASSERT_DOUBLE_EQUAL(c4_adamw_step(&adamw, &config, step, rate, grads, params), norm, 1e-9 * norm);
        CU_ASSERT_EQUAL(norm > 3, step != 1);
        for (size_t t = 0; t < c4_layout_tensors(&config); t++) {
            c4_tensor tensor = c4_layout_tensor(&config, t);
            for (size_t i = tensor.offset; i < tensor.offset + tensor.rows * tensor.cols; i++)
                textbook_step(&expected[i], step, rate, grads[i] * fmin(1, 3 / norm), tensor.decay ? 0.5 : 0);
        }
        check_update(&config, params, expected);
    }
    c4_adamw_fini(&adamw);
    free(params);
    free(expected);
}

static void test_only_linear_layers_decay(void)
{
    c4_model_config config = {.layers = 3, .dim = 8, .heads = 2, .seq = 4, .hidden = 8};
    size_t next = 0, decaying = 0;
    for (size_t t = 0; t < c4_layout_tensors(&config); t++) {
        c4_tensor tensor = c4_layout_tensor(&config, t);
        CU_ASSERT_EQUAL(tensor.offset, next); /* no gap, no overlap */
        next += tensor.rows * tensor.cols;
        decaying += tensor.decay;
        CU_ASSERT_FALSE(tensor.decay && (tensor.rows == 1 || tensor.kind == C4_TENSOR_EMBED));
    }
    CU_ASSERT_EQUAL(next, c4_layout_params(&config));
    CU_ASSERT_EQUAL(decaying, 3 * 4 + 1);
}

/* ---- buckets ---- */

static void test_bucket_ranges_cover(void)
{
    static const size_t cases[][2] = {{100, 40}, {100, 4}, {100, 400}, {100, 404}, {1, 4}, {7, 28}, {100, 1}};
    c4_train_job job = make_job();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        c4_buckets buckets;
        C4TEST_OK_FATAL(c4_buckets_init(&buckets, &job, cases[c][0], cases[c][1], true));
        size_t top = cases[c][0];
        for (size_t i = 0; i < buckets.nbuckets; i++) {
            size_t first, size = c4_buckets_range(&buckets, i, &first);
            CU_ASSERT(size > 0 && (size * 4 <= cases[c][1] || size == 1));
            CU_ASSERT_EQUAL(first + size, top);
            top = first;
        }
        CU_ASSERT_EQUAL(top, 0);
        c4_buckets_fini(&buckets);
    }
    c4_train_job_close(&job, C4_OK);
}

/* A bucket leaves when its lowest gradient is ready, not before, and all by the end. */
static void test_buckets_leave_when_ready(void)
{
    c4_train_job job = make_job();
    c4_buckets buckets;
    double loss = 4.5;
    C4TEST_OK_FATAL(c4_buckets_init(&buckets, &job, 100, 30 * sizeof(float), true));
    for (size_t i = 0; i < 100; i++)
        buckets.grads[i] = (float)i;
    c4_buckets_begin(&buckets, &loss);
    static const size_t steps[][2] = {{100, 1}, {71, 1}, {70, 2}, {41, 2}, {10, 4}, {1, 4}, {0, 5}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        c4_buckets_ready(&buckets, steps[i][0]);
        CU_ASSERT_EQUAL(buckets.issued, steps[i][1]);
    }
    C4TEST_OK(c4_buckets_finish(&buckets));
    CU_ASSERT_EQUAL(buckets.completed, 5);
    CU_ASSERT_EQUAL(loss, 4.5);
    for (size_t i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(buckets.grads[i], (float)i);
    CU_ASSERT(buckets.comm_ns >= buckets.exposed_ns);
    c4_buckets_fini(&buckets);
    c4_train_job_close(&job, C4_OK);
}

static void test_no_overlap_sends_at_the_end(void)
{
    c4_train_job job = make_job();
    c4_buckets buckets;
    double loss = 1;
    C4TEST_OK_FATAL(c4_buckets_init(&buckets, &job, 100, 40, false));
    c4_buckets_begin(&buckets, &loss);
    c4_buckets_ready(&buckets, 0);
    CU_ASSERT_EQUAL(buckets.issued, 1); /* the loss */
    C4TEST_OK(c4_buckets_finish(&buckets));
    CU_ASSERT_EQUAL(buckets.completed, 11);
    c4_buckets_fini(&buckets);
    c4_train_job_close(&job, C4_OK);
}

/* ---- synthetic compute ---- */

static void count_ready(void *context, size_t ready)
{
    size_t *state = context;
    CU_ASSERT(ready <= state[1]);
    state[0]++;
    state[1] = ready;
}

static void test_synthetic_sums_are_checked(void)
{
    c4_model_config config = {.layers = 1, .dim = 8, .heads = 1, .seq = 4, .hidden = 8};
    size_t count = c4_layout_params(&config), state[2] = {0, count};
    float *sum = calloc(2 * count, sizeof *sum), *part = sum + count;
    CU_ASSERT_PTR_NOT_NULL_FATAL(sum);
    for (int rank = 0; rank < 3; rank++) {
        state[1] = count;
        c4_synthetic_step(&config, 3, 9, rank, part, (c4_ready_hook){count_ready, state});
        CU_ASSERT_EQUAL(state[1], 0);
        for (size_t i = 0; i < count; i++)
            sum[i] += part[i];
    }
    CU_ASSERT(state[0] >= 3 * c4_layout_tensors(&config));
    C4TEST_OK(c4_synthetic_check(9, 3, count, sum));
    sum[count / 2] -= 1;
    c4_text_catch();
    c4_status status = c4_synthetic_check(9, 3, count, sum);
    char *text = c4_text_caught();
    C4TEST_INT(status, C4_ERR_INTERNAL);
    C4TEST_CONTAINS(text, "wrong sum");
    free(text);
    free(sum);
}

/* ---- chart and progress ---- */

static char *draw(const double *values, size_t count, const char *title)
{
    c4_chart_point points[] = {{1, 3}, {2, (double)NAN}};
    c4_chart chart = {title, "sub", "x", "y", "curve", values, count, "points", points, 2};
    FILE *file = fopen(c4test_path("svg"), "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    c4_chart_write(&chart, file);
    fclose(file);
    return c4_text_read(c4test_path("svg"), NULL);
}

static size_t occurrences(const char *text, const char *part)
{
    size_t n = 0;
    for (text = strstr(text, part); text; text = strstr(text + 1, part))
        n++;
    return n;
}

static void test_chart(void)
{
    double values[] = {5, 4, (double)NAN, 3, 2};
    char *text = draw(values, 5, "a < b & c");
    C4TEST_CONTAINS(text, "<svg xmlns='http://www.w3.org/2000/svg'");
    C4TEST_CONTAINS(text, "</svg>");
    C4TEST_CONTAINS(text, "a &lt; b &amp; c");
    CU_ASSERT_EQUAL(occurrences(text, "<circle"), 2); /* one point that is a number, one in the legend */
    CU_ASSERT_EQUAL(occurrences(text, "<text"), occurrences(text, "</text>"));
    CU_ASSERT_PTR_NULL(strstr(text, "nan"));
    CU_ASSERT_PTR_NULL(strstr(text, "inf"));
    free(text);
}

/* Nothing, one value, equal values, not one number: still a chart with finite places. */
static void test_chart_of_odd_values(void)
{
    double nothing[] = {(double)NAN, (double)INFINITY}, flat[] = {2, 2, 2}, tiny[] = {1e-30, 2e-30};
    const struct {
        const double *values;
        size_t count;
    } cases[] = {{nothing, 0}, {nothing, 2}, {flat, 1}, {flat, 3}, {tiny, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = draw(cases[i].values, cases[i].count, "t");
        C4TEST_CONTAINS(text, "</svg>");
        CU_ASSERT_PTR_NULL(strstr(text, "nan"));
        CU_ASSERT_PTR_NULL(strstr(text, "inf"));
        free(text);
    }
}

/* A run of a million steps does not make a file of many megabytes. */
static void test_chart_of_a_long_run(void)
{
    size_t count = 300001;
    double *values = malloc(count * sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    for (size_t i = 0; i < count; i++)
        values[i] = 3 + sin((double)i / 1e4);
    char *text = draw(values, count, "t");
    CU_ASSERT(strlen(text) < 100000);
    CU_ASSERT(occurrences(text, "L") > 2000);
    free(text);
    free(values);
}

static void test_progress_line(void)
{
    char line[1024];
    c4_train_progress progress = {.first = 10, .total = 110};
    c4_train_progress_state now = {.step = 60, .loss = 2.5, .tokens_per_s = 1234, .comm_share = 0.125};
    c4_train_progress_format(&progress, &now, 50, 100, line, sizeof line);
    C4TEST_CONTAINS(line, "60/110");
    C4TEST_CONTAINS(line, "loss 2.5000");
    C4TEST_CONTAINS(line, "1234 tok/s");
    C4TEST_CONTAINS(line, "comm 12.5%");
    C4TEST_CONTAINS(line, "0:50 left"); /* 50 steps took 50 s, 50 are left */
    C4TEST_CONTAINS(line, "[================..............]");
    CU_ASSERT(strlen(line) <= 100);
    c4_train_progress_format(&progress, &now, 50, 40, line, sizeof line); /* narrow: no bar */
    CU_ASSERT_PTR_NULL(strchr(line, '['));
    now.loss = now.tokens_per_s = (double)NAN;
    now.step_ms = 7;
    c4_train_progress_format(&progress, &now, 50, 100, line, sizeof line);
    CU_ASSERT_PTR_NULL(strstr(line, "loss"));
    C4TEST_CONTAINS(line, "7.00 ms/step");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(options),
                                        C4TEST(options_refused),
                                        C4TEST(batch_does_not_depend_on_ranks),
                                        C4TEST(held_out_text_is_apart),
                                        C4TEST(rate_schedule),
                                        C4TEST(adamw_matches_formula),
                                        C4TEST(only_linear_layers_decay),
                                        C4TEST(bucket_ranges_cover),
                                        C4TEST(buckets_leave_when_ready),
                                        C4TEST(no_overlap_sends_at_the_end),
                                        C4TEST(synthetic_sums_are_checked),
                                        C4TEST(chart),
                                        C4TEST(chart_of_odd_values),
                                        C4TEST(chart_of_a_long_run),
                                        C4TEST(progress_line),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
