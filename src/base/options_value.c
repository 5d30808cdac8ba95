/* One value against its spec: type, range or choices; and the words that tell the user what would be right. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/options_internal.h"

static bool parse_number(c4_option_type type, const char *text, int64_t *number)
{
    uint64_t bytes = 0;
    bool truth = false;
    switch (type) {
    case C4_OPTION_BOOL:
        if (!c4_parse_bool(text, &truth))
            return false;
        *number = truth;
        return true;
    case C4_OPTION_INT:
        return c4_parse_int(text, number);
    case C4_OPTION_MS:
        return c4_parse_ms(text, number);
    case C4_OPTION_BYTES:
        if (!c4_parse_bytes(text, &bytes) || bytes > INT64_MAX)
            return false;
        *number = (int64_t)bytes;
        return true;
    default:
        return false;
    }
}

/* "lo..hi"; either end may be missing. A malformed range is a bug in a table, caught by its test. */
static bool in_range(const c4_option_spec *spec, int64_t number)
{
    const char *dots = spec->choices ? strstr(spec->choices, "..") : NULL;
    if (!dots)
        return true;
    char low[32];
    int64_t bound = 0;
    snprintf(low, sizeof low, "%.*s", (int)(dots - spec->choices), spec->choices);
    if (parse_number(spec->type, low, &bound) && number < bound)
        return false;
    return !(parse_number(spec->type, dots + 2, &bound) && number > bound);
}

static bool parse_enum(const c4_option_spec *spec, const char *text, int64_t *number)
{
    int64_t index = 0;
    size_t length = strlen(text);
    for (const char *choice = spec->choices; choice; index++) {
        size_t size = strcspn(choice, "|");
        if (size == length && strncasecmp(choice, text, size) == 0) {
            *number = index;
            return true;
        }
        choice = choice[size] ? choice + size + 1 : NULL;
    }
    return false;
}

static void describe(const c4_option_spec *spec, char *expected, size_t bytes)
{
    static const char *const forms[] = {
        [C4_OPTION_BOOL] = "1/0, on/off, yes/no or true/false",
        [C4_OPTION_INT] = "a whole number",
        [C4_OPTION_BYTES] = "bytes such as 4096, 64K, 2M or 1G",
        [C4_OPTION_MS] = "milliseconds, or a time such as 500ms, 30s or 2m",
        [C4_OPTION_ENUM] = "one of",
    };
    const char *join = spec->type == C4_OPTION_ENUM ? " " : " in ";
    snprintf(expected, bytes, "%s%s%s", forms[spec->type], spec->choices ? join : "",
             spec->choices ? spec->choices : "");
}

bool c4_option_value_parse(const c4_option_spec *spec, const char *text, int64_t *number, char *expected, size_t bytes)
{
    *number = 0;
    if (spec->type == C4_OPTION_STRING || spec->type == C4_OPTION_LIST)
        return true;
    bool good = spec->type == C4_OPTION_ENUM ? parse_enum(spec, text, number)
                                             : parse_number(spec->type, text, number) && in_range(spec, *number);
    if (!good)
        describe(spec, expected, bytes);
    return good;
}
