/* Shared by admission.c (the door of rank 0), entrant.c (one who comes through a door) and bootstrap_links.c (the door
 * of the others, for their neighbours) only. */
#ifndef C4_RENDEZVOUS_ADMISSION_INTERNAL_H
#define C4_RENDEZVOUS_ADMISSION_INTERNAL_H

#include <poll.h>

#include "rendezvous/bootstrap_internal.h"

enum { C4_DOOR_PLACES = 64, C4_NDOORS = 3 };
/* Whose a watch is: a door, or C4_FIRST_ENTRANT + place, or c4_door_first_other + what the owner of the door watches. */
enum { C4_FIRST_ENTRANT = C4_NDOORS };

/* Until SHAKING is over it is anybody; from then on it has proved that it belongs to the job. At rank 0 it joins and is
 * told the answer; elsewhere one of both ends says that this connection is the link. */
typedef enum c4_entrant_phase {
    C4_ENTRANT_FREE,
    C4_ENTRANT_SHAKING,
    C4_ENTRANT_JOINING,
    C4_ENTRANT_LINKING,
    C4_ENTRANT_ANSWERING
} c4_entrant_phase;

typedef struct c4_door c4_door;

typedef struct c4_entrant {
    c4_entrant_phase phase;
    bool local; /* came through the AF_UNIX door */
    uint64_t since_ns;
    c4_link link;
    c4_handshake handshake;
    unsigned char in[C4_CONTROL_MESSAGE_MAX_BYTES];  /* join, link, or why it cannot */
    unsigned char out[C4_CONTROL_MESSAGE_MAX_BYTES]; /* welcome, fault or nothing */
    c4_control_header out_header;
    c4_process process;
    c4_endpoint endpoint;
    char from[C4_NET_ADDRESS_TEXT_BYTES];
} c4_entrant;

struct c4_door {
    c4_bootstrap *bootstrap;
    int doors[C4_NDOORS]; /* -1: none */
    bool local[C4_NDOORS];
    int nplaces;
    int missing; /* ranks not yet in */
    unsigned refused;
    bool exhausted; /* no descriptor for the next; cleared when an entrant is done */
    /* Not rank 0: what becomes of one that has proved to be a rank: `shaken` sets its phase or refuses it, `linked`
     * takes the connection of one that is through. */
    void (*shaken)(c4_door *door, c4_entrant *entrant);
    void (*linked)(c4_door *door, c4_entrant *entrant);
    void *context;
    c4_entrant *entrants;
    struct pollfd *watches;
    int *whose; /* of each watch */
    nfds_t nwatches;
};

static inline int c4_door_first_other(const c4_door *door)
{
    return C4_FIRST_ENTRANT + door->nplaces;
}

/* `nexpected`: how many will come; `nothers`: how much else will be watched. C4_ERR_MEMORY. */
c4_status c4_door_init(c4_door *door, c4_bootstrap *bootstrap, int nexpected, size_t nothers);
void c4_door_fini(c4_door *door); /* closes who is under way, not the doors */
/* Begins the list of watches anew with what the door waits for; c4_door_watch adds one. */
void c4_door_watch_all(c4_door *door);
void c4_door_watch(c4_door *door, int fd, short events, int who);
/* After the poll: who took too long goes, and watch `i`, which is the door's, is served. */
void c4_door_expire(c4_door *door);
c4_status c4_door_serve(c4_door *door, nfds_t i);

/* Rank 0, once all are in: the socket on which they came, or, where others are to come to that, a new one is where this rank
 * listens from now on. */
c4_status c4_bootstrap_keep_door(c4_bootstrap *bootstrap, c4_door *door);

/* Takes an accepted connection into a free place and goes as far as it can. */
void c4_entrant_start(c4_door *door, c4_entrant *entrant, int fd, bool local, const struct sockaddr *name);
/* As far as the socket lets it go; ends in a free place. */
void c4_entrant_step(c4_door *door, c4_entrant *entrant);
/* Closes, and says once or a few times that somebody was refused: what strangers do must not fill the log. */
void c4_entrant_refuse(c4_door *door, c4_entrant *entrant, const char *reason);
void c4_entrant_leave(c4_door *door, c4_entrant *entrant);
/* Goes on with telling it `kind`, with `bytes` of entrant->out; then it is through. */
void c4_entrant_answer(c4_entrant *entrant, c4_control_kind kind, int rank, size_t bytes);
/* No proper hello yet: most likely not a rank. */
bool c4_entrant_is_silent(const c4_entrant *entrant);

#endif
