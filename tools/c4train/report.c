#include "tools/c4train/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/status.h"
#include "tools/c4train/message.h"

enum { SCHEMA_VERSION = 1 };

void c4_report_start(const c4_trainer *t)
{
    const c4_train_options *o = t->options;
    double params = (double)c4_layout_params(&t->config);
    if (t->job->rank != 0 || o->quiet)
        return;
    fprintf(stderr, "c4train: %.2f M parameters (%lld layers x %lld), %d rank%s, ", params / 1e6, (long long)o->layers,
            (long long)o->dim, t->job->nranks, t->job->nranks == 1 ? "" : "s");
    if (t->model)
        fprintf(stderr, "batch %lld x %lld bytes, %.1f MB of text", (long long)o->batch, (long long)o->seq,
                (double)t->corpus.size / 1e6);
    else
        fprintf(stderr, "synthetic compute of %g ms a step", o->step_ms);
    fprintf(stderr, ", %zu gradient bucket%s%s\n", t->buckets.nbuckets, t->buckets.nbuckets == 1 ? "" : "s",
            o->no_overlap ? " after the backward pass" : "");
    if (t->start > 0)
        fprintf(stderr, "c4train: resumed after step %ld of %lld\n", t->start, (long long)o->steps);
}

c4_status c4_report_collect(const c4_trainer *t, c4_train_summary *summary)
{
    double times[3] = {(double)t->times.step_ns, (double)t->times.comm_ns, (double)t->times.exposed_ns};
    c4_status status = c4_all_reduce(times, times, 3, C4_FLOAT64, C4_SUM, t->job->comm, NULL);
    C4_TRY(c4_train_job_check(t->job, status, "all_reduce of the times"));
    double steps = (double)(t->step - t->start), seconds = (double)t->times.step_ns * 1e-9;
    double tokens = steps * (double)(t->options->batch * t->options->seq);
    bool stepped = times[0] > 0, trained = t->model && t->step > 0;
    *summary = (c4_train_summary){
        .loss_first = trained ? t->curve[0] : (double)NAN,
        .loss_last = trained ? t->curve[t->step - 1] : (double)NAN,
        .eval_last = t->nevals ? t->evals[t->nevals - 1].y : (double)NAN,
        .seconds = seconds,
        .tokens_per_s = stepped && t->model ? tokens / seconds : (double)NAN,
        .step_ms = stepped ? 1e3 * seconds / steps : (double)NAN,
        .comm_share = stepped ? times[1] / times[0] : 0,
        .exposed_share = stepped ? times[2] / times[0] : 0,
        .weights_hash = c4_trainer_weights_hash(t),
    };
    return c4_train_job_same(t->job, summary->weights_hash, "their weights");
}

static void print_closing(const c4_trainer *t, const c4_train_summary *s)
{
    fprintf(stderr, "c4train: %ld steps in %.1f s", t->step - t->start, s->seconds);
    if (!isnan(s->loss_last))
        fprintf(stderr, ", loss %.3f -> %.3f", s->loss_first, s->loss_last);
    if (!isnan(s->eval_last))
        fprintf(stderr, " (held-out %.3f)", s->eval_last);
    if (!isnan(s->tokens_per_s))
        fprintf(stderr, ", %.0f tokens/s", s->tokens_per_s);
    else if (!isnan(s->step_ms))
        fprintf(stderr, ", %.2f ms a step", s->step_ms);
    fprintf(stderr, ", communication %.1f%% of step time (%.1f%% after the backward pass)\n", 100 * s->comm_share,
            100 * s->exposed_share);
}

/* ---- JSON ---- */

