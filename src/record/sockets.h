/* Where admin sockets lie: "<C4_RECORD_DIR>/<job, 16 hex digits>-<rank>-<pid>-<host, 8 hex digits>.sock", in the directory
 * of flight records, which belongs to the user and which nobody else may write (c4_record_open_top). The job's number is
 * that of this run: when it is started again with the same job id, it has another one.
 *
 * Whether the owner of a socket is gone is asked of the kernel: a connection is refused when nobody listens, whatever pid
 * namespace the owner lived in and whoever has its process id today. Only sockets of this host can be asked. */
#ifndef C4_RECORD_SOCKETS_H
#define C4_RECORD_SOCKETS_H

#include <stddef.h>
#include <stdint.h>

#include "record/place.h"

#define C4_ADMIN_SUFFIX ".sock"

typedef struct c4_admin_name {
    uint64_t job;
    int rank; /* of the job */
    long pid; /* in its owner's pid namespace */
    uint32_t host;
} c4_admin_name;

void c4_admin_name_format(const c4_admin_name *name, char text[C4_RECORD_NAME_BYTES]);
/* Exactly what format writes; false for anything else. */
bool c4_admin_name_parse(const char *text, c4_admin_name *name);
/* This host since its last start: other hosts may see the same directory. */
uint32_t c4_admin_host(void);

/* A listening socket of mode 0600, close-on-exec, that does not block. It takes its name once it listens. What is left of an
 * earlier one goes. -1 with errno: EADDRINUSE when another process has the name. */
int c4_admin_listen(int directory, const char *name);
/* Connects without waiting. -1 with errno: ECONNREFUSED when nobody listens, EAGAIN when the queue of a process that does
 * not look after it is full. */
int c4_admin_dial(int directory, const char *name);

typedef void (*c4_admin_visit)(void *context, const char *text, const c4_admin_name *name);
/* Sockets of this user and host. Returns how many there are. */
size_t c4_admin_sockets(int directory, c4_admin_visit visit, void *context);
/* Those whose owners are gone; with `remove` they are removed before `visit` (may be NULL) is told. Those of the run `spare`
 * are not looked at (0: all are). */
size_t c4_admin_sockets_stale(int directory, uint64_t spare, bool remove, c4_admin_visit visit, void *context);

#endif
