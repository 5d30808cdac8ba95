#include "tools/c4train/layers.h"

double c4_loss_forward(size_t rows, size_t vocab, const uint8_t *targets, c4_real *logits)
{
    double loss = 0;
    for (size_t r = 0; r < rows; r++, logits += vocab) {
        c4_real largest = logits[0], sum = 0;
        for (size_t i = 1; i < vocab; i++)
            largest = logits[i] > largest ? logits[i] : largest;
        c4_real target = logits[targets[r]] - largest;
        for (size_t i = 0; i < vocab; i++) {
            logits[i] = exp(logits[i] - largest);
            sum += logits[i];
        }
        loss += log((double)sum) - (double)target;
        c4_real inverse = 1 / sum;
        for (size_t i = 0; i < vocab; i++)
            logits[i] *= inverse;
    }
    return loss;
}

void c4_loss_backward(size_t rows, size_t vocab, const uint8_t *targets, c4_real scale, c4_real *prob)
{
    for (size_t r = 0; r < rows; r++, prob += vocab) {
        prob[targets[r]] -= 1;
        for (size_t i = 0; i < vocab; i++)
            prob[i] *= scale;
    }
}
