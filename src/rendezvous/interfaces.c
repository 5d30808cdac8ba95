#include "rendezvous/interfaces.h"

#include <string.h>

#include "base/log.h"
#include "base/status.h"
#include "host/netif.h"

enum { MAX_INTERFACES = 128, EXPLANATION_BYTES = 480 };

bool c4_interfaces_asked(const c4_options *options)
{
    return *c4_option_string(options, "C4_SOCKET_IFNAME") || c4_option_int(options, "C4_SOCKET_FAMILY") != 0;
}

c4_status c4_interfaces_choose(const c4_options *options, c4_net_address *addresses, size_t *count)
{
    static const int families[] = {0, 4, 6};
    c4_netif list[MAX_INTERFACES];
    size_t there = MAX_INTERFACES, found, kept = 0;
    const c4_netif *best, *candidates[MAX_INTERFACES];
    char text[EXPLANATION_BYTES];
    int64_t family = c4_option_int(options, "C4_SOCKET_FAMILY");
    c4_netif_wish wish = {.spec = c4_option_string(options, "C4_SOCKET_IFNAME"),
                          .family = families[family > 0 && family < 3 ? family : 0]};
    C4_TRY(c4_netif_list(list, &there));
    C4_TRY(c4_netif_choose(list, there, &wish, &best));
    found = c4_netif_candidates(list, there, &wish, candidates, MAX_INTERFACES);
    c4_netif_keep_likely(&wish, candidates, &found, MAX_INTERFACES);
    for (size_t i = 0; i < found && kept < *count; i++) {
        if (candidates[i]->link_local)
            continue;
        addresses[kept] = (c4_net_address){.family = candidates[i]->family};
        memcpy(addresses[kept].bytes, candidates[i]->ip, sizeof addresses[kept].bytes);
        candidates[kept++] = candidates[i];
    }
    *count = kept;
    if (kept == 0)
        return C4_OK;
    c4_netif_explain(list, there, &wish, candidates, kept, text, sizeof text);
    if (c4_netif_is_news(text))
        c4_log(C4_LOG_INFO, "interfaces: %s", text);
    return C4_OK;
}

c4_status c4_interfaces_choose_one(const c4_options *options, c4_net_address *address)
{
    size_t count = 1;
    C4_TRY(c4_interfaces_choose(options, address, &count));
    if (count == 0)
        return c4_fail(
            C4_ERR_INTERFACE,
            "C4_SOCKET_IFNAME=%s leaves only link-local IPv6 addresses, at which other hosts cannot find rank "
            "0: give the interface another address, or name one that has",
            c4_option_string(options, "C4_SOCKET_IFNAME"));
    return C4_OK;
}
