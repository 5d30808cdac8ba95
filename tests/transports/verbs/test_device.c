/* What is told of devices to people: which are used, by which address, and why. */
#include "tests/c4test.h"

#include <errno.h>
#include <string.h>

#include "tests/transports/verbs/rig.h"

static const standin_setup three = {.ndevices = 3, .max_inline = 256};

static c4_transport_device device_of(const char *options, size_t index)
{
    rig r;
    c4_transport_device device = {.struct_size = sizeof device};
    rig_host(&r, 0, options);
    C4TEST_OK(c4_verbs_ops.device(&r.hosts[0].host, index, &device));
    C4TEST_INT(standin_alive_in_all(), 0);
    return device;
}

static void test_used(void)
{
    rig r;
    standin_start(&three);
    c4_transport_device device = device_of(NULL, 2);
    C4TEST_STRING(device.name, "standin2:1");
    C4TEST_STRING(device.address, "10.0.0.3 (RoCE v2)");
    C4TEST_STRING(device.reason, "the nearest that is up, with others as near and as fast");
    CU_ASSERT(device.used == 1 && device.mtu == 1024 && device.node == -1 && device.distance == 10);
    CU_ASSERT_DOUBLE_EQUAL(device.rate_bps, 4 * 25.78125e9, 1);
    rig_host(&r, 0, NULL);
    C4TEST_INT(c4_verbs_ops.device(&r.hosts[0].host, 3, &device), C4_ERR_COUNT);
}

/* Those that are used come first. */
static void test_not_used(void)
{
    standin_start(&three);
    c4_transport_device device = device_of("C4_VERBS_DEVICES=standin1", 0);
    C4TEST_STRING(device.name, "standin1:1");
    C4TEST_STRING(device.reason, "C4_VERBS_DEVICES names it");
    CU_ASSERT(device.used == 1);
    device = device_of("C4_VERBS_DEVICES=standin1", 1);
    C4TEST_STRING(device.reason, "left out by C4_VERBS_DEVICES=standin1");
    CU_ASSERT(device.used == 0 && device.address[0] != '\0');
    for (unsigned i = 0; i < 3; i++)
        standin_port(i, false);
    device = device_of(NULL, 2);
    C4TEST_STRING(device.reason, "its link is down");
    CU_ASSERT(device.used == 0 && device.address[0] == '\0');
}

static void test_no_address(void)
{
    standin_start(&three);
    c4_transport_device device = device_of("C4_VERBS_GID_INDEX=9", 0);
    C4TEST_STRING(device.reason, "port 1 has no GID 9 (C4_VERBS_GID_INDEX): `ibv_devinfo -v` lists them; unset it for "
                                 "an automatic choice");
    CU_ASSERT(device.used == 0 && device.address[0] == '\0');
    standin_fail(1, UINT32_MAX, EIO);
    standin_fail_only("query_gids");
    device = device_of(NULL, 0);
    C4TEST_STRING(device.reason, "the GIDs of port 1 cannot be read: Input/output error");
    C4TEST_INT(device.used, 0);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(used), C4TEST(not_used), C4TEST(no_address), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
