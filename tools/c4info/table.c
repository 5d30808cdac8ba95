#include "tools/c4info/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(void)
{
    fprintf(stderr, "c4info: out of memory\n");
    exit(1);
}

void c4info_table_add(c4info_table *table, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        out_of_memory();
    va_end(arguments);
    if (table->ncells == table->room) {
        table->room = table->room ? 2 * table->room : 64;
        table->cells = realloc(table->cells, table->room * sizeof *table->cells);
        if (!table->cells)
            out_of_memory();
    }
    table->cells[table->ncells++] = text;
}

void c4info_table_init(c4info_table *table, size_t ncolumns, unsigned right, const char *const *headers)
{
    *table = (c4info_table){.ncolumns = ncolumns, .right = right};
    for (size_t i = 0; i < ncolumns; i++)
        c4info_table_add(table, "%s", headers[i]);
}

void c4info_table_print(c4info_table *table)
{
    size_t widths[C4INFO_MAX_COLUMNS] = {0};
    for (size_t i = 0; i < table->ncells; i++) {
        size_t width = strlen(table->cells[i]);
        if (width > widths[i % table->ncolumns])
            widths[i % table->ncolumns] = width;
    }
    for (size_t i = 0; i < table->ncells; i++) {
        size_t column = i % table->ncolumns;
        const char *cell = table->cells[i];
        if (column + 1 == table->ncolumns)
            printf("%s\n", cell);
        else if (table->right >> column & 1)
            printf("%*s  ", (int)widths[column], cell);
        else
            printf("%-*s  ", (int)widths[column], cell);
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (c4info_table){.ncolumns = table->ncolumns};
}

const char *c4info_format_bytes(unsigned long long bytes, char *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, value == (double)(long long)value ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}
