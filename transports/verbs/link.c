#include "transports/verbs/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "transports/verbs/channel.h"
#include "transports/verbs/pair.h"
#include "transports/verbs/rx.h"
#include "transports/verbs/tx.h"

/* All that is ever said on the stream after the greeting. */
#define READY 'R' /* the client's queue pair is connected too */
#define BYE   'B' /* the module closes; all that it sent has arrived */
#define HOME  'H' /* the rail that this link prefers is up again: this queue pair ends, and the next one is made there */

#define FEWEST_FAILURES 3u

static void say(const c4_verbs_link *link, char word)
{
    struct iovec iov = {&word, 1};
    (void)!c4_tlink_stream_writev(&link->base.stream, &iov, 1); /* a stream that does not take it shows so when read */
}

void c4_verbs_link_say_bye(const c4_verbs_link *link)
{
    say(link, BYE);
}

/* ---- greeting ---- */

/* The rail to try: they take turns, from one that the link's number chooses on. NULL: all are down. */
static c4_verbs_rail *pick_rail(c4_verbs_link *link, unsigned first)
{
    c4_module *module = link->module;
    for (unsigned i = 0; i < module->nrails; i++) {
        c4_verbs_rail *rail = &module->rails[(first + i) % module->nrails];
        if (rail->up)
            return rail;
    }
    return NULL;
}

static c4_status give_up(const c4_verbs_link *link, uint64_t now)
{
    double seconds = (double)(now - link->failing_since_ns) * 1e-9;
    if (link->trouble[0] != '\0')
        return c4_fail(C4_ERR_LINK,
                       "verbs: no queue pair with rank %d after %u tries in %.1f s (C4_VERBS_RETRY_MS): %s",
                       link->base.peer, link->failures, seconds, link->trouble);
    return c4_fail(
        C4_ERR_LINK,
        "verbs: rank %d greets, but %u queue pairs to it in %.1f s carried nothing (C4_VERBS_RETRY_MS): is its GID "
        "reachable from here (`ping -I` its address; C4_VERBS_GID_INDEX, C4_VERBS_DEVICES), and is the path free of "
        "filters for UDP port 4791?",
        link->base.peer, link->failures, seconds);
}

/* One more without a use. Those of long ago have nothing to do with it. */
static void count_failure(c4_verbs_link *link)
{
    uint64_t now = c4_now_ns();
    if (link->failures == 0 || now - link->failed_ns > link->module->retry_ns) {
        link->failures = 0;
        link->failing_since_ns = now;
    }
    link->failures++;
    link->failed_ns = now;
}

/* The next is tried on the next rail. */
static void count_pair_failure(c4_verbs_link *link)
{
    count_failure(link);
    link->next_rail++;
}

/* Nothing has come of the last greeting. That is usual where two cross, and a fault only if it goes on. */
static void count_unanswered(c4_verbs_link *link)
{
    if (link->trouble[0] == '\0')
        snprintf(link->trouble, sizeof link->trouble, "it makes none, its log says why; are its ports up?");
    count_failure(link);
}

static void rails_text(const c4_module *module, char *text, size_t bytes)
{
    size_t used = 0;
    for (unsigned i = 0; i < module->nrails && used < bytes; i++) {
        const c4_verbs_rail *rail = &module->rails[i];
        used += (size_t)snprintf(text + used, bytes - used, "%s%s:%u %s", i > 0 ? ", " : "", rail->port.device,
                                 rail->port.number, rail->gone ? "was removed" : "is down");
    }
}

static bool hopeless(const c4_verbs_link *link, uint64_t now)
{
    /* Where the peer is the one who cannot, it knows why and should be the first to say so. */
    uint64_t retry_ns = link->module->retry_ns * (link->unanswered ? 2 : 1);
    return link->failures >= FEWEST_FAILURES && now - link->failing_since_ns >= retry_ns;
}

