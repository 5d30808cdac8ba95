/* Double binary tree.
 *
 * Idea     Two binary trees over all ranks, such that a rank with children in one is a leaf in the other (or nearly); each carries
 *          half of the data. Reductions flow up, results down, pipelined chunk by chunk: lane "up" and lane "down" per tree. Every
 *          rank sends and receives each byte about once per direction, whatever n is, and depth is log2 n. For broadcast and reduce
 *          the root stands above both trees, which span the n-1 others.
 * Cost     all_reduce: 2 log2(n) a + 2 S b + S g; broadcast, reduce: log2(n) a + S b (+ S g), once the pipeline is full
 * Limits   all_reduce, broadcast, reduce. The order of additions is the tree's: not deterministic beyond two ranks. reduce keeps
 *          partial sums in scratch.
 * Example  5 ranks, all_reduce. Tree 0: 0 above 4 above 2 above 1 and 3. Tree 1 is tree 0 shifted by one: 1 above 0 above 3 above
 *          2 and 4. In tree 0, rank 2 computes x2+x1+x3 and sends it to 4, which adds x4 and sends to 0, which adds x0: final, down
 *          again the same way.
 * Source   Sanders, Speck, Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan" (2009); the shape is
 *          NCCL's (src/graph/trees.cc). */
#include "schedule/tree.h"

#include "schedule/builders.h"
#include "schedule/kinds.h"

/* In-order tree on 0 .. n-1: node v with lowest bit b has children v - b/2 and v + b/2; 0 is above the highest. */
static void in_order_tree(int n, int v, c4_tree *tree)
{
    int bit = 1;
    tree->nchildren = 0;
    tree->parent = -1;
    while (bit < n && !(bit & v))
        bit *= 2;
    if (v == 0) {
        if (n > 1)
            tree->children[tree->nchildren++] = bit / 2;
        return;
    }
    tree->parent = (v ^ bit) | bit * 2;
    if (tree->parent >= n)
        tree->parent = v ^ bit;
    int reach = bit / 2;
    if (reach == 0)
        return;
    tree->children[tree->nchildren++] = v - reach;
    while (reach > 0 && v + reach >= n)
        reach /= 2;
    if (reach > 0)
        tree->children[tree->nchildren++] = v + reach;
}

/* Tree 1 is tree 0 mirrored (n even) or shifted by one (n odd), which turns inner nodes into leaves. */
static int twin(int n, int v, int shift)
{
    return n % 2 == 0 ? n - 1 - v : (v + shift + n) % n;
}

static void double_tree(int n, int v, int which, c4_tree *tree)
{
    in_order_tree(n, which ? twin(n, v, -1) : v, tree);
    if (!which)
        return;
    tree->parent = tree->parent < 0 ? -1 : twin(n, tree->parent, 1);
    for (int i = 0; i < tree->nchildren; i++)
        tree->children[i] = twin(n, tree->children[i], 1);
}

/* The root above a double tree of the others, in numbers counted from the root. */
static void rooted_tree(const c4_query *q, int which, c4_tree *tree)
{
    int n = q->nranks, v = (q->rank - q->root + n) % n, top = which ? twin(n - 1, 0, 1) : 0;
    if (v == 0) {
        tree->parent = -1;
        tree->nchildren = 1;
        tree->children[0] = top;
    } else {
        double_tree(n - 1, v - 1, which, tree);
    }
    /* From numbers 0 .. n-2 below the root to ranks; no parent among them: the root. */
    if (v > 0)
        tree->parent = tree->parent < 0 ? q->root : (tree->parent + 1 + q->root) % n;
    for (int i = 0; i < tree->nchildren; i++)
        tree->children[i] = (tree->children[i] + 1 + q->root) % n;
}

/* ---- lanes for any tree ---- */

static int send_to_children(c4_builder *b, const c4_tree *tree, uint32_t tag, int next)
{
    int last = tree->nchildren - next > C4_FOLD_SOURCES ? next + C4_FOLD_SOURCES : tree->nchildren;
    for (; next < last; next++)
        c4_step_to(b, c4_term_send(b, tree->children[next], tag));
    return next;
}

/* The open step holds `span` in RECV now (or, with `from`, somewhere else): its first children have it, the others follow. */
static void finish_down(c4_builder *b, uint32_t loop, const c4_tree *tree, c4_span span, c4_term from, uint32_t tag)
{
    for (int next = send_to_children(b, tree, tag, 0); next < tree->nchildren;) {
        c4_step_open(b, loop, span.bytes, 0);
        c4_step_from(b, from);
        next = send_to_children(b, tree, tag, next);
    }
}

