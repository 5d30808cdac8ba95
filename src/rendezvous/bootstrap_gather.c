/* All-gather by Bruck over the links of neighbours.
 *
 * In step k each rank r has the blocks of ranks r .. r + 2^k - 1 (mod n). It sends the first min(2^k, n - 2^k) of them to
 * r - 2^k and gets as many from r + 2^k. Cost: ceil(log2 n) alpha + (n - 1) s beta for blocks of s bytes. On 5 ranks,
 * rank 0 has: 0 | 0 1 | 0 1 2 3 | 0 1 2 3 4. Blocks are kept at their places in the result (a run of them is at most two
 * pieces of it), so no memory is needed. Source: J. Bruck et al., Efficient Algorithms for All-to-All Communications in
 * Multiport Message-Passing Systems, IEEE TPDS 8(11), 1997.
 *
 * Who waits watches all its links: a fault is told from neighbour to neighbour. What a neighbour that is ahead has sent
 * stays in the socket, also messages of its control thread. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "rendezvous/bootstrap_internal.h"
#include "rendezvous/rank_list.h"

enum { STEPS_PER_ROUND = 32 };

typedef struct gathering {
    c4_bootstrap *bootstrap;
    size_t bytes;
    unsigned char *out;
    unsigned index; /* of the step: 2^index ranks are here */
    int have;       /* 2^index */
    int to, from;
    bool sent, received;
    bool parked[C4_OVERLAY_MAX_NEIGHBOURS]; /* has sent something for later */
} gathering;

/* ---- one step ---- */

static int blocks_of_step(const gathering *gather)
{
    int nranks = gather->bootstrap->spec.nranks;
    return gather->have < nranks - gather->have ? gather->have : nranks - gather->have;
}

/* The memory of `count` blocks from rank `first` on; returns the number of pieces. */
static size_t find_blocks(const gathering *gather, int first, int count, struct iovec parts[2])
{
    int nranks = gather->bootstrap->spec.nranks;
    int head = count < nranks - first ? count : nranks - first;
    parts[0] = (struct iovec){gather->out + (size_t)first * gather->bytes, (size_t)head * gather->bytes};
    parts[1] = (struct iovec){gather->out, (size_t)(count - head) * gather->bytes};
    return count > head ? 2 : 1;
}

static c4_status send_blocks(gathering *gather)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    struct iovec parts[2];
    int count = blocks_of_step(gather);
    size_t nparts = find_blocks(gather, bootstrap->spec.rank, count, parts);
    c4_control_header header = {C4_CONTROL_BLOCKS, (uint32_t)((size_t)count * gather->bytes),
                                (uint32_t)bootstrap->spec.rank, bootstrap->round * STEPS_PER_ROUND + gather->index};
    c4_status status = c4_link_send_parts(&bootstrap->links[gather->to], &header, parts, nparts);
    gather->sent = status == C4_OK;
    return status;
}

static c4_status check_header(gathering *gather, const c4_control_header *header)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    uint32_t round = header->value / STEPS_PER_ROUND;
    size_t expected = (size_t)blocks_of_step(gather) * gather->bytes;
    if (header->kind != C4_CONTROL_BLOCKS || header->rank != (uint32_t)gather->from)
        return C4_ERR_PROTOCOL;
    if (header->value == bootstrap->round * STEPS_PER_ROUND + gather->index && header->bytes == expected)
        return C4_OK;
    return c4_bootstrap_fail(
        bootstrap, C4_ERR_MISMATCH, gather->from,
        "rank %d is at set-up exchange %u with %u bytes, rank %d at %u with %zu; all ranks must run "
        "the same C4 version with the same options",
        gather->from, round, header->bytes, bootstrap->spec.rank, bootstrap->round, expected);
}

