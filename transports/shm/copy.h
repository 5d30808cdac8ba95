/* Copies for posted frames. */
#ifndef C4_TRANSPORTS_SHM_COPY_H
#define C4_TRANSPORTS_SHM_COPY_H

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Around the cache; `to` is line-aligned. Ordered by the commit's fence. 16-byte stores fill a line's write-combining
 * buffer as fast as wider ones. */
static inline void c4_shm_copy_stream(void *to, const void *from, size_t bytes)
{
#if defined(__x86_64__)
    char *out = to;
    const char *in = from;
    size_t whole = bytes & ~(size_t)63;
    for (size_t at = 0; at < whole; at += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(in + at));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(in + at + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(in + at + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(in + at + 48));
        _mm_stream_si128((__m128i *)(void *)(out + at), a);
        _mm_stream_si128((__m128i *)(void *)(out + at + 16), b);
        _mm_stream_si128((__m128i *)(void *)(out + at + 32), c);
        _mm_stream_si128((__m128i *)(void *)(out + at + 48), d);
    }
    memcpy(out + whole, in + whole, bytes - whole);
#else
    memcpy(to, from, bytes);
#endif
}

#endif
