/* Which ports of which devices are used, and by which GID: the choice as a table, and what is read of devices that are made up
 * here. */
#include "tests/c4test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/rdma.h"
#include "transports/verbs/ports.h"

#define GBPS 1e9

/* ---- choosing ports ---- */

static const c4_verbs_port machine[] = {
    {"mlx5_1", 1, .active = true, .rate_bps = 200 * GBPS, .distance = 20},
    {"mlx5_0", 2, .active = true, .rate_bps = 100 * GBPS, .distance = 10},
    {"bnxt_re0", 1, .active = true, .rate_bps = 25 * GBPS, .distance = 10},
    {"mlx5_10", 1, .active = true, .rate_bps = 100 * GBPS, .distance = 10},
    {"rxe0", 1, .active = false, .rate_bps = 400 * GBPS, .distance = 10},
    {"mlx5_0", 1, .active = true, .rate_bps = 100 * GBPS, .distance = 10},
};
#define PORTS (sizeof machine / sizeof machine[0])

static const char *chosen(const char *wish, size_t most, char text[256], char reason[256])
{
    c4_verbs_port ports[PORTS];
    memcpy(ports, machine, sizeof machine);
    size_t count = c4_verbs_ports_choose(ports, PORTS, wish, most, reason, 256), used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used +=
            (size_t)snprintf(text + used, 256 - used, "%s%s:%u", i > 0 ? " " : "", ports[i].device, ports[i].number);
    return text;
}

static void test_choice(void)
{
    static const struct {
        const char *wish, *ports;
    } cases[] = {
        /* Of those that are up the nearest, of these the fastest. */
        {"", "mlx5_0:1 mlx5_0:2 mlx5_10:1"},
        {NULL, "mlx5_0:1 mlx5_0:2 mlx5_10:1"},
        {",", "mlx5_0:1 mlx5_0:2 mlx5_10:1"},
        /* Names are prefixes; who is named is used, near or far, the nearest first. */
        {"mlx5", "mlx5_0:1 mlx5_0:2 mlx5_10:1 mlx5_1:1"},
        {"mlx5_1", "mlx5_10:1 mlx5_1:1"},
        {"bnxt,mlx5_10", "mlx5_10:1 bnxt_re0:1"},
        {",mlx5_10,,", "mlx5_10:1"},
        /* Exactly: at the very beginning for all, before another item for that one. */
        {"=mlx5_1", "mlx5_1:1"},
        {"=mlx5_1,mlx5_0", "mlx5_0:1 mlx5_0:2 mlx5_1:1"},
        {"mlx5_0,=mlx5_1", "mlx5_0:1 mlx5_0:2 mlx5_1:1"},
        {"=mlx5", ""},
        /* One port of a device. */
        {"mlx5_0:2", "mlx5_0:2"},
        {"=mlx5_0:1,=mlx5_1:1", "mlx5_0:1 mlx5_1:1"},
        {"mlx5_0:3", ""},
        /* Without. */
        {"^mlx5_0", "mlx5_10:1"},
        {"^=mlx5_1", "mlx5_0:1 mlx5_0:2 mlx5_10:1"},
        {"=^mlx5_0", "mlx5_10:1"},
        {"^mlx5_0:2", "mlx5_0:1 mlx5_10:1"},
        {"^mlx5_0,mlx5_10", "bnxt_re0:1"}, /* one that is slower is better than one that is far */
        {"mlx5,^mlx5_1", "mlx5_0:1 mlx5_0:2"},
        {"mlx5,^=mlx5_1", "mlx5_0:1 mlx5_0:2 mlx5_10:1"},
        {"^mlx5,^bnxt", ""},
    };
    char text[256], reason[256];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        C4TEST_STRING(chosen(cases[i].wish, PORTS, text, reason), cases[i].ports);
        if (strcmp(text, cases[i].ports) != 0)
            fprintf(stderr, "  with C4_VERBS_DEVICES=%s\n", cases[i].wish);
    }
    C4TEST_STRING(chosen("mlx5", 3, text, reason), "mlx5_0:1 mlx5_0:2 mlx5_10:1");
    C4TEST_STRING(chosen("", 1, text, reason), "mlx5_0:1");
}

