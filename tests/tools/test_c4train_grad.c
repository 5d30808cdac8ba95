/* The model's backward pass against finite differences, and attention against a plain loop. Built with
 * C4_TRAIN_DOUBLE: in double, central differences are good to about nine digits, so a wrong term cannot hide. */
#include "tests/c4test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/c4train/model.h"

_Static_assert(sizeof(c4_real) == 8, "build this test and its model sources with -DC4_TRAIN_DOUBLE");

static c4_real uniform(void)
{
    return (c4_real)c4test_rand_below(1u << 20) / (c4_real)(1u << 19) - 1;
}

static c4_real *uniform_array(size_t count)
{
    c4_real *values = malloc(count * sizeof *values);
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    for (size_t i = 0; i < count; i++)
        values[i] = uniform();
    return values;
}

static uint8_t *random_bytes(size_t count)
{
    uint8_t *bytes = malloc(count);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)c4test_rand_below(256);
    return bytes;
}

/* Asserts |a - b| <= tolerance * (floor + |a| + |b|). */
static void assert_near(const char *what, size_t index, double a, double b, double tolerance, double floor_value)
{
    if (!(fabs(a - b) <= tolerance * (floor_value + fabs(a) + fabs(b)))) {
        fprintf(stderr, "%s[%zu]: %.12g against %.12g\n", what, index, a, b);
        CU_FAIL("values differ");
    }
}

static int same_values(size_t count, const c4_real *a, const c4_real *b)
{
    size_t same = 0;
    while (same < count && a[same] == b[same])
        same++;
    return same == count;
}

/* ---- the whole model ---- */

typedef struct hook_log {
    size_t calls;
    size_t last;
    int falling; /* offsets never rose */
} hook_log;

static void log_ready(void *context, size_t offset)
{
    hook_log *log = context;
    log->falling &= offset <= log->last;
    log->last = offset;
    log->calls++;
}

/* The loss is near 1000, so a difference of two carries about 1e-13 / 2e-5: hence the floor of 0.05 * 1e-6. */
static void check_tensor(c4_model *model, const c4_tensor *tensor, const uint8_t *in, const uint8_t *out, size_t n,
                         const c4_real *grads)
{
    static const char *const names[] = {"norm1", "qkv",   "proj",       "norm2", "gate_up",
                                        "down",  "embed", "norm_final", "head"};
    size_t count = tensor->rows * tensor->cols, samples = count < 24 ? count : 24;
    for (size_t s = 0; s < samples; s++) {
        size_t i = tensor->offset + (count < 24 ? s : c4test_rand_below(count));
        if (tensor->kind == C4_TENSOR_EMBED) /* rows of bytes that occur, or nearly all samples would be zero */
            i = in[s % (n * (size_t)model->config.seq)] * tensor->cols + s % tensor->cols;
        c4_real kept = model->params[i], step = 1e-5;
        model->params[i] = kept + step;
        double above = c4_model_forward(model, in, out, n);
        model->params[i] = kept - step;
        double below = c4_model_forward(model, in, out, n);
        model->params[i] = kept;
        assert_near(names[tensor->kind], i, grads[i], (above - below) / (2 * step), 1e-6, 0.05);
    }
}

static void check_model(c4_model_config config, size_t sequences)
{
    c4_model *model = NULL;
    C4TEST_OK_FATAL(c4_model_create(&config, sequences, &model));
    c4_layout_init(&config, 7, model->params);
    for (size_t i = 0; i < model->params_count; i++)
        model->params[i] += 0.1 * uniform(); /* gains away from one, a head that is not small */
    size_t tokens = sequences * (size_t)config.seq;
    uint8_t *in = random_bytes(tokens), *out = random_bytes(tokens);
    c4_real *grads = malloc(model->params_count * sizeof *grads);
    CU_ASSERT_PTR_NOT_NULL_FATAL(grads);
    for (size_t i = 0; i < model->params_count; i++)
        grads[i] = NAN; /* every gradient must be written */
    hook_log log = {.last = model->params_count, .falling = 1};
    c4_model_forward(model, in, out, sequences);
    c4_model_backward(model, in, out, sequences, 1, grads, (c4_ready_hook){log_ready, &log});
    CU_ASSERT(log.falling);
    C4TEST_INT((long long)log.last, 0);
    CU_ASSERT(log.calls >= (size_t)config.layers * 6 + 3);
    for (size_t t = 0; t < c4_layout_tensors(&config); t++) {
        c4_tensor tensor = c4_layout_tensor(&config, t);
        check_tensor(model, &tensor, in, out, sequences, grads);
    }
    free(in);
    free(out);
    free(grads);
    c4_model_destroy(model);
}

