/* Checks of the network: interfaces, ports, firewalls, buffers. */
#include <stdio.h>
#include <string.h>

#include "tools/c4info/doctor.h"
#include "tools/c4info/table.h"

#define FAST_MBPS 10000 /* where 1500 bytes per packet and default buffers begin to cost */

static const char *text_of(const c4_netif *netif, char text[64])
{
    char ip[48];
    snprintf(text, 64, "%s %s", netif->name, c4_netif_ip_text(netif->family, netif->ip, ip, sizeof ip));
    return text;
}

static const c4info_netif_facts *chosen_of(const c4info_facts *facts)
{
    for (size_t i = 0; i < facts->nnetifs; i++)
        if (facts->netifs[i].chosen)
            return &facts->netifs[i];
    return NULL;
}

static bool leaves_host(const c4info_facts *facts)
{
    return facts->job.nranks > facts->job.local_nranks;
}

void c4info_check_interface(const c4info_facts *facts, c4info_report *report)
{
    const c4info_netif_facts *chosen = chosen_of(facts);
    char text[64];
    if (!chosen) {
        c4info_report_add(report, C4INFO_BAD, "no interface can be used: %s",
                          facts->job.ifname_error[0] ? facts->job.ifname_error : "none is up");
        c4info_report_fix(report, "ip link set dev NAME up, or correct C4_SOCKET_IFNAME and C4_SOCKET_FAMILY (`c4info "
                                  "transports` lists what there is)");
        return;
    }
    const c4_netif *netif = &chosen->netif;
    const char *reason = c4_netif_reason(netif, netif, &facts->wish);
    const char *wrong = !netif->running                    ? "has no carrier"
                        : netif->link_local                ? "has a link-local address only"
                        : !leaves_host(facts)              ? NULL
                        : netif->loopback                  ? "is loopback: other hosts cannot reach it"
                        : c4_netif_is_virtual(netif->name) ? "is a bridge of containers or virtual machines"
                                                           : NULL;
    if (!wrong) {
        c4info_report_add(report, C4INFO_OK, "C4 uses %s (%s)", text_of(netif, text), reason);
        return;
    }
    c4info_report_add(report, C4INFO_WARN, "C4 would use %s (%s), which %s", text_of(netif, text), reason, wrong);
    c4info_report_fix(report, "name the right one: C4_SOCKET_IFNAME=NAME, ADDRESS or NETWORK (10.0.0.0/8)");
}

void c4info_check_faster_interface(const c4info_facts *facts, c4info_report *report)
{
    const c4info_netif_facts *chosen = chosen_of(facts), *faster = NULL;
    if (!chosen || chosen->speed_mbps <= 0 || (facts->wish.spec && facts->wish.spec[0]))
        return;
    for (size_t i = 0; i < facts->nnetifs; i++) {
        const c4info_netif_facts *other = &facts->netifs[i];
        bool usable = other->netif.running && !other->netif.link_local && !other->netif.loopback;
        if (usable && other->speed_mbps > (faster ? faster->speed_mbps : chosen->speed_mbps))
            faster = other;
    }
    if (!faster) {
        c4info_report_add(report, C4INFO_OK, "no other interface is faster than %s", chosen->netif.name);
        return;
    }
    c4info_report_add(report, C4INFO_NOTE, "%s has %lld Mb/s, the chosen %s %lld Mb/s", faster->netif.name,
                      (long long)faster->speed_mbps, chosen->netif.name, (long long)chosen->speed_mbps);
    c4info_report_fix(report, "if all hosts are connected there: C4_SOCKET_IFNAME=%s", faster->netif.name);
}

