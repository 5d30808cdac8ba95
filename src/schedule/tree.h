/* Reductions up and results down any tree: the double tree's and the hierarchical builder's common part. */
#ifndef C4_SCHEDULE_TREE_H
#define C4_SCHEDULE_TREE_H

#include "schedule/builder.h"

#define C4_TREE_BINARY 2

/* This rank's place. */
typedef struct c4_tree {
    int parent; /* -1: top */
    int nchildren;
    int *children;
} c4_tree;

/* The lanes of an all_reduce, reduce or broadcast of `span` over the tree. Channels: `tag`, one in each direction of an edge. */
void c4_tree_lanes(c4_builder *builder, const c4_tree *tree, c4_span span, uint32_t tag, unsigned stream);
/* Chunk for a pipeline over `bytes`. */
uint64_t c4_tree_chunk(uint64_t bytes);

#endif
