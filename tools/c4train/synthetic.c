#include "tools/c4train/synthetic.h"

#include "base/clock.h"
#include "tools/c4train/message.h"

/* The hook is called this often, as between the products of a real layer. */
#define SLICE_NS 250000.0

static void spin(double ns)
{
    uint64_t end = c4_now_ns() + (uint64_t)ns;
    while (c4_now_ns() < end)
        c4_cpu_pause();
}

static void spin_in_slices(double ns, size_t ready, c4_ready_hook hook)
{
    for (; ns > SLICE_NS; ns -= SLICE_NS) {
        spin(SLICE_NS);
        hook.call(hook.context, ready);
    }
    spin(ns);
}

/* Small whole numbers: their sum over any number of ranks in use is exact in float, in any order. */
static float pattern(uint64_t step, size_t index)
{
    return (float)((index + step) & 31);
}

static void write_gradients(const c4_tensor *tensor, uint64_t step, int rank, float *grads)
{
    for (size_t i = tensor->offset; i < tensor->offset + tensor->rows * tensor->cols; i++)
        grads[i] = pattern(step, i) + (float)rank;
}

void c4_synthetic_step(const c4_model_config *config, double step_ms, uint64_t step, int rank, float *grads,
                       c4_ready_hook hook)
{
    double forward_ns = step_ms * 1e6 / 3, backward_ns = step_ms * 1e6 - forward_ns;
    double per_param_ns = backward_ns / (double)c4_layout_params(config);
    size_t ready = c4_layout_params(config);
    spin_in_slices(forward_ns, ready, hook);
    for (size_t t = c4_layout_tensors(config); t-- > 0;) {
        c4_tensor tensor = c4_layout_tensor(config, t);
        uint64_t start = c4_now_ns();
        write_gradients(&tensor, step, rank, grads);
        double written_ns = (double)(c4_now_ns() - start);
        double share_ns = per_param_ns * (double)(tensor.rows * tensor.cols);
        spin_in_slices(share_ns - written_ns, ready, hook);
        ready = tensor.offset;
        hook.call(hook.context, ready);
    }
}

c4_status c4_synthetic_check(uint64_t step, int nranks, size_t count, const float *grads)
{
    float ranks = (float)nranks * (float)(nranks - 1) / 2;
    for (size_t i = 0; i < count; i++) {
        float expected = (float)nranks * pattern(step, i) + ranks;
        if (grads[i] != expected)
            return c4_train_fail(C4_ERR_INTERNAL, "wrong sum: gradient %zu of step %llu is %.9g, expected %.9g", i,
                                 (unsigned long long)step, (double)grads[i], (double)expected);
    }
    return C4_OK;
}
