#include <string.h>

#include "tools/c4train/layers.h"

#define C4_RMSNORM_EPSILON 1e-5

/* Four partial sums: independent chains the compiler may keep in one vector register, in a fixed order. */
static c4_real dot(size_t n, const c4_real *a, const c4_real *b)
{
    c4_real sum[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++)
            sum[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

void c4_rmsnorm_forward(size_t rows, size_t dim, const c4_real *x, const c4_real *gain, c4_real *inverse, c4_real *y)
{
    for (size_t r = 0; r < rows; r++, x += dim, y += dim) {
        c4_real mean_square = dot(dim, x, x) / (c4_real)dim;
        c4_real inv = 1 / sqrt(mean_square + (c4_real)C4_RMSNORM_EPSILON);
        inverse[r] = inv;
        for (size_t i = 0; i < dim; i++)
            y[i] = x[i] * inv * gain[i];
    }
}

/* With s = 1/rms: dx = s (g dy) - x s^3 / dim * sum(g dy x). */
void c4_rmsnorm_backward(size_t rows, size_t dim, const c4_real *x, const c4_real *gain, const c4_real *inverse,
                         const c4_real *d_y, c4_real *d_gain, c4_real *d_x)
{
    memset(d_gain, 0, dim * sizeof *d_gain);
    for (size_t r = 0; r < rows; r++, x += dim, d_y += dim, d_x += dim) {
        c4_real inv = inverse[r], sum[4] = {0};
        for (size_t i = 0; i < dim; i++) {
            d_gain[i] += d_y[i] * x[i] * inv;
            sum[i & 3] += d_y[i] * x[i] * gain[i];
        }
        c4_real back = ((sum[0] + sum[1]) + (sum[2] + sum[3])) * inv * inv * inv / (c4_real)dim;
        for (size_t i = 0; i < dim; i++)
            d_x[i] += d_y[i] * gain[i] * inv - x[i] * back;
    }
}