static void test_model_gradient(void)
{
    check_model((c4_model_config){.layers = 2, .dim = 12, .heads = 2, .seq = 7, .hidden = 10}, 3);
}

/* Longer than a block of attention rows, and not a multiple of it. */
static void test_model_gradient_blocks(void)
{
    check_model((c4_model_config){.layers = 1, .dim = 8, .heads = 1, .seq = 147, .hidden = 6}, 1);
}

static void test_no_sequences_give_zero(void)
{
    c4_model_config config = {.layers = 1, .dim = 8, .heads = 2, .seq = 4, .hidden = 8};
    c4_model *model = NULL;
    C4TEST_OK_FATAL(c4_model_create(&config, 1, &model));
    c4_real *grads = uniform_array(model->params_count);
    hook_log log = {.last = model->params_count, .falling = 1};
    CU_ASSERT_EQUAL(c4_model_forward(model, NULL, NULL, 0), 0);
    c4_model_backward(model, NULL, NULL, 0, 1, grads, (c4_ready_hook){log_ready, &log});
    for (size_t i = 0; i < model->params_count; i++)
        CU_ASSERT_EQUAL(grads[i], 0);
    C4TEST_INT((long long)log.calls, 1);
    free(grads);
    c4_model_destroy(model);
}

/* A gradient reported as ready is not touched again: what the hook sees is what the end of the pass shows. */
typedef struct final_check {
    const c4_real *grads;
    c4_real *seen;
    size_t low;
} final_check;

static void copy_ready(void *context, size_t offset)
{
    final_check *check = context;
    memcpy(check->seen + offset, check->grads + offset, (check->low - offset) * sizeof *check->seen);
    check->low = offset;
}

static void test_ready_gradients_are_final(void)
{
    c4_model_config config = {.layers = 2, .dim = 8, .heads = 2, .seq = 5, .hidden = 8};
    c4_model *model = NULL;
    C4TEST_OK_FATAL(c4_model_create(&config, 2, &model));
    c4_layout_init(&config, 3, model->params);
    uint8_t *in = random_bytes(10), *out = random_bytes(10);
    c4_real *grads = uniform_array(model->params_count), *seen = uniform_array(model->params_count);
    final_check check = {grads, seen, model->params_count};
    c4_model_forward(model, in, out, 2);
    c4_model_backward(model, in, out, 2, 1, grads, (c4_ready_hook){copy_ready, &check});
    CU_ASSERT(same_values(model->params_count, grads, seen));
    free(in);
    free(out);
    free(grads);
    free(seen);
    c4_model_destroy(model);
}

/* ---- attention by the definition ---- */

typedef struct attention_case {
    size_t sequences, seq, dim, heads;
} attention_case;

/* Element i of head h's query (part 0), key (1) or value (2) at token t, rotated by the definition. */
static double part_at(const attention_case *c, const c4_real *qkv, int part, size_t h, size_t t, size_t i)
{
    size_t d = c->dim / c->heads, half = d / 2;
    const c4_real *x = qkv + t * 3 * c->dim + (size_t)part * c->dim + h * d;
    if (part == 2)
        return x[i];
    double angle = (double)t * pow(10000.0, -2.0 * (double)(i % half) / (double)d);
    double a = x[i % half], b = x[i % half + half];
    return i < half ? a * cos(angle) - b * sin(angle) : a * sin(angle) + b * cos(angle);
}

