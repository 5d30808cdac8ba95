/* The choice of an interface: pure. */
#include <arpa/inet.h>
#include <string.h>

#include "base/status.h"
#include "host/netif.h"
#include "tests/c4test.h"

static c4_netif netif(const char *name, const char *ip)
{
    c4_netif made = {.running = true};
    strncpy(made.name, name, sizeof made.name - 1);
    made.family = strchr(ip, ':') != NULL ? 6 : 4;
    inet_pton(made.family == 6 ? AF_INET6 : AF_INET, ip, made.ip);
    made.loopback = strcmp(name, "lo") == 0;
    made.link_local = strncmp(ip, "fe80:", 5) == 0;
    return made;
}

static c4_netif list[8];
static size_t count;

static void machine(void)
{
    count = 0;
    list[count++] = netif("lo", "127.0.0.1");
    list[count++] = netif("docker0", "172.17.0.1");
    list[count++] = netif("eth0", "fe80::1");
    list[count - 1].scope = 7;
    list[count++] = netif("eth0", "10.0.0.5");
    list[count++] = netif("eth01", "10.1.0.5");
    list[count++] = netif("ib0", "192.168.7.9");
    list[count++] = netif("eth0", "2001:db8::5");
}

/* "" when the choice failed. */
static const char *choose(const char *spec, int family, bool all_local)
{
    static char text[64];
    const c4_netif_wish wish = {spec, family, all_local};
    const c4_netif *chosen = NULL;
    machine();
    if (c4_netif_choose(list, count, &wish, &chosen) < 0)
        return "";
    return c4_netif_ip_text(chosen->family, chosen->ip, text, sizeof text);
}

static void test_automatic(void)
{
    C4TEST_STRING(choose("", 0, true), "127.0.0.1");
    C4TEST_STRING(choose(NULL, 0, false), "10.0.0.5");
    C4TEST_STRING(choose("", 6, false), "2001:db8::5");
    machine();
    list[5].has_default_route = true;
    const c4_netif_wish wish = {"", 0, false};
    const c4_netif *chosen = NULL;
    C4TEST_OK(c4_netif_choose(list, count, &wish, &chosen));
    C4TEST_STRING(chosen->name, "ib0");
    C4TEST_OK(
        c4_netif_choose(list, 2, &wish, &chosen)); /* loopback and a bridge: the bridge leaves the host, perhaps */
    C4TEST_STRING(chosen->name, "docker0");
}

static void test_asked_for(void)
{
    C4TEST_STRING(choose("ib", 0, false), "192.168.7.9");
    C4TEST_STRING(choose("eth", 0, true), "10.0.0.5");
    C4TEST_STRING(choose("=eth01", 0, false), "10.1.0.5");
    C4TEST_STRING(choose("=eth", 0, false), "");
    C4TEST_STRING(choose("10.1.0.0/16", 0, false), "10.1.0.5");
    C4TEST_STRING(choose("10.1.0.5", 0, false), "10.1.0.5");
    C4TEST_STRING(choose("2001:db8::/32", 0, false), "2001:db8::5");
    C4TEST_STRING(choose("lo", 0, false), "127.0.0.1");
    C4TEST_STRING(choose("docker0", 0, false), "172.17.0.1");
    C4TEST_STRING(choose("nosuch,ib0", 0, false), "192.168.7.9");
    C4TEST_STRING(choose("eth0", 6, false), "2001:db8::5");
    C4TEST_STRING(choose("nosuch", 0, false), "");
    C4TEST_CONTAINS(c4_fail_text(), "C4_SOCKET_IFNAME=nosuch; there are: lo 127.0.0.1, docker0 172.17.0.1");
}

static void test_excluded(void)
{
    C4TEST_STRING(choose("^eth", 0, false), "192.168.7.9");
    C4TEST_STRING(choose("^=eth0", 0, false), "10.1.0.5");
    C4TEST_STRING(choose("^10.0.0.0/8,ib", 4, false), "172.17.0.1");
    C4TEST_STRING(choose("^lo", 0, true), "10.0.0.5");
    C4TEST_STRING(choose("^eth,^ib", 4, false), "172.17.0.1"); /* gloo's and UCX's users mark each item */
    C4TEST_STRING(choose("eth,^=eth0", 0, false), "10.1.0.5");
    C4TEST_STRING(choose("10.0.0.0/8,^10.0.0.5", 0, false), "10.1.0.5");
    C4TEST_STRING(choose("^", 0, false), "10.0.0.5");
}

