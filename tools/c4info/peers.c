/* `c4info doctor --listen` and --peers, and the trial of the own ports. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "host/resolve.h"
#include "tools/c4info/doctor.h"
#include "tools/c4info/reach.h"

#define KEY_BYTES 32
/* Of one connection. A stranger who is silent keeps the others waiting no longer. */
#define SERVE_MS 3000
/* So that a peer that waits behind one such still gets through. */
#define REACH_MS (SERVE_MS + 4000)

void c4info_facts_try_ports(c4info_facts *facts)
{
    for (size_t i = 0; i < facts->nnetifs; i++) {
        c4info_netif_facts *netif = &facts->netifs[i];
        struct sockaddr_storage address;
        int port = 0;
        if (!netif->chosen)
            continue;
        int fd = c4info_listen_at(&netif->netif, facts->job.port_lo, facts->job.port_hi, &port);
        if (fd < 0) {
            netif->listen_error = errno;
            continue;
        }
        c4info_netif_sockaddr(&netif->netif, port, &address);
        int peer = c4info_connect(&address, 2000);
        netif->reach_error = peer < 0 ? errno : 0;
        if (peer >= 0)
            close(peer);
        close(fd);
    }
}

/* False, with a message, when there is neither a key nor the leave to go without. */
static bool take_key(const c4info_facts *facts, unsigned char key[KEY_BYTES], const unsigned char **taken)
{
    *taken = c4info_read_key(&facts->job, key) ? key : NULL;
    if (*taken || (facts->job.insecure && !facts->job.key_error[0]))
        return true;
    fprintf(
        stderr,
        "c4info: doctors of two hosts need the same key: (umask 077; head -c 32 /dev/urandom > KEY), copy it, and set "
        "C4_KEY_FILE=KEY on both; or C4_INSECURE=1 on both to go without (c4info --help)\n");
    return false;
}

/* ---- listening ---- */

