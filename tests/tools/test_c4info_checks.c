/* The doctor's checks: a healthy machine passes all of them, and each has at least one machine that trips it. */
#include <stdio.h>
#include <string.h>

#include "tests/c4test.h"
#include "tests/tools/c4info_machine.h"

static c4info_facts facts;
static c4info_report report;

static void healthy(void)
{
    machine_healthy(&facts);
}

/* The worst that the named check says; NULL: it says nothing. */
static const c4info_finding *said_by(const char *check)
{
    const c4info_finding *worst = NULL;
    for (size_t i = 0; i < report.count; i++)
        if (strcmp(report.findings[i].check, check) == 0 && (!worst || report.findings[i].severity > worst->severity))
            worst = &report.findings[i];
    return worst;
}

static void run(void)
{
    c4info_report_fini(&report);
    c4info_run_checks(&facts, &report);
}

static void test_healthy(void)
{
    healthy();
    run();
    for (size_t i = 0; i < c4info_nchecks; i++) {
        const c4info_finding *finding = said_by(c4info_checks[i].name);
        if (strcmp(c4info_checks[i].name, "cpu-quota") == 0) { /* says nothing where there is none */
            CU_ASSERT(finding == NULL);
            continue;
        }
        CU_ASSERT_FATAL(finding != NULL);
        C4TEST_STRING(c4info_severity_name(finding->severity), "ok");
        C4TEST_STRING(finding->fix, "");
        CU_ASSERT(finding->what[0] != '\0');
    }
    C4TEST_INT(c4info_report_worst(&report), C4INFO_OK);
    C4TEST_INT(c4info_doctor_status(&report), 0);
}

/* ---- what trips them ---- */

#define SYSTEM facts.system
#define LIMITS facts.system.limits
#define JOB    facts.job
#define NETIF  facts.netifs[0]

