/* Hierarchical: as few bytes as possible between hosts, by as many ranks as possible.
 *
 * Idea     Short vectors, broadcast, reduce and barrier: a tree of leaders, one per host (the root leads its own), each with the other
 *          ranks of its host as further children; see tree.c.
 *          Otherwise every block y of the result has an owner, rank y, and on every other host a proxy: the rank with the owner's
 *          place within the host (modulo the host's size). Reduce-scatter: the ranks of a host send their block y to its proxy,
 *          which folds them and sends one sum to the owner; the owner folds its host's and the others'. All-gather: the owner sends
 *          to its host and to the proxies, which send to their hosts. all_reduce is both. So each byte enters and leaves a host as
 *          often as the ring's would, over all links at once, in two latencies, for hosts of any size.
 * Cost     H hosts of m ranks, all_reduce: 4 a_local + 2 a_remote + 2 (m-1)/m S b_local + 2 (H-1)/(H m) S b_remote per rank + S g
 *          tree: 2 (log2(H) a_remote + a_local) + 2 S (b_remote + m b_local)
 * Limits   Two hosts or more, one of them with several ranks; at most C4_FOLD_SOURCES hosts and ranks per host for the block forms.
 *          The order of additions follows the hosts: not deterministic. reduce_scatter keeps sums in scratch.
 * Example  5 ranks, hosts {0,1,2} {3,4}; block 2 (owner 2, place 2): on host 1 the proxy is place 2 mod 2 = 0, rank 3. 4 sends its
 *          block 2 to 3, which sends x3+x4 to 2; 0 and 1 send theirs to 2, which adds all. Back: 2 sends to 0, 1 and 3; 3 to 4.
 * Source   Graham, Venkata et al., "Cheetah: a framework for scalable hierarchical collective operations" (2011); proxies by place
 *          are the rails of NCCL's multi-NIC trees. */
#include <stdlib.h>

#include "schedule/builders.h"
#include "schedule/kinds.h"
#include "schedule/tree.h"

enum { TAG_REDUCE = 0, TAG_SUM = 1, TAG_GATHER = 2, TAG_FORWARD = 3, TAG_TREE = 4, SHORT_BYTES = 32 << 10 };

typedef struct hierarchy {
    c4_builder b;
    c4_duplex d;
    int host;     /* this rank's */
    int *members; /* ranks by host */
    int *first;   /* [nhosts + 1] of each host's in members */
    int *place;   /* [nranks] of each rank within its host */
    c4_term *sum; /* [nranks] where this rank keeps the sum of block y of its host */
    int *others;  /* scratch list of ranks */
    c4_group local;
    bool publish;
    unsigned stream;
} hierarchy;

static int host_of(const hierarchy *x, int rank)
{
    return x->b.query->layout->host_of[rank];
}

static int host_size(const hierarchy *x, int host)
{
    return x->first[host + 1] - x->first[host];
}

/* Who stands for rank y on `host`; y itself on its own. */
static int proxy(const hierarchy *x, int host, int y)
{
    return x->members[x->first[host] + x->place[y] % host_size(x, host)];
}

static c4_span block_of(const hierarchy *x, int y)
{
    const c4_query *q = x->b.query;
    if (q->kind == C4_KIND_REDUCE_SCATTER)
        return c4_query_input_block(q, y);
    if (q->kind == C4_KIND_ALL_GATHER)
        return c4_query_output_block(q, y);
    return c4_block(q->count, (uint64_t)q->nranks, (uint64_t)y, q->element_bytes);
}

/* ---- reduce-scatter ---- */

/* Blocks of the owners on this host (`here`) or of the others, to their owner or proxy on this host. */
static void send_inputs(hierarchy *x, bool here)
{
    const c4_query *q = x->b.query;
    for (int y = 0; y < q->nranks; y++) {
        int to = proxy(x, x->host, y);
        c4_span block = block_of(x, y);
        if ((host_of(x, y) == x->host) == here && to != q->rank && block.bytes)
            c4_step_move(&x->b, x->d.send_loop, block.bytes, c4_query_input(q, block.offset),
                         c4_term_send(&x->b, to, TAG_REDUCE), 0);
    }
}

