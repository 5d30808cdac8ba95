/* The number type of the model. Training uses float; the gradient check builds the same sources with double, where
 * finite differences are accurate to nine digits. */
#ifndef C4_TOOLS_C4TRAIN_REAL_H
#define C4_TOOLS_C4TRAIN_REAL_H

#include <cblas.h>
#include <tgmath.h>

#ifdef C4_TRAIN_DOUBLE
typedef double c4_real;
#define C4_REAL_GEMM cblas_dgemm
#else
typedef float c4_real;
#define C4_REAL_GEMM cblas_sgemm
#endif

#endif
