/* The hot paths. Everything here runs per frame: no system call (but a sleeper's wake-up), no allocation. */
#include "transports/shm/ring.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/clock.h"
#include "base/copy.h"
#include "base/likely.h"
#include "base/status.h"
#include "transports/shm/module.h"
#include "transports/stubs.h"

/* Far: below this the frame's own latency rules and plain stores win. */
#define STREAM_MIN_BYTES 2048u
/* Far: reusing a ring that fits in cache beats a deep one. */
#define FAR_MIN_LINES (128u * 1024 / C4_SHM_LINE)
#define FAR_MAX_LINES (512u * 1024 / C4_SHM_LINE)
/* As c4_shm_reader.opened_ticks: a large plain frame that is not to be timed. */
#define SPOILED 1u

size_t c4_shm_shape_bytes(const c4_shm_shape *shape)
{
    return c4_shm_shape_payload_at(shape) + (size_t)shape->payload_lines * C4_SHM_LINE;
}

/* ---- reader ---- */

/* Tells the writer what has been consumed, and what the flag's latency was measured to be. */
static __attribute__((noinline)) void report(c4_channel *channel)
{
    c4_shm_reader *in = &channel->in;
    uint32_t measured = c4_shm_peer_get(channel, channel->spec.writer)->distance.measured;
    in->reported = in->index;
    __atomic_store_n(&in->credit->measured, measured, __ATOMIC_RELAXED);
    __atomic_store_n(&in->credit->consumed, in->index, __ATOMIC_RELEASE);
    c4_shm_writer_bell(channel);
}

static inline bool writer_starves(const c4_shm_reader *in)
{
    return __atomic_load_n(&in->line->starving, __ATOMIC_RELAXED) != 0;
}

static __attribute__((noinline)) c4_status peek_nothing(c4_channel *channel, uint64_t stamp)
{
    c4_shm_reader *in = &channel->in;
    if (in->reported != in->index && writer_starves(in))
        report(channel);
    if (likely(stamp == 0 || stamp >> 2 == in->expected - in->mask - 1))
        return C4_IN_PROGRESS;
    if (!channel->error)
        channel->error = c4_fail(C4_ERR_PROTOCOL, "shm: rank %d wrote a stamp that belongs to no frame (channel %u:%u)",
                                 channel->spec.writer, channel->spec.comm, channel->spec.tag);
    return channel->error;
}

static __attribute__((noinline)) c4_status peek_bad(c4_channel *channel, uint32_t bytes, uint32_t first)
{
    if (!channel->error)
        channel->error = c4_fail(C4_ERR_PROTOCOL,
                                 "shm: rank %d announced %u bytes at line %u of a ring of %u lines "
                                 "(channel %u:%u)",
                                 channel->spec.writer, bytes, first, channel->in.payload_lines, channel->spec.comm,
                                 channel->spec.tag);
    return channel->error;
}

/* How long one line takes from the writer's cache. The barriers keep the load between the two readings. */
static __attribute__((noinline)) void take_sample(c4_channel *channel)
{
#if defined(__x86_64__)
    const c4_shm_writer_line *line = channel->in.line;
    _mm_lfence();
    uint64_t before = c4_tsc();
    _mm_lfence();
    (void)__atomic_load_n(&line->probe, __ATOMIC_RELAXED);
    _mm_lfence();
    uint64_t after = c4_tsc();
    c4_shm_distance_sample(&c4_shm_peer_get(channel, channel->spec.writer)->distance, after - before);
#else
    (void)channel; /* counters elsewhere tick too slowly for one line */
#endif
}

/* From the last peek at a large plain frame to its consumption, when no other was looked at meanwhile: a step that folds
 * several takes longer for each. Not in a ring's first lap, which pays for page faults at the other end. */