static c4_status receive_blocks(gathering *gather)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    c4_link *link = &bootstrap->links[gather->from];
    struct iovec parts[2];
    c4_status status = c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks);
    if (status != C4_OK)
        return status;
    if (link->header.kind == C4_CONTROL_FAULT)
        return c4_bootstrap_take_fault(bootstrap, link);
    C4_TRY(check_header(gather, &link->header));
    size_t nparts = find_blocks(gather, gather->from, blocks_of_step(gather), parts);
    status = c4_link_receive_parts(link, parts, nparts);
    gather->received = status == C4_OK;
    return status;
}

/* ---- faults ---- */

/* A broken connection is its rank's end. */
static c4_status explain_link(gathering *gather, c4_status status, int rank)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    char who[C4_BOOTSTRAP_RANK_TEXT_BYTES];
    if (bootstrap->fault.status < 0)
        return bootstrap->fault.status;
    if (status == C4_ERR_LINK)
        return c4_bootstrap_peer_left(bootstrap, rank);
    return c4_bootstrap_fail(bootstrap, status, rank, "%s sent a malformed message during set-up (to rank %d)",
                             c4_bootstrap_rank_text(bootstrap, rank, who), bootstrap->spec.rank);
}

/* Is anything still to be sent to this rank or to come from it, in this step or a later one? Then it cannot have left in
 * good order. */
static bool has_duties(const gathering *gather, int rank)
{
    int nranks = gather->bootstrap->spec.nranks;
    int self = gather->bootstrap->spec.rank;
    if ((rank == gather->to && !gather->sent) || (rank == gather->from && !gather->received))
        return true;
    for (int step = 2 * gather->have; step < nranks; step *= 2)
        if ((self + step) % nranks == rank || (self - step + nranks) % nranks == rank)
            return true;
    return false;
}

/* Something came from neighbour `i`, from whom nothing is due: a fault, or it is for later. */
static c4_status look(gathering *gather, int i)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    int rank = bootstrap->neighbours[i];
    c4_link *link = &bootstrap->links[rank];
    c4_control_kind kind = C4_CONTROL_NKINDS;
    c4_status status = c4_link_peek_kind(link, (uint32_t)bootstrap->spec.nranks, &kind);
    if (status == C4_IN_PROGRESS)
        return C4_OK;
    if (status == C4_ERR_LINK && has_duties(gather, rank))
        return c4_bootstrap_peer_left(bootstrap, rank);
    gather->parked[i] = kind != C4_CONTROL_FAULT;
    if (gather->parked[i])
        return C4_OK;
    C4_TRY(c4_link_receive_header(link, (uint32_t)bootstrap->spec.nranks));
    status = c4_bootstrap_take_fault(bootstrap, link);
    return status < 0 ? explain_link(gather, status, rank) : status;
}

static bool is_awaited(const void *context, int rank)
{
    const gathering *gather = context;
    int nranks = gather->bootstrap->spec.nranks;
    int distance = (rank - gather->bootstrap->spec.rank + nranks) % nranks;
    return distance >= gather->have && distance < gather->have + blocks_of_step(gather);
}

/* The rank before one that has not come waits in step 0 and knows so; the others wait for one that waits, a little
 * longer, and hear of it. */
static c4_status explain_wait(gathering *gather, c4_status status)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    char ranks[160];
    int rank = bootstrap->spec.rank;
    if (status == C4_ERR_ABORTED)
        return c4_bootstrap_fail(bootstrap, status, rank, "rank %d: aborted while the job was set up", rank);
    if (status != C4_ERR_TIMEOUT)
        return c4_bootstrap_fail(bootstrap, status, rank, "rank %d: waiting in set-up exchange %u: %s", rank,
                                 bootstrap->round, strerror(errno));
    int late = gather->received ? gather->to : gather->from;
    if (gather->received || gather->index == 0)
        return c4_bootstrap_fail(bootstrap, status, late,
                                 "rank %d has not reached set-up exchange %u after %d ms (C4_SETUP_TIMEOUT_MS; rank %d "
                                 "waits for it)",
                                 late, bootstrap->round, bootstrap->spec.timeout_ms, rank);
    c4_rank_list(bootstrap->spec.nranks, is_awaited, gather, ranks, sizeof ranks);
    return c4_bootstrap_fail(bootstrap, status, -1,
                             "rank %d misses some of set-up exchange %u after %d ms (C4_SETUP_TIMEOUT_MS): %s not all "
                             "reached it",
                             rank, bootstrap->round, bootstrap->spec.timeout_ms, ranks);
}

