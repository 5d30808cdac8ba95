#include "transports/hook/rules.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static const struct {
    const char *name;
    c4_hook_action action;
    const char *fault;
} actions[] = {
    {"slow", C4_HOOK_DELAY, NULL},
    {"delay", C4_HOOK_DELAY, NULL},
    {"close", C4_HOOK_INJECT, "close_socket"},
    {"truncate", C4_HOOK_INJECT, "truncate"},
    {"garbage", C4_HOOK_INJECT, "garbage"},
    {"drop", C4_HOOK_DROP, NULL},
    {"fail", C4_HOOK_FAIL, NULL},
    {"trace", C4_HOOK_TRACE, NULL},
    {"count", C4_HOOK_COUNT, NULL},
};

static bool parse_action(const char *text, size_t length, c4_hook_rule *rule)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strlen(actions[i].name) != length || strncmp(actions[i].name, text, length) != 0)
            continue;
        rule->action = actions[i].action;
        rule->fault = actions[i].fault;
        return true;
    }
    return false;
}

static bool parse_number(const char **at, uint64_t *value)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *value = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

static bool parse_duration(const char **at, uint64_t *ns)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
    if (!parse_number(at, ns))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t length = strlen(units[i].unit);
        if (strncmp(*at, units[i].unit, length) != 0)
            continue;
        *at += length;
        return !__builtin_mul_overflow(*ns, units[i].ns, ns);
    }
    return false;
}

/* What follows the transport's name. */
static bool parse_rest(const char *at, c4_hook_rule *rule, uint64_t *rank)
{
    static const char frame[] = "@frame:";
    if (*at == ':' && (at++, !parse_duration(&at, &rule->duration_ns)))
        return false;
    if (strncmp(at, frame, sizeof frame - 1) == 0) {
        at += sizeof frame - 1;
        if (!parse_number(&at, &rule->frame) || rule->frame == 0)
            return false;
    }
    if (*at == '#' && (at++, !parse_number(&at, rank)))
        return false;
    return *at == '\0' && (rule->action == C4_HOOK_DELAY) == (rule->duration_ns != 0);
}

static bool parse_rule(const char *text, const char *transport, int own_rank, c4_hook_rules *rules)
{
    c4_hook_rule rule = {0};
    const char *equals = strchr(text, '=');
    if (equals == NULL || !parse_action(text, (size_t)(equals - text), &rule))
        return false;
    const char *name = equals + 1;
    size_t length = strcspn(name, ":@#");
    uint64_t rank = (uint64_t)own_rank;
    if (length == 0 || !parse_rest(name + length, &rule, &rank))
        return false;
    bool mine = strlen(transport) == length && strncmp(transport, name, length) == 0 && rank == (uint64_t)own_rank;
    if (mine && rules->count < C4_HOOK_MAX_RULES)
        rules->rules[rules->count++] = rule;
    return true;
}

c4_status c4_hook_rules_parse(const char *text, const char *transport, int rank, c4_hook_rules *rules)
{
    rules->count = 0;
    while (text != NULL && *text != '\0') {
        char rule[96];
        size_t length = strcspn(text, ",");
        bool fits = length < sizeof rule;
        if (fits) {
            memcpy(rule, text, length);
            rule[length] = '\0';
        }
        if (!fits || (length > 0 && !parse_rule(rule, transport, rank, rules)))
            return c4_fail(C4_ERR_OPTION,
                           "C4_HOOK: \"%.*s\" is not action=transport[:duration][@frame:N][#rank], with action one of "
                           "slow delay (these need a duration) close truncate garbage drop fail trace count",
                           (int)length, text);
        text += length + (text[length] == ',');
    }
    return C4_OK;
}
