#include "transports/link/listen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/netif.h"

#define MAX_INTERFACES 128

/* Where all ranks are on this host any of its addresses leads to this one: so that of the port, if there is one. */
static const c4_netif *already_listening(const c4_transport_port *port, const c4_netif *const *list, size_t count)
{
    c4_transport_address address;
    for (unsigned index = 0; port != NULL && port->known(port->context, index, &address); index++)
        for (size_t i = 0; i < count; i++)
            if (list[i]->family == address.family && list[i]->scope == address.scope &&
                memcmp(list[i]->ip, address.ip, sizeof address.ip) == 0)
                return list[i];
    return NULL;
}

static void fill_contact(const c4_netif *const *chosen, size_t count, c4_tlink_contact *contact)
{
    *contact = (c4_tlink_contact){.host = c4_tlink_host_number(), .count = (unsigned)count};
    for (size_t i = 0; i < count; i++) {
        c4_tlink_address *address = &contact->at[i];
        *address =
            (c4_tlink_address){.family = chosen[i]->family, .loopback = chosen[i]->loopback, .scope = chosen[i]->scope};
        memcpy(address->ip, chosen[i]->ip, sizeof address->ip);
    }
}

c4_status c4_tlink_choose_addresses(const c4_transport_host *host, c4_tlink_contact *contact,
                                    char text[C4_TLINK_CHOICE_TEXT])
{
    c4_netif list[MAX_INTERFACES];
    size_t there = MAX_INTERFACES, count;
    const c4_netif *best, *candidates[MAX_INTERFACES];
    const int families[] = {0, 4, 6};
    const int64_t family = host->option_int(host->context, "C4_SOCKET_FAMILY");
    const c4_netif_wish wish = {
        .spec = host->option_string(host->context, "C4_SOCKET_IFNAME"),
        .family = families[family > 0 && family < 3 ? family : 0],
        .all_local = host->local_nranks >= host->nranks,
    };
    C4_TRY(c4_netif_list(list, &there));
    C4_TRY(c4_netif_choose(list, there, &wish, &best));
    count = c4_netif_candidates(list, there, &wish, candidates, MAX_INTERFACES);
    const c4_netif *listening = wish.all_local ? already_listening(host->port, candidates, count) : NULL;
    text[0] = '\0';
    if (listening != NULL) {
        fill_contact(&listening, 1, contact);
        return C4_OK;
    }
    c4_netif_keep_likely(&wish, candidates, &count, C4_TLINK_MAX_ADDRESSES);
    fill_contact(candidates, count, contact);
    c4_netif_explain(list, there, &wish, candidates, count, text, C4_TLINK_CHOICE_TEXT);
    return C4_OK;
}

static c4_status open_own_listeners(c4_tlink_hub *hub)
{
    c4_port_range range;
    C4_TRY(c4_port_range_parse(hub->host.option_string(hub->host.context, "C4_PORT_RANGE"), &range));
    for (unsigned i = 0; i < hub->contact.count; i++) {
        C4_TRY(c4_tlink_socket_listen(hub->ops->name, &hub->contact.at[i], range, &hub->rng, &hub->listen_fds[i]));
        hub->nlisten_fds++;
    }
    return C4_OK;
}

/* The host listens, for this hub and others. Where it cannot, as on an IPv6 address that is not usable yet, the host
 * has said so, and another address does. */
static c4_status listen_on_port(const c4_transport_port *port, c4_tlink_contact *contact)
{
    c4_status status = C4_OK;
    unsigned kept = 0;
    for (unsigned i = 0; i < contact->count; i++) {
        c4_tlink_address own = contact->at[i];
        c4_transport_address address = {.family = own.family, .scope = own.scope};
        memcpy(address.ip, own.ip, sizeof address.ip);
        status = port->listen(port->context, &address);
        own.port = address.port;
        if (status == C4_OK)
            contact->at[kept++] = own;
    }
    contact->count = kept;
    return kept > 0 ? C4_OK : status;
}

static c4_status open_inbox(c4_tlink_hub *hub)
{
    const c4_transport_port *port = hub->host.port;
    C4_TRY(listen_on_port(port, &hub->contact));
    unsigned capacity = (unsigned)hub->host.nranks * hub->nlinks + C4_TLINK_SPARE_CALLERS;
    C4_TRY(port->open(port->context, hub->ops->name, capacity, &hub->listen_fds[0]));
    hub->port = port;
    hub->nlisten_fds = 1;
    return C4_OK;
}

c4_status c4_tlink_listen(c4_tlink_hub *hub)
{
    char text[C4_TLINK_CHOICE_TEXT];
    C4_TRY(c4_tlink_choose_addresses(&hub->host, &hub->contact, text));
    if (text[0] != '\0' && c4_netif_is_news(text))
        C4_TLINK_LOG(hub, C4_TLOG_INFO, "interfaces: %s", text);
    hub->contact.tls = hub->tls != NULL;
    return hub->host.port != NULL ? open_inbox(hub) : open_own_listeners(hub);
}

void c4_tlink_unlisten(c4_tlink_hub *hub)
{
    if (hub->port != NULL)
        hub->port->close(hub->port->context, hub->listen_fds[0]);
    for (unsigned i = 0; i < hub->nlisten_fds && hub->port == NULL; i++)
        close(hub->listen_fds[i]);
    hub->nlisten_fds = 0;
    hub->port = NULL;
}
