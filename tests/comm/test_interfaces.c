/* Where the sockets of a job are bound: C4_SOCKET_IFNAME in all its forms holds for the control plane and for data, and the log
 * says in one line what was chosen and why. In a network namespace with two networks. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"

enum { NRANKS = 4 };

typedef struct wish {
    const char *ifname, *family;
    const char *addresses; /* at which every rank listens, and nowhere else; "": not looked at */
    const char *log;       /* part of the line */
} wish;

#define ONE "10.77.0.1"
#define TWO "10.78.0.1"

static const wish wishes[] = {
    {"two", "ipv4", TWO, "two 10.78.0.1 (asked for by C4_SOCKET_IFNAME); not lo 127.0.0.1 ("},
    {"=two", "ipv4", TWO, "one 10.77.0.1 (not in C4_SOCKET_IFNAME)"},
    {"t", "ipv4", TWO, "asked for"},
    {"^one,lo", "ipv4", TWO, "one 10.77.0.1 (excluded by C4_SOCKET_IFNAME)"},
    {"^=one,=lo", "ipv4", TWO, "excluded by"},
    {"10.78.0.1", "auto", TWO, "asked for"},
    {"10.78.0.0/16", "auto", TWO, "asked for"},
    {"10.0.0.0/8,^one", "auto", TWO, "asked for"},
    {"two,one", "ipv4", ONE " " TWO, "asked for by C4_SOCKET_IFNAME)"},
    {"=lo", "ipv4", "127.0.0.1", "lo 127.0.0.1 (asked for"},
    {"fd00:78::1", "auto", "fd00:78::1", "two fd00:78::1 (asked for"},
    {"two", "ipv6", "fd00:78::1", "two fd00:78::1 (asked for"},
    {"", "auto", "", "interfaces: "},
};

static void enter_network(void)
{
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        C4TEST_SKIP("no network namespaces here: sysctl kernel.unprivileged_userns_clone=1, or run as root");
    if (system("ip link set lo up && ip link add one type veth peer name two && ip addr add 10.77.0.1/24 dev one && "
               "ip addr add 10.78.0.1/24 dev two && ip addr add fd00:78::1/64 dev two nodad && ip link set one up && "
               "ip link set two up && ip -6 addr flush scope link") != 0)
        C4TEST_SKIP("cannot make interfaces: apt-get install iproute2");
}

/* The addresses at which this process listens, in the order of the text that is expected. */
static void check_listeners(const wish *w, int rank)
{
    int count = 0;
    for (int fd = 3; fd < 128; fd++) {
        struct sockaddr_storage name;
        socklen_t bytes = sizeof name;
        char text[INET6_ADDRSTRLEN] = "";
        int listens = 0;
        socklen_t size = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens ||
            getsockname(fd, (struct sockaddr *)&name, &bytes))
            continue;
        if (name.ss_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)&name)->sin_addr, text, sizeof text);
        else if (name.ss_family == AF_INET6)
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&name)->sin6_addr, text, sizeof text);
        else
            continue; /* the admin socket */
        count++;
        if (*w->addresses && !strstr(w->addresses, text))
            world_fail("%s: rank %d listens at %s", w->ifname, rank, text);
    }
    if (count == 0)
        world_fail("%s: rank %d does not listen", w->ifname, rank);
}

static void check_log(const wish *w, int rank)
{
    char path[64], log[1 << 14];
    int lines = 0;
    snprintf(path, sizeof path, "log.%d", (int)getpid());
    FILE *file = fopen(path, "r");
    size_t got = file ? fread(log, 1, sizeof log - 1, file) : 0;
    log[got] = '\0';
    if (file)
        fclose(file);
    for (const char *at = log; (at = strstr(at, "interfaces: ")) != NULL; at++)
        lines++;
    if (lines != 1 || !strstr(log, w->log))
        world_fail("%s: rank %d has %d lines on interfaces, without \"%s\": %s", w->ifname, rank, lines, w->log, log);
    unlink(path);
}

static void plain_rank(const c4_unique_id *id, int rank, void *arg)
{
    const wish *w = arg;
    float value = 1;
    c4_comm *comm = world_comm(id, &(world_spec){.nranks = NRANKS, .options = "C4_TRANSPORTS=tcp"}, rank);
    if (!comm)
        return;
    WORLD_OK(c4_all_reduce(&value, &value, 1, C4_FLOAT32, C4_SUM, comm, NULL));
    WORLD_TRUE(value == NRANKS);
    check_listeners(w, rank);
    WORLD_OK(c4_barrier(comm, NULL)); /* all have looked */
    WORLD_OK(c4_comm_destroy(comm));
}

static void wish_rank(const c4_unique_id *id, int rank, void *arg)
{
    plain_rank(id, rank, arg);
    check_log(arg, rank);
}

static void test_wishes(void)
{
    enter_network();
    setenv("C4_LOG", "info", 1);
    CU_ASSERT_FATAL(chdir(c4test_dir()) == 0);
    setenv("C4_LOG_FILE", "log.%p", 1);
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++) {
        setenv("C4_SOCKET_IFNAME", wishes[i].ifname, 1);
        setenv("C4_SOCKET_FAMILY", wishes[i].family, 1);
        world_run_raw(&(world_spec){.nranks = NRANKS}, wish_rank, (void *)&wishes[i]);
    }
}