/* Two interfaces of one network: the kernel answers for both on either (ARP flux) and sends by the first route only. */
void c4info_check_subnets(const c4info_facts *facts, c4info_report *report)
{
    size_t networks = 0;
    for (size_t i = 0; i < facts->nnetifs; i++) {
        const c4_netif *a = &facts->netifs[i].netif;
        networks += !a->loopback && !a->link_local;
        for (size_t j = 0; j < i; j++) {
            const c4_netif *b = &facts->netifs[j].netif;
            char one[64], other[64];
            if (a->link_local || a->loopback || strcmp(a->name, b->name) == 0 || !c4_netif_same_network(a, b))
                continue;
            c4info_report_add(report, C4INFO_WARN,
                              "%s and %s are in one network: traffic for both leaves by one of them", text_of(b, one),
                              text_of(a, other));
            c4info_report_fix(report, "give each its own network, or sysctl net.ipv4.conf.all.arp_ignore=1 "
                                      "net.ipv4.conf.all.arp_announce=2 and a routing table per interface");
            return;
        }
    }
    if (networks > 1)
        c4info_report_add(report, C4INFO_OK, "each interface is in a network of its own");
}

void c4info_check_rp_filter(const c4info_facts *facts, c4info_report *report)
{
    const c4info_netif_facts *chosen = chosen_of(facts);
    bool others = false;
    if (!chosen || chosen->netif.loopback || chosen->netif.family != 4 || chosen->rp_filter == C4INFO_UNKNOWN)
        return;
    for (size_t i = 0; i < facts->nnetifs; i++)
        others |= facts->netifs[i].netif.family == 4 && !facts->netifs[i].netif.loopback &&
                  strcmp(facts->netifs[i].netif.name, chosen->netif.name) != 0;
    if (!others)
        return;
    if (chosen->rp_filter != 1) {
        c4info_report_add(report, C4INFO_OK, "rp_filter of %s lets packets in that would be answered elsewhere",
                          chosen->netif.name);
        return;
    }
    c4info_report_add(report, C4INFO_NOTE,
                      "rp_filter of %s is strict: packets whose answer would leave by another "
                      "interface vanish without a trace",
                      chosen->netif.name);
    c4info_report_fix(report,
                      "when peers cannot connect: sysctl net.ipv4.conf.%s.rp_filter=2 net.ipv4.conf.all.rp_filter=2",
                      chosen->netif.name);
}

void c4info_check_mtu(const c4info_facts *facts, c4info_report *report)
{
    const c4info_netif_facts *chosen = chosen_of(facts);
    if (!chosen || chosen->netif.loopback || chosen->mtu <= 0)
        return;
    for (size_t i = 0; i < facts->nnetifs; i++) {
        const c4info_netif_facts *other = &facts->netifs[i];
        if (other->mtu <= 0 || other->mtu == chosen->mtu || strcmp(other->netif.name, chosen->netif.name) == 0 ||
            !c4_netif_same_network(&other->netif, &chosen->netif))
            continue;
        c4info_report_add(report, C4INFO_WARN, "%s has MTU %lld, %s in the same network %lld: large packets vanish",
                          chosen->netif.name, (long long)chosen->mtu, other->netif.name, (long long)other->mtu);
        c4info_report_fix(report, "ip link set dev %s mtu %lld (the same on all hosts and switches)", other->netif.name,
                          (long long)chosen->mtu);
        return;
    }
    if (chosen->mtu < 1280) {
        c4info_report_add(report, C4INFO_WARN, "%s has MTU %lld, below what every IPv6 link carries",
                          chosen->netif.name, (long long)chosen->mtu);
        c4info_report_fix(report, "ip link set dev %s mtu 1500", chosen->netif.name);
    } else if (chosen->speed_mbps > FAST_MBPS && chosen->mtu <= 1500) {
        c4info_report_add(report, C4INFO_WARN, "%s has %lld Mb/s and MTU %lld: six times the packets of MTU 9000",
                          chosen->netif.name, (long long)chosen->speed_mbps, (long long)chosen->mtu);
        c4info_report_fix(report, "ip link set dev %s mtu 9000 on all hosts, after the switches allow it",
                          chosen->netif.name);
    } else {
        c4info_report_add(report, C4INFO_OK, "%s has MTU %lld", chosen->netif.name, (long long)chosen->mtu);
    }
}