static void test_several_forms(void)
{
    C4TEST_STRING(choose("nosuch, ib0", 0, false), "192.168.7.9"); /* a space after the comma */
    C4TEST_STRING(choose("=eth0,=ib", 0, false), "10.0.0.5");
    C4TEST_STRING(choose("[2001:db8::5]", 0, false), "2001:db8::5");
    C4TEST_STRING(choose("[2001:db8::]/32", 0, false), "2001:db8::5");
    C4TEST_STRING(choose("fe80::1%eth0", 0, false), "fe80::1");
    C4TEST_STRING(choose("fe80::1%7", 0, false), "fe80::1"); /* the scope's number */
    C4TEST_STRING(choose("fe80::1%ib0", 0, false), "");
    C4TEST_STRING(choose("10.1.0.77/16", 0, false), "10.1.0.5"); /* host bits do not matter */
    C4TEST_STRING(choose("0.0.0.0/0", 0, false), "10.0.0.5");
    C4TEST_STRING(choose("10.0.0.5", 6, false), "");
}

static void test_errors_name_what_is_there(void)
{
    C4TEST_STRING(choose("10.9.9.9", 0, false), "");
    C4TEST_CONTAINS(c4_fail_text(), "10.9.9.9 is not an address of this host");
    C4TEST_CONTAINS(c4_fail_text(), "eth0 10.0.0.5");
    C4TEST_STRING(choose("10.0.0.0/33", 0, false), "");
    C4TEST_CONTAINS(c4_fail_text(), "10.0.0.0/33 is not a network; write 10.0.0.0/8");
    C4TEST_STRING(choose("10.0.0.0/", 0, false), "");
    C4TEST_CONTAINS(c4_fail_text(), "is not a network");
    C4TEST_STRING(choose("ib0", 6, false), "");
    C4TEST_CONTAINS(c4_fail_text(),
                    "no IPv6 interface that is up matches C4_SOCKET_IFNAME=ib0; there are: lo 127.0.0.1");
}

/* The best first; the list is cut where the room ends. */
static void test_candidates(void)
{
    const c4_netif_wish wish = {"", 0, false};
    const c4_netif *best[8];
    machine();
    list[5].has_default_route = true;
    C4TEST_INT_FATAL((long long)c4_netif_candidates(list, count, &wish, best, 8), 7);
    static const int order[] = {5, 3, 4, 6, 2, 1, 0};
    for (int i = 0; i < 7; i++)
        C4TEST_INT(best[i] - list, order[i]);
    C4TEST_INT_FATAL((long long)c4_netif_candidates(list, count, &wish, best, 2), 2);
    CU_ASSERT(best[0] == &list[5] && best[1] == &list[3]);
    const c4_netif_wish ipv6 = {"eth", 6, false};
    C4TEST_INT_FATAL((long long)c4_netif_candidates(list, count, &ipv6, best, 8), 2);
    CU_ASSERT(best[0] == &list[6] && best[1] == &list[2]);
}

/* Beside the best those of its kind; all that were asked for. */
static void test_likely(void)
{
    const c4_netif_wish any = {"", 0, false}, asked = {"eth,docker", 0, false}, local = {"", 0, true};
    const c4_netif *best[8];
    machine();
    size_t n = c4_netif_candidates(list, count, &any, best, 8);
    c4_netif_keep_likely(&any, best, &n, 8);
    C4TEST_INT_FATAL((long long)n, 4); /* neither docker0 nor lo nor fe80::1 */
    for (size_t i = 0; i < n; i++)
        CU_ASSERT(best[i] != &list[0] && best[i] != &list[1] && best[i] != &list[2]);
    n = 4;
    c4_netif_keep_likely(&any, best, &n, 2);
    C4TEST_INT((long long)n, 2);
    n = c4_netif_candidates(list, count, &asked, best, 8);
    c4_netif_keep_likely(&asked, best, &n, 8);
    C4TEST_INT((long long)n, 5);
    n = c4_netif_candidates(list, count, &local, best, 8);
    c4_netif_keep_likely(&local, best, &n, 8);
    CU_ASSERT(n == 1 && best[0] == &list[0]);
}

