/* The recorder's own type. Included by src/record/ only. */
#ifndef C4_RECORD_INTERNAL_H
#define C4_RECORD_INTERNAL_H

#include <limits.h>
#include <pthread.h>

#include "record/recorder.h"

struct c4_recorder {
    c4_record_header *header; /* the mapping */
    unsigned users;
    bool unclean;           /* keep the file */
    pthread_mutex_t tables; /* guards the counts below: communicators may be created by several threads */
    uint32_t ncomms, nprograms, nedges;
    char directory[PATH_MAX];
    char path[PATH_MAX];
};

#endif
