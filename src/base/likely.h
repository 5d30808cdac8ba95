/* Which way a hot path goes. */
#ifndef C4_BASE_LIKELY_H
#define C4_BASE_LIKELY_H

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
