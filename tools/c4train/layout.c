#include "tools/c4train/layout.h"

#include "base/rng.h"

int c4_model_hidden(int dim)
{
    return (dim * 8 / 3 + 31) / 32 * 32;
}

static void tensor_shape(const c4_model_config *config, c4_tensor_kind kind, size_t *rows, size_t *cols)
{
    size_t dim = (size_t)config->dim, hidden = (size_t)config->hidden;
    const size_t shapes[][2] = {
        [C4_TENSOR_NORM1] = {1, dim},
        [C4_TENSOR_QKV] = {3 * dim, dim},
        [C4_TENSOR_PROJ] = {dim, dim},
        [C4_TENSOR_NORM2] = {1, dim},
        [C4_TENSOR_GATE_UP] = {2 * hidden, dim},
        [C4_TENSOR_DOWN] = {dim, hidden},
        [C4_TENSOR_EMBED] = {C4_MODEL_VOCAB, dim},
        [C4_TENSOR_NORM_FINAL] = {1, dim},
        [C4_TENSOR_HEAD] = {C4_MODEL_VOCAB, dim},
    };
    *rows = shapes[kind][0];
    *cols = shapes[kind][1];
}

static size_t tensor_count(const c4_model_config *config, c4_tensor_kind kind)
{
    size_t rows, cols;
    tensor_shape(config, kind, &rows, &cols);
    return rows * cols;
}

/* Elements of the first `kinds` tensors of a layer. */
static size_t layer_prefix(const c4_model_config *config, int kinds)
{
    size_t sum = 0;
    for (int kind = 0; kind < kinds; kind++)
        sum += tensor_count(config, (c4_tensor_kind)kind);
    return sum;
}

static size_t layer_offset(const c4_model_config *config, int layer)
{
    return tensor_count(config, C4_TENSOR_EMBED) + (size_t)layer * layer_prefix(config, C4_TENSOR_PER_LAYER);
}

size_t c4_layout_tensors(const c4_model_config *config)
{
    return 1 + (size_t)config->layers * C4_TENSOR_PER_LAYER + 2;
}

c4_tensor c4_layout_tensor(const c4_model_config *config, size_t index)
{
    c4_tensor tensor = {.kind = C4_TENSOR_EMBED, .offset = 0};
    size_t in_layers = (size_t)config->layers * C4_TENSOR_PER_LAYER;
    if (index > in_layers) {
        tensor.kind = index == in_layers + 1 ? C4_TENSOR_NORM_FINAL : C4_TENSOR_HEAD;
        tensor.offset = layer_offset(config, config->layers);
        if (tensor.kind == C4_TENSOR_HEAD)
            tensor.offset += tensor_count(config, C4_TENSOR_NORM_FINAL);
    } else if (index > 0) {
        int layer = (int)((index - 1) / C4_TENSOR_PER_LAYER);
        int kind = (int)((index - 1) % C4_TENSOR_PER_LAYER);
        tensor.kind = (c4_tensor_kind)kind;
        tensor.offset = layer_offset(config, layer) + layer_prefix(config, kind);
    }
    tensor_shape(config, tensor.kind, &tensor.rows, &tensor.cols);
    tensor.decay = tensor.rows > 1 && tensor.kind != C4_TENSOR_EMBED;
    return tensor;
}

size_t c4_layout_params(const c4_model_config *config)
{
    c4_tensor last = c4_layout_tensor(config, c4_layout_tensors(config) - 1);
    return last.offset + last.rows * last.cols;
}

c4_layer_view c4_layout_layer(const c4_model_config *config, c4_real *base, int layer)
{
    c4_real *start = base + layer_offset(config, layer);
    return (c4_layer_view){
        .norm1 = start + layer_prefix(config, C4_TENSOR_NORM1),
        .qkv = start + layer_prefix(config, C4_TENSOR_QKV),
        .proj = start + layer_prefix(config, C4_TENSOR_PROJ),
        .norm2 = start + layer_prefix(config, C4_TENSOR_NORM2),
        .gate_up = start + layer_prefix(config, C4_TENSOR_GATE_UP),
        .down = start + layer_prefix(config, C4_TENSOR_DOWN),
    };
}

c4_real *c4_layout_norm_final(const c4_model_config *config, c4_real *base)
{
    return base + layer_offset(config, config->layers);
}

c4_real *c4_layout_head(const c4_model_config *config, c4_real *base)
{
    return c4_layout_norm_final(config, base) + config->dim;
}

/* Box-Muller, one value per two draws: initialisation is not hot. */
static double normal(c4_rng *rng)
{
    double u = ((double)(c4_rng_next(rng) >> 11) + 0.5) * 0x1p-53;
    double v = (double)(c4_rng_next(rng) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979323846 * v);
}

/* 1/sqrt(inputs) keeps activations of order one; matrices that write into the residual stream are smaller by
 * sqrt(2 layers), so that it does not grow with depth (GPT-2). The small head makes the first loss ln 256. */
static double tensor_std(const c4_model_config *config, const c4_tensor *tensor)
{
    double fan_in = 1.0 / sqrt((double)tensor->cols);
    switch (tensor->kind) {
    case C4_TENSOR_PROJ:
    case C4_TENSOR_DOWN:
        return fan_in / sqrt(2.0 * config->layers);
    case C4_TENSOR_EMBED:
        return 0.5;
    case C4_TENSOR_HEAD:
        return 0.02;
    default:
        return fan_in;
    }
}

void c4_layout_init(const c4_model_config *config, uint64_t seed, c4_real *params)
{
    c4_rng rng = {.state = seed * 0x9e3779b97f4a7c15u + 1};
    for (size_t t = 0; t < c4_layout_tensors(config); t++) {
        c4_tensor tensor = c4_layout_tensor(config, t);
        double std = tensor_std(config, &tensor);
        c4_real *values = params + tensor.offset;
        for (size_t i = 0; i < tensor.rows * tensor.cols; i++)
            values[i] = tensor.rows == 1 ? 1 : (c4_real)(std * normal(&rng));
    }
}
