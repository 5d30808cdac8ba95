/* The training loop. */
#include "base/clock.h"
#include "base/status.h"
#include "tools/c4train/message.h"
#include "tools/c4train/progress.h"
#include "tools/c4train/synthetic.h"
#include "tools/c4train/trainer.h"

/* Forward, backward with the buckets on their way meanwhile, update. */
static c4_status train_step(c4_trainer *t)
{
    const c4_train_options *o = t->options;
    double loss, tokens = (double)o->batch * (double)o->seq;
    c4_ready_hook hook = {c4_buckets_ready, &t->buckets};
    c4_corpus_batch(&t->corpus, (uint64_t)o->seed, (uint64_t)t->step, t->first, t->sequences, (size_t)o->seq, t->inputs,
                    t->targets);
    loss = c4_model_forward(t->model, t->inputs, t->targets, t->sequences);
    c4_buckets_begin(&t->buckets, &loss);
    c4_model_backward(t->model, t->inputs, t->targets, t->sequences, (float)(1 / tokens), t->buckets.grads, hook);
    C4_TRY(c4_buckets_finish(&t->buckets));
    t->curve[t->step] = loss / tokens;
    if (!isfinite(loss)) /* the same sum on every rank, so all of them stop here */
        return c4_train_fail(C4_ERR_ARGUMENT, "rank %d: the loss of step %ld is not finite; lower --lr", t->job->rank,
                             t->step + 1);
    c4_adamw_schedule schedule = {o->lr, (long)o->warmup, (long)o->steps};
    t->grad_norm = c4_adamw_step(&t->adamw, &t->config, t->step, c4_adamw_rate(&schedule, t->step), t->buckets.grads,
                                 t->model->params);
    return C4_OK;
}

static c4_status synthetic_step(c4_trainer *t)
{
    double loss = 0;
    uint64_t step = (uint64_t)t->step, start = c4_now_ns();
    c4_ready_hook hook = {c4_buckets_ready, &t->buckets};
    c4_buckets_begin(&t->buckets, &loss);
    c4_synthetic_step(&t->config, t->options->step_ms, step, t->job->rank, t->buckets.grads, hook);
    C4_TRY(c4_buckets_finish(&t->buckets));
    t->curve[t->step] = (double)(c4_now_ns() - start) * 1e-6;
    return c4_synthetic_check(step, t->job->nranks, t->buckets.count, t->buckets.grads);
}

static c4_status timed_step(c4_trainer *t)
{
    uint64_t start = c4_now_ns();
    C4_TRY(t->model ? train_step(t) : synthetic_step(t));
    t->step++;
    t->times.step_ns += c4_now_ns() - start;
    t->times.comm_ns += t->buckets.comm_ns;
    t->times.exposed_ns += t->buckets.exposed_ns;
    return C4_OK;
}

/* As many held-out sequences as a batch has, shared out in the same way. */
static c4_status evaluate(c4_trainer *t)
{
    const c4_train_options *o = t->options;
    c4_corpus_eval(&t->corpus, t->first, t->sequences, (size_t)o->batch, (size_t)o->seq, t->inputs, t->targets);
    double loss = c4_model_forward(t->model, t->inputs, t->targets, t->sequences);
    c4_status status = c4_all_reduce(&loss, &loss, 1, C4_FLOAT64, C4_SUM, t->job->comm, NULL);
    C4_TRY(c4_train_job_check(t->job, status, "all_reduce of the evaluation"));
    t->evals[t->nevals++] = (c4_chart_point){(double)t->step, loss / ((double)o->batch * (double)o->seq)};
    return C4_OK;
}

static void show(const c4_trainer *t, c4_train_progress *progress)
{
    double seconds = (double)t->times.step_ns * 1e-9;
    double steps = (double)(t->step - t->start), tokens = steps * (double)(t->options->batch * t->options->seq);
    c4_train_progress_state state = {
        .step = t->step,
        .loss = t->model ? t->curve[t->step - 1] : (double)NAN,
        .tokens_per_s = t->model ? tokens / seconds : (double)NAN,
        .step_ms = 1e3 * seconds / steps,
        .comm_share = (double)t->times.comm_ns / (double)t->times.step_ns,
    };
    c4_train_progress_update(progress, &state);
}

static bool is_due(int64_t every, long step, long last)
{
    return every > 0 && (step % every == 0 || step == last);
}

static c4_status run_steps(c4_trainer *t, long last, c4_train_progress *progress)
{
    const c4_train_options *o = t->options;
    while (t->step < last) {
        C4_TRY(timed_step(t));
        show(t, progress);
        if (is_due(o->eval_every, t->step, last))
            C4_TRY(evaluate(t));
        if (is_due(o->checkpoint_every, t->step, last) || (o->checkpoint && t->step == last))
            C4_TRY(c4_trainer_checkpoint(t));
    }
    return C4_OK;
}

c4_status c4_trainer_run(c4_trainer *t)
{
    const c4_train_options *o = t->options;
    long last = (long)(o->stop_at > 0 && o->stop_at < o->steps ? o->stop_at : o->steps);
    c4_train_progress progress;
    c4_train_progress_start(&progress, t->job->rank == 0 && !o->quiet, t->start, last);
    c4_status status = run_steps(t, last, &progress);
    c4_train_progress_end(&progress);
    return status;
}