static void time_frame(c4_channel *channel)
{
#if defined(__x86_64__)
    c4_shm_reader *in = &channel->in;
    c4_module *module = channel->module;
    if (module->timed && module->timed != channel) {
        module->timed->in.opened_ticks = SPOILED;
        return;
    }
    module->timed = channel;
    in->opened_ticks = in->index > in->mask ? c4_tsc() : SPOILED;
#else
    (void)channel; /* without samples nothing would ever vote near */
#endif
}

static __attribute__((noinline)) void take_rate(c4_channel *channel)
{
    c4_shm_reader *in = &channel->in;
    if (in->opened_ticks != SPOILED)
        c4_shm_distance_rate(&c4_shm_peer_get(channel, channel->spec.writer)->distance, in->frame_bytes,
                             c4_tsc() - in->opened_ticks);
    in->opened_ticks = 0;
    channel->module->timed = NULL;
}

c4_status c4_shm_peek(c4_channel *channel, c4_window *window)
{
    c4_shm_reader *in = &channel->in;
    if (unlikely(!in->slots)) {
        c4_status status = c4_shm_ring_attach(channel);
        if (status != C4_OK)
            return status;
    }
    const c4_shm_slot *slot = &in->slots[in->index & in->mask];
    const c4_shm_line *line = &slot->line;
    uint64_t stamp = __atomic_load_n(&line->stamp, __ATOMIC_ACQUIRE);
    if (unlikely(stamp >> 2 != in->expected))
        return peek_nothing(channel, stamp);
    in->flags = (unsigned)stamp & 3u;
    window->frame = line->frame;
    /* The checks are made on the copy: the line is the peer's to change. */
    uint32_t bytes = window->frame.bytes;
    in->frame_bytes = bytes;
    window->bytes = bytes;
    window->stream = 0;
    in->frame_lines = 0;
    if (bytes <= C4_SHM_INLINE_BYTES) {
        window->pointer = (void *)line->u.bytes;
        return C4_OK;
    }
    if (bytes <= C4_SHM_SMALL_BYTES && line->u.at.first == C4_SHM_NOWHERE) {
        window->pointer = (void *)slot->small;
        return C4_OK;
    }
    /* Payload mostly lies where the last one ended. Taking the address from that guess, with the header only checked
     * against it, lets the processor fetch payload while the header's line is still on its way. The empty asm keeps the
     * compiler from using the header's own, equal and later, value. */
    uint32_t first = in->guess;
    __asm__("" : "+r"(first));
    if (unlikely(line->u.at.first != first))
        first = in->guess = line->u.at.first;
    if (unlikely(first >= in->payload_lines || bytes > (size_t)(in->payload_lines - first) * C4_SHM_LINE))
        return peek_bad(channel, bytes, first);
    in->frame_lines = (bytes + C4_SHM_LINE - 1) / C4_SHM_LINE;
    if (unlikely(bytes >= C4_SHM_RATE_BYTES && line->u.at.plain))
        time_frame(channel);
    window->pointer = (void *)(in->payload + (size_t)first * C4_SHM_LINE);
    return C4_OK;
}

void c4_shm_consume(c4_channel *channel)
{
    c4_shm_reader *in = &channel->in;
    channel->counters.messages++;
    channel->counters.bytes += in->frame_bytes;
    in->index++;
    in->expected++;
    in->guess += in->frame_lines;
    if (unlikely(in->opened_ticks))
        take_rate(channel);
    if (unlikely(in->flags & C4_SHM_STAMP_PROBE))
        take_sample(channel);
    if (unlikely(in->flags & C4_SHM_STAMP_ACK || writer_starves(in)))
        report(channel);
}

/* ---- writer ---- */

