/* The choice of an interface and the checks of what comes from the wire: pure. */
#include <arpa/inet.h>
#include <string.h>

#include "base/status.h"
#include "host/netif.h"
#include "tests/c4test.h"
#include "transports/tcp/frame.h"

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
}

static void test_headers(void)
{
    const c4_tcp_header header = {.kind = C4_TCP_DATA,
                                  .flags = C4_TCP_WANT_ACK,
                                  .tag = 0xabcdef,
                                  .comm = 0x12345678,
                                  .ack = 0x1122334455667788,
                                  .frame = {1, 2, 3, 4, 5, 6, 7, 8, 9}};
    c4_tcp_header got;
    unsigned char wire[C4_TCP_HEADER_BYTES];
    c4_tcp_header_pack(&header, wire);
    CU_ASSERT_PTR_NULL(c4_tcp_header_unpack(wire, &got));
    CU_ASSERT(got.kind == header.kind && got.flags == header.flags && got.tag == header.tag && got.comm == header.comm);
    CU_ASSERT(got.ack == header.ack && memcmp(&got.frame, &header.frame, sizeof got.frame) == 0);
    wire[0] = 0;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "unknown frame kind");
    wire[0] = C4_TCP_DATA | 0x80;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "unknown frame flags");
    wire[0] = C4_TCP_ACK;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "control frame with payload");
    wire[0] = C4_TCP_DATA;
    wire[16 + 23] = 0xff;
    C4TEST_STRING(c4_tcp_header_unpack(wire, &got), "oversized frame");
}

static void test_hellos_and_addresses(void)
{
    const c4_tcp_hello hello = {C4_TCP_STALE, 3, 1ull << 40, 1ull << 50};
    unsigned char wire[C4_TCP_HELLO_BYTES], place[C4_TCP_ADDRESS_BYTES];
    c4_tcp_hello got;
    c4_tcp_hello_pack(&hello, wire);
    CU_ASSERT(c4_tcp_hello_unpack(wire, &got) && memcmp(&got.generation, &hello.generation, 16) == 0);
    CU_ASSERT(got.code == hello.code && got.index == hello.index);
    wire[6] = 9;
    CU_ASSERT(!c4_tcp_hello_unpack(wire, &got));
    c4_tcp_address address = {.family = 6, .port = 4711, .scope = 2, .ip = {0xfe, 0x80}, .host = 77}, back;
    c4_tcp_address_pack(&address, place);
    CU_ASSERT_PTR_NULL(c4_tcp_address_unpack(place, sizeof place, &back));
    CU_ASSERT(back.port == 4711 && back.scope == 2 && back.host == 77 && memcmp(back.ip, address.ip, 16) == 0);
    CU_ASSERT_PTR_NOT_NULL(c4_tcp_address_unpack(place, sizeof place - 1, &back));
    CU_ASSERT_PTR_NOT_NULL(c4_tcp_address_unpack(place, 2, &back));
    place[8] = 5;
    C4TEST_STRING(c4_tcp_address_unpack(place, sizeof place, &back), "malformed tcp address");
    place[4] ^= 1;
    C4TEST_STRING(c4_tcp_address_unpack(place, sizeof place, &back), "the peer runs another C4 version");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(automatic), C4TEST(asked_for), C4TEST(excluded), C4TEST(headers), C4TEST(hellos_and_addresses),
        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