/* ---- all steps ---- */

static c4_status progress(gathering *gather)
{
    c4_status status = gather->sent ? C4_OK : send_blocks(gather);
    if (status < 0)
        return explain_link(gather, status, gather->to);
    status = gather->received ? C4_OK : receive_blocks(gather);
    return status < 0 ? explain_link(gather, status, gather->from) : C4_OK;
}

static c4_status wait_for_news(gathering *gather)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    struct pollfd watches[C4_OVERLAY_MAX_NEIGHBOURS];
    for (int i = 0; i < bootstrap->nneighbours; i++) {
        int rank = bootstrap->neighbours[i];
        bool due = rank == gather->from && !gather->received;
        bool full = rank == gather->to && !gather->sent;
        short events = due || !gather->parked[i] ? POLLIN : 0;
        bool watched = events || full;
        watches[i] = (struct pollfd){.fd = watched ? bootstrap->links[rank].fd : -1,
                                     .events = (short)(events | (full ? POLLOUT : 0))};
    }
    int ready = poll(watches, (nfds_t)bootstrap->nneighbours, c4_bootstrap_tick(bootstrap));
    if (ready < 0 && errno != EINTR)
        return explain_wait(gather, C4_ERR_SYSTEM);
    for (int i = 0; ready > 0 && i < bootstrap->nneighbours; i++) {
        bool due = bootstrap->neighbours[i] == gather->from && !gather->received;
        if (watches[i].revents && !due && !gather->parked[i])
            C4_TRY(look(gather, i));
    }
    c4_status status = c4_bootstrap_check(bootstrap);
    return status < 0 ? explain_wait(gather, status) : C4_OK;
}

static c4_status run_step(gathering *gather)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    int nranks = bootstrap->spec.nranks;
    int rank = bootstrap->spec.rank;
    gather->to = (rank - gather->have + nranks) % nranks;
    gather->from = (rank + gather->have) % nranks;
    gather->sent = gather->received = false;
    for (;;) {
        C4_TRY(progress(gather));
        if (gather->sent && gather->received)
            return C4_OK;
        C4_TRY(wait_for_news(gather));
    }
}

static c4_status run_steps(gathering *gather)
{
    c4_bootstrap *bootstrap = gather->bootstrap;
    c4_bootstrap_start_clock(bootstrap, 0);
    for (; gather->have < bootstrap->spec.nranks; gather->have *= 2, gather->index++) {
        C4_TRY(run_step(gather));
        if (gather->index == 0)
            bootstrap->deadline_ns += C4_BOOTSTRAP_GRACE_MS * 1000000ull;
    }
    return C4_OK;
}

c4_status c4_bootstrap_all_gather(c4_bootstrap *bootstrap, const void *in, size_t bytes, void *out)
{
    if (bytes > C4_CONTROL_BLOB_MAX_BYTES)
        return c4_fail(C4_ERR_COUNT, "set-up exchange of %zu bytes a rank; %u fit", bytes, C4_CONTROL_BLOB_MAX_BYTES);
    if (bootstrap->fault.status < 0)
        return c4_fail(bootstrap->fault.status, "%s", bootstrap->fault.text);
    unsigned char nothing = 0;
    uint64_t start_ns = c4_now_ns();
    gathering gather = {.bootstrap = bootstrap, .bytes = bytes, .out = bytes ? out : &nothing, .have = 1};
    if (bytes)
        memcpy(gather.out + (size_t)bootstrap->spec.rank * bytes, in, bytes);
    bootstrap->round++;
    c4_status status = run_steps(&gather);
    if (status < 0)
        c4_bootstrap_spread_fault(bootstrap);
    bootstrap->times.exchanges++;
    bootstrap->times.exchange_ns += c4_now_ns() - start_ns;
    return status;
}