/* The peer's words, if they will do. */
static c4_status check_words(c4_verbs_link *link, const unsigned char *wire, c4_verbs_words *theirs)
{
    size_t own = link->module->eager_bytes;
    if (!c4_verbs_words_unpack(wire, theirs))
        return c4_verbs_pair_trouble(link, "the peer greets with words that are none of this version");
    if (theirs->eager_bytes != own)
        return c4_verbs_pair_trouble(link, "the peer greets with C4_VERBS_EAGER_BYTES=%u, here it is %zu",
                                     theirs->eager_bytes, own);
    return C4_OK;
}

static c4_status make_pair(c4_verbs_link *link, unsigned first, c4_verbs_words *mine)
{
    c4_verbs_rail *rail = pick_rail(link, first);
    char rails[C4_VERBS_MAX_RAILS * 40];
    if (rail == NULL) {
        link->module->events_tsc = 0; /* one may be up again: without queue pairs nobody looks */
        rails_text(link->module, rails, sizeof rails);
        return c4_verbs_pair_trouble(link, "all RDMA ports that this rank uses are down: %s", rails);
    }
    return c4_verbs_pair_make(link, rail, mine);
}

static c4_status serve(c4_verbs_link *link, const unsigned char *wire, c4_verbs_words *mine)
{
    c4_verbs_words theirs;
    c4_status status = check_words(link, wire, &theirs);
    if (status == C4_OK)
        status = make_pair(link, theirs.rail, mine);
    if (status != C4_OK)
        return status;
    int error = c4_verbs_pair_connect(link, &theirs);
    link->connected = error == 0;
    if (error == 0)
        return C4_OK;
    c4_verbs_pair_refused(link, &theirs, error);
    c4_verbs_pair_destroy(link);
    return C4_IN_PROGRESS;
}

static c4_status link_words(c4_tlink *base, const unsigned char *theirs, unsigned char *wire)
{
    c4_verbs_link *link = c4_verbs_link_of(base);
    c4_verbs_words mine;
    uint64_t now = c4_now_ns();
    link->module = (c4_module *)base->hub;
    link->connected = false;
    c4_verbs_pair_destroy(link); /* of a greeting that came to nothing */
    link->unanswered = theirs == NULL && link->greeted;
    if (link->unanswered)
        count_unanswered(link);
    if (hopeless(link, now))
        return give_up(link, now);
    c4_status status =
        theirs != NULL ? serve(link, theirs, &mine) : make_pair(link, base->index + link->next_rail, &mine);
    link->greeted = theirs == NULL && status == C4_OK;
    if (status == C4_OK)
        c4_verbs_words_pack(&mine, wire);
    else
        count_pair_failure(link);
    return status;
}

/* ---- up and down ---- */

static void open_link(c4_verbs_link *link)
{
    if (link->open)
        return;
    link->open = true;
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next) {
        channel->tell_pause = !channel->writer && channel->paused;
        if ((channel->writer && channel->posts.first != NULL) ||
            (!channel->writer && (channel->posts.first != NULL || channel->paused)))
            c4_verbs_channel_waits(channel);
    }
    c4_verbs_link_busy(link);
}

static void link_up(c4_tlink *base, const unsigned char *wire)
{
    c4_verbs_link *link = c4_verbs_link_of(base);
    c4_verbs_words theirs;
    bool client = !link->connected;
    int error = check_words(link, wire, &theirs) == C4_OK ? 0 : EPROTO;
    link->heard = link->greeted = false;
    link->told = (uint32_t)link->received;
    if (error == 0 && client) {
        error = c4_verbs_pair_connect(link, &theirs);
        if (error != 0)
            c4_verbs_pair_refused(link, &theirs, error);
    }
    if (error != 0) {
        c4_tlink_lost(base, error);
        return;
    }
    link->connected = true;
    if (!c4_verbs_tx_resume(link, theirs.received)) {
        c4_tlink_fail(base,
                      c4_fail(C4_ERR_PROTOCOL, "verbs: rank %d has counted frames that were never sent", base->peer));
        return;
    }
    if (client) {
        say(link, READY);
        open_link(link);
    }
}

