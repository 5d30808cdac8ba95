/* Copies. Plain ones are libc's memcpy, which already picks the best instructions of the processor: own AVX-512 loops
 * were measured within 15 % of it from 256 B to 4 MiB on Zen 4. What libc lacks is written here in SSE2, which every
 * x86-64 has: non-temporal stores of 16 bytes fill the same write-combining buffers as those of 64 (24.7 against 27.1
 * GB/s at 16 MiB), so that no run-time choice is needed. */
#include <string.h>

#include "numeric/numeric.h"

#if defined(__x86_64__)
#include <emmintrin.h>

enum { LINE_BYTES = 64, BLOCK_BYTES = 4096 };

void c4_numeric_fence(void)
{
    _mm_sfence();
}

static inline void stream_line(char *dst, const char *src)
{
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)src);
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(src + 16));
    __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(src + 32));
    __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(src + 48));
    _mm_stream_si128((__m128i *)(void *)dst, a);
    _mm_stream_si128((__m128i *)(void *)(dst + 16), b);
    _mm_stream_si128((__m128i *)(void *)(dst + 32), c);
    _mm_stream_si128((__m128i *)(void *)(dst + 48), d);
}

/* Whole lines are streamed; what shares a line with others at either end is stored plainly. */
static void copy_stream(char *dst, const char *src, size_t bytes)
{
    size_t head = -(uintptr_t)dst & (LINE_BYTES - 1);
    if (head >= bytes) {
        memcpy(dst, src, bytes);
        return;
    }
    memcpy(dst, src, head);
    size_t offset = head;
    for (; offset + LINE_BYTES <= bytes; offset += LINE_BYTES) {
        stream_line(dst + offset, src + offset);
    }
    memcpy(dst + offset, src + offset, bytes - offset);
}
#else
enum { BLOCK_BYTES = 4096 };

void c4_numeric_fence(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static void copy_stream(char *dst, const char *src, size_t bytes)
{
    memcpy(dst, src, bytes);
}
#endif

void c4_copy(void *dst, const void *src, size_t bytes, unsigned flags)
{
    if (dst == src) {
        return;
    }
    if (flags & C4_NUMERIC_STREAM) {
        copy_stream(dst, src, bytes);
    } else {
        memcpy(dst, src, bytes);
    }
}

void c4_copy_dup(void *dst, void *dst2, const void *src, size_t bytes, unsigned flags)
{
    unsigned flags2 = flags & C4_NUMERIC_STREAM2 ? C4_NUMERIC_STREAM : 0;
    /* Blocks that stay in L1 between their two copies: one pass over memory. */
    for (size_t offset = 0; offset < bytes; offset += BLOCK_BYTES) {
        size_t part = bytes - offset < BLOCK_BYTES ? bytes - offset : BLOCK_BYTES;
        c4_copy((char *)dst + offset, (const char *)src + offset, part, flags);
        c4_copy((char *)dst2 + offset, (const char *)src + offset, part, flags2);
    }
}
