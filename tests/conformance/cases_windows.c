/* Windows, alone and against posted frames at the other end. Without C4_CAP_WINDOWS: the slots say so. */
#include <string.h>

#include "tests/conformance/world.h"

static bool has_windows(conf_rank *r, c4_channel *channel)
{
    c4_window window;
    if ((r->caps.flags & C4_CAP_WINDOWS) != 0)
        return true;
    CONF_CHECK(r->ops->peek(channel, &window) == C4_ERR_UNSUPPORTED);
    CONF_CHECK(r->ops->reserve(channel, 8, &window) == C4_ERR_UNSUPPORTED);
    return false;
}

static void window_send(conf_rank *r, c4_channel *channel, uint32_t sequence, size_t bytes, size_t reserve_bytes)
{
    c4_window window = {0}, again = {0};
    c4_status status;
    while ((status = r->ops->reserve(channel, reserve_bytes, &window)) == C4_IN_PROGRESS &&
           atomic_load(&r->shared->failures) == 0)
        conf_progress(r);
    if (!CONF_CHECK(status == C4_OK))
        return;
    CONF_CHECK(window.bytes >= reserve_bytes);
    CONF_CHECK(reserve_bytes <= r->caps.inline_bytes || (uintptr_t)window.pointer % 64 == 0);
    CONF_CHECK(r->ops->reserve(channel, reserve_bytes, &again) == C4_OK && again.pointer == window.pointer);
    conf_fill(window.pointer, bytes, sequence);
    c4_frame frame = conf_frame(sequence, bytes);
    r->ops->commit(channel, &frame);
}

static void window_recv(conf_rank *r, c4_channel *channel, uint32_t sequence, size_t bytes)
{
    c4_window window = {0}, again = {0};
    c4_status status;
    const c4_frame expected = conf_frame(sequence, bytes);
    while ((status = r->ops->peek(channel, &window)) == C4_IN_PROGRESS && atomic_load(&r->shared->failures) == 0)
        conf_progress(r);
    if (!CONF_CHECK(status == C4_OK))
        return;
    CONF_CHECK(r->ops->peek(channel, &again) == C4_OK && again.pointer == window.pointer);
    CONF_CHECK(conf_frame_equal(&again.frame, &window.frame));
    CONF_CHECK(window.bytes == bytes && conf_frame_equal(&window.frame, &expected));
    CONF_CHECK(conf_verify(window.pointer, bytes, sequence));
    r->ops->consume(channel);
}

static void exchange(conf_rank *r, bool window_writer, bool window_reader)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    if (!has_windows(r, channel))
        return;
    for (uint32_t i = 0; i < 600; i++) {
        size_t limit = i % 100 == 99 ? r->caps.max_frame_bytes : i % 10 == 9 ? 65536 : 2 * r->caps.inline_bytes + 200;
        size_t bytes = c4_rng_below(&r->rng, limit + 1);
        size_t slack = c4_rng_below(&r->rng, limit - bytes + 1);
        if (r->rank == 0 && window_writer)
            window_send(r, channel, i, bytes, i % 2 == 0 ? bytes : bytes + slack);
        else if (r->rank == 0)
            conf_send(r, channel, i, bytes);
        else if (window_reader)
            window_recv(r, channel, i, bytes);
        else
            conf_recv(r, channel, i, bytes);
    }
}

/* put, alone and between windows, read by windows. */
static void case_put(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    unsigned char payload[4096];
    c4_frame frame = conf_frame(0, 0);
    if (r->caps.put_bytes == 0) {
        CONF_CHECK((r->caps.flags & C4_CAP_WINDOWS) || r->ops->put(channel, &frame, payload) == C4_ERR_UNSUPPORTED);
        return;
    }
    size_t limit = r->caps.put_bytes < sizeof payload ? r->caps.put_bytes : sizeof payload;
    for (uint32_t i = 0; i < 2000; i++) {
        size_t bytes = i % 7 == 0 ? limit : i % 5 == 0 ? 0 : c4_rng_below(&r->rng, i % 3 ? 65 : limit + 1);
        if (bytes > limit)
            bytes = limit;
        c4_status status = C4_IN_PROGRESS;
        if (r->rank != 0)
            window_recv(r, channel, i, bytes);
        else if (i % 11 == 0)
            window_send(r, channel, i, bytes, bytes);
        else {
            conf_fill(payload, bytes, i);
            frame = conf_frame(i, bytes);
            while ((status = r->ops->put(channel, &frame, bytes ? payload : NULL)) == C4_IN_PROGRESS &&
                   atomic_load(&r->shared->failures) == 0)
                conf_progress(r);
            CONF_CHECK(status == C4_OK);
        }
    }
}

