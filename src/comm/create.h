/* A communicator that sets itself up through a bootstrap of its own: c4_comm_create, c4_comm_grow and c4_comm_shrink. */
#ifndef C4_COMM_CREATE_H
#define C4_COMM_CREATE_H

#include "comm/internal.h"
#include "rendezvous/launcher.h"
#include "rendezvous/listener.h"
#include "wire/unique_id.h"

typedef struct c4_creation {
    c4_comm *comm;
    c4_bootstrap_spec bootstrap; /* its pointers lead to the fields below */
    c4_net_address addresses[C4_UNIQUE_ID_ADDRESSES], listen[C4_ENDPOINT_ADDRESSES];
    unsigned char key[C4_KEY_BYTES];
    char file[sizeof((c4_launch *)NULL)->file];
} c4_creation;

/* Makes the handle and resolves its options: `config`'s override `inherited` (may be NULL). */
c4_status c4_creation_begin(const c4_comm_config *config, const char *inherited, int rank, int nranks,
                            c4_creation *creation);
/* The job that a unique id names. */
void c4_creation_identify(c4_creation *creation, const c4_unique_id_fields *fields);
/* Blocks: bootstrap, engine, control thread. After an error c4_creation_finish or c4_comm_undo gives back what there is. */
c4_status c4_creation_run(c4_creation *creation);
/* Publishes how it ended, tells the others of a failure. Returns `status`. The communicator remains. */
c4_status c4_creation_finish(c4_creation *creation, c4_status status);

/* Where and in which ports C4_SOCKET_IFNAME and C4_PORT_RANGE want this process to listen. */
c4_status c4_creation_listen_spec(const c4_options *options, c4_listen_spec *spec);

#endif
