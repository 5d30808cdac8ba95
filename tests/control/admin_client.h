/* A client of admin sockets, for tests. */
#ifndef C4_TESTS_CONTROL_ADMIN_CLIENT_H
#define C4_TESTS_CONTROL_ADMIN_CLIENT_H

#include <stddef.h>

/* Name of the socket of a job's rank in the directory `top`, into `name`; 0: there is none. */
int admin_find(const char *top, int rank, char name[64]);
/* How many sockets there are, of living processes or not. */
int admin_count(const char *top);
/* A connection to that rank's socket; -1 with errno. */
int admin_connect(const char *top, int rank);
/* What is said until the connection ends or `timeout_ms` have passed; the caller frees it. */
char *admin_read(int fd, int timeout_ms);
/* One question; NULL when nobody can be reached. */
char *admin_ask(const char *top, int rank, const char *line);

#endif