/* Opens the fold of block y of all ranks on this host, with the own contribution first in place order. */
static void open_local_fold(hierarchy *x, c4_span block, unsigned flags)
{
    const c4_query *q = x->b.query;
    c4_step_open(&x->b, x->d.receive_loop, block.bytes, flags);
    for (int i = 0; i < x->local.n; i++) {
        int rank = c4_group_rank(&x->local, i);
        c4_step_from(&x->b,
                     rank == q->rank ? c4_query_input(q, block.offset) : c4_term_receive(&x->b, rank, TAG_REDUCE));
    }
}

static void fold_as_proxy(hierarchy *x)
{
    const c4_query *q = x->b.query;
    for (int y = 0; y < q->nranks; y++) {
        c4_span block = block_of(x, y);
        if (host_of(x, y) == x->host || proxy(x, x->host, y) != q->rank || block.bytes == 0)
            continue;
        x->sum[y] = c4_query_input(q, block.offset);
        if (x->local.n == 1)
            continue;
        x->sum[y] = q->kind == C4_KIND_ALL_REDUCE
                        ? c4_term_local(C4_BUFFER_RECV, block.offset)
                        : c4_term_local(C4_BUFFER_SCRATCH, c4_builder_scratch(&x->b, block.bytes));
        open_local_fold(x, block, 0);
        c4_step_to(&x->b, x->sum[y]);
    }
}

static void send_sums(hierarchy *x)
{
    const c4_query *q = x->b.query;
    for (int y = 0; y < q->nranks; y++) {
        c4_span block = block_of(x, y);
        if (host_of(x, y) == x->host || proxy(x, x->host, y) != q->rank || block.bytes == 0)
            continue;
        c4_step_move(&x->b, x->d.send_loop, block.bytes, x->sum[y], c4_term_send(&x->b, y, TAG_SUM), 0);
        if (x->local.n > 1)
            c4_duplex_gate_send(&x->d);
    }
}

/* The own block: this host's contributions one by one, then the sum of each other host. */
static void fold_own(hierarchy *x)
{
    const c4_query *q = x->b.query;
    c4_span own = block_of(x, q->rank);
    if (own.bytes == 0)
        return;
    c4_term result = c4_term_local(C4_BUFFER_RECV, q->kind == C4_KIND_ALL_REDUCE ? own.offset : 0);
    if (x->local.n > 1) { /* two steps: sources of both would exceed a step's, and local ones come first anyway */
        open_local_fold(x, own, 0);
        c4_step_to(&x->b, result);
    }
    c4_step_open(&x->b, x->d.receive_loop, own.bytes, C4_STEP_FINAL | x->stream);
    c4_step_from(&x->b, x->local.n > 1 ? result : c4_query_input(q, own.offset));
    for (int h = 0; h < q->layout->nhosts; h++)
        if (h != x->host)
            c4_step_from(&x->b, c4_term_receive(&x->b, proxy(x, h, q->rank), TAG_SUM));
    c4_step_to(&x->b, result);
}

static void reduce_scatter(hierarchy *x)
{
    send_inputs(x, false);
    fold_as_proxy(x);
    send_inputs(x, true);
    send_sums(x);
    fold_own(x);
}

/* ---- all-gather ---- */

/* Block in RECV to all others of this host; gated on its arrival. */
static void send_local(hierarchy *x, c4_span block, uint32_t tag)
{
    for (int next = 1; next < x->local.n;) {
        c4_step_open(&x->b, x->d.send_loop, block.bytes, 0);
        c4_step_from(&x->b, c4_term_local(C4_BUFFER_RECV, block.offset));
        next = c4_step_fan_to(&x->b, &x->local, x->publish ? tag + TAG_TREE : tag, x->publish, next);
        c4_duplex_gate_send(&x->d);
    }
}

