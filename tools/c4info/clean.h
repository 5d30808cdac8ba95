/* `c4info clean`: the files that jobs of this user have left behind. */
#ifndef C4_TOOLS_C4INFO_CLEAN_H
#define C4_TOOLS_C4INFO_CLEAN_H

#include "record/place.h"
#include "tools/c4info/c4info.h"

typedef struct c4info_leftover {
    char path[512];
    uint64_t bytes;
    int64_t age_s; /* since the last change; -1: not known */
    bool removed;
} c4info_leftover;

typedef struct c4info_leftovers {
    size_t count, room;
    c4info_leftover *all; /* owned */
} c4info_leftovers;

/* Finds and, unless request->dry_run, removes. Shared memory in `segments` goes at any age: nobody can read it any more.
 * Flight records in `records` go when they are older than request->older_ms, admin sockets there at any age, too. */
void c4info_clean(const c4info_request *request, const char *segments, const char *records, c4info_leftovers *found);
/* The same in the places that the options name. The caller frees found->all. */
c4_status c4info_clean_run(const c4info_request *request, c4info_leftovers *found);

/* C4_RECORD_DIR, expanded. */
c4_status c4info_record_top(char top[C4_RECORD_TOP_BYTES]);

#endif
