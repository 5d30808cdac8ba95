/* The two error macros, and the place where a fact becomes a status.
 *
 * The first function that turns a fact (an errno, a bad frame, a dead peer) into a status describes it with c4_fail,
 * which logs it once and keeps the text for c4_last_error. Callers pass the status on in silence. */
#ifndef C4_BASE_STATUS_H
#define C4_BASE_STATUS_H

#include <c4/c4.h>
#include <stdbool.h>

#define C4_TRY(x)                                   \
    do {                                            \
        c4_status c4_try_status = (x);              \
        if (__builtin_expect(c4_try_status < 0, 0)) \
            return c4_try_status;                   \
    } while (0)

/* Needs a `c4_status status` in scope. */
#define C4_TRY_GOTO(x, label)                \
    do {                                     \
        status = (x);                        \
        if (__builtin_expect(status < 0, 0)) \
            goto label;                      \
    } while (0)

#define C4_ERROR_TEXT_BYTES 512

/* Logs "<text> [<name>: <advice>]" as an error (warning for argument errors) and keeps it as this thread's last error.
 * Returns `status`. Never blocks, never allocates. */
c4_status c4_fail(c4_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, with strerror(error) appended. */
c4_status c4_fail_errno(c4_status status, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for a thread that pthread_create has refused: C4_ERR_SYSTEM, with the limits that may be the cause. */
c4_status c4_fail_thread(int error, const char *what);
/* A transport that is a module has a copy of this layer of its own, whose log nobody has set up: from now on what fails in
 * it is told to `tell` (c4_transport_host.fail, which needs no context) and not logged. */
typedef c4_status (*c4_fail_teller)(void *context, c4_status status, const char *text);
void c4_fail_tell(c4_fail_teller tell);
/* From now on what fails in this thread is kept and neither logged nor told: for one who tries something, and whose caller
 * tells the reason if it matters. */
void c4_fail_hush(bool hush);
/* errno of a failed resource call -> status: EMFILE -> ERR_FILES, ENOMEM -> ERR_MEMORY, EADDRINUSE -> ERR_PORTS... */
c4_status c4_status_from_errno(int error);
/* Text of this thread's last c4_fail; "" when none. */
const char *c4_fail_text(void);
/* Ends `text` with the status' name and advice, as c4_fail does, unless it does already; cuts it to make room. */
void c4_fail_advise(c4_status status, char *text, size_t bytes);
/* Makes `text` this thread's last error without logging it (an error carried over from another thread). */
void c4_fail_keep(const char *text);

#endif