static void send_own(hierarchy *x)
{
    const c4_query *q = x->b.query;
    c4_span own = block_of(x, q->rank);
    c4_term home = c4_term_local(C4_BUFFER_RECV, own.offset);
    if (own.bytes == 0)
        return;
    if (q->kind == C4_KIND_ALL_GATHER && !q->in_place)
        c4_step_move(&x->b, x->d.receive_loop, own.bytes, c4_query_input(q, 0), home, x->stream);
    c4_step_open(&x->b, x->d.send_loop, own.bytes, 0);
    c4_step_from(&x->b, home);
    for (int i = 1; i < q->layout->nhosts; i++)
        c4_step_to(&x->b, c4_term_send(&x->b, proxy(x, (x->host + i) % q->layout->nhosts, q->rank), TAG_GATHER));
    c4_duplex_gate_send(&x->d);
    send_local(x, own, TAG_GATHER);
}

static void receive_block(hierarchy *x, c4_span block, int from, uint32_t tag)
{
    bool local = host_of(x, from) == x->host;
    c4_term source = c4_term_receive(&x->b, from, tag);
    if (local && x->publish)
        source = c4_term_publish(&x->b, &x->local, x->place[from], tag + TAG_TREE);
    c4_step_move(&x->b, x->d.receive_loop, block.bytes, source, c4_term_local(C4_BUFFER_RECV, block.offset), x->stream);
}

/* First what comes from the owners, passing on what this rank is proxy for; then what the other proxies pass on. */
static void all_gather(hierarchy *x)
{
    const c4_query *q = x->b.query;
    send_own(x);
    for (int y = 0; y < q->nranks; y++) {
        c4_span block = block_of(x, y);
        bool here = host_of(x, y) == x->host, mine = proxy(x, x->host, y) == q->rank;
        if (y == q->rank || block.bytes == 0 || (!here && !mine))
            continue;
        receive_block(x, block, y, TAG_GATHER);
        if (!here)
            send_local(x, block, TAG_FORWARD);
    }
    for (int y = 0; y < q->nranks; y++) {
        c4_span block = block_of(x, y);
        int from = proxy(x, x->host, y);
        if (host_of(x, y) != x->host && from != q->rank && block.bytes)
            receive_block(x, block, from, TAG_FORWARD);
    }
}

/* ---- leaders ---- */

static int leader_of(const hierarchy *x, int host)
{
    const c4_query *q = x->b.query;
    bool rooted = c4_kind_is_rooted(q->kind);
    return rooted && host_of(x, q->root) == host ? q->root : x->members[x->first[host]];
}

/* Leaders in a binary heap with the root's host on top; children in `others`. */
static c4_tree leader_tree(hierarchy *x)
{
    const c4_query *q = x->b.query;
    int hosts = q->layout->nhosts, top = c4_kind_is_rooted(q->kind) ? host_of(x, q->root) : 0;
    int leader = leader_of(x, x->host), index = (x->host - top + hosts) % hosts;
    c4_tree tree = {.parent = leader, .children = x->others};
    if (q->rank != leader)
        return tree;
    tree.parent = index == 0 ? -1 : leader_of(x, ((index - 1) / 2 + top) % hosts);
    for (int child = 2 * index + 1; child <= 2 * index + 2 && child < hosts; child++)
        tree.children[tree.nchildren++] = leader_of(x, (child + top) % hosts);
    for (int i = 0; i < x->local.n; i++)
        if (c4_group_rank(&x->local, i) != leader)
            tree.children[tree.nchildren++] = c4_group_rank(&x->local, i);
    return tree;
}

static void barrier(hierarchy *x, const c4_tree *tree)
{
    uint32_t loop = c4_builder_loop(&x->b, c4_builder_lane(&x->b));
    for (int next = 0; next < tree->nchildren;) {
        c4_step_open(&x->b, loop, 0, 0);
        for (int i = 0; i < C4_FOLD_SOURCES && next < tree->nchildren; i++, next++)
            c4_step_from(&x->b, c4_term_receive(&x->b, tree->children[next], TAG_TREE));
    }
    if (tree->parent >= 0) {
        c4_step_open(&x->b, loop, 0, 0);
        c4_step_to(&x->b, c4_term_send(&x->b, tree->parent, TAG_TREE));
        c4_step_open(&x->b, loop, 0, 0);
        c4_step_from(&x->b, c4_term_receive(&x->b, tree->parent, TAG_TREE));
    }
    for (int next = 0; next < tree->nchildren;) {
        c4_step_open(&x->b, loop, 0, 0);
        for (int i = 0; i < C4_FOLD_SOURCES && next < tree->nchildren; i++, next++)
            c4_step_to(&x->b, c4_term_send(&x->b, tree->children[next], TAG_TREE));
    }
}

