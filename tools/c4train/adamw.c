#include "tools/c4train/adamw.h"

#include <stdlib.h>

double c4_adamw_rate(const c4_adamw_schedule *schedule, long step)
{
    if (step < schedule->warmup)
        return schedule->lr * (double)(step + 1) / (double)schedule->warmup;
    long span = schedule->steps - schedule->warmup;
    double done = span > 0 ? (double)(step - schedule->warmup) / (double)span : 1.0;
    done = done < 1.0 ? done : 1.0;
    return schedule->lr * (0.1 + 0.9 * 0.5 * (1.0 + cos(3.14159265358979323846 * done)));
}

c4_status c4_adamw_init(c4_adamw *adamw, size_t count, float decay, float clip)
{
    float *moments = calloc(2 * count, sizeof *moments);
    if (!moments)
        return C4_ERR_MEMORY;
    adamw->count = count;
    adamw->mean = moments;
    adamw->square = moments + count;
    adamw->decay = decay;
    adamw->clip = clip;
    return C4_OK;
}

void c4_adamw_fini(c4_adamw *adamw)
{
    free(adamw->mean);
    *adamw = (c4_adamw){0};
}

/* In double and in a fixed order: the same on every rank and in every run. */
static double norm(size_t count, const float *grads)
{
    double sum[4] = {0};
    for (size_t i = 0; i < count; i++)
        sum[i & 3] += (double)grads[i] * (double)grads[i];
    return sqrt((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

typedef struct update {
    float clip;        /* factor on the gradient */
    float rate;        /* of this step, bias correction of the mean included */
    float square_bias; /* 1 / (1 - beta2^t) */
    float keep;        /* 1 - rate * decay */
} update;

static void update_tensor(const c4_adamw *adamw, update u, size_t first, size_t count, const float *grads,
                          float *params)
{
    float *mean = adamw->mean + first, *square = adamw->square + first;
    for (size_t i = 0; i < count; i++) {
        float g = grads[i] * u.clip;
        mean[i] = C4_ADAMW_BETA1 * mean[i] + (1 - C4_ADAMW_BETA1) * g;
        square[i] = C4_ADAMW_BETA2 * square[i] + (1 - C4_ADAMW_BETA2) * g * g;
        float step = mean[i] / (sqrtf(square[i] * u.square_bias) + C4_ADAMW_EPSILON);
        params[i] = u.keep * params[i] - u.rate * step;
    }
}

double c4_adamw_step(c4_adamw *adamw, const c4_model_config *config, long step, double rate, const float *grads,
                     float *params)
{
    double length = norm(adamw->count, grads);
    update u = {
        .clip = length > (double)adamw->clip ? (float)((double)adamw->clip / length) : 1.0f,
        .rate = (float)(rate / (1.0 - pow((double)C4_ADAMW_BETA1, (double)(step + 1)))),
        .square_bias = (float)(1.0 / (1.0 - pow((double)C4_ADAMW_BETA2, (double)(step + 1)))),
    };
    for (size_t t = 0; t < c4_layout_tensors(config); t++) {
        c4_tensor tensor = c4_layout_tensor(config, t);
        u.keep = tensor.decay ? (float)(1.0 - rate * (double)adamw->decay) : 1.0f;
        update_tensor(adamw, u, tensor.offset, tensor.rows * tensor.cols, grads + tensor.offset,
                      params + tensor.offset);
    }
    return length;
}