void c4info_check_listen(const c4info_facts *facts, c4info_report *report)
{
    const char *ports = facts->job.ports[0] ? facts->job.ports : "any";
    for (size_t i = 0; i < facts->nnetifs; i++) {
        const c4info_netif_facts *netif = &facts->netifs[i];
        char text[64];
        if (!netif->chosen)
            continue;
        text_of(&netif->netif, text);
        if (netif->listen_error) {
            c4info_report_add(report, C4INFO_BAD, "cannot listen on %s, port %s: %s", text, ports,
                              strerror(netif->listen_error));
            c4info_report_fix(report,
                              facts->job.port_lo ? "see who has the ports: ss -ltnp; widen C4_PORT_RANGE%s"
                                                 : "see what holds the address: ip addr; ss -ltnp%s",
                              facts->job.port_lo && facts->job.port_lo < 1024 ? " and start it above 1023" : "");
        } else if (netif->reach_error) {
            c4info_report_add(report, C4INFO_BAD, "%s listens, but a connection from this host itself fails: %s", text,
                              strerror(netif->reach_error));
            c4info_report_fix(report,
                              "a firewall drops it: allow what comes from this host (nft add rule inet filter input "
                              "iif lo accept)");
        } else {
            c4info_report_add(report, C4INFO_OK, "%s listens and answers (port %s)", text, ports);
        }
    }
}

void c4info_check_port_range(const c4info_facts *facts, c4info_report *report)
{
    const c4info_job_facts *job = &facts->job;
    const c4info_system_facts *system = &facts->system;
    int ports = job->port_hi - job->port_lo + 1;
    int need = job->local_nranks + 1; /* a listener per rank, and rank 0's for the meeting */
    if (job->port_lo == 0)
        return;
    if (ports < need) {
        c4info_report_add(report, C4INFO_BAD, "C4_PORT_RANGE=%s has %d port%s; %d rank%s here need %d", job->ports,
                          ports, ports == 1 ? "" : "s", job->local_nranks, job->local_nranks == 1 ? "" : "s", need);
        c4info_report_fix(report, "widen it: C4_PORT_RANGE=%d-%d", job->port_lo, job->port_lo + 2 * need);
    } else if (job->port_lo <= system->local_port_hi && job->port_hi >= system->local_port_lo) {
        c4info_report_add(report, C4INFO_NOTE,
                          "C4_PORT_RANGE=%s lies in %lld-%lld, from which outgoing connections take "
                          "theirs",
                          job->ports, (long long)system->local_port_lo, (long long)system->local_port_hi);
        c4info_report_fix(report, "sysctl net.ipv4.ip_local_reserved_ports=%d-%d", job->port_lo, job->port_hi);
    } else {
        c4info_report_add(report, C4INFO_OK, "C4_PORT_RANGE=%s has enough ports", job->ports);
    }
}

void c4info_check_local_ports(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    int64_t ports = system->local_port_hi - system->local_port_lo + 1;
    int64_t remote = facts->job.nranks - facts->job.local_nranks;
    int64_t need = facts->job.local_nranks * remote * facts->job.tcp_sockets / 2;
    if (system->local_port_lo == C4INFO_UNKNOWN)
        return;
    /* The kernel can use a port for several destinations, but looks long when few are free. */
    if (ports > need && ports >= 4096) {
        c4info_report_add(report, C4INFO_OK, "%lld ports for outgoing connections", (long long)ports);
        return;
    }
    c4info_report_add(report, C4INFO_WARN, "%lld ports for outgoing connections; this job may make %lld from this host",
                      (long long)ports, (long long)need);
    c4info_report_fix(report, "sysctl net.ipv4.ip_local_port_range=\"10000 65535\"");
}

