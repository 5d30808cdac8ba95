/* "3, 7-9, 12": ranks in an error message. */
#ifndef C4_RENDEZVOUS_RANK_LIST_H
#define C4_RENDEZVOUS_RANK_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Writes "rank 3 has" or "ranks 3, 7-9 have"; cut with "..." when `text` is full. `listed(context, rank)` says who is
 * in. Returns how many. */
int c4_rank_list(int nranks, bool (*listed)(const void *context, int rank), const void *context, char *text,
                 size_t bytes);

#endif