/* cJSON writes NaN as null: what was not measured is null, never a number. */
static bool fill_json(cJSON *root, const c4_trainer *t, const c4_train_summary *s)
{
    const c4_train_options *o = t->options;
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"schema_version", SCHEMA_VERSION},
        {"loss_first", s->loss_first},
        {"loss_last", s->loss_last},
        {"eval_last", s->eval_last},
        {"grad_norm_last", t->model && t->step > t->start ? t->grad_norm : (double)NAN},
        {"tokens_per_s", s->tokens_per_s},
        {"comm_share", s->comm_share},
        {"exposed_comm_share", s->exposed_share},
        {"seconds", s->seconds},
        {"step_ms_mean", s->step_ms},
        {"nranks", t->job->nranks},
        {"params", (double)c4_layout_params(&t->config)},
        {"steps", (double)t->step},
        {"steps_this_run", (double)(t->step - t->start)},
        {"seed", (double)o->seed},
        {"batch", (double)o->batch},
        {"seq", (double)o->seq},
        {"layers", (double)o->layers},
        {"dim", (double)o->dim},
        {"heads", (double)o->heads},
        {"lr", o->lr},
        {"bucket_bytes", (double)o->bucket_bytes},
        {"buckets", (double)t->buckets.nbuckets},
        {"step_ms", o->step_ms > 0 ? o->step_ms : (double)NAN},
    };
    char hash[32];
    snprintf(hash, sizeof hash, "%016" PRIx64, s->weights_hash);
    bool good = cJSON_AddBoolToObject(root, "overlap", !o->no_overlap) != NULL;
    good =
        good && cJSON_AddItemToObject(root, "weights_fnv1a", t->model ? cJSON_CreateString(hash) : cJSON_CreateNull());
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        good = good && cJSON_AddNumberToObject(root, numbers[i].name, numbers[i].value) != NULL;
    cJSON *curve = good ? cJSON_CreateDoubleArray(t->curve, (int)t->step) : NULL;
    return curve && cJSON_AddItemToObject(root, t->model ? "losses" : "steps_ms", curve);
}

static c4_status close_written(FILE *file, const char *path, bool good)
{
    bool closed = fclose(file) == 0;
    if (good && closed)
        return C4_OK;
    return c4_train_fail(C4_ERR_SYSTEM, "cannot write %s: %s", path, strerror(errno));
}

static c4_status write_json(const c4_trainer *t, const c4_train_summary *s)
{
    cJSON *root = cJSON_CreateObject();
    char *text = root && fill_json(root, t, s) ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        return c4_train_fail(C4_ERR_MEMORY, "out of memory for %s", t->options->json);
    FILE *file = fopen(t->options->json, "we");
    c4_status status;
    if (file)
        status = close_written(file, t->options->json, fprintf(file, "%s\n", text) > 0);
    else
        status = c4_train_fail(C4_ERR_SYSTEM, "cannot write %s: %s", t->options->json, strerror(errno));
    cJSON_free(text);
    return status;
}

/* ---- chart ---- */

static void print_subtitle(const c4_trainer *t, const c4_train_summary *s, char *text, size_t bytes)
{
    const c4_train_options *o = t->options;
    char rate[96];
    if (t->model)
        snprintf(rate, sizeof rate, "batch %lld x %lld bytes, %.0f tokens/s", (long long)o->batch, (long long)o->seq,
                 s->tokens_per_s);
    else
        snprintf(rate, sizeof rate, "%g ms of compute a step%s", o->step_ms, o->no_overlap ? ", no overlap" : "");
    snprintf(text, bytes, "%.2f M parameters, %d rank%s, %s, %.1f%% of the time in communication",
             (double)c4_layout_params(&t->config) / 1e6, t->job->nranks, t->job->nranks == 1 ? "" : "s", rate,
             100 * s->comm_share);
}

static c4_status write_svg(const c4_trainer *t, const c4_train_summary *s)
{
    const c4_train_options *o = t->options;
    char subtitle[256];
    print_subtitle(t, s, subtitle, sizeof subtitle);
    c4_chart chart = {
        .title = t->model ? "c4train: training loss" : "c4train: step time with synthetic compute",
        .subtitle = subtitle,
        .x_label = "step",
        .y_label = t->model ? "cross-entropy (nats per byte)" : "step time (ms)",
        .curve_label = "each step",
        .values = t->curve,
        .count = (size_t)t->step,
        .points_label = "held-out text",
        .points = t->evals,
        .npoints = t->nevals,
    };
    FILE *file = fopen(o->svg, "we");
    if (!file)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot write %s: %s", o->svg, strerror(errno));
    c4_chart_write(&chart, file);
    return close_written(file, o->svg, !ferror(file));
}

c4_status c4_report_finish(const c4_trainer *t, const c4_train_summary *summary)
{
    if (t->job->rank != 0)
        return C4_OK;
    if (!t->options->quiet)
        print_closing(t, summary);
    if (t->options->json)
        C4_TRY(write_json(t, summary));
    if (t->options->svg)
        C4_TRY(write_svg(t, summary));
    return C4_OK;
}
