/* Text -> numbers: the grammar of option values and of the tools' command lines. Nothing here logs. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/options.h"

struct unit {
    const char *suffix; /* without case */
    uint64_t factor;
};

/* Digits, then one suffix of `units` or nothing. No sign, no blanks, no fraction; false on overflow. */
static bool parse_scaled(const char *text, const struct unit *units, size_t nunits, uint64_t *value)
{
    if (!text || *text < '0' || *text > '9')
        return false;
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return false;
    uint64_t factor = *end ? 0 : 1;
    for (size_t i = 0; !factor && i < nunits; i++)
        if (strcasecmp(end, units[i].suffix) == 0)
            factor = units[i].factor;
    return factor && !__builtin_mul_overflow((uint64_t)number, factor, value);
}

bool c4_parse_bytes(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"B", 1},           {"K", 1ull << 10},   {"KB", 1ull << 10},  {"KiB", 1ull << 10}, {"M", 1ull << 20},
        {"MB", 1ull << 20}, {"MiB", 1ull << 20}, {"G", 1ull << 30},   {"GB", 1ull << 30},  {"GiB", 1ull << 30},
        {"T", 1ull << 40},  {"TB", 1ull << 40},  {"TiB", 1ull << 40},
    };
    uint64_t value = 0;
    if (!parse_scaled(text, units, sizeof units / sizeof units[0], &value))
        return false;
    *bytes = value;
    return true;
}

bool c4_parse_ms(const char *text, int64_t *ms)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}};
    uint64_t value = 0;
    if (!parse_scaled(text, units, sizeof units / sizeof units[0], &value) || value > INT64_MAX)
        return false;
    *ms = (int64_t)value;
    return true;
}

bool c4_parse_int(const char *text, int64_t *value)
{
    bool negative = text && *text == '-';
    uint64_t magnitude = 0;
    if (!text || !parse_scaled(text + negative, NULL, 0, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool c4_parse_bool(const char *text, bool *value)
{
    static const char *const words[2][4] = {{"0", "off", "no", "false"}, {"1", "on", "yes", "true"}};
    if (!text)
        return false;
    for (int truth = 0; truth < 2; truth++) {
        for (size_t i = 0; i < 4; i++) {
            if (strcasecmp(text, words[truth][i]) == 0) {
                *value = truth;
                return true;
            }
        }
    }
    return false;
}

/* Digits up to `stop`, not more than a port has. */
static bool parse_port(const char *text, const char *stop, uint16_t *port)
{
    unsigned value = 0;
    if (text == stop || stop - text > 5)
        return false;
    for (; text < stop; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = 10 * value + (unsigned)(*text - '0');
    }
    *port = (uint16_t)value;
    return value >= 1 && value <= UINT16_MAX;
}

bool c4_parse_port_range(const char *text, uint16_t *lo, uint16_t *hi)
{
    uint16_t first = 0, last = 0;
    if (text && *text) {
        const char *end = text + strlen(text), *dash = strchr(text, '-');
        if (!parse_port(text, dash ? dash : end, &first) || !parse_port(dash ? dash + 1 : text, end, &last) ||
            first > last)
            return false;
    }
    *lo = first;
    *hi = last;
    return true;
}
