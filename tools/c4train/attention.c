/* Causal multi-head attention with rotary positions (Su et al., RoFormer, 2021; half-split pairing as in GPT-NeoX).
 *
 * Per sequence and head: S = Q K^T / sqrt(d), P = softmax of each row over the positions up to its own, O = P V.
 * Backward: dV = P^T dO; dP = dO V^T; dS = P (dP - rowsum(P dP)) / sqrt(d); dQ = dS K; dK = dS^T Q.
 * Rows are taken in blocks, and the products stop at a block's last row: what lies above the diagonal is not computed
 * (with 128 tokens that saves a quarter of the work, with 1024 nearly half). */
#include <string.h>

#include "tools/c4train/layers.h"

enum { BLOCK_ROWS = 64 };

/* Row t: cos(t f_i) for i < head_dim / 2, then sin(t f_i), with f_i = 10000^(-2i / head_dim). */
void c4_rotary_fill(size_t seq, size_t head_dim, c4_real *rotary)
{
    size_t half = head_dim / 2;
    for (size_t t = 0; t < seq; t++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)t * pow(10000.0, -2.0 * (double)i / (double)head_dim);
            rotary[t * head_dim + i] = (c4_real)cos(angle);
            rotary[t * head_dim + half + i] = (c4_real)sin(angle);
        }
    }
}

/* Turns each pair (x[i], x[i + half]) by its angle; `sign` -1 turns back, which is also the gradient. */
static void rotate(size_t half, const c4_real *turn, c4_real sign, c4_real *x)
{
    for (size_t i = 0; i < half; i++) {
        c4_real c = turn[i], s = sign * turn[half + i];
        c4_real a = x[i], b = x[i + half];
        x[i] = a * c - b * s;
        x[i + half] = a * s + b * c;
    }
}

/* Queries and keys of one sequence; values stay. */
static void rotate_sequence(const c4_attention *shape, c4_real sign, c4_real *qkv)
{
    size_t head_dim = shape->dim / shape->heads;
    for (size_t t = 0; t < shape->seq; t++) {
        const c4_real *turn = shape->rotary + t * head_dim;
        for (size_t h = 0; h < 2 * shape->heads; h++)
            rotate(head_dim / 2, turn, sign, qkv + t * 3 * shape->dim + h * head_dim);
    }
}

static size_t block_end(size_t seq, size_t first)
{
    return first + BLOCK_ROWS < seq ? first + BLOCK_ROWS : seq;
}

/* softmax of row[0 .. visible), zero up to `cols`. */
static void softmax_row(c4_real *row, size_t visible, size_t cols)
{
    c4_real largest = row[0], sum = 0;
    for (size_t j = 1; j < visible; j++)
        largest = row[j] > largest ? row[j] : largest;
    for (size_t j = 0; j < visible; j++) {
        row[j] = exp(row[j] - largest);
        sum += row[j];
    }
    c4_real inverse = 1 / sum;
    for (size_t j = 0; j < visible; j++)
        row[j] *= inverse;
    memset(row + visible, 0, (cols - visible) * sizeof *row);
}

static void head_forward(const c4_attention *shape, const c4_real *q, c4_real *prob, c4_real *out)
{
    size_t dim = shape->dim, seq = shape->seq, head_dim = dim / shape->heads;
    const c4_real *k = q + dim, *v = q + 2 * dim;
    int stride = (int)(3 * dim), width = (int)head_dim;
    c4_real scale = 1 / sqrt((c4_real)head_dim);
    for (size_t first = 0; first < seq; first += BLOCK_ROWS) {
        size_t end = block_end(seq, first);
        c4_real *rows = prob + first * seq;
        int n = (int)(end - first), cols = (int)end;
        C4_REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, n, cols, width, scale, q + first * 3 * dim, stride, k,
                     stride, 0, rows, (int)seq);
        for (size_t t = first; t < end; t++)
            softmax_row(prob + t * seq, t + 1, end);
        C4_REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, width, cols, 1, rows, (int)seq, v, stride, 0,
                     out + first * dim, (int)dim);
    }
}

void c4_attention_forward(const c4_attention *shape, c4_real *qkv, c4_real *prob, c4_real *out)
{
    size_t seq = shape->seq, dim = shape->dim, head_dim = dim / shape->heads;
    for (size_t s = 0; s < shape->sequences; s++) {
        rotate_sequence(shape, 1, qkv);
        for (size_t h = 0; h < shape->heads; h++, prob += seq * seq)
            head_forward(shape, qkv + h * head_dim, prob, out + h * head_dim);
        qkv += seq * 3 * dim;
        out += seq * dim;
    }
}

/* dP of rows [first, end) becomes dS in place: P (dP - sum(P dP)). */
static void softmax_backward(size_t seq, size_t first, size_t end, const c4_real *prob, c4_real *d_prob)
{
    for (size_t t = first; t < end; t++) {
        const c4_real *p = prob + t * seq;
        c4_real *d = d_prob + t * seq, sum = 0;
        for (size_t j = 0; j <= t; j++)
            sum += p[j] * d[j];
        for (size_t j = 0; j < end; j++)
            d[j] = p[j] * (d[j] - sum);
    }
}

/* Every block of rows adds to d_k and d_v of the columns it sees, so these start at zero. */
static void head_backward(const c4_attention *shape, const c4_real *q, const c4_real *prob, const c4_real *d_out,
                          c4_real *d_q, c4_real *d_prob)
{
    size_t dim = shape->dim, seq = shape->seq, head_dim = dim / shape->heads;
    const c4_real *k = q + dim, *v = q + 2 * dim;
    c4_real *d_k = d_q + dim, *d_v = d_q + 2 * dim;
    int stride = (int)(3 * dim), width = (int)head_dim, row = (int)seq;
    c4_real scale = 1 / sqrt((c4_real)head_dim);
    for (size_t t = 0; t < seq; t++) {
        memset(d_k + t * 3 * dim, 0, head_dim * sizeof *d_k);
        memset(d_v + t * 3 * dim, 0, head_dim * sizeof *d_v);
    }
    for (size_t first = 0; first < seq; first += BLOCK_ROWS) {
        size_t end = block_end(seq, first);
        int n = (int)(end - first), cols = (int)end;
        const c4_real *p = prob + first * seq, *d_o = d_out + first * dim;
        c4_real *d_s = d_prob + first * seq;
        C4_REAL_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, cols, width, n, 1, p, row, d_o, (int)dim, 1, d_v, stride);
        C4_REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, n, cols, width, 1, d_o, (int)dim, v, stride, 0, d_s, row);
        softmax_backward(seq, first, end, prob, d_prob);
        C4_REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, width, cols, scale, d_s, row, k, stride, 0,
                     d_q + first * 3 * dim, stride);
        C4_REAL_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, cols, width, n, scale, d_s, row, q + first * 3 * dim,
                     stride, 1, d_k, stride);
    }
}

void c4_attention_backward(const c4_attention *shape, size_t sequence, const c4_real *qkv, const c4_real *prob,
                           const c4_real *d_out, c4_real *d_qkv, c4_real *scratch)
{
    size_t seq = shape->seq, dim = shape->dim, head_dim = dim / shape->heads;
    qkv += sequence * seq * 3 * dim;
    d_qkv += sequence * seq * 3 * dim;
    d_out += sequence * seq * dim;
    prob += sequence * shape->heads * seq * seq;
    for (size_t h = 0; h < shape->heads; h++, prob += seq * seq)
        head_backward(shape, qkv + h * head_dim, prob, d_out + h * head_dim, d_qkv + h * head_dim, scratch);
    rotate_sequence(shape, -1, d_qkv);
}
