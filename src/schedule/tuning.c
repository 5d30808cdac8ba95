/* The tuning file: one row per line, blanks between the eight fields, # starts a comment. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "schedule/algorithms.h"

enum { FIELDS = 8, WORD_BYTES = 32 };

typedef struct parser {
    const char *name; /* of the file */
    unsigned line;
    char words[FIELDS][WORD_BYTES];
} parser;

static const char *const field_names[FIELDS] = {"collective", "nranks",    "ranks_per_host", "min_bytes",
                                                "max_bytes",  "algorithm", "chunk_bytes",    "lanes"};

static c4_status complain(const parser *p, const char *what, const char *word)
{
    return c4_fail(C4_ERR_OPTION, "%s:%u: %s \"%s\"", p->name, p->line, what, word);
}

/* "*" means no upper end. */
static c4_status parse_number(const parser *p, int field, uint64_t limit, uint64_t *number)
{
    const char *word = p->words[field];
    if (strcmp(word, "*") == 0) {
        *number = limit;
        return C4_OK;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(word, &end, 10);
    if (errno || *end || word[0] < '0' || word[0] > '9' || value > limit)
        return c4_fail(C4_ERR_OPTION, "%s:%u: %s must be 0 .. %llu, not \"%s\"", p->name, p->line, field_names[field],
                       (unsigned long long)limit, word);
    *number = value;
    return C4_OK;
}

static c4_status parse_kind(const parser *p, c4_kind *kind)
{
    for (int k = 0; k < C4_NKINDS; k++) {
        if (strcmp(c4_kind_name((c4_kind)k), p->words[0]) == 0) {
            *kind = (c4_kind)k;
            return C4_OK;
        }
    }
    return complain(p, "unknown collective", p->words[0]);
}

static c4_status parse_row(const parser *p, c4_tuning_row *row)
{
    uint64_t nranks, per_host, min, max, chunk, lanes;
    C4_TRY(parse_kind(p, &row->kind));
    C4_TRY(parse_number(p, 1, UINT16_MAX, &nranks));
    C4_TRY(parse_number(p, 2, UINT16_MAX, &per_host));
    C4_TRY(parse_number(p, 3, SIZE_MAX, &min));
    C4_TRY(parse_number(p, 4, SIZE_MAX, &max));
    row->algorithm = c4_algorithm_find(p->words[5]);
    if (row->algorithm < 0)
        return complain(p, "unknown algorithm", p->words[5]);
    if (!(c4_algorithms[row->algorithm].kinds >> row->kind & 1))
        return c4_fail(C4_ERR_OPTION, "%s:%u: algorithm \"%s\" has no %s", p->name, p->line, p->words[5], p->words[0]);
    C4_TRY(parse_number(p, 6, UINT32_MAX, &chunk));
    C4_TRY(parse_number(p, 7, 64, &lanes));
    if (min > max)
        return complain(p, "min_bytes is above max_bytes", p->words[3]);
    row->nranks = (int)nranks;
    row->ranks_per_host = (int)per_host;
    row->min_bytes = min;
    row->max_bytes = max;
    row->chunk_bytes = chunk;
    row->lanes = (unsigned)lanes;
    return C4_OK;
}

/* Splits [line, end) into words; *nwords 0 for an empty line. */
static c4_status split(parser *p, const char *line, const char *end, int *nwords)
{
    *nwords = 0;
    while (line < end && *line != '#') {
        size_t blank = strspn(line, " \t\r");
        if (blank) {
            line += blank;
            continue;
        }
        size_t length = strcspn(line, " \t\r\n#");
        if (*nwords == FIELDS)
            return c4_fail(C4_ERR_OPTION, "%s:%u: more than %d fields", p->name, p->line, FIELDS);
        if (length >= WORD_BYTES)
            return c4_fail(C4_ERR_OPTION, "%s:%u: word of %zu characters", p->name, p->line, length);
        memcpy(p->words[*nwords], line, length);
        p->words[(*nwords)++][length] = '\0';
        line += length;
    }
    if (*nwords && *nwords < FIELDS)
        return c4_fail(C4_ERR_OPTION,
                       "%s:%u: %s is missing; a row is: collective nranks ranks_per_host min_bytes "
                       "max_bytes algorithm chunk_bytes lanes",
                       p->name, p->line, field_names[*nwords]);
    return C4_OK;
}

static c4_status append(c4_tuning *tuning, const c4_tuning_row *row)
{
    c4_tuning_row *rows = realloc(tuning->rows, (tuning->nrows + 1) * sizeof *rows);
    if (!rows)
        return c4_fail(C4_ERR_MEMORY, "tuning of %zu rows", tuning->nrows + 1);
    rows[tuning->nrows++] = *row;
    tuning->rows = rows;
    return C4_OK;
}

c4_status c4_tuning_parse(const char *text, const char *name, c4_tuning *tuning)
{
    c4_tuning parsed = {0};
    parser p = {.name = name};
    c4_status status = C4_OK;
    while (*text) {
        const char *end = text + strcspn(text, "\n");
        c4_tuning_row row = {0};
        int nwords;
        p.line++;
        C4_TRY_GOTO(split(&p, text, end, &nwords), fail);
        if (nwords) {
            C4_TRY_GOTO(parse_row(&p, &row), fail);
            C4_TRY_GOTO(append(&parsed, &row), fail);
        }
        text = *end ? end + 1 : end;
    }
    *tuning = parsed;
    return C4_OK;
fail:
    c4_tuning_fini(&parsed);
    return status;
}

void c4_tuning_fini(c4_tuning *tuning)
{
    free(tuning->rows);
    *tuning = (c4_tuning){0};
}
