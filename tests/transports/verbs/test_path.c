/* Flow labels and UDP source ports of queue pairs: the kernel's formula, what each queue pair is given, and devices that can be
 * told the port as well as those that cannot. */
#include "tests/c4test.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "tests/transports/verbs/rig.h"
#include "transports/verbs/mlx5.h"

static const standin_setup telling = {.ndevices = 2, .max_inline = 256, .sets_udp_sport = true};
static const standin_setup deaf = {.ndevices = 2, .max_inline = 256};

static void test_formula(void)
{
    static const struct {
        uint32_t label;
        uint16_t sport;
    } cases[] = {
        {0, 49152},        {1, 49153},       {0x3fff, 65535},  {0x4000, 49153},
        {0x4001, 49152},   {0xfc000, 49215}, {0xfffff, 65472}, {0x12345, 0xc000 | (0x2345 ^ 0x4)},
        {0x100000, 49152}, /* more than 20 bits are no label's */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        C4TEST_INT(c4_verbs_sport_of_label(cases[i].label), cases[i].sport);
    for (uint32_t sport = 49152; sport < 65536; sport++) { /* each can be had: its low bits are a label, but for 0 */
        uint32_t label = (sport & 0x3fff) != 0 ? sport & 0x3fff : 0x4001;
        if (c4_verbs_sport_of_label(label) != sport)
            C4TEST_INT(c4_verbs_sport_of_label(label), sport);
    }
}

static void test_label(void)
{
    unsigned seen[64] = {0}, most = 0;
    C4TEST_INT(c4_verbs_flow_label(0x12345, 7, 8), 0x12345);
    C4TEST_INT(c4_verbs_flow_label(0, 7, 8), c4_verbs_flow_label(0, 8, 7));
    C4TEST_INT(c4_verbs_flow_label(0, 0, 0), 0x4001); /* 0 would be the driver's to choose */
    for (uint32_t qpn = 0x11; qpn < 0x11 + 4096; qpn++) {
        uint32_t label = c4_verbs_flow_label(0, qpn, qpn + 1);
        CU_ASSERT(label > 0 && label < 1u << 20);
        seen[c4_verbs_sport_of_label(label) % 64]++;
    }
    for (unsigned i = 0; i < 64; i++)
        most = seen[i] > most ? seen[i] : most;
    CU_ASSERT(most < 2 * 4096 / 64); /* neighbours are spread */
}

static void check_link(const rig *r, int rank, unsigned index, bool told)
{
    const c4_verbs_link *link = rig_link(r, rank, index), *other = rig_link(r, 1 - rank, index);
    C4TEST_INT(link->path.source, told ? C4_VERBS_SPORT_SET : C4_VERBS_SPORT_EXPECTED);
    C4TEST_INT(standin_flow_label(link->qp), link->path.flow_label);
    C4TEST_INT(link->path.udp_sport, c4_verbs_sport_of_label(link->path.flow_label));
    C4TEST_INT(standin_udp_sport(link->qp), told ? link->path.udp_sport : 0);
    C4TEST_INT(other->path.flow_label, link->path.flow_label);
}

/* Each link its own label, the same at both ends, and the device does as it is told. */
static void test_each_its_own(void)
{
    rig r;
    standin_start(&telling);
    rig_open(&r, "C4_VERBS_QPS_PER_PEER=4");
    for (uint32_t tag = 0; tag < 4; tag++)
        C4TEST_OK(rig_exchange(&r, 0, tag, 8));
    for (unsigned index = 0; index < 4; index++) {
        for (int rank = 0; rank < 2; rank++)
            check_link(&r, rank, index, true);
        for (unsigned before = 0; before < index; before++)
            CU_ASSERT(rig_link(&r, 0, before)->path.udp_sport != rig_link(&r, 0, index)->path.udp_sport);
    }
    rig_close(&r);
}

static void test_wished(void)
{
    rig r;
    standin_start(&telling);
    rig_open(&r, "C4_VERBS_FLOW_LABEL=74565");
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    C4TEST_OK(rig_exchange(&r, 0, 1, 8));
    for (unsigned index = 0; index < 2; index++) {
        C4TEST_INT(rig_link(&r, 0, index)->path.flow_label, 0x12345);
        C4TEST_INT(standin_udp_sport(rig_link(&r, 0, index)->qp), 0xc000 | (0x2345 ^ 0x4));
    }
    rig_close(&r);
}

static void check_told(const rig *r, const char *how)
{
    char expected[256];
    const c4_verbs_link *link = rig_link(r, 0, 0);
    snprintf(expected, sizeof expected,
             "verbs: link 0 to rank 1 on standin0:1: queue pair 0x%06x, flow label 0x%05x, UDP source port %u %s",
             link->qp->qp_num, link->path.flow_label, link->path.udp_sport, how);
    C4TEST_STRING(r->hosts[0].last_debug, expected);
}

/* A device that takes no order, or refuses one: all goes on, and the log says so to who asks. */
static void test_cannot(void)
{
    rig r;
    standin_start(&deaf);
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    check_link(&r, 0, 0, false);
    check_link(&r, 1, 0, false);
    check_told(&r, "expected of the driver, for the device takes no order (Operation not supported)");
    C4TEST_INT(r.hosts[0].warnings_logged, 0);
    rig_close(&r);

    standin_start(&telling);
    rig_open(&r, NULL);
    standin_fail(1, UINT32_MAX, EINVAL);
    standin_fail_only("modify_qp_udp_sport");
    C4TEST_OK(rig_exchange(&r, 0, 0, 70000));
    check_link(&r, 0, 0, false);
    check_told(&r, "expected of the driver, for the device takes no order (Invalid argument)");
    standin_fail(0, 0, 0);
    rig_close(&r);
}

/* Told again whenever a queue pair takes another's place; no port where there is no UDP. */
static void test_next_queue_pair(void)
{
    rig r;
    standin_start(&telling);
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    check_told(&r, "set");
    uint64_t first = rig_link(&r, 0, 0)->base.generation;
    C4TEST_OK(c4_verbs_ops.inject(r.modules[0], "close_socket"));
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    CU_ASSERT(rig_link(&r, 0, 0)->base.generation > first);
    check_link(&r, 0, 0, true);
    check_link(&r, 1, 0, true);

    c4_verbs_link *link = rig_link(&r, 0, 0);
    link->gid.kind = C4_VERBS_GID_ROCE_V1;
    c4_verbs_path_settle(link);
    C4TEST_INT(link->path.source, C4_VERBS_SPORT_NONE);
    C4TEST_INT(link->path.udp_sport, 0);
    rig_close(&r);
}

/* The calls are looked up by these names, among what is loaded already; a device that is another's is not asked. */
static void test_mlx5(void)
{
    static _Alignas(64) unsigned char device[4096]; /* none of mlx5: no table of its calls */
    struct ibv_context context = {.device = (struct ibv_device *)device};
    struct ibv_qp qp = {.context = &context};
    void *library = dlopen("libmlx5.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) {
        CU_ASSERT(dlsym(library, "mlx5dv_is_supported") != NULL);
        CU_ASSERT(dlsym(library, "mlx5dv_modify_qp_udp_sport") != NULL);
    }
    C4TEST_INT(c4_verbs_mlx5_set_udp_sport(&qp, 50000), EOPNOTSUPP);
    CU_ASSERT(c4_verbs_real_calls.modify_qp_udp_sport == c4_verbs_mlx5_set_udp_sport);
    if (library != NULL)
        dlclose(library);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(formula), C4TEST(label), C4TEST(each_its_own),    C4TEST(wished),
                                        C4TEST(cannot),  C4TEST(mlx5),  C4TEST(next_queue_pair), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