static void test_no_choice(void)
{
    char text[256], reason[256] = "";
    C4TEST_STRING(chosen("rxe", PORTS, text, reason), "");
    C4TEST_STRING(reason, "no active port fits C4_VERBS_DEVICES=rxe; there are mlx5_1:1 (active) mlx5_0:2 (active) "
                          "bnxt_re0:1 (active) mlx5_10:1 (active) rxe0:1 (down) mlx5_0:1 (active)");
    c4_verbs_port down = machine[4];
    C4TEST_INT((long long)c4_verbs_ports_choose(&down, 1, "", 4, reason, sizeof reason), 0);
    C4TEST_STRING(reason, "no port of an RDMA device is active; there are rxe0:1 (down)");
    /* More ports than the text holds. */
    char brief[64];
    c4_verbs_port ports[PORTS];
    memcpy(ports, machine, sizeof machine);
    C4TEST_INT((long long)c4_verbs_ports_choose(ports, PORTS, "none", 4, brief, sizeof brief), 0);
    C4TEST_STRING(brief, "no active port fits C4_VERBS_DEVICES=none; there are mlx5_1:1 (");
}

static void test_reasons(void)
{
    static const struct {
        const char *wish, *device;
        uint8_t number;
        size_t most;
        const char *reason;
    } cases[] = {
        {"", "mlx5_0", 1, PORTS, "the nearest that is up, with others as near and as fast"},
        {"", "mlx5_0", 1, 1, "the nearest that is up"},
        {"", "mlx5_10", 1, 2, "there are 2 that are used already"},
        {"", "mlx5_1", 1, PORTS, "farther from this process's cores than mlx5_0:1: C4_VERBS_DEVICES may name it"},
        {"", "bnxt_re0", 1, PORTS, "slower than mlx5_0:1: C4_VERBS_DEVICES may name it"},
        {"", "rxe0", 1, PORTS, "its link is down"},
        {"rxe", "rxe0", 1, PORTS, "its link is down"},
        {"rxe", "mlx5_0", 1, PORTS, "left out by C4_VERBS_DEVICES=rxe"},
        {"mlx5_1,bnxt", "bnxt_re0", 1, PORTS, "C4_VERBS_DEVICES names it"},
        {"mlx5_1,bnxt", "mlx5_0", 2, PORTS, "left out by C4_VERBS_DEVICES=mlx5_1,bnxt"},
        {"mlx5", "mlx5_1", 1, 3, "there are 3 that are used already"},
        {"^mlx5_0", "mlx5_0", 2, PORTS, "left out by C4_VERBS_DEVICES=^mlx5_0"},
        {"^mlx5_0", "mlx5_10", 1, PORTS, "the nearest that is up"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        c4_verbs_port ports[PORTS];
        char text[256] = "", reason[256];
        memcpy(ports, machine, sizeof machine);
        size_t count = c4_verbs_ports_choose(ports, PORTS, cases[i].wish, cases[i].most, reason, sizeof reason);
        for (size_t j = 0; j < PORTS; j++)
            if (strcmp(ports[j].device, cases[i].device) == 0 && ports[j].number == cases[i].number)
                c4_verbs_port_reason(&ports[j], ports, count, cases[i].wish, text, sizeof text);
        C4TEST_STRING(text, cases[i].reason);
    }
}

/* ---- GIDs ---- */

static struct ibv_gid_entry entry(uint32_t port, uint32_t index, uint32_t type, const char *address)
{
    struct ibv_gid_entry made = {.gid_index = index, .port_num = port, .gid_type = type};
    struct in_addr ipv4;
    if (inet_pton(AF_INET, address, &ipv4) == 1) {
        made.gid.raw[10] = made.gid.raw[11] = 0xff;
        memcpy(made.gid.raw + 12, &ipv4, 4);
    } else {
        CU_ASSERT_EQUAL_FATAL(inet_pton(AF_INET6, address, made.gid.raw), 1);
    }
    return made;
}

enum { IB = IBV_GID_TYPE_IB, V1 = IBV_GID_TYPE_ROCE_V1, V2 = IBV_GID_TYPE_ROCE_V2, MOST = 8 };

typedef struct gid_case {
    int index, family;
    int expected; /* index; < 0: none */
    struct {
        uint32_t port, index, type;
        const char *address;
    } at[MOST];
} gid_case;

static void check_gid(const gid_case *test)
{
    struct ibv_gid_entry entries[MOST];
    size_t count = 0;
    char reason[256] = "";
    c4_verbs_gid gid = {.index = 77};
    for (; count < MOST && test->at[count].address != NULL; count++)
        entries[count] =
            entry(test->at[count].port, test->at[count].index, test->at[count].type, test->at[count].address);
    c4_status status = c4_verbs_gid_choose(entries, count, 1, test->index, test->family, &gid, reason, sizeof reason);
    C4TEST_INT(status, test->expected < 0 ? C4_ERR_UNREACHABLE : C4_OK);
    C4TEST_INT(gid.index, test->expected < 0 ? 77 : test->expected);
    for (size_t i = 0; i < count && status == C4_OK; i++)
        if (entries[i].port_num == 1 && (int)entries[i].gid_index == test->expected)
            CU_ASSERT(memcmp(entries[i].gid.raw, gid.raw, 16) == 0);
}

static void test_gid_rule(void)
{
    static const gid_case cases[] = {
        /* as a NIC with an IPv4 and two IPv6 addresses lists them: version 2, IPv4 */
        {-1,
         0,
         3,
         {{1, 0, V1, "fe80::1"},
          {1, 1, V2, "fe80::1"},
          {1, 2, V1, "10.0.0.5"},
          {1, 3, V2, "10.0.0.5"},
          {1, 4, V1, "2001:db8::5"},
          {1, 5, V2, "2001:db8::5"}}},
        /* version 2 goes before IPv4 */
        {-1, 0, 1, {{1, 0, V1, "10.0.0.5"}, {1, 1, V2, "2001:db8::5"}}},
        {-1, 0, 1, {{1, 0, V1, "2001:db8::5"}, {1, 1, V2, "fe80::1"}}},
        /* global before link-local, wherever it stands */
        {-1, 0, 0, {{1, 0, V2, "2001:db8::5"}, {1, 1, V2, "fe80::1"}}},
        {-1, 0, 1, {{1, 0, V2, "fe80::1"}, {1, 1, V2, "2001:db8::5"}}},
        {-1, 0, 1, {{1, 0, V2, "febf::1"}, {1, 1, V2, "fec0::1"}}},
        {-1, 0, 1, {{1, 0, V2, "169.254.7.7"}, {1, 1, V2, "2001:db8::5"}}},
        {-1, 0, 1, {{1, 0, V2, "fe80::1"}, {1, 1, V2, "169.254.7.7"}}},
        /* of equals the first */
        {-1, 0, 1, {{1, 1, V2, "10.0.0.5"}, {1, 2, V2, "10.0.0.6"}}},
        /* version 1 alone */
        {-1, 0, 2, {{1, 0, V1, "fe80::1"}, {1, 2, V1, "10.0.0.5"}}},
        /* InfiniBand: the first of the table, which need not be listed first */
        {-1, 0, 0, {{1, 1, IB, "fe80::2"}, {1, 0, IB, "fe80::1"}}},
        {-1, 4, 0, {{1, 0, IB, "fe80::1"}}},
        /* a family that was asked for */
        {-1, 6, 5, {{1, 3, V2, "10.0.0.5"}, {1, 4, V1, "2001:db8::5"}, {1, 5, V2, "2001:db8::5"}}},
        {-1, 6, 4, {{1, 3, V2, "10.0.0.5"}, {1, 4, V1, "2001:db8::5"}}},
        {-1, 4, 3, {{1, 5, V2, "2001:db8::5"}, {1, 3, V1, "10.0.0.5"}}},
        {-1, 4, -1, {{1, 5, V2, "2001:db8::5"}}},
        {-1, 6, -1, {{1, 3, V2, "10.0.0.5"}}},
        /* other ports and unset entries do not count, nor do those that eight bits do not name */
        {-1, 0, 2, {{2, 0, V2, "10.0.0.5"}, {1, 1, V2, "::"}, {1, 2, V1, "fe80::1"}}},
        {-1, 0, -1, {{2, 0, V2, "10.0.0.5"}}},
        {-1, 0, -1, {{1, 256, V2, "10.0.0.5"}}},
        {-1, 0, -1, {{0}}},
        /* an index that was asked for, against all rules */
        {0, 4, 0, {{1, 0, V1, "fe80::1"}, {1, 3, V2, "10.0.0.5"}}},
        {255, 0, 255, {{1, 0, V1, "fe80::1"}, {1, 255, V2, "10.0.0.5"}}},
        {1, 0, -1, {{1, 0, V1, "fe80::1"}, {2, 1, V2, "10.0.0.5"}}},
        {1, 0, -1, {{1, 0, V1, "fe80::1"}, {1, 1, V2, "::"}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned before = CU_get_number_of_failures();
        check_gid(&cases[i]);
        if (CU_get_number_of_failures() > before)
            fprintf(stderr, "  case %zu\n", i);
    }
}

static void test_gid_messages(void)
{
    static const struct {
        int index, family;
        const char *reason;
    } cases[] = {
        {9, 0,
         "port 1 has no GID 9 (C4_VERBS_GID_INDEX): `ibv_devinfo -v` lists them; unset it for an automatic choice"},
        {9, 4,
         "port 1 has no GID 9 (C4_VERBS_GID_INDEX): `ibv_devinfo -v` lists them; unset it for an automatic choice"},
        {-1, 0, "port 1 has no usable GID: its network interface needs an IP address"},
        {-1, 4, "port 1 has no usable GID of IPv4 (C4_SOCKET_FAMILY): its network interface needs an IP address"},
        {-1, 6, "port 1 has no usable GID of IPv6 (C4_SOCKET_FAMILY): its network interface needs an IP address"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[256] = "";
        c4_verbs_gid gid;
        C4TEST_INT(c4_verbs_gid_choose(NULL, 0, 1, cases[i].index, cases[i].family, &gid, reason, sizeof reason),
                   C4_ERR_UNREACHABLE);
        C4TEST_STRING(reason, cases[i].reason);
    }
}

static void test_gid_text(void)
{
    static const struct {
        uint32_t type;
        const char *address, *text;
    } cases[] = {
        {V2, "10.0.0.5", "10.0.0.5 (RoCE v2)"},
        {V1, "fe80::1", "fe80::1 (RoCE v1)"},
        {V2, "2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:6666 (RoCE v2)"},
        {IB, "fe80::1", "fe80::1 (InfiniBand)"},
        {IB, "10.0.0.5", "::ffff:10.0.0.5 (InfiniBand)"}, /* no IP address, whatever it looks like */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ibv_gid_entry only = entry(1, 0, cases[i].type, cases[i].address);
        char text[C4_VERBS_GID_TEXT], reason[256];
        c4_verbs_gid gid;
        C4TEST_OK(c4_verbs_gid_choose(&only, 1, 1, 0, 0, &gid, reason, sizeof reason));
        C4TEST_STRING(c4_verbs_gid_text(&gid, text), cases[i].text);
    }
}

static void test_mtu(void)
{
    static const struct {
        unsigned bytes, rounded;
        enum ibv_mtu code;
    } cases[] = {{256, 256, IBV_MTU_256},    {512, 512, IBV_MTU_512},    {1024, 1024, IBV_MTU_1024},
                 {2048, 2048, IBV_MTU_2048}, {4096, 4096, IBV_MTU_4096}, {0, 256, IBV_MTU_256},
                 {511, 256, IBV_MTU_256},    {1500, 1024, IBV_MTU_1024}, {4095, 2048, IBV_MTU_2048},
                 {65535, 4096, IBV_MTU_4096}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        C4TEST_INT(c4_verbs_mtu_code(cases[i].bytes), cases[i].code);
        C4TEST_INT(c4_verbs_mtu_bytes(cases[i].code), cases[i].rounded);
    }
    C4TEST_INT(c4_verbs_mtu_bytes((enum ibv_mtu)0), 256); /* a port that does not tell its MTU */
    C4TEST_INT(c4_verbs_mtu_bytes((enum ibv_mtu)9), 256);
}

/* ---- what devices say ---- */

/* Two devices: one of two ports, of which one cannot be read; one that cannot be opened. */
static struct ibv_device devices[2] = {{.name = "good_0"}, {.name = "shut_0"}};
static struct ibv_context context;
static int nopen, open_error, list_error, gids_error;

static struct ibv_device **get_device_list(int *count)
{
    static struct ibv_device *list[] = {&devices[0], &devices[1], NULL};
    errno = list_error;
    *count = 2;
    return list_error == 0 ? list : NULL;
}

static void free_device_list(struct ibv_device **list)
{
    CU_ASSERT(list != NULL);
}

static struct ibv_context *open_device(struct ibv_device *device)
{
    errno = open_error;
    if (device != &devices[0] || open_error == EPERM)
        return NULL;
    nopen++;
    return &context;
}

static int close_device(struct ibv_context *closed)
{
    CU_ASSERT(closed == &context);
    nopen--;
    return 0;
}

static int query_device(struct ibv_context *of, struct ibv_device_attr *attributes)
{
    CU_ASSERT(of == &context);
    *attributes = (struct ibv_device_attr){.phys_port_cnt = 3};
    return 0;
}

static int query_port(struct ibv_context *of, uint8_t port, struct ibv_port_attr *attributes)
{
    static const struct ibv_port_attr ports[] = {
        {.state = IBV_PORT_ACTIVE,
         .link_layer = IBV_LINK_LAYER_INFINIBAND,
         .lid = 7,
         .active_mtu = IBV_MTU_4096,
         .active_speed = 64,
         .active_width = 2},
        {0},
        {.state = IBV_PORT_DOWN,
         .link_layer = IBV_LINK_LAYER_ETHERNET,
         .active_mtu = IBV_MTU_1024,
         .active_speed = 77, /* a speed of years to come */
         .active_width = 1},
    };
    CU_ASSERT(of == &context && port >= 1 && port <= 3);
    *attributes = ports[port - 1];
    return port == 2 ? EIO : 0;
}

static ssize_t query_gids(struct ibv_context *of, struct ibv_gid_entry *entries, size_t most)
{
    CU_ASSERT(of == &context && most == C4_VERBS_MAX_GIDS);
    entries[0] = entry(1, 4, V2, "10.0.0.5");
    return gids_error != 0 ? -gids_error : 1;
}

static const c4_verbs_calls made_up = {.get_device_list = get_device_list,
                                       .free_device_list = free_device_list,
                                       .open_device = open_device,
                                       .close_device = close_device,
                                       .query_device = query_device,
                                       .query_port = query_port,
                                       .query_gids = query_gids};

static void test_list(void)
{
    c4_verbs_port ports[4];
    size_t count = 4;
    char reason[256] = "";
    c4_verbs_calls_in_use = &made_up;
    open_error = EACCES; /* one device that nobody may open keeps no other */
    C4TEST_OK_FATAL(c4_verbs_ports_list(ports, &count, reason, sizeof reason));
    C4TEST_INT((long long)count, 2);
    C4TEST_INT(nopen, 0);
    C4TEST_STRING(ports[0].device, "good_0");
    CU_ASSERT(ports[0].number == 1 && ports[0].active && !ports[0].ethernet && ports[0].lid == 7);
    C4TEST_INT(ports[0].mtu, 4096);
    CU_ASSERT_DOUBLE_EQUAL(ports[0].rate_bps, 212.5 * GBPS, 1);
    CU_ASSERT(ports[0].software && ports[0].distance == C4_RDMA_NEAR);
    CU_ASSERT(ports[1].number == 3 && !ports[1].active && ports[1].ethernet && ports[1].rate_bps == 0);
    count = 1;
    C4TEST_OK(c4_verbs_ports_list(ports, &count, reason, sizeof reason));
    C4TEST_INT((long long)count, 1);
}

static void check_unlisted(c4_status status, const char *message)
{
    c4_verbs_port ports[4];
    size_t count = 4;
    char reason[256] = "";
    C4TEST_INT(c4_verbs_ports_list(ports, &count, reason, sizeof reason), status);
    C4TEST_INT((long long)count, 0);
    C4TEST_STRING(reason, message);
}

static void test_list_fails(void)
{
    static const char *const none =
        "this machine has no RDMA device (/sys/class/infiniband is empty; are the NIC's driver and ib_uverbs "
        "loaded, and is its package for libibverbs installed?)";
    static const char *const shut =
        "no permission to open /dev/infiniband/uverbs*: add this user to the group of those files, or give the "
        "container the devices";
    c4_verbs_calls_in_use = &made_up;
    list_error = ENOSYS;
    check_unlisted(C4_ERR_UNREACHABLE, none);
    list_error = EACCES;
    check_unlisted(C4_ERR_SYSTEM, shut);
    list_error = EMFILE;
    check_unlisted(C4_ERR_UNREACHABLE, "the RDMA devices cannot be used: Too many open files");
    list_error = 0;
    open_error = EPERM;
    check_unlisted(C4_ERR_SYSTEM, shut);
    devices[0].transport_type =
        IBV_TRANSPORT_IWARP; /* one that has no queue pairs for us keeps no other from being told of */
    check_unlisted(C4_ERR_SYSTEM, shut);
    devices[1].transport_type = IBV_TRANSPORT_UNSPECIFIED;
    check_unlisted(C4_ERR_UNREACHABLE,
                   "this machine's RDMA devices are neither InfiniBand nor RoCE (iWARP, EFA): verbs cannot use them");
}

static void test_gid_read(void)
{
    char reason[256] = "";
    c4_verbs_gid gid;
    c4_verbs_calls_in_use = &made_up;
    C4TEST_OK(c4_verbs_gid_read(&context, 1, -1, 0, &gid, reason, sizeof reason));
    C4TEST_INT(gid.index, 4);
    C4TEST_INT(c4_verbs_gid_read(&context, 2, -1, 0, &gid, reason, sizeof reason), C4_ERR_UNREACHABLE);
    gids_error = EIO;
    C4TEST_INT(c4_verbs_gid_read(&context, 1, -1, 0, &gid, reason, sizeof reason), C4_ERR_UNREACHABLE);
    C4TEST_STRING(reason, "the GIDs of port 1 cannot be read: Input/output error");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(choice),       C4TEST(no_choice), C4TEST(reasons), C4TEST(gid_rule),
                                        C4TEST(gid_messages), C4TEST(gid_text),  C4TEST(mtu),     C4TEST(list),
                                        C4TEST(list_fails),   C4TEST(gid_read),  C4TEST_END};
    return c4test_main(argc, argv, cases);
}
