/* Ranks that `c4run --join` adds: rank 0 talks to the c4run that started it, over the AF_UNIX socket that C4_RUN_SOCKET
 * names. One question or offer per connection, one line each way:
 *
 *     pending                   ->  "N": ranks that wait
 *     offer FIRST NRANKS ID     ->  "ok", or why not
 *
 * ID: the unique id as hexadecimal digits. Both ends ask the kernel whether the other is of the same user. */
#ifndef C4_COMM_JOIN_H
#define C4_COMM_JOIN_H

#include "comm/internal.h"
#include "rendezvous/launcher.h"

/* Rank 0: makes an id for `nranks` ranks and hands it to those who wait. C4_ERR_NULL when nobody can be waiting (not
 * under c4run), C4_ERR_COUNT when not that many wait, C4_ERR_LINK. Blocks briefly. */
c4_status c4_join_offer(c4_comm *comm, int nranks, c4_unique_id *id);

/* A rank that `c4run --join` started: its place (C4_RANK, C4_NRANKS) and the id (C4_UNIQUE_ID) in the way a launcher
 * tells them. *joins: whether this is one. C4_ERR_OPTION for values that c4run did not make. */
c4_status c4_join_launch(c4_launch *launch, bool *joins);

#endif
