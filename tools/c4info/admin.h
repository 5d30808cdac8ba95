/* Talking to the admin sockets of this user's jobs on this host: many at once, none waited for longer than it is worth. */
#ifndef C4_TOOLS_C4INFO_ADMIN_H
#define C4_TOOLS_C4INFO_ADMIN_H

#include "record/sockets.h"
#include "tools/c4info/c4info.h"

typedef struct c4info_rank {
    c4_admin_name name;
    char file[C4_RECORD_NAME_BYTES + 8];
    long pid;      /* here; that in the name may be of another pid namespace */
    bool gone;     /* nobody listens: what a dead process has left */
    char *answer;  /* without its newline; NULL: none came */
    char why[160]; /* none came: "its process is stopped (state T)..." */
    /* while it is asked */
    int fd;
    size_t bytes, room;
} c4info_rank;

typedef struct c4info_ranks {
    char top[C4_RECORD_TOP_BYTES];
    size_t count, room;
    c4info_rank *all; /* by job, then by rank; owned */
} c4info_ranks;

/* All that there are; an error text was printed when it fails. */
c4_status c4info_ranks_find(c4info_ranks *ranks);
void c4info_ranks_free(c4info_ranks *ranks);
/* Asks ranks[0 .. count-1], all of the same directory, and waits for up to timeout_ms. */
void c4info_ranks_ask(const c4info_ranks *ranks, c4info_rank *first, size_t count, const char *line, int timeout_ms);

/* State letter of a process of this host (R, S, D, T, Z...); 0: there is none. */
char c4info_process_state(long pid);

#endif
