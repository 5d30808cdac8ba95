#include "tools/c4train/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* Hands out consecutive parts of an arena; with no memory it only counts. Parts start on cache lines. */
typedef struct carver {
    char *memory;
    size_t used;
} carver;

static c4_real *carve(carver *from, size_t count)
{
    c4_real *part = from->memory ? (c4_real *)(void *)(from->memory + from->used) : NULL;
    from->used += (count * sizeof(c4_real) + 63) / 64 * 64;
    return part;
}

static void carve_layer(carver *from, const c4_model_config *config, size_t sequences, c4_layer_acts *acts)
{
    size_t seq = (size_t)config->seq, dim = (size_t)config->dim, hidden = (size_t)config->hidden;
    size_t rows = sequences * seq;
    acts->x = carve(from, rows * dim);
    acts->inverse1 = carve(from, rows);
    acts->normed1 = carve(from, rows * dim);
    acts->qkv = carve(from, rows * 3 * dim);
    acts->prob = carve(from, rows * (size_t)config->heads * seq);
    acts->mixed = carve(from, rows * dim);
    acts->middle = carve(from, rows * dim);
    acts->inverse2 = carve(from, rows);
    acts->normed2 = carve(from, rows * dim);
    acts->gate_up = carve(from, rows * 2 * hidden);
    acts->sigmoid = carve(from, rows * hidden);
    acts->h = carve(from, rows * hidden);
}

static void carve_scratch(carver *from, const c4_model_config *config, size_t rows, c4_back_scratch *back)
{
    size_t seq = (size_t)config->seq, dim = (size_t)config->dim, hidden = (size_t)config->hidden;
    size_t wide = 3 * dim > 2 * hidden ? 3 * dim : 2 * hidden;
    back->residual = carve(from, rows * dim);
    back->normed = carve(from, rows * dim);
    back->mixed = carve(from, rows * dim);
    back->h = carve(from, rows * hidden);
    back->wide = carve(from, rows * wide);
    back->square = carve(from, seq * seq);
}

static void carve_model(carver *from, c4_model *model)
{
    const c4_model_config *config = &model->config;
    size_t dim = (size_t)config->dim, rows = model->max_sequences * (size_t)config->seq;
    model->params = carve(from, model->params_count);
    model->rotary = carve(from, (size_t)config->seq * dim / (size_t)config->heads);
    for (int layer = 0; layer < config->layers; layer++)
        carve_layer(from, config, model->max_sequences, &model->acts[layer]);
    model->last = carve(from, rows * dim);
    model->inverse_final = carve(from, rows);
    model->normed_final = carve(from, rows * dim);
    model->prob = carve(from, rows * C4_MODEL_VOCAB);
    carve_scratch(from, config, rows, &model->back);
}

/* In double, without overflow: the question is asked before shapes are known to be sane. */
double c4_model_bytes(const c4_model_config *config, size_t max_sequences)
{
    double seq = config->seq, dim = config->dim, hidden = config->hidden, rows = (double)max_sequences * seq;
    double per_layer = 7 * dim + 4 * hidden + (double)config->heads * seq + 2;
    double wide = 3 * dim > 2 * hidden ? 3 * dim : 2 * hidden;
    double outside = 5 * dim + C4_MODEL_VOCAB + 1 + hidden + wide;
    double params = config->layers * (4 * dim * dim + 3 * hidden * dim + 2 * dim) + (2.0 * C4_MODEL_VOCAB + 1) * dim;
    double values = params + rows * (config->layers * per_layer + outside) + seq * seq + seq * dim / config->heads;
    return values * sizeof(c4_real);
}

c4_status c4_model_create(const c4_model_config *config, size_t max_sequences, c4_model **model)
{
    c4_model *made = calloc(1, sizeof *made);
    if (!made)
        return C4_ERR_MEMORY;
    made->config = *config;
    made->max_sequences = max_sequences;
    made->params_count = c4_layout_params(config);
    made->acts = calloc((size_t)config->layers, sizeof *made->acts);
    c4_status status = made->acts ? C4_OK : C4_ERR_MEMORY;
    C4_TRY_GOTO(status, fail);
    carver count = {0};
    carve_model(&count, made);
    if (posix_memalign(&made->arena, 64, count.used) != 0) {
        made->arena = NULL;
        C4_TRY_GOTO(C4_ERR_MEMORY, fail);
    }
    carver real = {.memory = made->arena};
    carve_model(&real, made);
    c4_rotary_fill((size_t)config->seq, (size_t)(config->dim / config->heads), made->rotary);
    *model = made;
    return C4_OK;
fail:
    c4_model_destroy(made);
    return status;
}

void c4_model_destroy(c4_model *model)
{
    if (!model)
        return;
    free(model->arena);
    free(model->acts);
    free(model);
}

static c4_linear head_shape(const c4_model *model, size_t rows)
{
    return (c4_linear){rows, (size_t)model->config.dim, C4_MODEL_VOCAB};
}

double c4_model_forward(c4_model *model, const uint8_t *inputs, const uint8_t *targets, size_t sequences)
{
    const c4_model_config *config = &model->config;
    size_t dim = (size_t)config->dim, rows = sequences * (size_t)config->seq;
    if (sequences == 0)
        return 0;
    c4_embedding_forward(rows, dim, inputs, model->params, model->acts[0].x);
    for (int layer = 0; layer < config->layers; layer++) {
        c4_real *out = layer + 1 < config->layers ? model->acts[layer + 1].x : model->last;
        c4_block_forward(model, layer, sequences, out);
    }
    c4_rmsnorm_forward(rows, dim, model->last, c4_layout_norm_final(config, model->params), model->inverse_final,
                       model->normed_final);
    c4_linear_forward(head_shape(model, rows), model->normed_final, c4_layout_head(config, model->params), 0,
                      model->prob);
    return c4_loss_forward(rows, C4_MODEL_VOCAB, targets, model->prob);
}

void c4_model_backward(c4_model *model, const uint8_t *inputs, const uint8_t *targets, size_t sequences, c4_real scale,
                       c4_real *grads, c4_ready_hook hook)
{
    const c4_model_config *config = &model->config;
    size_t dim = (size_t)config->dim, rows = sequences * (size_t)config->seq;
    if (sequences == 0) {
        memset(grads, 0, model->params_count * sizeof *grads);
        hook.call(hook.context, 0);
        return;
    }
    c4_real *d_head = c4_layout_head(config, grads), *d_norm = c4_layout_norm_final(config, grads);
    c4_back_scratch *back = &model->back;
    c4_loss_backward(rows, C4_MODEL_VOCAB, targets, scale, model->prob);
    c4_linear_backward(head_shape(model, rows), model->normed_final, c4_layout_head(config, model->params), model->prob,
                       d_head, back->normed);
    hook.call(hook.context, (size_t)(d_head - grads));
    memset(back->residual, 0, rows * dim * sizeof *back->residual);
    c4_rmsnorm_backward(rows, dim, model->last, c4_layout_norm_final(config, model->params), model->inverse_final,
                        back->normed, d_norm, back->residual);
    hook.call(hook.context, (size_t)(d_norm - grads));
    for (int layer = config->layers - 1; layer >= 0; layer--)
        c4_block_backward(model, layer, sequences, grads, hook);
    c4_embedding_backward(rows, dim, inputs, back->residual, grads);
    hook.call(hook.context, 0);
}
