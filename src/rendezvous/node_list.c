#include "rendezvous/node_list.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}

/* One "01-16" or "20" at *at, which moves behind it. */
static bool read_range(const char **at)
{
    const char *p = *at;
    if (!is_digit(*p))
        return false;
    while (is_digit(*p))
        p++;
    if (*p == '-') {
        if (!is_digit(*++p))
            return false;
        while (is_digit(*p))
            p++;
    }
    *at = p;
    return true;
}

/* From behind '[' to behind ']'; *first and *digits: the first number. */
static bool read_bracket(const char **at, const char **first, size_t *digits)
{
    *first = *at;
    *digits = strspn(*at, "0123456789");
    for (;;) {
        if (!read_range(at))
            return false;
        char end = *(*at)++;
        if (end == ']')
            return true;
        if (end != ',')
            return false;
    }
}

bool c4_node_list_first(const char *list, char *host, size_t bytes)
{
    char made[256];
    size_t used = 0;
    const char *at = list;
    while (*at && *at != ',') {
        const char *piece = at;
        size_t length = 1;
        if (*at == '[') {
            at++;
            if (!read_bracket(&at, &piece, &length))
                return false;
        } else if (!is_name(*at++)) {
            return false;
        }
        if (length >= sizeof made - used)
            return false;
        memcpy(made + used, piece, length);
        used += length;
    }
    if (used == 0 || used >= bytes)
        return false;
    memcpy(host, made, used);
    host[used] = '\0';
    return true;
}
