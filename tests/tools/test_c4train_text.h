/* Files and captured messages, for the tests of c4train. */
#ifndef C4_TESTS_TOOLS_TEST_C4TRAIN_TEXT_H
#define C4_TESTS_TOOLS_TEST_C4TRAIN_TEXT_H

#include <stddef.h>

/* Content of `path` (1 MiB at most), with a zero after it; `size` may be NULL. Fails the case when it cannot be read.
 * Caller frees. */
char *c4_text_read(const char *path, size_t *size);
void c4_text_write(const char *path, const void *data, size_t size);
/* Sends stderr to a file, until c4_text_caught returns what was said. Caller frees. */
void c4_text_catch(void);
char *c4_text_caught(void);

#endif
