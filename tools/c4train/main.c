/* c4train: trains a small language model, data parallel through the public calls of libc4. See c4train(1). */
#include <stdio.h>

#include "base/status.h"
#include "tools/c4train/message.h"
#include "tools/c4train/options.h"
#include "tools/c4train/report.h"
#include "tools/c4train/sample.h"
#include "tools/c4train/trainer.h"

enum { EXIT_TRAINED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static c4_status print_sample(const c4_trainer *trainer)
{
    const c4_train_options *o = trainer->options;
    if (o->sample == 0 || trainer->job->rank != 0)
        return C4_OK;
    if (!o->quiet)
        fputs("c4train: the model writes:\n", stderr);
    return c4_sample_print(trainer->model, o->prompt, (size_t)o->sample, o->temperature, (uint64_t)o->seed, stdout);
}

static c4_status train(c4_trainer *trainer, const c4_train_options *options, const c4_train_job *job)
{
    c4_train_summary summary;
    C4_TRY(c4_trainer_init(trainer, options, job));
    c4_report_start(trainer);
    C4_TRY(c4_trainer_run(trainer));
    C4_TRY(c4_report_collect(trainer, &summary));
    c4_status status = c4_report_finish(trainer, &summary);
    if (status == C4_OK)
        status = print_sample(trainer);
    return c4_train_job_agree(job, status); /* nobody leaves while rank 0 still writes */
}

int main(int argc, char **argv)
{
    c4_train_options options;
    if (c4_train_options_parse(argc, argv, &options) < 0)
        return EXIT_USAGE;
    if (options.help) {
        c4_train_options_help(stdout);
        return EXIT_TRAINED;
    }
    if (options.version) {
        printf("c4train %s\n", c4_version());
        return EXIT_TRAINED;
    }
    openblas_set_num_threads(1); /* the ranks are the parallelism */
    c4_train_job job;
    c4_trainer trainer = {0};
    if (c4_train_job_open(&job) < 0)
        return EXIT_FAILED;
    c4_status status = train(&trainer, &options, &job);
    c4_trainer_fini(&trainer);
    c4_train_job_close(&job, status);
    return status < 0 ? EXIT_FAILED : EXIT_TRAINED;
}
