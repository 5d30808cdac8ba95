/* What tests of bad days have in common. */
#ifndef C4_TESTS_COMM_BAD_DAYS_H
#define C4_TESTS_COMM_BAD_DAYS_H

#include <c4/c4.h>
#include <stddef.h>

/* Names in a directory, sorted, in one string: for comparison before and after. */
void bad_days_list(const char *path, char *text, size_t bytes);

/* Rank 0 makes an id, the others have it from the pipe. */
void bad_days_get_id(const int *pipes, int rank, int nranks, c4_unique_id *id);

/* `options`, and that records are kept in the case's own directory; valid for the next three calls. */
char *bad_days_options(const char *options);

#endif
