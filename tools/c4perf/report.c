#include "tools/c4perf/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Our own fixed names and numbers: nothing that JSON would want escaped. */
static void json_row(c4perf_report *report, const c4perf_row *row, int in_place)
{
    const c4perf_cell *cell = &row->cell;
    const c4perf_result *result = &row->results[in_place];
    fprintf(report->json,
            "%s\n    {\"collective\": \"%s\", \"bytes\": %zu, \"count\": %zu, \"dtype\": \"%s\", \"op\": \"%s\", "
            "\"in_place\": %s, \"algorithm\": \"%s\", \"time_us_median\": %.3f, \"time_us_p99\": %.3f, "
            "\"algbw_gbs\": %.6g, \"busbw_gbs\": %.6g, \"wrong\": %" PRIu64 "}",
            report->rows == 0 ? "" : ",", cell->collective->name, row->bytes, cell->count, c4_dtype_name(cell->dtype),
            cell->collective->reduces ? c4_op_name(cell->op) : "none", in_place ? "true" : "false", result->algorithm,
            result->median_us, result->p99_us, result->algorithm_gbs, result->bus_gbs, result->wrong);
}

int c4perf_report_open(c4perf_report *report, const c4perf_options *options, int nranks, const char *transport)
{
    *report = (c4perf_report){.table = stdout, .progress = isatty(STDERR_FILENO) != 0};
    if (options->json) {
        report->json = stdout;
        report->table = NULL;
        if (options->json_file != NULL) {
            report->json = fopen(options->json_file, "w");
            report->json_close = true;
            report->table = stdout;
        }
        if (report->json == NULL) {
            fprintf(stderr, "c4perf: cannot write %s: %s\n", options->json_file, strerror(errno));
            return -1;
        }
        fprintf(report->json,
                "{\n  \"schema_version\": %d,\n  \"nranks\": %d,\n  \"transport\": \"%s\",\n  \"rows\": [",
                C4PERF_SCHEMA_VERSION, nranks, transport);
    }
    if (report->table != NULL) {
        fprintf(report->table, "# c4perf %s: %d rank%s, %s, %s buffers%s\n", c4_version(), nranks,
                nranks == 1 ? "" : "s", transport, options->mapped ? "mapped" : "ordinary",
                options->touch ? "" : ", untouched");
    }
    return 0;
}

static void table_heading(FILE *table, const char *collective)
{
    fprintf(table, "#\n# %-73s%-44s%s\n", collective, "out-of-place", "in-place");
    fprintf(table, "#%12s%13s%10s%6s%6s %-20s", "size", "count", "type", "redop", "root", "algorithm");
    for (int place = 0; place < 2; place++) {
        fprintf(table, "%10s%10s%8s%8s%8s", "time", "p99", "algbw", "busbw", "#wrong");
    }
    fprintf(table, "\n#%12s%13s%43s", "(B)", "(elements)", "");
    for (int place = 0; place < 2; place++) {
        fprintf(table, "%10s%10s%8s%8s%8s", "(us)", "(us)", "(GB/s)", "(GB/s)", "");
    }
    fputc('\n', table);
}

/* About four digits, as in nccl-tests. */
static void table_time(FILE *table, double us)
{
    fprintf(table, "%10.*f", us < 10.0 ? 2 : us < 1000.0 ? 1 : 0, us);
}

static void table_row(FILE *table, const c4perf_row *row)
{
    const c4perf_cell *cell = &row->cell;
    char root[12] = "-1";
    if (cell->collective->rooted) {
        snprintf(root, sizeof root, "%d", cell->root);
    }
    fprintf(table, "%13zu%13zu%10s%6s%6s %-20s", row->bytes, cell->count, c4_dtype_name(cell->dtype),
            cell->collective->reduces ? c4_op_name(cell->op) : "none", root,
            row->results[row->measured[0] ? 0 : 1].algorithm);
    for (int place = 0; place < 2; place++) {
        const c4perf_result *result = &row->results[place];
        if (!row->measured[place]) {
            fprintf(table, "%10s%10s%8s%8s%8s", "-", "-", "-", "-", "-");
            continue;
        }
        table_time(table, result->median_us);
        table_time(table, result->p99_us);
        fprintf(table, "%8.2f%8.2f%8" PRIu64, result->algorithm_gbs, result->bus_gbs, result->wrong);
    }
    fputc('\n', table);
    fflush(table);
}

void c4perf_report_row(c4perf_report *report, const c4perf_row *row)
{
    c4perf_report_progress(report, "");
    if (report->table != NULL && report->collective != row->cell.collective->name) {
        table_heading(report->table, row->cell.collective->name);
    }
    report->collective = row->cell.collective->name;
    if (report->table != NULL) {
        table_row(report->table, row);
    }
    for (int place = 0; place < 2; place++) {
        if (!row->measured[place]) {
            continue;
        }
        if (report->json != NULL) {
            json_row(report, row, place);
        }
        report->rows++;
        report->bus_sum_gbs += row->results[place].bus_gbs;
        report->wrong += row->results[place].wrong;
    }
}

int c4perf_report_close(c4perf_report *report)
{
    int failed = 0;
    c4perf_report_progress(report, "");
    if (report->table != NULL) {
        fprintf(report->table, "#\n# wrong elements: %" PRIu64 " %s\n", report->wrong,
                report->wrong == 0 ? "OK" : "FAILED");
        fprintf(report->table, "# average bus bandwidth: %.3f GB/s\n",
                report->rows == 0 ? 0.0 : report->bus_sum_gbs / (double)report->rows);
        failed |= fflush(report->table) != 0;
    }
    if (report->json != NULL) {
        fprintf(report->json, "\n  ]\n}\n");
        failed |= fflush(report->json) != 0;
        if (report->json_close) {
            failed |= fclose(report->json) != 0;
        }
    }
    if (failed) {
        fprintf(stderr, "c4perf: writing the results failed: %s\n", strerror(errno));
    }
    return failed ? -1 : 0;
}

void c4perf_report_progress(const c4perf_report *report, const char *text)
{
    if (report->progress) {
        fprintf(stderr, "\r\033[K%s", text);
        fflush(stderr);
    }
}
