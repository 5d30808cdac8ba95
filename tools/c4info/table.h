/* A text table: columns as wide as their widest cell, two spaces between them. */
#ifndef C4_TOOLS_C4INFO_TABLE_H
#define C4_TOOLS_C4INFO_TABLE_H

#include <stddef.h>

#define C4INFO_MAX_COLUMNS 9

typedef struct c4info_table {
    size_t ncolumns, ncells, room;
    unsigned right; /* bit i: column i is set to the right */
    char **cells;   /* row by row, headers first; owned */
} c4info_table;

/* `headers`: one per column, at most C4INFO_MAX_COLUMNS. */
void c4info_table_init(c4info_table *table, size_t ncolumns, unsigned right, const char *const *headers);
/* The next cell, left to right; the text is copied. */
void c4info_table_add(c4info_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints to standard output and frees. */
void c4info_table_print(c4info_table *table);

/* "64 KiB", "1.5 GiB": exact multiples without a fraction. `text` has at least 32 bytes. Returns it. */
const char *c4info_format_bytes(unsigned long long bytes, char *text);

#endif
