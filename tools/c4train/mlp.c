#include "tools/c4train/layers.h"

void c4_swiglu_forward(size_t rows, size_t hidden, const c4_real *gate_up, c4_real *sigmoid, c4_real *h)
{
    for (size_t r = 0; r < rows; r++, gate_up += 2 * hidden, sigmoid += hidden, h += hidden) {
        const c4_real *gate = gate_up, *up = gate_up + hidden;
        for (size_t i = 0; i < hidden; i++) {
            sigmoid[i] = 1 / (1 + exp(-gate[i]));
            h[i] = gate[i] * sigmoid[i] * up[i];
        }
    }
}

/* silu(g) = g s with s = sigmoid(g), so silu'(g) = s + g s (1 - s). */
void c4_swiglu_backward(size_t rows, size_t hidden, const c4_real *gate_up, const c4_real *sigmoid, const c4_real *d_h,
                        c4_real *d_gate_up)
{
    for (size_t r = 0; r < rows; r++) {
        const c4_real *gate = gate_up, *up = gate_up + hidden;
        c4_real *d_gate = d_gate_up, *d_up = d_gate_up + hidden;
        for (size_t i = 0; i < hidden; i++) {
            c4_real s = sigmoid[i];
            d_up[i] = d_h[i] * gate[i] * s;
            d_gate[i] = d_h[i] * up[i] * (s + gate[i] * s * (1 - s));
        }
        gate_up += 2 * hidden;
        d_gate_up += 2 * hidden;
        sigmoid += hidden;
        d_h += hidden;
    }
}
