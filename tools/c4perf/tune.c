#include "tools/c4perf/tune.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "schedule/algorithms.h"

#define SIZES_MAX 512
/* Faster by less than this keeps the algorithm of the next smaller size: fewer switches, less noise in the file. */
#define SWITCH_GAIN 0.97

/* 0 is the algorithm's own choice; the others are tried from twice their size up. */
static const size_t chunk_sizes[] = {0, 16 << 10, 64 << 10, 256 << 10};
#define NCHUNKS (sizeof chunk_sizes / sizeof chunk_sizes[0])

/* A candidate is an algorithm with a chunk size: number algorithm * NCHUNKS + chunk. */
typedef struct tune_sweep {
    const c4perf_collective *collective;
    size_t nsizes;
    size_t bytes[SIZES_MAX];
    size_t counts[SIZES_MAX];
    size_t ncandidates;
    double *times_us; /* [nsizes * ncandidates]; 0: not measured */
} tune_sweep;

static const char *candidate_algorithm(size_t candidate)
{
    return c4_algorithms[candidate / NCHUNKS].name;
}

static size_t candidate_chunk(size_t candidate)
{
    return chunk_sizes[candidate % NCHUNKS];
}

static c4_kind kind_of(const char *name)
{
    for (int kind = 0; kind < C4_NKINDS; kind++) {
        if (strcmp(c4_kind_name((c4_kind)kind), name) == 0) {
            return (c4_kind)kind;
        }
    }
    return C4_NKINDS;
}

static void sweep_sizes(const c4perf_bench *bench, tune_sweep *sweep)
{
    const c4perf_options *options = bench->options;
    size_t element_bytes = c4_dtype_size(C4_FLOAT32);
    size_t bytes = options->min_bytes;
    sweep->nsizes = 0;
    do {
        size_t count = c4perf_collective_count(sweep->collective, bytes, element_bytes, bench->nranks);
        if (sweep->nsizes == 0 || count != sweep->counts[sweep->nsizes - 1]) {
            sweep->counts[sweep->nsizes] = count;
            sweep->bytes[sweep->nsizes] =
                c4perf_collective_bytes(sweep->collective, count, element_bytes, bench->nranks);
            sweep->nsizes++;
        }
        bytes = sweep->collective->has_data ? c4perf_options_next(options, bytes) : 0;
    } while (bytes != 0 && sweep->nsizes < SIZES_MAX);
}

/* A communicator that prefers one candidate; it still falls back where that one cannot serve. */
static c4_status candidate_comm(c4perf_bench *bench, size_t candidate)
{
    char text[128];
    c4_comm_config config = {.struct_size = sizeof config, .name = "tune", .options = text};
    snprintf(text, sizeof text, "C4_ALGO=%s C4_CHUNK_BYTES=%zu", candidate_algorithm(candidate),
             candidate_chunk(candidate));
    return c4perf_complain(bench, c4_comm_split(bench->world, 0, bench->rank, &config, NULL, &bench->comm),
                           "creating a communicator for --tune");
}

static c4_status candidate_measure(c4perf_bench *bench, tune_sweep *sweep, size_t candidate,
                                   const c4perf_report *report)
{
    const char *name = candidate_algorithm(candidate);
    for (size_t i = 0; i < sweep->nsizes; i++) {
        const char *used = NULL;
        c4_status known = c4_info_comm_algorithm(bench->comm, sweep->collective->name, sweep->bytes[i], &used);
        if (known != C4_OK || strcmp(used, name) != 0 || sweep->bytes[i] < 2 * candidate_chunk(candidate)) {
            continue; /* outside its restrictions, equally on all ranks */
        }
        char text[160];
        snprintf(text, sizeof text, "tune %s %zu B %s, chunk %zu", sweep->collective->name, sweep->bytes[i], name,
                 candidate_chunk(candidate));
        c4perf_report_progress(report, text);
        c4perf_cell cell = {.collective = sweep->collective,
                            .count = sweep->counts[i],
                            .dtype = C4_FLOAT32,
                            .op = C4_SUM,
                            .root = bench->options->root};
        c4perf_result result;
        C4_TRY(c4perf_measure(bench, &cell, &result));
        if (result.wrong == 0) {
            sweep->times_us[i * sweep->ncandidates + candidate] = result.median_us;
        }
    }
    return C4_OK;
}

/* ncandidates when none was measured. */
static size_t fastest(const tune_sweep *sweep, size_t size, size_t previous)
{
    const double *times_us = sweep->times_us + size * sweep->ncandidates;
    size_t best = sweep->ncandidates;
    for (size_t i = 0; i < sweep->ncandidates; i++) {
        if (times_us[i] > 0.0 && (best == sweep->ncandidates || times_us[i] < times_us[best])) {
            best = i;
        }
    }
    bool keep =
        previous < sweep->ncandidates && times_us[previous] > 0.0 && times_us[best] > SWITCH_GAIN * times_us[previous];
    return keep ? previous : best;
}

static void range_write(const c4perf_bench *bench, const c4perf_layout *layout, const tune_sweep *sweep,
                        size_t candidate, size_t begin, size_t end, FILE *file)
{
    char last[24] = "*";
    if (end != SIZE_MAX) {
        snprintf(last, sizeof last, "%zu", end);
    }
    fprintf(file, "%s %d %d %zu %s %s %zu 0\n", sweep->collective->name, bench->nranks, layout->ranks_per_host, begin,
            last, candidate_algorithm(candidate), candidate_chunk(candidate));
}