static const char *reason(size_t index, const char *spec, int family, bool all_local)
{
    const c4_netif_wish wish = {spec, family, all_local};
    const c4_netif *chosen = NULL;
    machine();
    list[3].has_default_route = true;
    if (c4_netif_candidates(list, count, &wish, &chosen, 1) == 0)
        return "nothing chosen";
    return c4_netif_reason(&list[index], chosen, &wish);
}

static void test_reasons(void)
{
    C4TEST_STRING(reason(3, "", 0, false), "default route");
    C4TEST_STRING(reason(0, "", 0, false), "loopback: other hosts cannot reach it");
    C4TEST_CONTAINS(reason(1, "", 0, false), "bridge of containers");
    C4TEST_STRING(reason(2, "", 0, false), "link-local address");
    C4TEST_STRING(reason(4, "", 0, false), "no default route");
    C4TEST_STRING(reason(3, "", 0, true), "all ranks are on this host: loopback will do");
    C4TEST_STRING(reason(0, "", 0, true), "all ranks are on this host");
    C4TEST_STRING(reason(5, "ib0", 0, false), "asked for by C4_SOCKET_IFNAME");
    C4TEST_STRING(reason(3, "ib0", 0, false), "not in C4_SOCKET_IFNAME");
    C4TEST_STRING(reason(4, "^eth01", 0, false), "excluded by C4_SOCKET_IFNAME");
    C4TEST_STRING(reason(6, "", 4, false), "the other address family (C4_SOCKET_FAMILY)");
    C4TEST_STRING(reason(6, "2001:db8::5", 0, false), "asked for by C4_SOCKET_IFNAME");
    C4TEST_STRING(reason(4, "10.0.0.0/7", 0, false), "no default route");
    const c4_netif_wish wish = {"", 0, false};
    char text[1024], cut[32];
    machine();
    const c4_netif *both[] = {&list[1], &list[0]}, *third = &list[3];
    C4TEST_STRING(c4_netif_explain(list, 2, &wish, both, 1, text, sizeof text),
                  "docker0 172.17.0.1 (the best there is); not lo 127.0.0.1 (loopback: other hosts cannot reach it)");
    C4TEST_STRING(
        c4_netif_explain(list, 3, &wish, both, 2, text, sizeof text),
        "docker0 172.17.0.1 (the best there is), then lo 127.0.0.1 (loopback: other hosts cannot reach it); not eth0 "
        "fe80::1 (bridge of containers or virtual machines: other hosts cannot reach it)");
    C4TEST_INT((long long)strlen(c4_netif_explain(list, count, &wish, &third, 1, cut, sizeof cut)), sizeof cut - 1);
    CU_ASSERT(c4_netif_is_news("a") && !c4_netif_is_news("a") && c4_netif_is_news("b") && !c4_netif_is_news("a"));
}

static void test_same_network(void)
{
    c4_netif a = netif("eth0", "10.0.0.5"), b = netif("eth1", "10.0.0.6");
    CU_ASSERT(!c4_netif_same_network(&a, &b)); /* nothing known of their networks */
    a.prefix_bits = b.prefix_bits = 31;
    CU_ASSERT(!c4_netif_same_network(&a, &b));
    a.prefix_bits = b.prefix_bits = 30;
    CU_ASSERT(c4_netif_same_network(&a, &b));
    b.prefix_bits = 24;
    CU_ASSERT(!c4_netif_same_network(&a, &b));
}

/* The system's own list: loopback is there, with its network. */
static void test_system_list(void)
{
    static c4_netif own[128];
    size_t there = 128, found = 0;
    C4TEST_OK_FATAL(c4_netif_list(own, &there));
    for (size_t i = 0; i < there; i++)
        if (own[i].loopback && own[i].family == 4) {
            C4TEST_INT(own[i].prefix_bits, 8);
            found++;
        }
    CU_ASSERT(found > 0);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(automatic),
                                        C4TEST(asked_for),
                                        C4TEST(excluded),
                                        C4TEST(several_forms),
                                        C4TEST(errors_name_what_is_there),
                                        C4TEST(candidates),
                                        C4TEST(likely),
                                        C4TEST(reasons),
                                        C4TEST(same_network),
                                        C4TEST(system_list),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
