/* Shm modules without a communicator: a host with settable options, and address exchange through test memory. */
#ifndef C4_TESTS_TRANSPORTS_SHM_RIG_H
#define C4_TESTS_TRANSPORTS_SHM_RIG_H

#include "transports/shm/shm.h"

#define RIG_MAX_RANKS 8
#define RIG_LOG_BYTES 1024

typedef struct rig_options {
    int64_t backend, ring_bytes, budget_bytes, stores;
    int strangers; /* ranks of this host that share nothing with the others */
} rig_options;

/* In memory that all ranks share. */
typedef struct rig_board {
    unsigned char address[RIG_MAX_RANKS][C4_ADDRESS_MAX_BYTES];
    size_t address_bytes[RIG_MAX_RANKS];
    int arrived, turns; /* barrier */
    char last_warning[RIG_MAX_RANKS][RIG_LOG_BYTES];
} rig_board;

typedef struct rig_rank {
    c4_transport_host host;
    rig_options options;
    rig_board *board;
    c4_module *module;
} rig_rank;

/* ring 0 (default), budget 512 MiB, the rest auto. */
rig_options rig_defaults(void);
/* Opens a module for `rank` and, behind a barrier, adds all peers. NULL options: defaults. */
c4_status rig_open(rig_rank *rig, rig_board *board, int rank, int nranks, const rig_options *options);
/* The two halves of rig_open, for several ranks in one process. */
c4_status rig_create(rig_rank *rig, rig_board *board, int rank, int nranks, const rig_options *options);
c4_status rig_connect(rig_rank *rig);
/* Behind a barrier, so that nobody loses a peer that it still uses. */
void rig_close(rig_rank *rig);
void rig_barrier(rig_board *board, int nranks);
/* A channel from `writer` to one reader, or to all other ranks (reader < 0). */
c4_channel *rig_channel(rig_rank *rig, uint32_t tag, int writer, int reader, size_t depth_bytes);
/* Blocks for nothing: the frame may still be under way. */
c4_status rig_send(c4_channel *channel, void *data, size_t bytes);
/* Files in /dev/shm that belong to shared memory of any process. */
int rig_named_segments(void);

#endif