static double attention_at(const attention_case *c, const c4_real *qkv, size_t h, size_t t, size_t i)
{
    size_t d = c->dim / c->heads;
    double total = 0, sum = 0;
    for (size_t u = 0; u <= t; u++) {
        double score = 0;
        for (size_t k = 0; k < d; k++)
            score += part_at(c, qkv, 0, h, t, k) * part_at(c, qkv, 1, h, u, k);
        double weight = exp(score / sqrt((double)d));
        total += weight;
        sum += weight * part_at(c, qkv, 2, h, u, i);
    }
    return sum / total;
}

static void test_attention_matches_definition(void)
{
    static const attention_case cases[] = {{2, 5, 8, 2}, {1, 1, 4, 1}, {1, 70, 12, 3}, {1, 64, 4, 2}};
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        const attention_case *c = &cases[n];
        size_t rows = c->sequences * c->seq, d = c->dim / c->heads;
        c4_real *qkv = uniform_array(rows * 3 * c->dim), *rotated = uniform_array(rows * 3 * c->dim);
        c4_real *rotary = uniform_array(c->seq * d), *out = uniform_array(rows * c->dim);
        c4_real *prob = uniform_array(rows * c->heads * c->seq);
        memcpy(rotated, qkv, rows * 3 * c->dim * sizeof *qkv);
        c4_rotary_fill(c->seq, d, rotary);
        c4_attention shape = {c->sequences, c->seq, c->dim, c->heads, rotary};
        c4_attention_forward(&shape, rotated, prob, out);
        for (size_t r = 0; r < rows; r++) {
            const c4_real *sequence = qkv + r / c->seq * c->seq * 3 * c->dim;
            for (size_t i = 0; i < c->dim; i++)
                assert_near("attention", r * c->dim + i, out[r * c->dim + i],
                            attention_at(c, sequence, i / d, r % c->seq, i % d), 1e-12, 1);
        }
        free(qkv);
        free(rotated);
        free(rotary);
        free(out);
        free(prob);
    }
}

/* Scores of +-1e4 overflow exp unless the row's largest is taken off first. */
static void test_softmax_of_large_scores(void)
{
    c4_real qkv[2 * 3 * 2] = {1e4, 0, 1e4, 0, 1, 2, 1e4, 0, -1e4, 0, 3, 4}, rotary[2 * 2], prob[4], out[4];
    c4_rotary_fill(2, 2, rotary);
    c4_attention shape = {1, 2, 2, 1, rotary};
    c4_attention_forward(&shape, qkv, prob, out);
    for (int i = 0; i < 4; i++)
        CU_ASSERT(isfinite(out[i]));
    c4_real logits[3] = {1e5, -1e5, 0};
    uint8_t target = 1;
    assert_near("loss", 0, c4_loss_forward(1, 3, &target, logits), 2e5, 1e-12, 0);
    assert_near("probability", 0, logits[0], 1, 1e-12, 0);
}

/* No position sees a later one: changing token t leaves the outputs before t bit for bit. */
static void test_causality(void)
{
    c4_model_config config = {.layers = 2, .dim = 8, .heads = 2, .seq = 67, .hidden = 8};
    c4_model *model = NULL;
    C4TEST_OK_FATAL(c4_model_create(&config, 1, &model));
    c4_layout_init(&config, 11, model->params);
    uint8_t *in = random_bytes(67), *out = random_bytes(67);
    size_t changed = 65, before = changed * C4_MODEL_VOCAB;
    c4_real *kept = malloc(before * sizeof *kept);
    CU_ASSERT_PTR_NOT_NULL_FATAL(kept);
    c4_model_forward(model, in, out, 1);
    memcpy(kept, model->prob, before * sizeof *kept);
    c4_real at = model->prob[before];
    in[changed] ^= 1;
    c4_model_forward(model, in, out, 1);
    CU_ASSERT(same_values(before, kept, model->prob));
    CU_ASSERT(at != model->prob[before]);
    free(in);
    free(out);
    free(kept);
    c4_model_destroy(model);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(model_gradient),
                                        C4TEST(model_gradient_blocks),
                                        C4TEST(no_sequences_give_zero),
                                        C4TEST(ready_gradients_are_final),
                                        C4TEST(attention_matches_definition),
                                        C4TEST(softmax_of_large_scores),
                                        C4TEST(causality),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
