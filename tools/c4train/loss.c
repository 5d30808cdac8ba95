#include "tools/c4train/layers.h"

static c4_real largest_of(size_t count, const c4_real *values)
{
    c4_real largest = values[0];
    for (size_t i = 1; i < count; i++)
        largest = values[i] > largest ? values[i] : largest;
    return largest;
}

/* values[i] = exp(values[i] - offset); returns their sum. */
static c4_real exponentiate(size_t count, c4_real offset, c4_real *values)
{
    c4_real sum = 0;
    for (size_t i = 0; i < count; i++) {
        values[i] = exp(values[i] - offset);
        sum += values[i];
    }
    return sum;
}

double c4_loss_forward(size_t rows, size_t vocab, const uint8_t *targets, c4_real *logits)
{
    double loss = 0;
    for (size_t r = 0; r < rows; r++, logits += vocab) {
        c4_real largest = largest_of(vocab, logits), target = logits[targets[r]] - largest;
        c4_real sum = exponentiate(vocab, largest, logits), inverse = 1 / sum;
        loss += log((double)sum) - (double)target;
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