static void small_shm(void)
{
    LIMITS.shm_bytes = 4 * MIB, LIMITS.shm_free_bytes = 4 * MIB;
}
static void docker_shm(void)
{
    JOB.shm_named = true;
    SYSTEM.container = true;
    LIMITS.shm_bytes = LIMITS.shm_free_bytes = 64 * MIB;
}
static void full_shm(void)
{
    LIMITS.shm_free_bytes = MIB;
}
static void no_shm(void)
{
    LIMITS.has_shm = false, JOB.shm_named = true;
}
static void memory_limit(void)
{
    SYSTEM.memory_limit_bytes = 32 * GIB;
}
static void tight_memory(void)
{
    SYSTEM.memory_limit_bytes = 4 * GIB, SYSTEM.memory_in_group_bytes = 4 * GIB - MIB;
}
static void memlock_soft(void)
{
    LIMITS.memlock.soft = 64 << 10;
}
static void memlock_hard(void)
{
    LIMITS.memlock.soft = LIMITS.memlock.hard = 64 << 10;
}
static void file_size(void)
{
    SYSTEM.file_size_limit = 10 * MIB;
}
static void swapping(void)
{
    SYSTEM.swap_used_bytes = GIB / 2;
}
static void hugepages(void)
{
    SYSTEM.hugepages = SYSTEM.hugepages_free = 8192;
}
static void thp_off(void)
{
    strcpy(SYSTEM.thp, "never");
}
static void thp_defrag(void)
{
    strcpy(SYSTEM.thp, "always"), strcpy(SYSTEM.thp_defrag, "always");
}
static void stale(void)
{
    SYSTEM.stale_segments = 2, SYSTEM.stale_segment_bytes = 8 * MIB, SYSTEM.stale_jobs = 1;
}
static void much_stale(void)
{
    SYSTEM.stale_jobs = 3, SYSTEM.stale_job_bytes = 3 * GIB;
}
static void files_soft(void)
{
    LIMITS.nofile.soft = 270;
}
static void files_hard(void)
{
    JOB.nranks = 4096, LIMITS.nofile.soft = LIMITS.nofile.hard = 1024;
}
static void processes(void)
{
    LIMITS.nproc.soft = 10;
}
static void pids(void)
{
    SYSTEM.pids_limit = 100, SYSTEM.pids_in_group = 90;
}
static void cores(void)
{
    SYSTEM.cores = 2;
}
static void quota(void)
{
    SYSTEM.cpu_quota = 2.5;
}
static void wide_quota(void)
{
    SYSTEM.cpu_quota = 12;
}
static void powersave(void)
{
    strcpy(SYSTEM.governor, "powersave"), strcpy(SYSTEM.cpu_driver, "acpi-cpufreq");
}
static void dynamic(void)
{
    strcpy(SYSTEM.governor, "powersave"), strcpy(SYSTEM.cpu_driver, "intel_pstate");
}
static void balancing(void)
{
    SYSTEM.numa_balancing = 1;
}
static void ptrace_1(void)
{
    LIMITS.ptrace_scope = 1;
}
static void ptrace_3(void)
{
    LIMITS.ptrace_scope = 3;
}
static void no_clock(void)
{
    SYSTEM.clock_unsynchronised = 1;
}
static void hpet(void)
{
    strcpy(SYSTEM.clocksource, "hpet");
}
static void tsc_varies(void)
{
    SYSTEM.tsc_invariant = false;
}
static void wrong_option(void)
{
    strcpy(JOB.option_error, "C4_TCP_SOCKETS=many: expected a whole number");
}
static void unknown_variable(void)
{
    JOB.nunknown = 2;
    strcpy(JOB.unknown[0].name, "C4_TCP_SOKETS");
    strcpy(JOB.unknown[0].nearest, "C4_TCP_SOCKETS");
    strcpy(JOB.unknown[1].name, "C4_QUITE_ELSE");
}
static void bad_key(void)
{
    strcpy(JOB.key_error, "C4_KEY_FILE k has mode 0644");
}
static void insecure(void)
{
    JOB.insecure = true;
}
static void no_key(void)
{
    JOB.has_key = false;
}
static void no_record(void)
{
    JOB.record = false;
}
static void record_error(void)
{
    strcpy(JOB.record_error, "/dev/shm/c4-7 belongs to user 8");
}
static void loopback_name(void)
{
    SYSTEM.name_is_loopback = true, strcpy(SYSTEM.name_address, "127.0.1.1");
}
static void no_name(void)
{
    SYSTEM.name_address[0] = '\0';
}
static void no_interface(void)
{
    NETIF.chosen = false, strcpy(JOB.ifname_error, "tcp: no interface matches");
}
static void bridge(void)
{
    strcpy(NETIF.netif.name, "docker0");
}
static void loopback(void)
{
    NETIF.netif.loopback = true;
}
static void no_carrier(void)
{
    NETIF.netif.running = false;
}
static void link_local(void)
{
    NETIF.netif.link_local = true;
}
static void faster(void)
{
    facts.netifs[1].speed_mbps = 100000;
}
static void one_network(void)
{
    facts.netifs[1].netif.ip[2] = 0, facts.netifs[1].netif.ip[3] = 6;
}
static void strict(void)
{
    NETIF.rp_filter = 1;
}
static void small_packets(void)
{
    NETIF.mtu = 1500, NETIF.speed_mbps = 25000;
}
static void mtu_differs(void)
{
    one_network(), facts.netifs[1].mtu = 1500;
}
static void tiny_mtu(void)
{
    NETIF.mtu = 576;
}
static void port_taken(void)
{
    NETIF.listen_error = 98; /* EADDRINUSE */
}
static void own_firewall(void)
{
    NETIF.reach_error = 110; /* ETIMEDOUT */
}
static void narrow_range(void)
{
    strcpy(JOB.ports, "20000-20003"), JOB.port_hi = 20003;
}
static void ephemeral_range(void)
{
    strcpy(JOB.ports, "40000-40099"), JOB.port_lo = 40000, JOB.port_hi = 40099;
}
static void few_ports(void)
{
    SYSTEM.local_port_hi = 33000;
}
static void many_connections(void)
{
    JOB.nranks = 8192;
}
static void firewall(void)
{
    SYSTEM.netfilter = true, SYSTEM.firewall_rules = 2, strcpy(SYSTEM.firewall, "nft");
}
static void firewall_any(void)
{
    firewall(), JOB.ports[0] = '\0', JOB.port_lo = JOB.port_hi = 0;
}
static void iptables(void)
{
    firewall_any(), strcpy(SYSTEM.firewall, "iptables");
}
static void firewall_hidden(void)
{
    SYSTEM.netfilter = true, SYSTEM.firewall_rules = C4INFO_UNKNOWN;
}
static void conntrack(void)
{
    SYSTEM.conntrack_count = 210000;
}
static void conntrack_full(void)
{
    SYSTEM.conntrack_count = 262000;
}
static void buffers(void)
{
    NETIF.speed_mbps = 100000, SYSTEM.tcp_wmem_max = 4 * MIB;
}
static void buffer_cut(void)
{
    JOB.tcp_buffer_bytes = 64 * MIB;
}

/* ---- near, but nothing to say ---- */

