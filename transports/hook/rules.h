/* The rules of C4_HOOK, parsed. Pure. */
#ifndef C4_TRANSPORTS_HOOK_RULES_H
#define C4_TRANSPORTS_HOOK_RULES_H

#include <c4/c4.h>
#include <stdint.h>

#define C4_HOOK_MAX_RULES 16

typedef enum c4_hook_action {
    C4_HOOK_DELAY, /* slow and delay */
    C4_HOOK_INJECT,
    C4_HOOK_DROP,
    C4_HOOK_FAIL,
    C4_HOOK_TRACE,
    C4_HOOK_COUNT
} c4_hook_action;

typedef struct c4_hook_rule {
    c4_hook_action action;
    const char *fault;    /* INJECT: the transport's name for it */
    uint64_t duration_ns; /* DELAY */
    uint64_t frame;       /* 0: every frame */
} c4_hook_rule;

typedef struct c4_hook_rules {
    c4_hook_rule rules[C4_HOOK_MAX_RULES];
    unsigned count;
} c4_hook_rules;

/* Keeps the rules of `text` for this transport and rank. C4_ERR_OPTION (logged, naming the rule) when malformed. */
c4_status c4_hook_rules_parse(const char *text, const char *transport, int rank, c4_hook_rules *rules);

static inline int c4_hook_rule_applies(const c4_hook_rule *rule, uint64_t frame)
{
    return rule->frame == 0 || rule->frame == frame;
}

#endif
