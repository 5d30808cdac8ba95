/* Where each parameter lives: all parameters of the model are one flat array, gradients another of the same shape.
 *
 * The order is the order of the forward pass (embedding, layers, final norm, head), so the backward pass completes
 * gradients from the end of the array to its start and "what is ready" is one number: an offset. */
#ifndef C4_TOOLS_C4TRAIN_LAYOUT_H
#define C4_TOOLS_C4TRAIN_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/c4train/real.h"

#define C4_MODEL_VOCAB 256 /* one token per byte value */

typedef struct c4_model_config {
    int layers;
    int dim; /* width of the residual stream; a multiple of 2 * heads */
    int heads;
    int seq;    /* tokens per sequence */
    int hidden; /* width of the MLP; see c4_model_hidden */
} c4_model_config;

typedef enum c4_tensor_kind {
    C4_TENSOR_NORM1,
    C4_TENSOR_QKV,
    C4_TENSOR_PROJ,
    C4_TENSOR_NORM2,
    C4_TENSOR_GATE_UP,
    C4_TENSOR_DOWN,
    C4_TENSOR_PER_LAYER,
    C4_TENSOR_EMBED = C4_TENSOR_PER_LAYER,
    C4_TENSOR_NORM_FINAL,
    C4_TENSOR_HEAD
} c4_tensor_kind;

/* One tensor: `rows` x `cols`, row-major, at `offset` of the flat array. A linear layer is [outputs x inputs]. */
typedef struct c4_tensor {
    c4_tensor_kind kind;
    size_t offset;
    size_t rows;
    size_t cols;
    bool decay; /* weight decay applies: matrices of linear layers, neither norms nor the embedding */
} c4_tensor;

/* 8/3 of dim rounded up to a multiple of 32: the SwiGLU MLP then has about the parameters of a 4 x dim one. */
int c4_model_hidden(int dim);
size_t c4_layout_tensors(const c4_model_config *config);
/* `index` is 0 .. c4_layout_tensors() - 1, in ascending order of offset. */
c4_tensor c4_layout_tensor(const c4_model_config *config, size_t index);
size_t c4_layout_params(const c4_model_config *config);

/* Tensors of one layer as pointers into a flat array (parameters or gradients). */
typedef struct c4_layer_view {
    c4_real *norm1;   /* [dim] */
    c4_real *qkv;     /* [3 dim x dim]: queries, keys, values */
    c4_real *proj;    /* [dim x dim] */
    c4_real *norm2;   /* [dim] */
    c4_real *gate_up; /* [2 hidden x dim] */
    c4_real *down;    /* [dim x hidden] */
} c4_layer_view;

c4_layer_view c4_layout_layer(const c4_model_config *config, c4_real *base, int layer);
c4_real *c4_layout_norm_final(const c4_model_config *config, c4_real *base); /* [dim] */
c4_real *c4_layout_head(const c4_model_config *config, c4_real *base);       /* [256 x dim] */

/* Fills `params` from `seed`: the same numbers on every machine with the same libm. */
void c4_layout_init(const c4_model_config *config, uint64_t seed, c4_real *params);

#endif