/* Frames that every reader has consumed give their payload back. Cold: runs once per quarter ring. */
static __attribute__((noinline)) c4_status refresh(c4_channel *channel)
{
    c4_shm_writer *out = &channel->out;
    uint64_t least = out->head;
    for (int i = 0; i < channel->spec.nreaders; i++) {
        uint64_t consumed = __atomic_load_n(&out->readers[i].consumed, __ATOMIC_ACQUIRE);
        /* A slower reader holds tail back, so one reader's count may be ahead of it but never behind. */
        if (unlikely(consumed - out->tail > out->head - out->tail)) {
            if (!channel->error)
                channel->error =
                    c4_fail(C4_ERR_PROTOCOL,
                            "shm: rank %d says that it consumed %llu frames, but %llu to "
                            "%llu is possible (channel %u:%u)",
                            channel->readers[i], (unsigned long long)consumed, (unsigned long long)out->tail,
                            (unsigned long long)out->head, channel->spec.comm, channel->spec.tag);
            return channel->error;
        }
        if (consumed < least)
            least = consumed;
        uint32_t measured = __atomic_load_n(&out->readers[i].measured, __ATOMIC_RELAXED);
        if (measured != out->reports[i]) {
            out->reports[i] = measured;
            c4_shm_distance_report(&c4_shm_peer_get(channel, channel->readers[i])->distance, measured);
        }
    }
    for (; out->tail < least; out->tail++) {
        uint32_t end = out->end_line[out->tail & out->mask];
        if (end) {
            out->tail_line = end;
            out->payload_frames--;
        }
    }
    return C4_OK;
}

/* First line for `lines` contiguous ones, or C4_SHM_NOWHERE. Used are [tail, head), going round. */
static inline uint32_t place(const c4_shm_writer *out, uint32_t lines, uint32_t limit)
{
    uint32_t head = out->head_line, tail = out->tail_line;
    bool fits = head + lines <= limit;
    if (out->payload_frames == 0)
        return fits ? head : 0;
    /* Never up to the tail itself: head == tail would read as empty. */
    if (head < tail)
        return head + lines < tail ? head : C4_SHM_NOWHERE;
    if (fits)
        return head;
    return lines < tail ? 0 : C4_SHM_NOWHERE;
}

static bool is_far(const c4_channel *channel)
{
    for (int i = 0; i < channel->spec.nreaders; i++)
        if (c4_shm_peer_get(channel, channel->readers[i])->distance.far)
            return true;
    return false;
}

/* How this frame is stored, and how much of the ring may be used for it. */
static inline void choose_stores(c4_channel *channel, uint32_t lines)
{
    c4_shm_writer *out = &channel->out;
    int stores = channel->module->stores;
    out->stream = stores == C4_SHM_STORES_STREAM || (stores == C4_SHM_STORES_AUTO && is_far(channel));
    out->limit = out->payload_lines;
    if (!out->stream)
        return;
    uint32_t limit = 8 * lines;
    limit = limit < FAR_MIN_LINES ? FAR_MIN_LINES : limit > FAR_MAX_LINES ? FAR_MAX_LINES : limit;
    if (limit < 4 * lines)
        limit = 4 * lines;
    if (limit < out->limit)
        out->limit = limit;
}