static void leaders(hierarchy *x)
{
    const c4_query *q = x->b.query;
    c4_tree tree = leader_tree(x);
    c4_span all = {0, (uint64_t)q->count * q->element_bytes};
    if (q->kind == C4_KIND_BARRIER) {
        barrier(x, &tree);
        return;
    }
    c4_builder_set_chunk(&x->b, c4_tree_chunk(all.bytes));
    c4_tree_lanes(&x->b, &tree, all, TAG_TREE, x->stream);
}

/* ---- both ---- */

static bool uses_leaders(const c4_query *q)
{
    bool blocks = q->kind == C4_KIND_ALL_GATHER || q->kind == C4_KIND_REDUCE_SCATTER ||
                  (q->kind == C4_KIND_ALL_REDUCE && (uint64_t)q->count * q->element_bytes > SHORT_BYTES);
    return !blocks;
}

static void blocks(hierarchy *x)
{
    const c4_query *q = x->b.query;
    c4_builder_set_chunk(&x->b, 64 << 10);
    x->publish = c4_group_can_publish(q, &x->local);
    c4_duplex_open(&x->d, &x->b, false);
    if (q->kind != C4_KIND_ALL_GATHER)
        reduce_scatter(x);
    if (q->kind != C4_KIND_REDUCE_SCATTER)
        all_gather(x);
    c4_duplex_close(&x->d);
}

static int largest_host(const c4_query *q)
{
    int largest = 0;
    for (int i = 0; i < q->nranks; i++) {
        int size = 0;
        for (int j = 0; j < q->nranks; j++)
            size += q->layout->host_of[j] == q->layout->host_of[i];
        largest = size > largest ? size : largest;
    }
    return largest;
}

c4_status c4_hierarchical_restrict(const c4_query *q)
{
    if (!q->layout || q->layout->nhosts < 2 || q->layout->nhosts == q->nranks || (q->reduces && q->deterministic))
        return C4_ERR_UNSUPPORTED;
    if (uses_leaders(q))
        return C4_OK;
    return q->layout->nhosts <= C4_FOLD_SOURCES && largest_host(q) <= C4_FOLD_SOURCES ? C4_OK : C4_ERR_UNSUPPORTED;
}

static void number_hosts(hierarchy *x)
{
    const c4_query *q = x->b.query;
    int at = 0;
    for (int h = 0; h < q->layout->nhosts; h++) {
        x->first[h] = at;
        for (int r = 0; r < q->nranks; r++) {
            if (q->layout->host_of[r] != h)
                continue;
            x->place[r] = at - x->first[h];
            x->members[at++] = r;
        }
    }
    x->first[q->layout->nhosts] = at;
    x->local = (c4_group){x->members + x->first[x->host], host_size(x, x->host), x->place[q->rank]};
}

c4_status c4_hierarchical_build(const c4_query *q, c4_schedule **schedule)
{
    hierarchy x = {.host = q->layout->host_of[q->rank]};
    size_t n = (size_t)q->nranks;
    c4_builder_init(&x.b, q);
    x.stream = c4_query_stream(q, c4_query_input_bytes(q) + c4_query_output_bytes(q));
    x.members = calloc(4 * n + 1, sizeof *x.members);
    x.sum = calloc(n, sizeof *x.sum);
    if (x.members && x.sum) {
        x.first = x.members + n;
        x.place = x.first + n + 1;
        x.others = x.place + n;
        number_hosts(&x);
        if (uses_leaders(q))
            leaders(&x);
        else
            blocks(&x);
    } else {
        x.b.status = c4_fail(C4_ERR_MEMORY, "hierarchy of %zu ranks", n);
    }
    free(x.members);
    free(x.sum);
    return c4_builder_finish(&x.b, schedule);
}
