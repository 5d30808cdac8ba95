/* What an operator asks of a process over its admin socket: one line of text; the answer is one line of JSON, then the
 * connection ends. For people as well as for programs: `echo probe | socat - UNIX-CONNECT:...` is enough.
 *
 *     status|dump|probe|plan [communicator=WHICH]
 *     abort [communicator=WHICH] [REASON...]
 *
 * WHICH: the name of a communicator, or its id as 8 hexadecimal digits (names may hold blanks, ids do not). */
#ifndef C4_WIRE_ADMIN_REQUEST_H
#define C4_WIRE_ADMIN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#define C4_ADMIN_LINE_BYTES   512u /* of a request, with its newline */
#define C4_ADMIN_COMM_BYTES   64u
#define C4_ADMIN_REASON_BYTES 200u
#define C4_ADMIN_ERROR_BYTES  256u
#define C4_ADMIN_VERSION      1 /* of answers: schema_version */

typedef enum c4_admin_command {
    C4_ADMIN_STATUS, /* what this rank is in, briefly */
    C4_ADMIN_DUMP,   /* all that this rank knows */
    C4_ADMIN_PROBE,  /* what all ranks are in */
    C4_ADMIN_PLAN,   /* which transports and algorithms are used */
    C4_ADMIN_ABORT,
    C4_ADMIN_NCOMMANDS
} c4_admin_command;

typedef struct c4_admin_request {
    c4_admin_command command;
    char comm[C4_ADMIN_COMM_BYTES];     /* "": all */
    char reason[C4_ADMIN_REASON_BYTES]; /* of abort; "": none given */
} c4_admin_request;

const char *c4_admin_command_name(c4_admin_command command);

/* `line` without its newline; a carriage return at its end is allowed. false: `error` says what is wrong with it. */
bool c4_admin_request_parse(const char *line, size_t bytes, c4_admin_request *request,
                            char error[C4_ADMIN_ERROR_BYTES]);
/* The line with its newline; 0: a communicator's name with blanks, or text that a line cannot carry. */
size_t c4_admin_request_format(const c4_admin_request *request, char line[C4_ADMIN_LINE_BYTES]);

#endif
