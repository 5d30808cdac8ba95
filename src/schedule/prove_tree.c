/* The prover's arena and its hash-consed expression trees. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "schedule/prove_internal.h"

enum { BLOCK_BYTES = 1 << 20, ALIGN = 16 };

struct prove_block {
    struct prove_block *next;
    uint64_t pad; /* the payload starts aligned */
};

void *prove_alloc(prove_arena *arena, size_t bytes)
{
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!arena->blocks || arena->room - arena->used < bytes) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        struct prove_block *block = malloc(sizeof *block + room);
        if (!block)
            return NULL;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used = 0;
        arena->room = room;
    }
    void *memory = (char *)(arena->blocks + 1) + arena->used;
    arena->used += bytes;
    return memory;
}

void prove_arena_fini(prove_arena *arena)
{
    while (arena->blocks) {
        struct prove_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

bool prove_forest_init(prove_forest *f, prove_arena *arena, int nranks)
{
    *f = (prove_forest){
        .arena = arena, .nranks = nranks, .words = (nranks + 63) / 64, .nnodes = 1, .room = 256, .table_room = 1024};
    f->nodes = calloc(f->room, sizeof *f->nodes);
    f->table = calloc(f->table_room, sizeof *f->table);
    return f->nodes && f->table;
}

void prove_forest_fini(prove_forest *f)
{
    free(f->nodes);
    free(f->table);
}

static bool node_equals(const prove_node *a, const prove_node *b)
{
    return a->hash == b->hash && a->rank == b->rank && a->final == b->final && a->nchildren == b->nchildren &&
           (a->nchildren == 0 || memcmp(a->children, b->children, a->nchildren * sizeof *a->children) == 0);
}

static bool forest_grow(prove_forest *f)
{
    if (f->nnodes == f->room) {
        prove_node *nodes = realloc(f->nodes, 2 * (size_t)f->room * sizeof *nodes);
        if (!nodes)
            return false;
        f->nodes = nodes;
        f->room *= 2;
    }
    if (f->nnodes * 2 < f->table_room)
        return true;
    uint32_t *table = calloc(2 * (size_t)f->table_room, sizeof *table);
    if (!table)
        return false;
    free(f->table);
    f->table = table;
    f->table_room *= 2;
    for (uint32_t i = 1; i < f->nnodes; i++) {
        uint32_t at = (uint32_t)f->nodes[i].hash & (f->table_room - 1);
        while (table[at])
            at = (at + 1) & (f->table_room - 1);
        table[at] = i;
    }
    return true;
}

static prove_tree forest_find(const prove_forest *f, const prove_node *node, uint32_t *at)
{
    *at = (uint32_t)node->hash & (f->table_room - 1);
    while (f->table[*at] && !node_equals(&f->nodes[f->table[*at]], node))
        *at = (*at + 1) & (f->table_room - 1);
    return f->table[*at];
}

/* Finds the node or adds it; the leaves are counted only when it is new. */
static prove_tree forest_intern(prove_forest *f, prove_node node, const char **why)
{
    uint32_t at;
    node.hash = c4_hash_bytes(C4_HASH_INIT, &node.rank, sizeof node.rank);
    node.hash = c4_hash_bytes(node.hash, &node.final, sizeof node.final);
    if (node.nchildren)
        node.hash = c4_hash_bytes(node.hash, node.children, node.nchildren * sizeof *node.children);
    prove_tree found = forest_find(f, &node, &at);
    if (found)
        return found;
    uint64_t *leaves = prove_alloc(f->arena, (size_t)f->words * sizeof *leaves);
    prove_tree *children = prove_alloc(f->arena, (node.nchildren + 1) * sizeof *children);
    *why = "out of memory";
    if (!leaves || !children || !forest_grow(f))
        return 0;
    memset(leaves, 0, (size_t)f->words * sizeof *leaves);
    if (node.rank >= 0)
        leaves[node.rank / 64] = (uint64_t)1 << node.rank % 64;
    for (uint32_t i = 0; i < node.nchildren; i++) {
        const uint64_t *of_child = f->nodes[node.children[i]].leaves;
        for (int w = 0; w < f->words; w++) {
            if (leaves[w] & of_child[w]) {
                *why = "a rank's contribution is added twice";
                return 0;
            }
            leaves[w] |= of_child[w];
        }
        children[i] = node.children[i];
    }
    node.leaves = leaves;
    node.children = children;
    forest_find(f, &node, &at); /* the table may have grown */
    f->nodes[f->nnodes] = node;
    f->table[at] = f->nnodes;
    return f->nnodes++;
}

prove_tree prove_leaf(prove_forest *f, int rank)
{
    const char *why;
    return forest_intern(f, (prove_node){.rank = rank}, &why);
}

prove_tree prove_fold(prove_forest *f, const prove_tree *operands, uint32_t k, const char **why)
{
    prove_tree children[UINT8_MAX] = {0};
    for (uint32_t i = 0; i < k; i++) {
        children[i] = operands[i];
        if (operands[i] == 0)
            *why = "reduces undefined bytes";
        else if (f->nodes[operands[i]].final)
            *why = "reduces a final value";
        else
            continue;
        return 0;
    }
    if (children[0] > children[1]) { /* a op b = b op a */
        prove_tree first = children[0];
        children[0] = children[1];
        children[1] = first;
    }
    return forest_intern(f, (prove_node){.rank = -1, .children = children, .nchildren = k}, why);
}

prove_tree prove_final(prove_forest *f, prove_tree tree, const char **why)
{
    *why = "final value is made final again, or undefined";
    if (tree == 0 || f->nodes[tree].final)
        return 0;
    return forest_intern(f, (prove_node){.rank = -1, .final = true, .children = &tree, .nchildren = 1}, why);
}

bool prove_complete(const prove_forest *f, prove_tree tree)
{
    int ranks = 0;
    for (int w = 0; w < f->words; w++)
        ranks += __builtin_popcountll(f->nodes[tree].leaves[w]);
    return ranks == f->nranks;
}
