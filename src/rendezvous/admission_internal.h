/* Shared by admission.c (the door) and entrant.c (one who comes through it) only. */
#ifndef C4_RENDEZVOUS_ADMISSION_INTERNAL_H
#define C4_RENDEZVOUS_ADMISSION_INTERNAL_H

#include <poll.h>

#include "rendezvous/bootstrap_internal.h"

enum { C4_DOOR_PLACES = 64, C4_NDOORS = 2 };

/* Until JOINING it is anybody; from then on it has proved that it belongs to the job. */
typedef enum c4_entrant_phase {
    C4_ENTRANT_FREE,
    C4_ENTRANT_SHAKING,
    C4_ENTRANT_JOINING,
    C4_ENTRANT_WELCOMING
} c4_entrant_phase;

typedef struct c4_entrant {
    c4_entrant_phase phase;
    bool local; /* came through the AF_UNIX door */
    uint64_t since_ns;
    c4_link link;
    c4_handshake handshake;
    unsigned char in[C4_CONTROL_JOIN_MAX_BYTES];
    unsigned char out[C4_CONTROL_MESSAGE_MAX_BYTES]; /* welcome or fault */
    c4_control_header out_header;
    c4_process process;
    char from[C4_NET_ADDRESS_TEXT_BYTES];
} c4_entrant;

typedef struct c4_door {
    c4_bootstrap *bootstrap;
    int doors[C4_NDOORS]; /* TCP, AF_UNIX */
    int missing;          /* ranks not yet in */
    unsigned refused;
    bool exhausted; /* no descriptor for the next; cleared when an entrant is done */
    c4_entrant *entrants;
    struct pollfd *watches;
    int *whose; /* of each watch: see admission.c */
    nfds_t nwatches;
} c4_door;

/* Takes an accepted connection into a free place and goes as far as it can. */
void c4_entrant_start(c4_door *door, c4_entrant *entrant, int fd, bool local, const struct sockaddr *name);
/* As far as the socket lets it go; ends in a free place. */
void c4_entrant_step(c4_door *door, c4_entrant *entrant);
/* Closes, and says once or a few times that somebody was refused: what strangers do must not fill the log. */
void c4_entrant_refuse(c4_door *door, c4_entrant *entrant, const char *reason);
void c4_entrant_leave(c4_door *door, c4_entrant *entrant);
/* No proper hello yet: most likely not a rank. */
bool c4_entrant_is_silent(const c4_entrant *entrant);

#endif
