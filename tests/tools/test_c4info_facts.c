/* What the doctor reads: files below a root of the test's own, firewall rules, and what killed jobs leave. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "record/recorder.h"
#include "tests/c4test.h"
#include "tests/tools/test_c4train_text.h"
#include "tools/c4info/clean.h"
#include "tools/c4info/doctor.h"
#include "tools/c4info/firewall.h"
#include "transports/shm/arena.h"

/* A file below the root, with the directories that lead to it. */
static void put(const char *path, const char *text)
{
    char name[1024];
    snprintf(name, sizeof name, "%s/root%s", c4test_dir(), path);
    for (char *slash = name + strlen(c4test_dir()) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(name, 0700);
        *slash = '/';
    }
    c4_text_write(name, text, strlen(text));
}

static c4info_system_facts read_root(void)
{
    char root[1024];
    c4info_system_facts facts;
    snprintf(root, sizeof root, "%s/root", c4test_dir());
    c4info_facts_read_system(root, &facts);
    return facts;
}

static void test_files(void)
{
    put("/proc/meminfo", "MemTotal:       1000 kB\nSwapTotal:  100 kB\nSwapFree: 40 kB\nHugePages_Total: 5\n"
                         "HugePages_Free:  3\nHugepagesize: 2048 kB\n");
    put("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu tsc msr constant_tsc nonstop_tsc avx\n");
    put("/proc/sys/kernel/yama/ptrace_scope", "2\n");
    put("/proc/sys/kernel/numa_balancing", "1\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    put("/sys/kernel/mm/transparent_hugepage/defrag", "always defer [defer+madvise] madvise never\n");
    put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "acpi-cpufreq\n");
    put("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
    put("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n");
    put("/proc/sys/net/core/rmem_max", "212992\n");
    put("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    put("/proc/sys/net/netfilter/nf_conntrack_count", "12\n");
    put("/proc/sys/net/netfilter/nf_conntrack_max", "262144\n");
    put("/sys/module/nf_tables/refcnt", "1\n");
    put("/.dockerenv", "");
    c4info_system_facts facts = read_root();
    C4TEST_INT((long long)facts.limits.memory_bytes, 1000 << 10);
    C4TEST_INT(facts.swap_used_bytes, 60 << 10);
    CU_ASSERT(facts.hugepages == 5 && facts.hugepages_free == 3 && facts.hugepage_bytes == 2 << 20);
    CU_ASSERT(facts.x86 && facts.tsc_invariant && facts.container && facts.netfilter);
    C4TEST_INT(facts.limits.ptrace_scope, 2);
    C4TEST_INT(facts.numa_balancing, 1);
    C4TEST_STRING(facts.thp, "madvise");
    C4TEST_STRING(facts.thp_defrag, "defer+madvise");
    C4TEST_STRING(facts.clocksource, "hpet");
    C4TEST_STRING(facts.governor, "powersave");
    C4TEST_STRING(facts.cpu_driver, "acpi-cpufreq");
    CU_ASSERT(facts.tcp_rmem_max == 6291456 && facts.tcp_wmem_max == 4194304 && facts.rmem_max == 212992);
    C4TEST_INT(facts.wmem_max, C4INFO_UNKNOWN);
    CU_ASSERT(facts.local_port_lo == 32768 && facts.local_port_hi == 60999);
    CU_ASSERT(facts.conntrack_count == 12 && facts.conntrack_max == 262144);
}

static void test_interface_files(void)
{
    char root[1024];
    c4info_netif_facts netif = {.netif = {.name = "eth7"}};
    snprintf(root, sizeof root, "%s/root", c4test_dir());
    put("/sys/class/net/eth7/mtu", "9000\n");
    put("/sys/class/net/eth7/speed", "-1\n");
    put("/proc/sys/net/ipv4/conf/eth7/rp_filter", "1\n");
    put("/proc/sys/net/ipv4/conf/all/rp_filter", "2\n");
    c4info_facts_read_netif(root, &netif);
    CU_ASSERT(netif.mtu == 9000 && netif.speed_mbps == C4INFO_UNKNOWN && netif.rp_filter == 2);
}

/* The smallest limit of the group and of those above it holds. */
static void test_control_groups(void)
{
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "5000000\n");
    put("/sys/fs/cgroup/a/b/memory.current", "4000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
    put("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
    put("/sys/fs/cgroup/a/b/pids.max", "77\n");
    put("/sys/fs/cgroup/a/pids.max", "99\n");
    put("/sys/fs/cgroup/a/b/pids.current", "7\n");
    c4info_system_facts facts = read_root();
    CU_ASSERT(facts.memory_limit_bytes == 5000000 && facts.memory_in_group_bytes == 4000);
    CU_ASSERT(facts.cpu_quota > 2.49 && facts.cpu_quota < 2.51);
    CU_ASSERT(facts.pids_limit == 77 && facts.pids_in_group == 7);
    /* Version 1, in a container: the path is the host's. */
    put("/proc/self/cgroup", "4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n2:pids:/docker/0123\n0::/x\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "123\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/pids/pids.max", "max\n");
    facts = read_root();
    CU_ASSERT(facts.memory_limit_bytes == C4INFO_UNKNOWN && facts.memory_in_group_bytes == 123);
    CU_ASSERT(facts.cpu_quota > 1.49 && facts.cpu_quota < 1.51);
    C4TEST_INT(facts.pids_limit, C4INFO_UNKNOWN);
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    facts = read_root();
    CU_ASSERT(facts.memory_limit_bytes == 1048576 && facts.cpu_quota < 0);
}

static void test_firewall_rules(void)
{
    static const struct {
        int count;
        const char *rules;
    } cases[] = {
        {0, ""},
        {0, "-P INPUT ACCEPT\n-P FORWARD DROP\n-A DOCKER -o docker0 -j DROP\n-A FORWARD -j DOCKER\n"},
        {1, "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n"},
        {2, "-P INPUT ACCEPT\n-N mine\n-A INPUT -j mine\n-A mine -p tcp -j REJECT\n-A mine -s 1.2.3.4/32 -j DROP\n"},
        {0, "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n"
            "\t\tcounter drop\n\t}\n}\n"},
        {1, "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n"
            "\t\tiif \"lo\" accept\n\t}\n}\n"},
        {1, "table inet a {\n\tchain one {\n\t\ttype filter hook input priority 0; policy accept;\n\t\tjump two\n\t}\n"
            "\tchain two {\n\t\ttcp dport 5000 reject\n\t}\n\tchain three {\n\t\tdrop\n\t}\n}\n"
            "table inet b {\n\tchain two {\n\t\tdrop\n\t}\n}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        C4TEST_INT(c4info_firewall_count(cases[i].rules), cases[i].count);
}

/* The real machine: nothing fails, and the sums are possible ones. */
static void test_this_machine(void)
{
    static c4info_facts facts;
    static c4info_report report;
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    setenv("C4_SOKET_IFNAME", "x", 1);
    setenv("C4_RANK", "0", 1);
    C4TEST_OK_FATAL(c4info_facts_read(4, 2, &facts));
    CU_ASSERT(facts.system.cores >= 1 && facts.system.cpus >= facts.system.cores && facts.nnetifs >= 1);
    C4TEST_INT_FATAL((long long)facts.job.nunknown, 1);
    C4TEST_STRING(facts.job.unknown[0].name, "C4_SOKET_IFNAME");
    C4TEST_STRING(facts.job.unknown[0].nearest, "C4_SOCKET_IFNAME");
    C4TEST_STRING(facts.job.record_top, c4test_path("records"));
    C4TEST_INT(facts.job.record_bytes, 1 << 20);
    c4info_facts_try_ports(&facts);
    for (size_t i = 0; i < facts.nnetifs; i++)
        CU_ASSERT(facts.netifs[i].listen_error == 0);
    c4info_run_checks(&facts, &report);
    CU_ASSERT(report.count > 10);
    c4info_report_fini(&report);
}

static void test_wrong_options(void)
{
    static c4info_facts facts;
    setenv("C4_TCP_SOCKETS", "many", 1);
    C4TEST_OK_FATAL(c4info_facts_read(4, 2, &facts));
    C4TEST_CONTAINS(facts.job.option_error, "C4_TCP_SOCKETS=many");
    C4TEST_INT(facts.job.tcp_sockets, 2);
    unsetenv("C4_TCP_SOCKETS");
    setenv("C4_PORT_RANGE", "9-2", 1);
    setenv("C4_SOCKET_IFNAME", "nosuch", 1);
    setenv("C4_KEY", "short", 1);
    C4TEST_OK_FATAL(c4info_facts_read(4, 2, &facts));
    C4TEST_CONTAINS(facts.job.option_error, "C4_PORT_RANGE=9-2");
    C4TEST_CONTAINS(facts.job.ifname_error, "C4_SOCKET_IFNAME=nosuch; there are: lo 127.0.0.1");
    C4TEST_CONTAINS(facts.job.key_error, "64 hexadecimal digits");
}

/* ---- what killed jobs leave ---- */

/* A process of a job: a segment in /dev/shm and a flight record. Tells the segment's name. */
static void live(int ready, uint64_t job)
{
    char name[C4_SHM_NAME_BYTES] = "";
    const c4_recorder_spec spec = {.directory = c4test_path("records"), .bytes = 65536, .job_id = job};
    if (c4_shm_file_create(C4_SHM_BACKEND_FILE, "x", name) < 0 || !c4_recorder_acquire(&spec) ||
        write(ready, name, sizeof name) != (ssize_t)sizeof name)
        _exit(1);
    for (;;)
        pause();
}

static pid_t start(uint64_t job, char path[128])
{
    int fds[2];
    char name[C4_SHM_NAME_BYTES];
    CU_ASSERT_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0)
        live(fds[1], job);
    close(fds[1]);
    CU_ASSERT_FATAL(pid > 0 && read(fds[0], name, sizeof name) == (ssize_t)sizeof name);
    close(fds[0]);
    snprintf(path, 128, "/dev/shm/%s", name);
    return pid;
}

static bool job_there(uint64_t job)
{
    char name[64];
    snprintf(name, sizeof name, "records/%016llx", (unsigned long long)job);
    return access(c4test_path(name), F_OK) == 0;
}

static bool found_path(const c4info_leftovers *found, const char *path, bool removed)
{
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(found->all[i].path, path) == 0)
            return found->all[i].removed == removed;
    return false;
}

static void test_clean(void)
{
    char dead_path[128], living_path[128], dead_job[1200];
    c4info_leftovers found;
    c4info_request request = {.dry_run = true};
    pid_t living = start(0x11, living_path), dead = start(0x22, dead_path);
    kill(dead, SIGKILL);
    CU_ASSERT(waitpid(dead, NULL, 0) == dead);
    CU_ASSERT(access(dead_path, F_OK) == 0 && job_there(0x22));
    snprintf(dead_job, sizeof dead_job, "%s/%016x", c4test_path("records"), 0x22);

    c4info_clean(&request, "/dev/shm", c4test_path("records"), &found);
    CU_ASSERT(found_path(&found, dead_path, false) && found_path(&found, dead_job, false));
    CU_ASSERT(!found_path(&found, living_path, false) && access(dead_path, F_OK) == 0 && job_there(0x22));
    free(found.all);

    request = (c4info_request){.older_ms = 3600000}; /* the record is younger; a segment is of no use at any age */
    c4info_clean(&request, "/dev/shm", c4test_path("records"), &found);
    CU_ASSERT(found_path(&found, dead_path, true) && access(dead_path, F_OK) != 0 && job_there(0x22));
    free(found.all);

    request = (c4info_request){.older_ms = 0};
    c4info_clean(&request, "/dev/shm", c4test_path("records"), &found);
    CU_ASSERT(found_path(&found, dead_job, true) && !job_there(0x22));
    CU_ASSERT(access(living_path, F_OK) == 0 && job_there(0x11));
    free(found.all);
    kill(living, SIGKILL);
    CU_ASSERT(waitpid(living, NULL, 0) == living);
    unlink(living_path);
}

/* A directory in which somebody else may write is not touched, and the reason is said. */
static void test_clean_refuses(void)
{
    c4info_leftovers found;
    const c4info_request request = {.dry_run = false};
    CU_ASSERT_FATAL(mkdir(c4test_path("open"), 0700) == 0 && chmod(c4test_path("open"), 0777) == 0);
    CU_ASSERT_FATAL(mkdir(c4test_path("open/0000000000000001"), 0700) == 0);
    c4_text_catch();
    c4info_clean(&request, c4test_path("nothing"), c4test_path("open"), &found);
    char *said = c4_text_caught();
    C4TEST_CONTAINS(said, "others may write there");
    C4TEST_INT((long long)found.count, 0);
    CU_ASSERT(access(c4test_path("open/0000000000000001"), F_OK) == 0);
    free(said);
    free(found.all);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(files),          C4TEST(interface_files), C4TEST(control_groups),
                                        C4TEST(firewall_rules), C4TEST(this_machine),    C4TEST(wrong_options),
                                        C4TEST(clean),          C4TEST(clean_refuses),   C4TEST_END};
    return c4test_main(argc, argv, cases);
}
