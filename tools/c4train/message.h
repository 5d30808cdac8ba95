/* What c4train says on stderr. */
#ifndef C4_TOOLS_C4TRAIN_MESSAGE_H
#define C4_TOOLS_C4TRAIN_MESSAGE_H

#include <c4/c4.h>

/* Prints "c4train: text" with one write and returns `status`. Called where a fact becomes a status; callers pass the
 * status on silently. */
c4_status c4_train_fail(c4_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same without a status: something worth knowing that stops nothing. */
void c4_train_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