static void tell(const struct sockaddr_storage *from, socklen_t bytes, const c4info_reach *result)
{
    char host[64] = "?";
    getnameinfo((const struct sockaddr *)from, bytes, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    if (result->stage == C4INFO_REACH_DONE)
        printf("%s: reached this host, %u KiB both ways in %.1f ms\n", host, C4INFO_REACH_BYTES / 1024,
               result->data_ms);
    else
        printf("%s: connected, but %s failed: %s\n", host,
               result->stage == C4INFO_REACH_HANDSHAKE ? "the handshake" : "moving data", result->reason);
    fflush(stdout);
}

/* Waits up to `left_ms`; -1: nobody came. */
static int accept_one(int fd, int left_ms, struct sockaddr_storage *from, socklen_t *bytes)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    if (poll(&poller, 1, left_ms) <= 0)
        return -1;
    return accept4(fd, (struct sockaddr *)from, bytes, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int serve(int fd, const unsigned char *key, const c4info_request *request)
{
    int good = 0, wrong = 0;
    int64_t end = now_ms() + (int64_t)request->seconds * 1000;
    for (int64_t left; (left = end - now_ms()) > 0 && (request->count == 0 || good + wrong < request->count);) {
        struct sockaddr_storage from;
        socklen_t bytes = sizeof from;
        c4info_reach result;
        int peer = accept_one(fd, (int)left, &from, &bytes);
        if (peer < 0)
            continue;
        c4info_reach_serve(peer, key, SERVE_MS, &result);
        close(peer);
        tell(&from, bytes, &result);
        good += result.stage == C4INFO_REACH_DONE;
        wrong += result.stage != C4INFO_REACH_DONE;
    }
    printf("%d reached this host, %d failed.\n", good, wrong);
    return good == 0 || wrong > 0;
}

static const c4_netif *chosen_netif(const c4info_facts *facts)
{
    for (size_t i = 0; i < facts->nnetifs; i++)
        if (facts->netifs[i].chosen)
            return &facts->netifs[i].netif;
    return NULL;
}

int c4info_listen(const c4info_facts *facts, const c4info_request *request)
{
    unsigned char bytes[KEY_BYTES];
    const unsigned char *key;
    const c4_netif *netif = chosen_netif(facts);
    int lo = request->port ? request->port : facts->job.port_lo,
        hi = request->port ? request->port : facts->job.port_hi;
    int port = 0;
    char ip[64];
    if (!netif) {
        fprintf(stderr, "c4info: %s\n", facts->job.ifname_error);
        return 1;
    }
    c4_netif_ip_text(netif->family, netif->ip, ip, sizeof ip);
    if (!take_key(facts, bytes, &key))
        return 2;
    int fd = c4info_listen_at(netif, lo, hi, &port);
    if (fd < 0) {
        fprintf(stderr, "c4info: cannot listen on %s %s: %s (ss -ltnp shows who has the port)\n", netif->name, ip,
                strerror(errno));
        explicit_bzero(bytes, sizeof bytes);
        return 1;
    }
    bool brackets = netif->family == 6;
    printf("listening on %s %s, port %d, for %d s; on the other host: c4info doctor --peers %s%s%s:%d\n", netif->name,
           ip, port, request->seconds, brackets ? "[" : "", ip, brackets ? "]" : "", port);
    fflush(stdout);
    int status = serve(fd, key, request);
    close(fd);
    explicit_bzero(bytes, sizeof bytes);
    return status;
}

/* ---- reaching ---- */

typedef struct target {
    char text[300], host[256];
    int port;
} target;

/* "HOST", "HOST:PORT", "[2001:db8::1]:PORT", "2001:db8::1". False when there is no port at all, or no sense. */
static bool parse_target(const char *item, int default_port, target *made)
{
    int64_t port = default_port;
    const char *colon = strrchr(item, ':'), *end = strchr(item, ']');
    bool plain_ipv6 = colon && strchr(item, ':') != colon && *item != '[';
    size_t length = strlen(item);
    if (*item == '[') {
        if (!end)
            return false;
        length = (size_t)(end - ++item);
        colon = end[1] == ':' ? end + 1 : NULL;
        if (end[1] && !colon)
            return false;
    } else if (colon && !plain_ipv6) {
        length = (size_t)(colon - item);
    }
    if (colon && !plain_ipv6 && !c4_parse_int(colon + 1, &port))
        return false;
    if (length == 0 || length >= sizeof made->host || port < 1 || port > 65535)
        return false;
    snprintf(made->host, sizeof made->host, "%.*s", (int)length, item);
    made->port = (int)port;
    snprintf(made->text, sizeof made->text, strchr(made->host, ':') ? "[%s]:%d" : "%s:%d", made->host, made->port);
    return true;
}

static void add_connect_failure(const target *peer, const c4info_reach *result, c4info_report *report)
{
    switch (result->error) {
    case ECONNREFUSED:
        c4info_report_add(report, C4INFO_BAD, "%s refused the connection: the host answers, nobody listens there",
                          peer->text);
        c4info_report_fix(
            report, "start `c4info doctor --listen --port %d` there; if it runs, a firewall rejects: open port %d",
            peer->port, peer->port);
        break;
    case ETIMEDOUT:
        c4info_report_add(report, C4INFO_BAD, "%s does not answer within %d s", peer->text, REACH_MS / 1000);
        c4info_report_fix(
            report,
            "a firewall on the way drops it, or the address is not the right one: open port %d there (nft "
            "add rule inet filter input tcp dport %d accept), try ping %s",
            peer->port, peer->port, peer->host);
        break;
    case ENETUNREACH:
    case EHOSTUNREACH:
        c4info_report_add(report, C4INFO_BAD, "%s cannot be reached: %s", peer->text, result->reason);
        c4info_report_fix(report, "ip route get %s: it needs a route, or C4_SOCKET_IFNAME another network", peer->host);
        break;
    default:
        c4info_report_add(report, C4INFO_BAD, "%s: %s", peer->text, result->reason);
        c4info_report_fix(report, "ip route get %s; ping %s", peer->host, peer->host);
    }
}

static void add_result(const target *peer, const c4info_reach *result, const char *own, c4info_report *report)
{
    if (result->stage == C4INFO_REACH_CONNECT) {
        add_connect_failure(peer, result, report);
    } else if (result->stage == C4INFO_REACH_HANDSHAKE && result->refused) {
        c4info_report_add(report, C4INFO_BAD, "%s: %s", peer->text, result->reason);
        c4info_report_fix(report, "the same key file (C4_KEY_FILE) and the same C4 on both hosts");
    } else if (result->stage == C4INFO_REACH_HANDSHAKE) {
        c4info_report_add(report, C4INFO_BAD, "%s took the connection, but did not finish the handshake: %s",
                          peer->text, result->reason);
        c4info_report_fix(report, "something else listens there: ss -ltnp | grep :%d on that host", peer->port);
    } else if (result->stage == C4INFO_REACH_DATA) {
        c4info_report_add(report, C4INFO_BAD, "%s: small messages pass, %u KiB do not: %s", peer->text,
                          C4INFO_REACH_BYTES / 1024, result->reason);
        c4info_report_fix(report,
                          "an MTU on the way is smaller than this interface's: ping -M do -s 1472 %s (8972 for MTU "
                          "9000), then ip link set dev NAME mtu BYTES",
                          peer->host);
    } else if (own[0] && strcmp(own, result->local) != 0) {
        c4info_report_add(report, C4INFO_NOTE, "%s is reached from %s, not from %s, where C4 listens", peer->text,
                          result->local, own);
        c4info_report_fix(report, "if both are right, nothing; else C4_SOCKET_IFNAME=%s", result->local);
    } else {
        c4info_report_add(report, C4INFO_OK, "%s is reached: connected in %.1f ms, %u KiB both ways in %.1f ms",
                          peer->text, result->connect_ms, C4INFO_REACH_BYTES / 1024, result->data_ms);
    }
}

static void reach(const target *peer, const unsigned char *key, const char *own, c4info_report *report)
{
    struct sockaddr_storage addresses[4];
    size_t count = 0;
    c4info_reach result = {.stage = C4INFO_REACH_CONNECT};
    int error = c4_resolve(peer->host, addresses, sizeof addresses / sizeof addresses[0], &count);
    if (error) {
        c4info_report_add(report, C4INFO_BAD, "%s is not known: %s", peer->host, gai_strerror(error));
        c4info_report_fix(report, "give its address, or add it to /etc/hosts");
        return;
    }
    /* A name may have addresses that nobody listens at; the first that gets furthest counts. */
    for (size_t i = 0; i < count && result.stage == C4INFO_REACH_CONNECT; i++) {
        if (addresses[i].ss_family == AF_INET6)
            ((struct sockaddr_in6 *)(void *)&addresses[i])->sin6_port = htons((uint16_t)peer->port);
        else
            ((struct sockaddr_in *)(void *)&addresses[i])->sin_port = htons((uint16_t)peer->port);
        c4info_reach_run(&addresses[i], key, REACH_MS, &result);
    }
    add_result(peer, &result, own, report);
}

int c4info_reach_peers(const c4info_facts *facts, const c4info_request *request, c4info_report *report)
{
    unsigned char bytes[KEY_BYTES];
    const unsigned char *key;
    const c4_netif *netif = chosen_netif(facts);
    char own[64] = "", *list = strdup(request->peers), *rest = list;
    int port = request->port ? request->port : facts->job.port_lo, status = -1;
    if (!list)
        return 1;
    if (netif)
        c4_netif_ip_text(netif->family, netif->ip, own, sizeof own);
    if (!take_key(facts, bytes, &key)) {
        free(list);
        return 2;
    }
    for (char *item; status < 0 && (item = strsep(&rest, ", "));) {
        target peer;
        if (!*item)
            continue;
        if (parse_target(item, port, &peer)) {
            reach(&peer, key, own, report);
            continue;
        }
        fprintf(stderr,
                "c4info: --peers '%s': expected HOST:PORT, or HOST with --port or C4_PORT_RANGE (c4info --help)\n",
                item);
        status = 2;
    }
    explicit_bzero(bytes, sizeof bytes);
    free(list);
    return status;
}