/* Asks the readers for all the credit they have; those that sleep with some must wake to give it. */
static __attribute__((noinline)) c4_status starve(c4_channel *channel)
{
    c4_shm_writer *out = &channel->out;
    if (out->starving)
        return C4_IN_PROGRESS;
    out->starving = true;
    __atomic_store_n(&out->line->starving, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    c4_shm_bells(channel);
    return C4_IN_PROGRESS;
}

static __attribute__((noinline)) void starve_end(c4_shm_writer *out)
{
    out->starving = false;
    __atomic_store_n(&out->line->starving, 0, __ATOMIC_RELAXED);
}

static c4_status reserve_payload(c4_channel *channel, size_t bytes, c4_window *window)
{
    c4_shm_writer *out = &channel->out;
    if (unlikely(out->reserved == bytes)) { /* again, without a commit: the same room */
        window->pointer = out->room;
        window->bytes = bytes;
        window->stream = out->stream;
        return C4_OK;
    }
    uint32_t lines = (uint32_t)((bytes + C4_SHM_LINE - 1) / C4_SHM_LINE);
    if (bytes >= STREAM_MIN_BYTES) {
        choose_stores(channel, lines);
    } else {
        out->stream = false;
        out->limit = out->payload_lines;
    }
    uint32_t first = place(out, lines, out->limit);
    if (unlikely(first == C4_SHM_NOWHERE)) {
        C4_TRY(refresh(channel));
        first = place(out, lines, out->limit);
        if (first == C4_SHM_NOWHERE)
            return starve(channel);
    }
    out->reserved_line = first;
    out->reserved_lines = lines;
    out->reserved = bytes;
    window->pointer = out->room = out->payload + (size_t)first * C4_SHM_LINE;
    window->bytes = bytes;
    window->stream = out->stream;
    return C4_OK;
}

static __attribute__((noinline)) c4_status reserve_slow(c4_channel *channel, size_t bytes)
{
    if (channel->error)
        return channel->error;
    if (!channel->out.slots)
        C4_TRY(c4_shm_ring_create(channel));
    if (bytes > channel->max_frame_bytes)
        return c4_fail(C4_ERR_COUNT, "shm: a frame of %zu bytes on a channel that takes %zu (a quarter of its ring)",
                       bytes, channel->max_frame_bytes);
    return C4_OK;
}

c4_status c4_shm_reserve(c4_channel *channel, size_t bytes, c4_window *window)
{
    c4_shm_writer *out = &channel->out;
    if (unlikely(!out->slots || bytes > channel->max_frame_bytes))
        C4_TRY(reserve_slow(channel, bytes));
    if (unlikely(out->head - out->tail > out->mask)) {
        C4_TRY(refresh(channel));
        if (out->head - out->tail > out->mask)
            return starve(channel);
    }
    if (bytes > C4_SHM_SMALL_BYTES)
        return reserve_payload(channel, bytes, window);
    out->reserved = bytes;
    out->reserved_lines = 0;
    out->stream = false;
    /* Staged, and stored with the header in one go: a reader that polls the header takes its line away, and its
     * neighbour's with it, between payload and stamp. Written in place, 512 B took 0.27 us near and 0.97 far instead of
     * 0.20 and 0.78. */
    window->pointer = out->room = channel->stage;
    window->bytes = bytes;
    window->stream = 0;
    return C4_OK;
}

bool c4_shm_has_credit(c4_channel *channel)
{
    c4_shm_writer *out = &channel->out;
    uint64_t tail = out->tail;
    return refresh(channel) < 0 || out->tail != tail;
}

/* Marks each quarter ring for acknowledgement. */
static inline unsigned mark(c4_shm_writer *out, uint32_t lines)
{
    out->unmarked_lines += lines;
    out->unmarked_frames++;
    if (out->unmarked_lines < out->limit / 4 && out->unmarked_frames <= out->mask / 4)
        return 0;
    out->unmarked_lines = 0;
    out->unmarked_frames = 0;
    return C4_SHM_STAMP_ACK;
}

static __attribute__((noinline)) unsigned probe(c4_shm_writer *out)
{
    __atomic_store_n(&out->line->probe, (uint32_t)out->head, __ATOMIC_RELAXED);
    if (out->first_probes < C4_SHM_PROBE_FIRST)
        out->first_probes++;
    else
        out->until_probe = C4_SHM_PROBE_EVERY;
    return C4_SHM_STAMP_PROBE;
}

static inline void streams_done(bool stream)
{
#if defined(__x86_64__)
    if (stream)
        _mm_sfence();
#else
    (void)stream;
#endif
}

/* A payload that lies with its header. */
static inline void store_small(c4_shm_slot *slot, const void *payload, uint32_t bytes)
{
    if (bytes <= C4_SHM_INLINE_BYTES) {
        c4_copy_small((char *)slot->line.u.bytes, payload, bytes);
    } else {
        memcpy(slot->small, payload, bytes);
        slot->line.u.at.first = C4_SHM_NOWHERE;
    }
}

/* Where a frame's payload went. */
static inline void take_payload(c4_channel *channel, uint32_t bytes, c4_shm_slot *slot)
{
    c4_shm_writer *out = &channel->out;
    uint32_t index = (uint32_t)out->head & out->mask;
    if (bytes <= C4_SHM_INLINE_BYTES || out->reserved_lines == 0) {
        store_small(slot, out->room, bytes);
        out->end_line[index] = 0;
        out->reserved_lines = 0;
        return;
    }
    uint32_t lines = (bytes + C4_SHM_LINE - 1) / C4_SHM_LINE;
    slot->line.u.at.first = out->reserved_line;
    slot->line.u.at.plain = !out->stream;
    if (out->payload_frames++ == 0)
        out->tail_line = out->reserved_line;
    out->head_line = out->reserved_line + lines;
    out->end_line[index] = out->head_line;
    out->reserved_lines = lines;
}

/* Word by word: the caller has just written the frame in such pieces, and wider loads would have to wait for them to reach
 * the cache. The empty asm keeps the compiler from making them wide. */
static inline void store_frame(c4_shm_line *line, const c4_frame *frame)
{
    uint64_t words[4];
    memcpy(words, frame, sizeof words);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t word = words[i];
        __asm__("" : "+r"(word));
        memcpy((char *)&line->frame + 8 * i, &word, 8);
    }
}

