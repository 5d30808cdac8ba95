#include "tests/collectives/pattern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/numeric/reference.h"

uint64_t pattern_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

bool pattern_is_float(c4_dtype dtype)
{
    return dtype >= C4_FLOAT16;
}

static uint64_t float_bits(c4_dtype dtype, double value)
{
    uint64_t bits = 0;
    float narrow = (float)value;
    if (dtype == C4_FLOAT64)
        memcpy(&bits, &value, sizeof value);
    else if (dtype == C4_FLOAT32)
        memcpy(&bits, &narrow, sizeof narrow);
    else
        bits = reference_round(narrow, dtype);
    return bits;
}

uint64_t pattern_integer(c4_dtype dtype, int value)
{
    return pattern_is_float(dtype) ? float_bits(dtype, value) : (uint64_t)(int64_t)value;
}

uint64_t pattern_premul(c4_dtype dtype, uint64_t random)
{
    return pattern_integer(dtype, random & 1 ? 1 : -1);
}

/* Integers up to here add up without rounding. */
static int exact_limit(c4_dtype dtype)
{
    switch (dtype) {
    case C4_FLOAT16:
        return 2048;
    case C4_BFLOAT16:
        return 256;
    case C4_FLOAT8_E4M3:
        return 16;
    case C4_FLOAT8_E5M2:
        return 8;
    default:
        return 1 << 20;
    }
}

static uint64_t special(c4_dtype dtype, uint64_t random)
{
    static const double values[] = {0.0, -0.0, INFINITY, -INFINITY, NAN};
    return float_bits(dtype, values[random % 5]);
}

static uint64_t exact_sample(const pattern *p, uint64_t random)
{
    static const double powers[] = {1, 1, 1, 2, 0.5, -1, -2};
    uint64_t rest = random >> 8;
    if (!pattern_is_float(p->dtype))
        return reference_sample(p->dtype, random);
    if (random % 64 == 0)
        return special(p->dtype, rest);
    if (p->op == C4_PROD)
        return float_bits(p->dtype, powers[rest % 7]);
    int limit = exact_limit(p->dtype) / p->nranks;
    if (limit < 1)
        limit = 1;
    return float_bits(p->dtype, (double)((int)(rest % (2 * (unsigned)limit + 1)) - limit));
}

/* Between 1 and 2 with all mantissa bits, either sign: partial sums round differently in every order. */
static uint64_t round_sample(const pattern *p, uint64_t random)
{
    double value = 1.0 + (double)(random >> 11) * 0x1p-53;
    return pattern_is_float(p->dtype) ? float_bits(p->dtype, random & 1 ? value : -value * 0.75)
                                      : reference_sample(p->dtype, random);
}

static void fold(pattern *p, const uint64_t *premul)
{
    uint64_t bits[64];
    for (size_t i = 0; i < PATTERN_PERIOD; i++) {
        for (int r = 0; r < p->nranks; r++) {
            bits[r] = reference_get(p->tables + (size_t)r * PATTERN_PERIOD * p->element, p->dtype, i);
            if (premul)
                bits[r] = reference_fold((uint64_t[]){bits[r], premul[r]}, 2, p->dtype, C4_PROD);
        }
        uint64_t result = reference_fold(bits, (size_t)p->nranks, p->dtype, p->op);
        if (p->op == C4_AVG)
            result = reference_scale(result, p->dtype, (size_t)p->nranks);
        reference_set(p->folded, p->dtype, i, result);
    }
}

void pattern_init(pattern *p, int nranks, c4_dtype dtype, c4_op op, pattern_mode mode, const uint64_t *premul,
                  uint64_t seed)
{
    uint64_t state = seed;
    *p = (pattern){.dtype = dtype, .op = op, .element = c4_dtype_size(dtype), .nranks = nranks};
    p->tables = malloc((size_t)nranks * PATTERN_PERIOD * p->element);
    p->folded = malloc(PATTERN_PERIOD * p->element);
    if (!p->tables || !p->folded)
        abort();
    for (size_t i = 0; i < (size_t)nranks * PATTERN_PERIOD; i++) {
        uint64_t random = pattern_random(&state);
        uint64_t bits = mode == PATTERN_RAW     ? random
                        : mode == PATTERN_EXACT ? exact_sample(p, random)
                                                : round_sample(p, random);
        reference_set(p->tables, dtype, i, bits);
    }
    if (mode != PATTERN_RAW)
        fold(p, premul);
}

void pattern_fini(pattern *p)
{
    free(p->tables);
    free(p->folded);
}

static const unsigned char *table(const pattern *p, int rank)
{
    return rank < 0 ? p->folded : p->tables + (size_t)rank * PATTERN_PERIOD * p->element;
}

void pattern_fill(const pattern *p, int rank, int block, void *out, size_t count)
{
    size_t at = (size_t)block * 31 % PATTERN_PERIOD, done = 0;
    while (done < count) {
        size_t run = PATTERN_PERIOD - at < count - done ? PATTERN_PERIOD - at : count - done;
        memcpy((char *)out + done * p->element, table(p, rank) + at * p->element, run * p->element);
        done += run;
        at = 0;
    }
}

size_t pattern_compare(const pattern *p, int rank, int block, const void *data, size_t count)
{
    size_t at = (size_t)block * 31 % PATTERN_PERIOD, done = 0;
    const unsigned char *bytes = data, *t = table(p, rank);
    while (done < count) {
        size_t run = PATTERN_PERIOD - at < count - done ? PATTERN_PERIOD - at : count - done;
        if (memcmp(bytes + done * p->element, t + at * p->element, run * p->element) != 0) {
            for (size_t i = 0; i < run; i++)
                if (memcmp(bytes + (done + i) * p->element, t + (at + i) * p->element, p->element) != 0)
                    return done + i;
        }
        done += run;
        at = 0;
    }
    return count;
}