/* Own input and the children's sums, to the parent or, at the top, down again. */
static void up_lane(c4_builder *b, const c4_tree *tree, c4_span span, uint32_t tag, unsigned stream)
{
    const c4_query *q = b->query;
    bool top = tree->parent < 0, down = q->kind == C4_KIND_ALL_REDUCE;
    uint32_t loop = c4_builder_loop(b, c4_builder_lane(b));
    c4_term sum = c4_query_input(q, span.offset), home = c4_term_local(C4_BUFFER_RECV, span.offset);
    if (!down && !top && tree->nchildren > 0)
        home = c4_term_local(C4_BUFFER_SCRATCH, c4_builder_scratch(b, span.bytes));
    int next = 0;
    do {
        int last = tree->nchildren - next >= C4_FOLD_SOURCES ? next + C4_FOLD_SOURCES - 1 : tree->nchildren;
        bool all = last == tree->nchildren;
        c4_step_open(b, loop, span.bytes, top && all ? C4_STEP_FINAL | stream : 0);
        c4_step_from(b, sum);
        for (; next < last; next++)
            c4_step_from(b, c4_term_receive(b, tree->children[next], tag));
        if (tree->nchildren > 0)
            c4_step_to(b, home);
        sum = home;
    } while (next < tree->nchildren);
    if (!top)
        c4_step_to(b, c4_term_send(b, tree->parent, tag));
    else if (down)
        finish_down(b, loop, tree, span, home, tag);
}

static void down_lane(c4_builder *b, const c4_tree *tree, c4_span span, uint32_t tag, unsigned stream)
{
    const c4_query *q = b->query;
    bool top = tree->parent < 0;
    uint32_t loop = c4_builder_loop(b, c4_builder_lane(b));
    c4_term home = c4_term_local(C4_BUFFER_RECV, span.offset);
    c4_step_open(b, loop, span.bytes, stream);
    c4_step_from(b, top ? c4_query_input(q, span.offset) : c4_term_receive(b, tree->parent, tag));
    if (!top || !q->in_place)
        c4_step_to(b, home);
    finish_down(b, loop, tree, span, home, tag);
}

void c4_tree_lanes(c4_builder *b, const c4_tree *tree, c4_span span, uint32_t tag, unsigned stream)
{
    c4_kind kind = b->query->kind;
    if (span.bytes == 0)
        return;
    if (kind != C4_KIND_BROADCAST)
        up_lane(b, tree, span, tag, stream);
    if (kind == C4_KIND_BROADCAST || (kind == C4_KIND_ALL_REDUCE && tree->parent >= 0))
        down_lane(b, tree, span, tag, stream);
}

uint64_t c4_tree_chunk(uint64_t bytes)
{
    /* A pipeline of about 16 chunks, within what amortises a message. */
    uint64_t chunk = bytes / 16;
    return chunk < 4 << 10 ? 4 << 10 : chunk > 128 << 10 ? 128 << 10 : chunk / 4096 * 4096;
}

c4_status c4_tree_restrict(const c4_query *q)
{
    return q->reduces && q->deterministic && q->nranks > 2 ? C4_ERR_UNSUPPORTED : C4_OK;
}

c4_status c4_tree_build(const c4_query *q, c4_schedule **schedule)
{
    c4_builder b;
    int children[C4_TREE_BINARY];
    uint64_t bytes = (uint64_t)q->count * q->element_bytes;
    const uint64_t worth_two = 16 << 10; /* below, the second tree only adds messages */
    int ntrees = bytes >= worth_two ? 2 : 1;
    c4_builder_init(&b, q);
    c4_builder_set_chunk(&b, c4_tree_chunk(bytes / (uint64_t)ntrees));
    for (int which = 0; which < ntrees; which++) {
        c4_tree tree = {.children = children};
        if (q->kind == C4_KIND_ALL_REDUCE)
            double_tree(q->nranks, q->rank, which, &tree);
        else
            rooted_tree(q, which, &tree);
        c4_span half = c4_block(q->count, (uint64_t)ntrees, (uint64_t)which, q->element_bytes);
        c4_tree_lanes(&b, &tree, half, (uint32_t)which, c4_query_stream(q, 2 * bytes));
    }
    return c4_builder_finish(&b, schedule);
}
