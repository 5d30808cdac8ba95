/* One transformer layer: x + proj(attention(norm(x))), then x + down(swiglu(norm(x))). */
#include <string.h>

#include "tools/c4train/model.h"

static c4_attention attention_of(const c4_model *model, size_t sequences)
{
    const c4_model_config *config = &model->config;
    return (c4_attention){
        .sequences = sequences,
        .seq = (size_t)config->seq,
        .dim = (size_t)config->dim,
        .heads = (size_t)config->heads,
        .rotary = model->rotary,
    };
}

void c4_block_forward(c4_model *model, int layer, size_t sequences, c4_real *out)
{
    const c4_model_config *config = &model->config;
    size_t dim = (size_t)config->dim, hidden = (size_t)config->hidden, rows = sequences * (size_t)config->seq;
    c4_layer_view w = c4_layout_layer(config, model->params, layer);
    const c4_layer_acts *a = &model->acts[layer];
    c4_attention attention = attention_of(model, sequences);

    c4_rmsnorm_forward(rows, dim, a->x, w.norm1, a->inverse1, a->normed1);
    c4_linear_forward((c4_linear){rows, dim, 3 * dim}, a->normed1, w.qkv, 0, a->qkv);
    c4_attention_forward(&attention, a->qkv, a->prob, a->mixed);
    memcpy(a->middle, a->x, rows * dim * sizeof *a->x);
    c4_linear_forward((c4_linear){rows, dim, dim}, a->mixed, w.proj, 1, a->middle);

    c4_rmsnorm_forward(rows, dim, a->middle, w.norm2, a->inverse2, a->normed2);
    c4_linear_forward((c4_linear){rows, dim, 2 * hidden}, a->normed2, w.gate_up, 0, a->gate_up);
    c4_swiglu_forward(rows, hidden, a->gate_up, a->sigmoid, a->h);
    memcpy(out, a->middle, rows * dim * sizeof *out);
    c4_linear_forward((c4_linear){rows, hidden, dim}, a->h, w.down, 1, out);
}

/* What the two halves of the backward pass share. */
typedef struct block_back {
    c4_model *model;
    const c4_layer_acts *acts;
    c4_layer_view weights;
    c4_layer_view grads;
    const c4_real *grads_base;
    size_t sequences;
    size_t rows;
    c4_ready_hook hook;
} block_back;

/* `tensor` (in the gradients) and everything after it are final. */
static void ready(const block_back *b, const c4_real *tensor)
{
    b->hook.call(b->hook.context, (size_t)(tensor - b->grads_base));
}

static void mlp_backward(const block_back *b)
{
    size_t dim = (size_t)b->model->config.dim, hidden = (size_t)b->model->config.hidden;
    const c4_layer_acts *a = b->acts;
    const c4_back_scratch *s = &b->model->back;
    c4_linear_backward((c4_linear){b->rows, hidden, dim}, a->h, b->weights.down, s->residual, b->grads.down, s->h);
    ready(b, b->grads.down);
    c4_swiglu_backward(b->rows, hidden, a->gate_up, a->sigmoid, s->h, s->wide);
    c4_linear_backward((c4_linear){b->rows, dim, 2 * hidden}, a->normed2, b->weights.gate_up, s->wide, b->grads.gate_up,
                       s->normed);
    ready(b, b->grads.gate_up);
    c4_rmsnorm_backward(b->rows, dim, a->middle, b->weights.norm2, a->inverse2, s->normed, b->grads.norm2, s->residual);
    ready(b, b->grads.norm2);
}

static void attention_backward(const block_back *b)
{
    size_t dim = (size_t)b->model->config.dim;
    const c4_layer_acts *a = b->acts;
    const c4_back_scratch *s = &b->model->back;
    c4_attention attention = attention_of(b->model, b->sequences);
    c4_linear_backward((c4_linear){b->rows, dim, dim}, a->mixed, b->weights.proj, s->residual, b->grads.proj, s->mixed);
    ready(b, b->grads.proj);
    for (size_t sequence = 0; sequence < b->sequences; sequence++) {
        c4_attention_backward(&attention, sequence, a->qkv, a->prob, s->mixed, s->wide, s->square);
        ready(b, b->grads.proj);
    }
    c4_linear_backward((c4_linear){b->rows, dim, 3 * dim}, a->normed1, b->weights.qkv, s->wide, b->grads.qkv,
                       s->normed);
    ready(b, b->grads.qkv);
    c4_rmsnorm_backward(b->rows, dim, a->x, b->weights.norm1, a->inverse1, s->normed, b->grads.norm1, s->residual);
    ready(b, b->grads.norm1);
}

void c4_block_backward(c4_model *model, int layer, size_t sequences, c4_real *grads, c4_ready_hook hook)
{
    block_back b = {
        .model = model,
        .acts = &model->acts[layer],
        .weights = c4_layout_layer(&model->config, model->params, layer),
        .grads = c4_layout_layer(&model->config, grads, layer),
        .grads_base = grads,
        .sequences = sequences,
        .rows = sequences * (size_t)model->config.seq,
        .hook = hook,
    };
    mlp_backward(&b);
    attention_backward(&b);
}
