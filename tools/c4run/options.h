/* c4run's command line. */
#ifndef C4_TOOLS_C4RUN_OPTIONS_H
#define C4_TOOLS_C4RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum c4run_bind { C4RUN_BIND_AUTO, C4RUN_BIND_CORE, C4RUN_BIND_NONE } c4run_bind;

typedef struct c4run_options {
    int nranks; /* of the whole job; 0: not given */
    bool tag, keep_going, quiet;
    bool remote;                  /* started by another c4run through ssh: its orders come on standard input */
    int64_t timeout_ms, grace_ms; /* timeout 0: none */
    c4run_bind bind;
    const char *wrap;   /* NULL: none */
    const char *master; /* NULL: none */
    const char *hosts;  /* NULL: this host only */
    const char *ssh;
    int nnodes, node_rank;
    int join_pid;   /* of the c4run whose job these ranks join; 0: a job of their own */
    char **program; /* with its arguments, NULL-terminated */
} c4run_options;

/* Returns -1 to go on, else the exit status (0 after --help, 2 after a wrong command line, with its message printed). */
int c4run_options_parse(int argc, char **argv, c4run_options *options);

#endif
