/* splitmix64: small, seedable, good enough for jitter, nonces' fallback and tests. Not for secrets. */
#ifndef C4_BASE_RNG_H
#define C4_BASE_RNG_H

#include <c4/c4.h>
#include <stdint.h>

typedef struct c4_rng {
    uint64_t state;
} c4_rng;

static inline uint64_t c4_rng_next(c4_rng *rng)
{
    uint64_t z = (rng->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, bound); bound > 0. */
static inline uint64_t c4_rng_below(c4_rng *rng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)c4_rng_next(rng) * bound) >> 64);
}

/* Fills with bytes of the kernel's generator; for keys and nonces. */
c4_status c4_random_bytes(void *out, size_t bytes);

#endif
