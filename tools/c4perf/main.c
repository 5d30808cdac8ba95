/* c4perf: times and verifies collectives over libc4's public interface. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "base/status.h"
#include "tools/c4perf/layout.h"
#include "tools/c4perf/measure.h"
#include "tools/c4perf/pattern.h"
#include "tools/c4perf/report.h"
#include "tools/c4perf/tune.h"

static c4_status world_create(c4_comm **world)
{
    if (c4_env_get("C4_RANK") != NULL) {
        return c4_comm_create_from_env(NULL, NULL, world);
    }
    c4_unique_id id;
    C4_TRY(c4_unique_id_create(&id));
    return c4_comm_create(&id, 1, 0, NULL, NULL, world);
}

static c4_status row_run(c4perf_bench *bench, c4perf_report *report, c4perf_row *row)
{
    const c4perf_options *options = bench->options;
    const c4perf_collective *collective = row->cell.collective;
    char text[160];
    snprintf(text, sizeof text, "%s %zu B %s %s", collective->name, row->bytes, c4_dtype_name(row->cell.dtype),
             collective->reduces ? c4_op_name(row->cell.op) : "");
    c4perf_report_progress(report, text);
    for (int place = 0; place < 2; place++) {
        c4perf_places excluded = place == 0 ? C4PERF_IN_PLACE : C4PERF_OUT_OF_PLACE;
        row->measured[place] = options->places != excluded && (place == 0 || collective->in_place);
        if (row->measured[place]) {
            c4perf_cell cell = row->cell;
            cell.in_place = place == 1;
            C4_TRY(c4perf_measure(bench, &cell, &row->results[place]));
        }
    }
    if (bench->rank == 0 && (row->measured[0] || row->measured[1])) {
        c4perf_report_row(report, row);
    }
    return C4_OK;
}

/* All sizes of one collective, dtype and op. */
static c4_status sizes_run(c4perf_bench *bench, c4perf_report *report, const c4perf_cell *cell)
{
    size_t element_bytes = c4_dtype_size(cell->dtype);
    size_t bytes = bench->options->min_bytes;
    size_t last = SIZE_MAX;
    do {
        c4perf_row row = {.cell = *cell};
        row.cell.count = c4perf_collective_count(cell->collective, bytes, element_bytes, bench->nranks);
        row.bytes = c4perf_collective_bytes(cell->collective, row.cell.count, element_bytes, bench->nranks);
        if (row.cell.count != last) {
            C4_TRY(row_run(bench, report, &row));
        }
        last = row.cell.count;
        bytes = cell->collective->has_data ? c4perf_options_next(bench->options, bytes) : 0;
    } while (bytes != 0);
    return C4_OK;
}

static c4_status collective_run(c4perf_bench *bench, c4perf_report *report, const c4perf_collective *collective)
{
    const c4perf_options *options = bench->options;
    bool any = false;
    for (int dtype = 0; dtype < C4_NDTYPES; dtype++) {
        for (int op = 0; op < C4_NOPS; op++) {
            c4perf_cell cell = {
                .collective = collective, .dtype = (c4_dtype)dtype, .op = (c4_op)op, .root = options->root};
            bool wanted = options->dtypes[dtype] && options->ops[op] && c4perf_pattern_supports(cell.dtype, cell.op);
            /* Without an op, one row per dtype; without data, one row. */
            bool repeated = !collective->reduces && op > 0;
            if (!collective->reduces) {
                wanted = options->dtypes[dtype];
            }
            if (!wanted || repeated || (!collective->has_data && any)) {
                continue;
            }
            any = true;
            C4_TRY(sizes_run(bench, report, &cell));
        }
    }
    return C4_OK;
}

static c4_status table_run(c4perf_bench *bench, c4perf_report *report)
{
    for (size_t i = 0; i < bench->options->ncollectives; i++) {
        C4_TRY(collective_run(bench, report, bench->options->collectives[i]));
    }
    return C4_OK;
}

static int bench_run(c4perf_bench *bench)
{
    c4perf_report report = {0};
    c4perf_layout layout;
    const c4perf_options *options = bench->options;
    if (c4perf_layout_find(bench, &layout) != C4_OK) {
        return 1;
    }
    if (options->tune) {
        report.progress = bench->rank == 0 && isatty(STDERR_FILENO) != 0;
        return c4perf_tune(bench, &layout, &report) != C4_OK;
    }
    if (bench->rank == 0 && c4perf_report_open(&report, options, bench->nranks, layout.transport) != 0) {
        return 1;
    }
    c4_status status = table_run(bench, &report);
    int failed = bench->rank == 0 && c4perf_report_close(&report) != 0;
    return status != C4_OK || failed || bench->wrong_here != 0;
}

int main(int argc, char **argv)
{
    c4perf_options options;
    const char *rank_text = c4_env_get("C4_RANK");
    int usage = c4perf_options_parse(argc, argv, rank_text == NULL || strcmp(rank_text, "0") == 0, &options);
    if (usage >= 0) {
        return usage;
    }
    c4perf_bench bench = {.options = &options, .buffers = {.mapped = options.mapped}};
    c4_status status = world_create(&bench.world);
    if (status != C4_OK) {
        fprintf(stderr, "c4perf: no communicator: %s: %s\n", c4_status_name(status), c4_last_error(NULL));
        return 1;
    }
    bench.comm = bench.world;
    int failed = c4perf_complain(&bench, c4_comm_rank(bench.world, &bench.rank), "c4_comm_rank") != C4_OK ||
                 c4perf_complain(&bench, c4_comm_size(bench.world, &bench.nranks), "c4_comm_size") != C4_OK;
    if (!failed && options.root >= bench.nranks) {
        if (bench.rank == 0) {
            fprintf(stderr, "c4perf: -r %d: there are %d ranks\n", options.root, bench.nranks);
        }
        failed = 2;
    }
    if (!failed) {
        failed = bench_run(&bench);
    }
    c4perf_buffers_fini(&bench.buffers);
    if (c4_comm_destroy(bench.world) != C4_OK && !failed) {
        failed = 1;
    }
    return failed;
}
