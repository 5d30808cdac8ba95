/* The graph of control connections: rank r is a neighbour of r +- 2^k (mod n), k = 0 .. ceil(log2 n) - 1. About
 * 2 log2 n connections a rank, any two ranks at most log2 n hops apart, and all-gathers by Bruck over its edges. Few ranks
 * are connected everybody with everybody: those that are left must hear one another when many die at once, and of 8 ranks
 * five deaths could take all neighbours of one that lives (of more, at least six can). Pure arithmetic. */
#ifndef C4_RENDEZVOUS_OVERLAY_H
#define C4_RENDEZVOUS_OVERLAY_H

#include <stdbool.h>

enum {
    C4_OVERLAY_FULL_RANKS = 12,
    C4_OVERLAY_MAX_NEIGHBOURS = 2 * 16 /* of C4_CONTROL_MAX_RANKS ranks */
};

/* The neighbours of `rank` in rising order, each once. Returns their number. */
int c4_overlay_neighbours(int nranks, int rank, int neighbours[C4_OVERLAY_MAX_NEIGHBOURS]);
bool c4_overlay_is_edge(int nranks, int rank, int other);
/* Which end of an edge connects first and decides which connection is the link: the lower in the circle; rank 0 never,
 * all have come to it already. */
int c4_overlay_owner(int nranks, int rank, int other);

#endif
