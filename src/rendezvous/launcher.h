/* What a launcher has told this process through its environment: rank, rank count, where rank 0 is, the key.
 *
 *     C4_RANK, C4_NRANKS              required
 *     C4_LOCAL_RANK, C4_LOCAL_NRANKS  on this host; -1 when not told
 *     C4_RENDEZVOUS=HOST:PORT         where rank 0 listens; not needed for a single rank
 *     C4_RENDEZVOUS_FD                rank 0 under c4run: a socket that listens there already
 *     C4_KEY (64 hexadecimal digits), or the file named by C4_KEY_FILE
 *     C4_JOB_ID                       any text; tells jobs apart; C4_RENDEZVOUS when unset */
#ifndef C4_RENDEZVOUS_LAUNCHER_H
#define C4_RENDEZVOUS_LAUNCHER_H

#include <c4/c4.h>
#include <stdbool.h>

#include "base/options.h"
#include "wire/unique_id.h"

typedef struct c4_launch {
    const char *launcher; /* "c4run"; static */
    int rank, nranks;
    int local_rank, local_nranks;
    uint64_t job_id;
    bool has_key;
    unsigned char key[C4_KEY_BYTES];
    size_t naddresses;
    c4_net_address addresses[C4_UNIQUE_ID_ADDRESSES];
    int listen_fd; /* -1: none */
} c4_launch;

/* C4_ERR_OPTION, saying which variable is missing or wrong and how to start the program; C4_ERR_UNREACHABLE when the
 * host of C4_RENDEZVOUS cannot be resolved. `options` must hold c4_rendezvous_option_table. Blocks on a name look-up
 * when HOST is a name. The caller owns listen_fd. */
c4_status c4_launch_detect(const c4_options *options, c4_launch *launch);

/* 64 hexadecimal digits; false for anything else. */
bool c4_key_parse(const char *text, unsigned char key[C4_KEY_BYTES]);
/* Refuses a file that others can read: C4_ERR_OPTION with the mend. */
c4_status c4_key_read_file(const char *path, unsigned char key[C4_KEY_BYTES]);

#endif