/* The stamp goes last: it makes the frame the reader's. */
static inline void publish(c4_channel *channel, c4_shm_slot *slot, const c4_frame *frame, unsigned flags)
{
    c4_shm_writer *out = &channel->out;
    if (unlikely((out->until_probe -= frame->bytes < C4_SHM_PROBE_BYTES ? 1 : C4_SHM_PROBE_LARGE) <= 0))
        flags |= probe(out);
    store_frame(&slot->line, frame);
    __atomic_store_n(&slot->line.stamp, (out->start + out->head) << 2 | flags, __ATOMIC_RELEASE);
    out->head++;
    channel->counters.messages++;
    channel->counters.bytes += frame->bytes;
    c4_shm_bells(channel);
}

void c4_shm_commit(c4_channel *channel, const c4_frame *frame)
{
    c4_shm_writer *out = &channel->out;
    if (unlikely(out->reserved == SIZE_MAX || frame->bytes > out->reserved)) {
        channel->error = c4_fail(C4_ERR_INTERNAL, "shm: commit of %u bytes without a reserve of as many", frame->bytes);
        return;
    }
    streams_done(out->stream);
    c4_shm_slot *slot = &out->slots[out->head & out->mask];
    take_payload(channel, frame->bytes, slot);
    out->reserved = SIZE_MAX;
    if (unlikely(out->starving))
        starve_end(out);
    publish(channel, slot, frame, mark(out, out->reserved_lines));
}

static __attribute__((noinline)) c4_status put_slow(c4_channel *channel, const c4_frame *frame, const void *payload)
{
    return c4_put_by_window(channel, frame, payload, c4_shm_reserve, c4_shm_commit);
}

c4_status c4_shm_put(c4_channel *channel, const c4_frame *frame, const void *payload)
{
    c4_shm_writer *out = &channel->out;
    if (unlikely(!out->slots || out->head - out->tail > out->mask || out->starving ||
                 frame->bytes > C4_SHM_SMALL_BYTES))
        return put_slow(channel, frame, payload);
    uint32_t index = (uint32_t)out->head & out->mask;
    c4_shm_slot *slot = &out->slots[index];
    store_small(slot, payload, frame->bytes);
    out->end_line[index] = 0;
    publish(channel, slot, frame, mark(out, 0));
    return C4_OK;
}