static void slow_packets(void)
{
    NETIF.mtu = 1500, NETIF.speed_mbps = 10000;
}
static void mtu_elsewhere(void)
{
    facts.netifs[1].mtu = 1500;
}
static void thp_always(void)
{
    strcpy(SYSTEM.thp, "always"), strcpy(SYSTEM.thp_defrag, "madvise");
}
static void kvm_clock(void)
{
    strcpy(SYSTEM.clocksource, "kvm-clock");
}
static void some_swap(void)
{
    SYSTEM.swap_used_bytes = GIB / 20;
}
static void busy_conntrack(void)
{
    SYSTEM.conntrack_count = 190000;
}
static void own_loopback(void)
{
    NETIF.netif.loopback = true, JOB.nranks = 8;
}
static void one_host_without_key(void)
{
    JOB.has_key = false, JOB.nranks = 8;
}
static void asked_for_slower(void)
{
    faster(), strcpy(JOB.ifname, "eth0");
}

typedef struct trip {
    void (*change)(void);
    const char *check;
    c4info_severity severity;
    const char *what, *fix;
} trip;

static const trip trips[] = {
    {small_shm, "shm", C4INFO_WARN, "/dev/shm is 4 MiB; 8 ranks here need 8 MiB", "mount -o remount,size=26m /dev/shm"},
    {docker_shm, "shm", C4INFO_BAD, "/dev/shm is 64 MiB; 8 ranks here need 520 MiB", "--shm-size=666m"},
    {full_shm, "shm", C4INFO_WARN, "1 MiB left of 8 GiB", "c4info clean"},
    {no_shm, "shm", C4INFO_BAD, "/dev/shm is missing", "C4_SHM_BACKEND=memfd"},
    {memory_limit, "memory", C4INFO_NOTE, "may use 32 GiB of the 64 GiB", "by the limit"},
    {tight_memory, "memory", C4INFO_WARN, "C4 takes up to 520 MiB", "raise the container's memory limit"},
    {memlock_soft, "memlock", C4INFO_BAD, "only 64 KiB may be locked", "ulimit -l unlimited"},
    {memlock_hard, "memlock", C4INFO_BAD, "only 64 KiB", "limits.d"},
    {file_size, "file-size", C4INFO_BAD, "10 MiB (ulimit -f); the shared memory of a rank has 64 MiB", "ulimit -f"},
    {swapping, "swap", C4INFO_WARN, "512 MiB of 1 GiB swap in use", "swapoff -a"},
    {hugepages, "hugepages", C4INFO_NOTE, "8192 huge pages are set aside, 16 GiB of them unused", "nr_hugepages=0"},
    {thp_off, "thp", C4INFO_NOTE, "huge pages are off", "echo madvise"},
    {thp_defrag, "thp", C4INFO_NOTE, "compaction", "defrag"},
    {stale, "stale", C4INFO_NOTE, "8 MiB: shared memory of 2 processes in /dev/shm, flight records of 1 job in",
     "c4info clean"},
    {much_stale, "stale", C4INFO_WARN, "3 GiB", "c4info clean"},
    {files_soft, "files", C4INFO_WARN, "270 open files are allowed (ulimit -n); a rank with 15 peers needs up to 288",
     "ulimit -n 288"},
    {files_hard, "files", C4INFO_BAD, "1024 open files", "limits.d"},
    {processes, "processes", C4INFO_BAD, "10 more processes and threads are allowed (ulimit -u); 8 ranks need 24",
     "ulimit -u"},
    {pids, "processes", C4INFO_BAD, "10 more processes and threads are allowed (the control group's pids.max)",
     "--pids-limit"},
    {cores, "cores", C4INFO_WARN, "8 ranks on 2 cores", "at most 2 ranks on this host (16 hardware threads)"},
    {quota, "cpu-quota", C4INFO_WARN, "2.5 of the 16 CPUs", "one core per rank"},
    {wide_quota, "cpu-quota", C4INFO_NOTE, "12.0 of the 16 CPUs", "no more ranks"},
    {powersave, "governor", C4INFO_WARN, "powersave (acpi-cpufreq): the cores stay", "cpupower"},
    {dynamic, "governor", C4INFO_NOTE, "start slowly", "cpupower"},
    {balancing, "numa-balancing", C4INFO_NOTE, "NUMA balancing", "kernel.numa_balancing=0"},
    {ptrace_1, "ptrace", C4INFO_NOTE, "ptrace_scope is 1: gdb and py-spy cannot attach",
     "sysctl kernel.yama.ptrace_scope=0"},
    {ptrace_3, "ptrace", C4INFO_NOTE, "ptrace_scope is 3", "next boot"},
    {no_clock, "clock", C4INFO_NOTE, "nothing synchronises", "chronyd"},
    {hpet, "clocksource", C4INFO_WARN, "read from hpet", "clocksource=tsc"},
    {tsc_varies, "clocksource", C4INFO_WARN, "nonstop_tsc", "invtsc"},
    {wrong_option, "options", C4INFO_BAD, "C4_TCP_SOCKETS=many", "c4info options"},
    {unknown_variable, "variables", C4INFO_WARN, "C4_TCP_SOKETS means nothing", "set C4_TCP_SOCKETS instead"},
    {bad_key, "key", C4INFO_BAD, "mode 0644", "umask 077"},
    {insecure, "key", C4INFO_WARN, "whoever reaches the port", "c4run"},
    {no_key, "key", C4INFO_NOTE, "ranks of other hosts are refused", "C4_KEY_FILE"},
    {no_record, "record", C4INFO_NOTE, "C4_RECORD=0", "unset C4_RECORD"},
    {record_error, "record", C4INFO_WARN, "belongs to user 8", "C4_RECORD_DIR"},
    {loopback_name, "host-name", C4INFO_NOTE, "node7, resolves to 127.0.1.1", "/etc/hosts"},
    {no_name, "host-name", C4INFO_NOTE, "does not resolve", "/etc/hosts"},
    {no_interface, "interface", C4INFO_BAD, "tcp: no interface matches", "C4_SOCKET_IFNAME"},
    {bridge, "interface", C4INFO_WARN, "docker0 10.0.0.5", "C4_SOCKET_IFNAME"},
    {loopback, "interface", C4INFO_WARN, "is loopback", "C4_SOCKET_IFNAME"},
    {no_carrier, "interface", C4INFO_WARN, "has no carrier", "C4_SOCKET_IFNAME"},
    {link_local, "interface", C4INFO_WARN, "link-local", "C4_SOCKET_IFNAME"},
    {faster, "faster-interface", C4INFO_NOTE, "eth1 has 100000 Mb/s, the chosen eth0 10000 Mb/s",
     "C4_SOCKET_IFNAME=eth1"},
    {one_network, "subnets", C4INFO_WARN, "eth0 10.0.0.5 and eth1 10.0.0.6 are in one network", "arp_ignore"},
    {strict, "rp-filter", C4INFO_NOTE, "strict", "net.ipv4.conf.eth0.rp_filter=2"},
    {small_packets, "mtu", C4INFO_WARN, "25000 Mb/s and MTU 1500", "ip link set dev eth0 mtu 9000"},
    {mtu_differs, "mtu", C4INFO_WARN, "eth0 has MTU 9000, eth1 in the same network 1500",
     "ip link set dev eth1 mtu 9000"},
    {tiny_mtu, "mtu", C4INFO_WARN, "MTU 576", "mtu 1500"},
    {port_taken, "listen", C4INFO_BAD, "cannot listen on eth0 10.0.0.5, port 20000-20099: Address already in use",
     "widen C4_PORT_RANGE"},
    {own_firewall, "listen", C4INFO_BAD, "Connection timed out", "firewall"},
    {narrow_range, "port-range", C4INFO_BAD, "has 4 ports; 8 ranks here need 9", "C4_PORT_RANGE=20000-20018"},
    {ephemeral_range, "port-range", C4INFO_NOTE, "lies in 32768-60999", "ip_local_reserved_ports=40000-40099"},
    {few_ports, "local-ports", C4INFO_WARN, "233 ports", "ip_local_port_range"},
    {many_connections, "local-ports", C4INFO_WARN, "may make 65472", "ip_local_port_range"},
    {firewall, "firewall", C4INFO_NOTE,
     "2 rules of nft drop or refuse what comes in, and C4 listens on ports 20000-20099",
     "tcp dport 20000-20099 accept"},
    {firewall_any, "firewall", C4INFO_WARN, "any free port", "C4_PORT_RANGE=20000-20999 and nft add rule"},
    {iptables, "firewall", C4INFO_WARN, "iptables", "iptables -I INPUT -p tcp --dport 20000:20999 -j ACCEPT"},
    {firewall_hidden, "firewall", C4INFO_NOTE, "may not see its rules", "--listen"},
    {conntrack, "conntrack", C4INFO_WARN, "80 % full", "nf_conntrack_max=1048576"},
    {conntrack_full, "conntrack", C4INFO_BAD, "99 % full", "nf_conntrack_max"},
    {buffers, "tcp-buffers", C4INFO_WARN, "grow to 4 MiB; 100000 Mb/s over 2 ms need", "tcp_wmem"},
    {buffer_cut, "tcp-buffers", C4INFO_WARN, "C4_TCP_BUFFER_BYTES=64 MiB is cut to 32 MiB",
     "net.core.rmem_max=67108864"},
    {slow_packets, "mtu", C4INFO_OK, "eth0 has MTU 1500", ""},
    {mtu_elsewhere, "mtu", C4INFO_OK, "eth0 has MTU 9000", ""},
    {thp_always, "thp", C4INFO_OK, "always", ""},
    {kvm_clock, "clocksource", C4INFO_OK, "kvm-clock", ""},
    {some_swap, "swap", C4INFO_OK, "51.2 MiB of 1 GiB", ""},
    {busy_conntrack, "conntrack", C4INFO_OK, "72 % full", ""},
    {own_loopback, "interface", C4INFO_OK, "C4 uses eth0", ""},
    {one_host_without_key, "key", C4INFO_OK, NULL, NULL},
    {asked_for_slower, "faster-interface", C4INFO_OK, NULL, NULL},
};
#define NTRIPS (sizeof trips / sizeof trips[0])

