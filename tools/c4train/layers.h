/* Forward and backward of each kind of layer. Row-major; `rows` is sequences x tokens. Gradients of parameters are
 * written (not added), gradients of the residual stream are added where a comment says so. */
#ifndef C4_TOOLS_C4TRAIN_LAYERS_H
#define C4_TOOLS_C4TRAIN_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "tools/c4train/real.h"

/* linear.c: y[rows x outputs] = x[rows x inputs] weight^T (+ y when `add`), weight[outputs x inputs]. */
typedef struct c4_linear {
    size_t rows;
    size_t inputs;
    size_t outputs;
} c4_linear;

void c4_linear_forward(c4_linear shape, const c4_real *x, const c4_real *weight, int add, c4_real *y);
/* d_weight = d_y^T x; d_x = d_y weight. */
void c4_linear_backward(c4_linear shape, const c4_real *x, const c4_real *weight, const c4_real *d_y, c4_real *d_weight,
                        c4_real *d_x);

/* rmsnorm.c: y = x * gain / rms(x), per row; `inverse`[rows] keeps 1 / rms for the backward pass. */
void c4_rmsnorm_forward(size_t rows, size_t dim, const c4_real *x, const c4_real *gain, c4_real *inverse, c4_real *y);
/* d_gain is written; the gradient of x is ADDED to d_x. */
void c4_rmsnorm_backward(size_t rows, size_t dim, const c4_real *x, const c4_real *gain, const c4_real *inverse,
                         const c4_real *d_y, c4_real *d_gain, c4_real *d_x);

/* attention.c: causal multi-head attention over qkv[sequences * seq x 3 dim], rotary positions included. */
typedef struct c4_attention {
    size_t sequences;
    size_t seq;
    size_t dim;
    size_t heads;
    const c4_real *rotary; /* [seq x dim / heads]: cosines then sines; see c4_rotary_fill */
} c4_attention;

void c4_rotary_fill(size_t seq, size_t head_dim, c4_real *rotary);
/* Rotates queries and keys in `qkv` in place; prob[sequences * heads * seq x seq] is kept for the backward pass. */
void c4_attention_forward(const c4_attention *shape, c4_real *qkv, c4_real *prob, c4_real *out);
/* One sequence, so that the caller can let communication progress in between. scratch[seq x seq]. */
void c4_attention_backward(const c4_attention *shape, size_t sequence, const c4_real *qkv, const c4_real *prob,
                           const c4_real *d_out, c4_real *d_qkv, c4_real *scratch);

/* mlp.c: h = silu(gate) * up, for gate_up[rows x 2 hidden]; sigmoid[rows x hidden] is kept for the backward pass. */
void c4_swiglu_forward(size_t rows, size_t hidden, const c4_real *gate_up, c4_real *sigmoid, c4_real *h);
void c4_swiglu_backward(size_t rows, size_t hidden, const c4_real *gate_up, const c4_real *sigmoid, const c4_real *d_h,
                        c4_real *d_gate_up);

/* embedding.c */
void c4_embedding_forward(size_t rows, size_t dim, const uint8_t *tokens, const c4_real *table, c4_real *x);
void c4_embedding_backward(size_t rows, size_t dim, const uint8_t *tokens, const c4_real *d_x, c4_real *d_table);

/* loss.c: logits[rows x vocab] become probabilities in place. Returns the sum over rows of -log p(target). */
double c4_loss_forward(size_t rows, size_t vocab, const uint8_t *targets, c4_real *logits);
/* Probabilities become d_logits in place: scale * (p - onehot(target)). */
void c4_loss_backward(size_t rows, size_t vocab, const uint8_t *targets, c4_real scale, c4_real *prob);

#endif