void c4info_check_firewall(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    const char *range = facts->job.ports[0] ? facts->job.ports : "20000-20999";
    bool fixed = facts->job.port_lo != 0;
    if (!system->netfilter || system->firewall_rules == 0) {
        c4info_report_add(report, C4INFO_OK,
                          system->netfilter ? "no firewall rule of this host drops what comes in"
                                            : "no firewall is loaded on this host");
        return;
    }
    if (system->firewall_rules == C4INFO_UNKNOWN) {
        c4info_report_add(report, C4INFO_NOTE, "a firewall is loaded, and this user may not see its rules");
        c4info_report_fix(report,
                          "try it: `c4info doctor --listen` here, `c4info doctor --peers THIS-HOST:PORT` on another "
                          "host; or as root: nft list ruleset");
        return;
    }
    c4info_report_add(report, fixed ? C4INFO_NOTE : C4INFO_WARN,
                      "%lld rule%s of %s drop or refuse what comes in, and C4 listens on %s%s",
                      (long long)system->firewall_rules, system->firewall_rules == 1 ? "" : "s", system->firewall,
                      fixed ? "ports " : "any free port", fixed ? facts->job.ports : "");
    if (strcmp(system->firewall, "nft") == 0)
        c4info_report_fix(report,
                          "%s%s%snft add rule inet filter input tcp dport %s accept; then `c4info doctor --listen` "
                          "here and --peers on another host",
                          fixed ? "" : "C4_PORT_RANGE=", fixed ? "" : range, fixed ? "" : " and ", range);
    else
        c4info_report_fix(report,
                          "%s%s%siptables -I INPUT -p tcp --dport %d:%d -j ACCEPT; then `c4info doctor --listen` "
                          "here and --peers on another host",
                          fixed ? "" : "C4_PORT_RANGE=", fixed ? "" : range, fixed ? "" : " and ",
                          fixed ? facts->job.port_lo : 20000, fixed ? facts->job.port_hi : 20999);
}

void c4info_check_conntrack(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (system->conntrack_max <= 0 || system->conntrack_count == C4INFO_UNKNOWN)
        return;
    int64_t percent = system->conntrack_count * 100 / system->conntrack_max;
    if (percent < 75) {
        c4info_report_add(report, C4INFO_OK, "the connection table is %lld %% full", (long long)percent);
        return;
    }
    c4info_report_add(
        report, percent >= 95 ? C4INFO_BAD : C4INFO_WARN,
        "the firewall's connection table is %lld %% full (%lld of %lld): new connections are dropped when it "
        "is",
        (long long)percent, (long long)system->conntrack_count, (long long)system->conntrack_max);
    c4info_report_fix(report, "sysctl net.netfilter.nf_conntrack_max=%lld", (long long)system->conntrack_max * 4);
}

/* Bandwidth times delay: what must be under way so that the link is never idle, with 2 ms of round trip and queues. */
static int64_t buffer_need(int64_t speed_mbps)
{
    return speed_mbps * 1000000 / 8 * 2 / 1000;
}

void c4info_check_tcp_buffers(const c4info_facts *facts, c4info_report *report)
{
    const c4info_netif_facts *chosen = chosen_of(facts);
    const c4info_system_facts *system = &facts->system;
    int64_t given = facts->job.tcp_buffer_bytes;
    int64_t most = system->rmem_max < system->wmem_max ? system->rmem_max : system->wmem_max;
    char have[32], want[32];
    if (given > 0 && most > 0 && given > most) {
        c4info_report_add(report, C4INFO_WARN, "C4_TCP_BUFFER_BYTES=%s is cut to %s",
                          c4info_format_bytes((unsigned long long)given, want),
                          c4info_format_bytes((unsigned long long)most, have));
        c4info_report_fix(report,
                          "sysctl net.core.rmem_max=%lld net.core.wmem_max=%lld, or unset it: the kernel's own "
                          "tuning is better on most links",
                          (long long)given, (long long)given);
        return;
    }
    if (!chosen || chosen->speed_mbps < FAST_MBPS || system->tcp_rmem_max <= 0 || system->tcp_wmem_max <= 0)
        return;
    int64_t need = buffer_need(chosen->speed_mbps);
    int64_t least = system->tcp_rmem_max < system->tcp_wmem_max ? system->tcp_rmem_max : system->tcp_wmem_max;
    c4info_format_bytes((unsigned long long)least, have);
    c4info_format_bytes((unsigned long long)need, want);
    if (least >= need) {
        c4info_report_add(report, C4INFO_OK, "TCP buffers may grow to %s, enough for %s", have, chosen->netif.name);
        return;
    }
    c4info_report_add(report, C4INFO_WARN, "TCP buffers may grow to %s; %lld Mb/s over 2 ms need %s", have,
                      (long long)chosen->speed_mbps, want);
    c4info_report_fix(report, "sysctl net.ipv4.tcp_rmem=\"4096 131072 %lld\" net.ipv4.tcp_wmem=\"4096 65536 %lld\"",
                      (long long)need * 2, (long long)need * 2);
}