static void test_trips(void)
{
    for (size_t i = 0; i < NTRIPS; i++) {
        healthy();
        trips[i].change();
        run();
        const c4info_finding *finding = said_by(trips[i].check);
        if (!trips[i].what) { /* then it says nothing at all */
            CU_ASSERT(finding == NULL);
            continue;
        }
        CU_ASSERT_FATAL(finding != NULL);
        if (finding->severity != trips[i].severity)
            fprintf(stderr, "%s: trip %zu: %s\n", trips[i].check, i, finding->what);
        C4TEST_STRING(c4info_severity_name(finding->severity), c4info_severity_name(trips[i].severity));
        C4TEST_CONTAINS(finding->what, trips[i].what);
        C4TEST_CONTAINS(finding->fix, trips[i].fix);
        C4TEST_INT(c4info_doctor_status(&report), c4info_report_worst(&report) >= C4INFO_WARN);
    }
}

static void test_every_check_is_tripped(void)
{
    for (size_t i = 0; i < c4info_nchecks; i++) {
        bool tripped = false;
        for (size_t j = 0; j < NTRIPS; j++)
            tripped |= trips[j].severity > C4INFO_OK && strcmp(trips[j].check, c4info_checks[i].name) == 0;
        if (!tripped)
            fprintf(stderr, "%s is never tripped\n", c4info_checks[i].name);
        CU_ASSERT(tripped);
    }
}

