/* Where a rank stands, out of its flight record: in which operation it is, or which was its last. */
#ifndef C4_DIAG_SOURCES_STANDING_H
#define C4_DIAG_SOURCES_STANDING_H

#include "diag/sources/record_reader.h"

typedef struct c4_standing {
    bool has_comm; /* false: none was ever set up, the rest is 0 */
    c4_record_comm comm;
    bool has_operation;            /* false: nothing was called yet; comm is the one set up last */
    c4_record_operation operation; /* of those that run, the one called first; when none runs, the one called last */
} c4_standing;

void c4_standing_read(const c4_record_file *file, c4_standing *standing);

/* How far the rank has come in the collectives of the communicator `comm_id`. False: it is no member, as far as the
 * record tells. The communicator may have ended; of several with the id the last one counts. */
bool c4_standing_reached(const c4_record_file *file, uint32_t comm_id, c4_record_comm *comm, uint32_t *sequence);

/* Sends and receives count their sequence per peer, collectives per communicator. */
bool c4_standing_is_collective(const c4_record_operation *operation);

#endif
