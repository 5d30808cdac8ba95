#include "tools/c4train/trainer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/status.h"
#include "tools/c4train/checkpoint.h"
#include "tools/c4train/message.h"

/* ---- set-up ---- */

static c4_status create_model(c4_trainer *trainer)
{
    size_t sequences = trainer->sequences > 0 ? trainer->sequences : 1; /* one for sampling */
    double bytes = c4_model_bytes(&trainer->config, sequences);
    double rows = (double)sequences * trainer->config.seq;
    c4_status status = C4_ERR_MEMORY;
    if (bytes < 0x1p46 && rows < INT_MAX)
        status = c4_model_create(&trainer->config, sequences, &trainer->model);
    if (status < 0)
        return c4_train_fail(status,
                             "rank %d: out of memory: the model and %zu sequences of %d need %.0f MiB; lower "
                             "--batch, --seq, --layers or --dim, or use more ranks",
                             trainer->job->rank, sequences, trainer->config.seq, bytes / 1048576);
    return c4_adamw_init(&trainer->adamw, trainer->model->params_count, (float)trainer->options->decay,
                         (float)trainer->options->clip);
}

static c4_status allocate(c4_trainer *trainer)
{
    const c4_train_options *o = trainer->options;
    size_t tokens = trainer->sequences * (size_t)o->seq;
    if (o->step_ms <= 0)
        C4_TRY(create_model(trainer));
    trainer->inputs = malloc(2 * tokens + 1);
    trainer->curve = calloc((size_t)o->steps, sizeof *trainer->curve);
    trainer->evals = calloc((size_t)(o->eval_every > 0 ? o->steps / o->eval_every + 1 : 1), sizeof *trainer->evals);
    if (!trainer->inputs || !trainer->curve || !trainer->evals)
        return c4_train_fail(C4_ERR_MEMORY, "rank %d: out of memory for the batch", trainer->job->rank);
    trainer->targets = trainer->inputs + tokens;
    return c4_buckets_init(&trainer->buckets, trainer->job, c4_layout_params(&trainer->config), (size_t)o->bucket_bytes,
                           !o->no_overlap);
}

/* A run should not end with its results unwritable. */
static c4_status check_writable(const char *path)
{
    char directory[4096];
    if (!path)
        return C4_OK;
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof directory)
        return c4_train_fail(C4_ERR_ARGUMENT, "path of %zu characters is too long", strlen(path));
    memcpy(directory, path, length);
    memcpy(directory + length, length ? "" : ".", length ? 1 : 2);
    if (access(directory, W_OK | X_OK) != 0)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot write %s: no writable directory %s", path, directory);
    return C4_OK;
}

static c4_status check_outputs(const c4_train_options *options, int rank)
{
    if (rank != 0)
        return C4_OK;
    C4_TRY(check_writable(options->svg));
    C4_TRY(check_writable(options->json));
    return check_writable(options->checkpoint);
}

/* ---- state: initial, resumed, saved ---- */

static c4_checkpoint_head head_of(const c4_trainer *trainer)
{
    const c4_train_options *o = trainer->options;
    c4_checkpoint_head head = {
        .version = C4_CHECKPOINT_VERSION,
        .params = trainer->model->params_count,
        .step = (uint64_t)trainer->step,
        .layers = (uint64_t)o->layers,
        .dim = (uint64_t)o->dim,
        .heads = (uint64_t)o->heads,
        .seq = (uint64_t)o->seq,
        .batch = (uint64_t)o->batch,
        .steps = (uint64_t)o->steps,
        .warmup = (uint64_t)o->warmup,
        .seed = (uint64_t)o->seed,
        .text_hash = trainer->corpus.hash,
        .lr = o->lr,
        .decay = o->decay,
        .clip = o->clip,
    };
    memcpy(head.magic, C4_CHECKPOINT_MAGIC, sizeof head.magic);
    return head;
}

static c4_checkpoint_arrays arrays_of(const c4_trainer *trainer)
{
    return (c4_checkpoint_arrays){trainer->model->params, trainer->adamw.mean, trainer->curve};
}

/* Rank 0's state goes to all, so that neither a file that only rank 0 sees nor another libm makes a difference. */
static c4_status share_state(c4_trainer *trainer, uint64_t step)
{
    const c4_train_job *job = trainer->job;
    size_t values = trainer->model->params_count * sizeof(float);
    C4_TRY(c4_train_job_broadcast(job, &step, sizeof step));
    C4_TRY(c4_train_job_broadcast(job, trainer->model->params, values));
    C4_TRY(c4_train_job_broadcast(job, trainer->adamw.mean, 2 * values));
    C4_TRY(c4_train_job_broadcast(job, trainer->curve, step * sizeof *trainer->curve));
    trainer->start = trainer->step = (long)step;
    return C4_OK;
}

static c4_status load_state(c4_trainer *trainer)
{
    c4_status status = C4_OK;
    uint64_t step = 0;
    if (trainer->job->rank == 0 && trainer->options->resume) {
        c4_checkpoint_head want = head_of(trainer);
        c4_checkpoint_arrays arrays = arrays_of(trainer);
        status = c4_checkpoint_load(trainer->options->checkpoint, &want, &arrays, &step);
    } else if (trainer->job->rank == 0) {
        c4_layout_init(&trainer->config, (uint64_t)trainer->options->seed, trainer->model->params);
    }
    C4_TRY(c4_train_job_agree(trainer->job, status));
    return share_state(trainer, step);
}

c4_status c4_trainer_init(c4_trainer *trainer, const c4_train_options *options, const c4_train_job *job)
{
    size_t batch = (size_t)options->batch;
    *trainer = (c4_trainer){
        .options = options,
        .job = job,
        .config = {(int)options->layers, (int)options->dim, (int)options->heads, (int)options->seq,
                   c4_model_hidden((int)options->dim)},
        .first = c4_train_job_first(job, job->rank, batch),
    };
    trainer->sequences = c4_train_job_first(job, job->rank + 1, batch) - trainer->first;
    C4_TRY(c4_train_job_agree(job, check_outputs(options, job->rank)));
    if (options->step_ms <= 0)
        C4_TRY(c4_corpus_open(job, options->data, (size_t)options->seq, &trainer->corpus));
    C4_TRY(c4_train_job_agree(job, allocate(trainer)));
    return options->step_ms > 0 ? C4_OK : load_state(trainer);
}

void c4_trainer_fini(c4_trainer *trainer)
{
    c4_buckets_fini(&trainer->buckets);
    c4_adamw_fini(&trainer->adamw);
    c4_model_destroy(trainer->model);
    c4_corpus_close(&trainer->corpus);
    free(trainer->inputs);
    free(trainer->curve);
    free(trainer->evals);
    *trainer = (c4_trainer){0};
}

uint64_t c4_trainer_weights_hash(const c4_trainer *trainer)
{
    if (!trainer->model)
        return 0;
    return c4_hash_bytes(C4_HASH_INIT, trainer->model->params, trainer->model->params_count * sizeof(float));
}

c4_status c4_trainer_checkpoint(const c4_trainer *trainer)
{
    c4_status status = C4_OK;
    C4_TRY(c4_train_job_same(trainer->job, c4_trainer_weights_hash(trainer), "their weights"));
    if (trainer->job->rank == 0) {
        c4_checkpoint_head head = head_of(trainer);
        c4_checkpoint_arrays arrays = arrays_of(trainer);
        status = c4_checkpoint_save(trainer->options->checkpoint, &head, &arrays);
    }
    return c4_train_job_agree(trainer->job, status);
}