/* The same for put: nothing of a frame without credit arrives, and it may be put again. */
static void case_put_credit(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    unsigned char payload[64];
    uint32_t sent = 0;
    if (r->caps.put_bytes < sizeof payload)
        return;
    c4_status status = C4_OK;
    for (bool told = false; r->rank == 0 && (!told || status != C4_OK) && atomic_load(&r->shared->failures) == 0;) {
        c4_frame frame = conf_frame(sent, sizeof payload);
        conf_fill(payload, sizeof payload, sent);
        status = r->ops->put(channel, &frame, payload);
        if (!CONF_CHECK(status == C4_OK || status == C4_IN_PROGRESS) || !CONF_CHECK(sent < 1000000))
            break;
        sent += status == C4_OK;
        if (status == C4_IN_PROGRESS)
            conf_progress(r);
        if (status == C4_OK || told)
            continue;
        atomic_store(&r->shared->flags[1], (int)sent + 1);
        atomic_store(&r->shared->flags[0], 1);
        told = true;
    }
    if (r->rank == 0)
        return;
    conf_wait_flag(r, 0, 1);
    sent = (uint32_t)atomic_load(&r->shared->flags[1]);
    CONF_CHECK(sent > 1);
    for (uint32_t i = 0; i < sent; i++)
        window_recv(r, channel, i, sizeof payload);
}

static void case_windows_both(conf_rank *r)
{
    exchange(r, true, true);
}

static void case_window_to_posted(conf_rank *r)
{
    exchange(r, true, false);
}

static void case_posted_to_window(conf_rank *r)
{
    exchange(r, false, true);
}

static void case_peek_nothing(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    c4_window window;
    if (r->rank == 0 || !has_windows(r, channel))
        return;
    for (int i = 0; i < 100; i++)
        CONF_CHECK(r->ops->peek(channel, &window) == C4_IN_PROGRESS);
}

static void case_reserve_over_max(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    c4_window window;
    if (r->rank == 1 || !has_windows(r, channel))
        return;
    CONF_CHECK(r->ops->reserve(channel, r->caps.max_frame_bytes + 1, &window) == C4_ERR_COUNT);
}

/* Credit runs out when nobody reads, and comes back. */
static void case_credit(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    if (!has_windows(r, channel))
        return;
    uint32_t sent = 0;
    size_t bytes = 65536;
    if (r->rank == 0) {
        c4_window window;
        while (sent < 100000 && r->ops->reserve(channel, bytes, &window) == C4_OK) {
            window_send(r, channel, sent, bytes, bytes);
            sent++;
        }
        CONF_CHECK(sent > 0 && sent < 100000);
        atomic_store(&r->shared->flags[1], (int)sent);
        atomic_store(&r->shared->flags[0], 1);
        window_send(r, channel, sent, bytes, bytes);
    } else {
        conf_wait_flag(r, 0, 1);
        sent = (uint32_t)atomic_load(&r->shared->flags[1]);
        for (uint32_t i = 0; i <= sent; i++)
            window_recv(r, channel, i, bytes);
    }
}

/* An end may change its way between frames. */
static void case_alternating(conf_rank *r)
{
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    if (!has_windows(r, channel))
        return;
    for (uint32_t i = 0; i < 300; i++) {
        size_t bytes = c4_rng_below(&r->rng, 9000);
        if (r->rank == 0 && i / 3 % 2 == 0)
            window_send(r, channel, i, bytes, bytes);
        else if (r->rank == 0)
            conf_send(r, channel, i, bytes);
        else if (i / 5 % 2 == 0)
            window_recv(r, channel, i, bytes);
        else
            conf_recv(r, channel, i, bytes);
    }
}

static void case_windows_many_readers(conf_rank *r)
{
    const int readers[] = {1, 2, 3};
    if (r->caps.max_readers < 3 || (r->caps.flags & C4_CAP_WINDOWS) == 0)
        return;
    c4_channel *channel = conf_channel(r, 1, 1, 0, readers, 3);
    for (uint32_t i = 0; i < 300; i++) {
        size_t bytes = c4_rng_below(&r->rng, 20000);
        if (r->rank == 0)
            window_send(r, channel, i, bytes, bytes);
        else if (r->rank == 2)
            conf_recv(r, channel, i, bytes);
        else
            window_recv(r, channel, i, bytes);
    }
}

const conf_case conf_cases_windows[] = {
    {"put", case_put, 2, 30},
    {"put_credit", case_put_credit, 2, 30},
    {"windows_both", case_windows_both, 2, 30},
    {"window_to_posted", case_window_to_posted, 2, 30},
    {"posted_to_window", case_posted_to_window, 2, 30},
    {"peek_nothing", case_peek_nothing, 2, 10},
    {"reserve_over_max", case_reserve_over_max, 2, 10},
    {"credit", case_credit, 2, 20},
    {"alternating", case_alternating, 2, 30},
    {"windows_many_readers", case_windows_many_readers, 4, 60},
    {NULL, NULL, 0, 0},
};
