#include "tools/c4info/firewall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_CHAINS  128
#define RULES_BYTES (1u << 20)

typedef struct chain {
    char name[64];
    bool input;    /* what comes in passes through it */
    int64_t drops; /* rules that drop or refuse, and the policy */
    unsigned njumps;
    char jumps[8][64]; /* more are not followed */
} chain;

typedef struct chains {
    size_t count;
    chain all[MAX_CHAINS];
} chains;

static chain *chain_named(chains *found, const char *name)
{
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(found->all[i].name, name) == 0)
            return &found->all[i];
    if (found->count == MAX_CHAINS)
        return NULL;
    chain *made = &found->all[found->count++];
    *made = (chain){.njumps = 0};
    snprintf(made->name, sizeof made->name, "%s", name);
    return made;
}

static void add_jump(chain *from, const char *rule, const char *word)
{
    const char *at = strstr(rule, word);
    if (at && from->njumps < sizeof from->jumps / sizeof from->jumps[0] &&
        sscanf(at + strlen(word), "%63s", from->jumps[from->njumps]) == 1)
        from->njumps++;
}

/* A line of `nft list ruleset` inside the chain. */
static void read_nft_rule(chain *at, const char *line)
{
    if (strstr(line, "hook input"))
        at->input = true;
    if (strstr(line, "policy drop") || strstr(line, " drop") || strstr(line, "\tdrop") || strstr(line, "reject"))
        at->drops++;
    add_jump(at, line, "jump ");
    add_jump(at, line, "goto ");
}

static void read_nft(chains *found, char *rules)
{
    char table[64] = "", name[64], full[132];
    chain *at = NULL;
    for (char *line; (line = strsep(&rules, "\n"));) {
        if (sscanf(line, "table %*s %63s", table) == 1)
            continue;
        if (sscanf(line, " chain %63s", name) == 1) {
            snprintf(full, sizeof full, "%.31s/%.31s", table, name);
            at = chain_named(found, full);
        } else if (strchr(line, '}') && !strchr(line, '{')) {
            at = NULL;
        } else if (at) {
            unsigned before = at->njumps;
            read_nft_rule(at, line);
            for (unsigned i = before; i < at->njumps; i++) { /* names are of the same table */
                snprintf(full, sizeof full, "%.31s/%.31s", table, at->jumps[i]);
                snprintf(at->jumps[i], sizeof at->jumps[i], "%.63s", full);
            }
        }
    }
}

static void read_iptables(chains *found, char *rules)
{
    char name[64], policy[16];
    for (char *line; (line = strsep(&rules, "\n"));) {
        chain *at = NULL;
        if (sscanf(line, "-P %63s %15s", name, policy) == 2 && (at = chain_named(found, name)) != NULL)
            at->drops += strcmp(policy, "DROP") == 0;
        else if (sscanf(line, "-A %63s", name) == 1 && (at = chain_named(found, name)) != NULL) {
            at->drops += strstr(line, "-j DROP") || strstr(line, "-j REJECT");
            add_jump(at, line, "-j ");
            add_jump(at, line, "-g ");
        }
        if (at && strcmp(name, "INPUT") == 0)
            at->input = true;
    }
}

/* Marks what the chains of the input hook jump to, until nothing new comes. */
static void follow(chains *found)
{
    bool more = true;
    while (more) {
        more = false;
        for (size_t i = 0; i < found->count; i++) {
            const chain *from = &found->all[i];
            for (unsigned j = 0; from->input && j < from->njumps; j++) {
                chain *to = chain_named(found, from->jumps[j]);
                more |= to && !to->input;
                if (to)
                    to->input = true;
            }
        }
    }
}

int64_t c4info_firewall_count(const char *rules)
{
    chains *found = calloc(1, sizeof *found);
    char *copy = strdup(rules);
    int64_t count = 0;
    if (!found || !copy) {
        free(found);
        free(copy);
        return C4INFO_UNKNOWN;
    }
    if (strncmp(rules, "-P ", 3) == 0 || strncmp(rules, "-A ", 3) == 0 || strncmp(rules, "-N ", 3) == 0)
        read_iptables(found, copy);
    else
        read_nft(found, copy);
    follow(found);
    for (size_t i = 0; i < found->count; i++)
        count += found->all[i].input ? found->all[i].drops : 0;
    free(found);
    free(copy);
    return count;
}

/* False when the program is missing or may not look. */
static bool count_by(const char *program, const char *command, c4info_system_facts *facts)
{
    char *rules = malloc(RULES_BYTES);
    FILE *pipe = rules ? popen(command, "re") : NULL;
    if (!pipe) {
        free(rules);
        return false;
    }
    size_t got = fread(rules, 1, RULES_BYTES - 1, pipe);
    rules[got] = '\0';
    int status = pclose(pipe);
    bool told = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (told) {
        int64_t count = c4info_firewall_count(rules);
        if (facts->firewall_rules == C4INFO_UNKNOWN || count > 0) {
            facts->firewall_rules = count;
            snprintf(facts->firewall, sizeof facts->firewall, "%s", program);
        }
        facts->netfilter |= count > 0;
    }
    free(rules);
    return told;
}

#define IN_PATH "PATH=/usr/sbin:/usr/bin:/sbin:/bin "

void c4info_firewall_read(c4info_system_facts *facts)
{
    facts->firewall_rules = C4INFO_UNKNOWN;
    if (!count_by("nft", IN_PATH "nft list ruleset 2>/dev/null", facts) || facts->firewall_rules == 0)
        count_by("iptables", IN_PATH "iptables -S 2>/dev/null", facts);
}