/* Rank 0 is at a place that the launcher names; the others listen where C4_SOCKET_IFNAME says, not by where they met it. */
static void launched_rank(const c4_unique_id *id, int rank, void *arg)
{
    const wish *w = arg;
    char text[16];
    c4_comm *comm = NULL;
    (void)id;
    snprintf(text, sizeof text, "%d", rank);
    setenv("C4_RANK", text, 1);
    WORLD_OK(c4_comm_create_from_env(NULL, NULL, &comm));
    if (!comm)
        return;
    check_listeners(rank == 0 ? &(wish){.ifname = "the launcher", .addresses = "127.0.0.1 fe80::77 " TWO} : w, rank);
    WORLD_OK(c4_barrier(comm, NULL));
    WORLD_OK(c4_comm_destroy(comm));
}

static void test_launched(void)
{
    enter_network();
    setenv("C4_NRANKS", "4", 1);
    setenv("C4_RENDEZVOUS", "127.0.0.1:4711", 1); /* nobody else is in this network */
    setenv("C4_KEY", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 1);
    setenv("C4_TRANSPORTS", "tcp", 1);
    setenv("C4_SOCKET_IFNAME", "two", 1);
    setenv("C4_SOCKET_FAMILY", "ipv4", 1);
    world_run_raw(&(world_spec){.nranks = NRANKS}, launched_rank, (void *)&wishes[0]);
}

static void link_local_rank(const c4_unique_id *id, int rank, void *arg)
{
    setenv("C4_SOCKET_IFNAME", "fe80::77%two", 1);
    launched_rank(id, rank, arg);
}

/* Nobody on another host could find rank 0 at a link-local address of IPv6, whose interface is part of it. The others listen
 * there for data alone. */
static void test_link_local(void)
{
    c4_unique_id id;
    enter_network();
    if (system("ip addr add fe80::77/64 dev two nodad") != 0)
        C4TEST_SKIP("no IPv6 here");
    setenv("C4_NRANKS", "4", 1);
    setenv("C4_RENDEZVOUS", "127.0.0.1:4711", 1);
    setenv("C4_KEY", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 1);
    setenv("C4_TRANSPORTS", "tcp", 1);
    wish both = {.ifname = "link-local", .addresses = "127.0.0.1 fe80::77"};
    world_run_raw(&(world_spec){.nranks = NRANKS}, link_local_rank, &both);
    setenv("C4_SOCKET_IFNAME", "fe80::77%two", 1);
    C4TEST_INT(c4_unique_id_create(&id), C4_ERR_INTERFACE);
    C4TEST_CONTAINS(c4_last_error(NULL),
                    "C4_SOCKET_IFNAME=fe80::77%two leaves only link-local IPv6 addresses, at which");
}

/* A rank whose host lacks what the others have says so, and does not listen anywhere else. All hear its words, long before
 * the time of set-up is over, however many they are and whichever transport they want. */
static void lacking_rank(const c4_unique_id *id, int rank, void *arg)
{
    const char *words = "matches C4_SOCKET_IFNAME==ib0; there are: lo 127.0.0.1, ";
    int nranks = *(const int *)arg;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config,
                             .timeout_ms = 300000,
                             .options = rank == nranks - 1 ? "C4_SOCKET_IFNAME==ib0" : "C4_SOCKET_IFNAME=two"};
    c4_status status = c4_comm_create(id, nranks, rank, &config, NULL, &comm);
    WORLD_TRUE(comm == NULL);
    WORLD_STATUS(status, rank == nranks - 1 ? C4_ERR_INTERFACE : C4_ERR_PEER_ERROR);
    WORLD_TRUE(strstr(c4_last_error(NULL), words) != NULL);
}

static void test_lacking(void)
{
    enter_network();
    setenv("C4_LOG", "none", 1);
    setenv("C4_SOCKET_IFNAME", "two", 1);
    for (int shm = 0; shm < 2; shm++) {
        setenv("C4_TRANSPORTS", shm ? "shm" : "tcp", 1);
        for (int nranks = 2; nranks <= 5; nranks++)
            world_run_raw(&(world_spec){.nranks = nranks}, lacking_rank, &nranks);
    }
}

/* An address of which the kernel does not know yet whether somebody else has it can be seen, but not be used. */
static void test_tentative(void)
{
    enter_network();
    if (system("echo 0 > /proc/sys/net/ipv6/conf/two/optimistic_dad; "
               "echo 300 > /proc/sys/net/ipv6/conf/two/dad_transmits && ip addr add fd00:79::1/64 dev two && "
               "ip -6 addr del fd00:78::1/64 dev two && ip -6 addr show dev two tentative | grep -q fd00:79::1") != 0)
        C4TEST_SKIP("cannot make an address that stays tentative");
    setenv("C4_SOCKET_IFNAME", "two", 1);
    world_run_raw(&(world_spec){.nranks = NRANKS}, plain_rank, &(wish){.ifname = "two", .addresses = TWO});
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(wishes, 60), C4TEST(launched),   C4TEST(lacking),
                                        C4TEST(tentative),           C4TEST(link_local), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