static void times_write(const tune_sweep *sweep, FILE *file)
{
    for (size_t i = 0; i < sweep->nsizes; i++) {
        fprintf(file, "# %zu B, us:", sweep->bytes[i]);
        for (size_t candidate = 0; candidate < sweep->ncandidates; candidate++) {
            double us = sweep->times_us[i * sweep->ncandidates + candidate];
            if (us > 0.0) {
                fprintf(file, " %s/%zu %.2f", candidate_algorithm(candidate), candidate_chunk(candidate), us);
            }
        }
        fputc('\n', file);
    }
}

/* Ranges of sizes with one fastest candidate; a range begins at the first size that was measured in it. */
static void sweep_write(const c4perf_bench *bench, const c4perf_layout *layout, const tune_sweep *sweep, FILE *file)
{
    size_t current = fastest(sweep, 0, sweep->ncandidates);
    size_t begin = 0;
    for (size_t i = 1; i < sweep->nsizes; i++) {
        size_t best = fastest(sweep, i, current);
        if (best != current) {
            if (current < sweep->ncandidates) {
                range_write(bench, layout, sweep, current, begin, sweep->bytes[i] - 1, file);
            }
            begin = sweep->bytes[i];
            current = best;
        }
    }
    if (current < sweep->ncandidates) {
        range_write(bench, layout, sweep, current, begin, SIZE_MAX, file);
    }
    times_write(sweep, file);
}

static c4_status sweep_run(c4perf_bench *bench, tune_sweep *sweep, const c4perf_report *report)
{
    c4_kind kind = kind_of(sweep->collective->name);
    size_t largest = sweep->bytes[sweep->nsizes - 1];
    for (size_t candidate = 0; candidate < sweep->ncandidates; candidate++) {
        if ((c4_algorithms[candidate / NCHUNKS].kinds >> kind & 1) == 0 || largest < 2 * candidate_chunk(candidate)) {
            continue;
        }
        C4_TRY(candidate_comm(bench, candidate));
        c4_status status = candidate_measure(bench, sweep, candidate, report);
        c4_comm_destroy(bench->comm);
        bench->comm = bench->world;
        C4_TRY(status);
    }
    return C4_OK;
}

static c4_status collective_tune(c4perf_bench *bench, const c4perf_layout *layout, const c4perf_report *report,
                                 const c4perf_collective *collective, FILE *file)
{
    tune_sweep *sweep = calloc(1, sizeof *sweep);
    c4_status status = C4_ERR_MEMORY;
    if (sweep != NULL) {
        sweep->collective = collective;
        sweep_sizes(bench, sweep);
        sweep->ncandidates = (size_t)c4_nalgorithms * NCHUNKS;
        sweep->times_us = calloc(sweep->nsizes * sweep->ncandidates, sizeof *sweep->times_us);
    }
    if (sweep == NULL || sweep->times_us == NULL) {
        c4perf_complain(bench, status, "allocating the sweep");
    } else {
        status = sweep_run(bench, sweep, report);
        if (status == C4_OK && file != NULL) {
            sweep_write(bench, layout, sweep, file);
        }
        free(sweep->times_us);
    }
    free(sweep);
    return status;
}

static FILE *file_open(const c4perf_options *options)
{
    FILE *file = options->tune_file != NULL ? fopen(options->tune_file, "w") : stdout;
    if (file == NULL) {
        fprintf(stderr, "c4perf: cannot write %s: %s\n", options->tune_file, strerror(errno));
        return NULL;
    }
    char host[64] = "";
    char date[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    gethostname(host, sizeof host - 1);
    if (gmtime_r(&now, &utc) != NULL) {
        strftime(date, sizeof date, "%Y-%m-%d", &utc);
    }
    fprintf(file, "# c4perf --tune, C4 %s, %s, %s. Use: C4_TUNING_FILE=FILE\n", c4_version(), host, date);
    fprintf(file, "# collective nranks ranks_per_host min_bytes max_bytes algorithm chunk_bytes lanes\n");
    return file;
}

c4_status c4perf_tune(c4perf_bench *bench, const c4perf_layout *layout, const c4perf_report *report)
{
    const c4perf_options *options = bench->options;
    FILE *file = NULL;
    c4_status status = C4_OK;
    if (bench->rank == 0 && (file = file_open(options)) == NULL) {
        return C4_ERR_SYSTEM;
    }
    for (size_t i = 0; i < options->ncollectives && status == C4_OK; i++) {
        if (kind_of(options->collectives[i]->name) != C4_NKINDS) {
            status = collective_tune(bench, layout, report, options->collectives[i], file);
        }
    }
    c4perf_report_progress(report, "");
    if (file == NULL) {
        return status;
    }
    bool failed = fflush(file) != 0;
    if (options->tune_file != NULL) {
        failed |= fclose(file) != 0;
    }
    if (failed) {
        fprintf(stderr, "c4perf: writing the tuning file failed: %s\n", strerror(errno));
        return C4_ERR_SYSTEM;
    }
    return status;
}
