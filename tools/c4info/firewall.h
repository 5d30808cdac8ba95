/* How many firewall rules drop or refuse what comes in. */
#ifndef C4_TOOLS_C4INFO_FIREWALL_H
#define C4_TOOLS_C4INFO_FIREWALL_H

#include "tools/c4info/doctor.h"

/* Rules and policies on the way of what comes in, in the output of `nft list ruleset` or `iptables -S`: those of the chains
 * that hang on the input hook, and of those that they jump to. */
int64_t c4info_firewall_count(const char *rules);
/* Asks nft, then iptables. Fills firewall and firewall_rules. */
void c4info_firewall_read(c4info_system_facts *facts);

#endif
