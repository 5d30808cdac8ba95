/* Listening sockets, the ids that name them, and running out of ports. */
#include "rendezvous/listener.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "rendezvous/bootstrap.h"
#include "tests/c4test.h"
#include "wire/unique_id.h"

static const c4_net_address any_loopback = {.family = 4, .bytes = {127, 0, 0, 1}};

static c4_status open_and_gather(const c4_bootstrap_spec *spec)
{
    c4_bootstrap *bootstrap = NULL;
    uint64_t out = 0;
    c4_status status = c4_bootstrap_open(spec, &bootstrap);
    if (status == C4_OK)
        status = c4_bootstrap_all_gather(bootstrap, &(uint64_t){7}, 8, &out);
    if (status == C4_OK)
        C4TEST_INT(out, 7);
    c4_bootstrap_close(bootstrap);
    return status;
}

static void test_ports(void)
{
    c4_listen_spec spec = {.bind = any_loopback};
    c4_net_address bound;
    c4_net_address second;
    int fd = -1;
    int other = -1;
    int before = c4test_count_entries("/proc/self/fd");
    C4TEST_OK_FATAL(c4_listener_open(&spec, &fd, &bound));
    spec.port_lo = spec.port_hi = bound.port;
    C4TEST_INT(c4_listener_open(&spec, &other, &second), C4_ERR_PORTS);
    C4TEST_CONTAINS(c4_fail_text(), "all ports of C4_PORT_RANGE=");
    C4TEST_INT(other, -1);
    spec.port_lo = spec.port_hi = 0;
    spec.bind = bound;
    C4TEST_INT(c4_listener_open(&spec, &other, &second), C4_ERR_PORTS);
    C4TEST_CONTAINS(c4_fail_text(), "the port is in use");
    spec.bind = (c4_net_address){.family = 4, .bytes = {192, 0, 2, 1}}; /* TEST-NET-1: nobody's */
    C4TEST_INT(c4_listener_open(&spec, &other, &second), C4_ERR_INTERFACE);
    C4TEST_CONTAINS(c4_fail_text(), "192.0.2.1:0: not an address of this host");
    close(fd);
    spec = (c4_listen_spec){.bind = {.family = 6, .bytes = {[15] = 1}}};
    if (c4_listener_open(&spec, &fd, &bound) == C4_OK) {
        CU_ASSERT(bound.family == 6 && bound.port > 0);
        close(fd);
    }
    C4TEST_INT(c4test_count_entries("/proc/self/fd"), before);
}

static void test_unique_id(void)
{
    c4_listen_spec spec = {.bind = any_loopback};
    c4_unique_id ids[65];
    c4_unique_id_fields fields;
    c4_unique_id_fields other;
    for (int i = 0; i < 64; i++)
        C4TEST_OK_FATAL(c4_unique_id_listen(&spec, &ids[i]));
    int before = c4test_count_entries("/proc/self/fd");
    C4TEST_INT(c4_unique_id_listen(&spec, &ids[64]), C4_ERR_FILES);
    C4TEST_INT(c4test_count_entries("/proc/self/fd"), before);
    C4TEST_OK_FATAL(c4_unique_id_unpack(&ids[0], &fields));
    C4TEST_OK_FATAL(c4_unique_id_unpack(&ids[1], &other));
    CU_ASSERT_NOT_EQUAL(fields.job_id, other.job_id);
    CU_ASSERT_NOT_EQUAL(memcmp(fields.key, other.key, sizeof fields.key), 0);
    CU_ASSERT_NOT_EQUAL(fields.addresses[0].port, other.addresses[0].port);
    int fd = c4_listener_take(fields.job_id);
    CU_ASSERT_FATAL(fd >= 0);
    C4TEST_INT(c4_listener_take(fields.job_id), -1);
    c4_bootstrap_spec root = {.nranks = 1,
                              .job_id = fields.job_id,
                              .key = fields.key,
                              .addresses = fields.addresses,
                              .naddresses = 1,
                              .listen_fd = fd,
                              .timeout_ms = 1000};
    C4TEST_OK(open_and_gather(&root));
    CU_ASSERT(fcntl(fd, F_GETFD) < 0); /* taken and closed */
    root.rank = 1;
    root.listen_fd = -1;
    C4TEST_INT(open_and_gather(&root), C4_ERR_ROOT);
    root.nranks = 0;
    C4TEST_INT(open_and_gather(&root), C4_ERR_ARGUMENT);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(ports), C4TEST(unique_id), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