/* Facts that the system does not tell are no findings. */
static void test_nothing_known(void)
{
    memset(&facts, 0, sizeof facts);
    c4info_facts_read_system("/nonexistent", &facts.system);
    facts.job = (c4info_job_facts){.nranks = 1, .local_nranks = 1, .record = true, .record_top = "/tmp/x"};
    facts.system.cores = facts.system.cpus = 1;
    facts.system.limits.nofile.soft = 1024;
    facts.system.limits.nproc.soft = C4_UNLIMITED;
    facts.wish = (c4_netif_wish){.spec = "", .all_local = true};
    facts.nnetifs = 1;
    facts.netifs[0] =
        (c4info_netif_facts){.netif = {.name = "lo", .family = 4, .loopback = true, .running = true}, .chosen = true};
    c4info_facts_read_netif("/nonexistent", &facts.netifs[0]);
    facts.system.clock_unsynchronised = C4INFO_UNKNOWN; /* asked of the kernel, not of a file */
    facts.system.file_size_limit = C4INFO_UNKNOWN;
    run();
    for (size_t i = 0; i < report.count; i++)
        if (report.findings[i].severity != C4INFO_OK)
            fprintf(stderr, "%s: %s\n", report.findings[i].check, report.findings[i].what);
    C4TEST_INT(c4info_report_worst(&report), C4INFO_OK);
}

static void test_sorted_by_severity(void)
{
    c4info_report mixed = {.check = "x"};
    static const c4info_severity order[] = {C4INFO_OK, C4INFO_BAD, C4INFO_NOTE, C4INFO_WARN, C4INFO_BAD, C4INFO_OK};
    static const int expected[] = {1, 4, 3, 2, 0, 5};
    for (int i = 0; i < 6; i++)
        c4info_report_add(&mixed, order[i], "%d", i);
    c4info_report_sort(&mixed);
    for (int i = 0; i < 6; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", expected[i]);
        C4TEST_STRING(mixed.findings[i].what, text);
    }
    c4info_report_fini(&mixed);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(healthy),
                                        C4TEST(trips),
                                        C4TEST(every_check_is_tripped),
                                        C4TEST(nothing_known),
                                        C4TEST(sorted_by_severity),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