static void leave_queue_pair(c4_verbs_link *link)
{
    c4_verbs_pair_destroy(link);
    link->connected = false;
    c4_verbs_rx_revoke(link);
    c4_verbs_tx_rewind(link);
    for (c4_channel *channel = link->channels; channel != NULL; channel = channel->next)
        channel->waiting = false;
    link->waiting_first = link->waiting_last = NULL;
    c4_verbs_channels_prune(link);
}

static void link_down(c4_tlink *base)
{
    c4_verbs_link *link = c4_verbs_link_of(base);
    if (!link->heard)
        count_pair_failure(link);
    leave_queue_pair(link);
}

static void link_over(c4_tlink *base, c4_status status)
{
    c4_verbs_link *link = c4_verbs_link_of(base);
    leave_queue_pair(link);
    c4_verbs_tx_fini(link, status);
    c4_verbs_channels_fail(link, status);
}

static void link_fini(c4_tlink *base)
{
    c4_verbs_link *link = c4_verbs_link_of(base);
    link->module = (c4_module *)base->hub;
    leave_queue_pair(link);
    c4_verbs_tx_fini(link, C4_ERR_DESTROYED);
    c4_verbs_channels_free(link);
}

static unsigned link_wants(const c4_tlink *base)
{
    const c4_verbs_link *link = (const c4_verbs_link *)base;
    return (link->nqueued > 0 || link->again != NULL ? C4_TLINK_SEND : 0) |
           (link->nposted > 0 || link->npaused > 0 ? C4_TLINK_RECV : 0) | (link->nspans > 0 ? C4_TLINK_SETTLE : 0);
}

/* The stream says little: that the peer is ready, that it leaves, or, by ending, that it is dead. */
static bool link_progress(c4_tlink *base, bool readable)
{
    c4_verbs_link *link = c4_verbs_link_of(base);
    char word;
    while (readable) {
        ssize_t got = c4_tlink_stream_read(&base->stream, &word, 1);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            return false;
        if (got <= 0) {
            c4_tlink_lost(base, got == 0 ? ECONNRESET : errno);
            return true;
        }
        if (word == READY && link->connected) {
            open_link(link);
        } else if (word == HOME) {
            link->next_rail = link->failures = 0;
        } else if (word == BYE) {
            c4_verbs_rx_drain(link->module, link->rail);
            c4_tlink_ended(base);
            return true;
        }
    }
    return false;
}

const c4_tlink_ops c4_verbs_tlink_ops = {
    .name = "verbs",
    .links_option = "C4_VERBS_QPS_PER_PEER",
    .retry_option = "C4_VERBS_RETRY_MS",
    .link_bytes = sizeof(c4_verbs_link),
    .words_bytes = C4_VERBS_WORDS_BYTES,
    .extra_bytes = C4_VERBS_EXTRA_BYTES,
    .guarded = true,
    .words = link_words,
    .up = link_up,
    .down = link_down,
    .over = link_over,
    .wants = link_wants,
    .progress = link_progress,
    .fini = link_fini,
};

/* ---- rails ---- */

void c4_verbs_link_leave_rail(c4_module *module, const c4_verbs_rail *rail)
{
    for (c4_tlink *base = c4_tlink_next(&module->hub, NULL); base != NULL; base = c4_tlink_next(&module->hub, base)) {
        c4_verbs_link *link = c4_verbs_link_of(base);
        if (link->rail == rail && base->state == C4_TLINK_UP)
            c4_verbs_link_break(link, ENETDOWN);
    }
}

void c4_verbs_link_return_to_rail(c4_module *module, const c4_verbs_rail *rail)
{
    for (c4_tlink *base = c4_tlink_next(&module->hub, NULL); base != NULL; base = c4_tlink_next(&module->hub, base)) {
        c4_verbs_link *link = c4_verbs_link_of(base);
        if (base->index % module->nrails != rail->index)
            continue;
        link->next_rail = 0;
        link->failures = 0;
        if (base->state == C4_TLINK_UP && link->rail != rail) {
            say(link, HOME); /* the other side may not have noticed that it was away */
            c4_verbs_link_break(link, EAGAIN);
        }
    }
}
