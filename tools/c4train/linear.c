#include "tools/c4train/layers.h"

void c4_linear_forward(c4_linear shape, const c4_real *x, const c4_real *weight, int add, c4_real *y)
{
    int rows = (int)shape.rows, inputs = (int)shape.inputs, outputs = (int)shape.outputs;
    C4_REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, rows, outputs, inputs, 1, x, inputs, weight, inputs,
                 add ? 1 : 0, y, outputs);
}

void c4_linear_backward(c4_linear shape, const c4_real *x, const c4_real *weight, const c4_real *d_y, c4_real *d_weight,
                        c4_real *d_x)
{
    int rows = (int)shape.rows, inputs = (int)shape.inputs, outputs = (int)shape.outputs;
    C4_REAL_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, outputs, inputs, rows, 1, d_y, outputs, x, inputs, 0,
                 d_weight, inputs);
    C4_REAL_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, inputs, outputs, 1, d_y, outputs, weight, inputs, 0,
                 d_x, inputs);
}
