#include <string.h>

#include "tools/c4train/layers.h"
#include "tools/c4train/layout.h"

void c4_embedding_forward(size_t rows, size_t dim, const uint8_t *tokens, const c4_real *table, c4_real *x)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(x + r * dim, table + tokens[r] * dim, dim * sizeof *x);
}

void c4_embedding_backward(size_t rows, size_t dim, const uint8_t *tokens, const c4_real *d_x, c4_real *d_table)
{
    memset(d_table, 0, C4_MODEL_VOCAB * dim * sizeof *d_table);
    for (size_t r = 0; r < rows; r++, d_x += dim) {
        c4_real *row = d_table + tokens[r] * dim;
        for (size_t i = 0; i < dim; i++)
            row[i] += d_x[i];
    }
}
