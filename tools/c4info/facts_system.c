/* Facts about the machine: /proc and /sys below a root, and what system calls tell. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <unistd.h>

#include "tools/c4info/doctor.h"
#include "tools/c4info/firewall.h"

#define PATH_BYTES 512

/* The whole file but for what does not fit; "" when it cannot be read. Returns whether it could. */
static bool read_text(const char *root, const char *path, char *text, size_t bytes)
{
    char name[PATH_BYTES];
    text[0] = '\0';
    snprintf(name, sizeof name, "%s%s", root, path);
    FILE *file = fopen(name, "re");
    if (!file)
        return false;
    size_t got = fread(text, 1, bytes - 1, file);
    text[got] = '\0';
    fclose(file);
    while (got > 0 && isspace((unsigned char)text[got - 1]))
        text[--got] = '\0';
    return true;
}

/* The number at `index` of the file's first line; C4INFO_UNKNOWN when there is none. */
static int64_t read_number_at(const char *root, const char *path, int index)
{
    char text[256], *end, *at = text;
    long long value = C4INFO_UNKNOWN;
    if (!read_text(root, path, text, sizeof text))
        return C4INFO_UNKNOWN;
    for (int i = 0; i <= index; i++) {
        value = strtoll(at, &end, 10);
        if (end == at)
            return C4INFO_UNKNOWN;
        at = end;
    }
    return value;
}

static int64_t read_number(const char *root, const char *path)
{
    return read_number_at(root, path, 0);
}

static bool exists(const char *root, const char *path)
{
    char name[PATH_BYTES];
    snprintf(name, sizeof name, "%s%s", root, path);
    return access(name, F_OK) == 0;
}

/* ---- memory ---- */

static void read_memory(const char *root, c4info_system_facts *facts)
{
    char line[128], name[PATH_BYTES];
    int64_t swap_free = 0;
    snprintf(name, sizeof name, "%s/proc/meminfo", root);
    FILE *file = fopen(name, "re");
    while (file && fgets(line, sizeof line, file)) {
        long long value;
        if (sscanf(line, "MemTotal: %lld", &value) == 1)
            facts->limits.memory_bytes = (uint64_t)value << 10;
        else if (sscanf(line, "SwapTotal: %lld", &value) == 1)
            facts->swap_bytes = value << 10;
        else if (sscanf(line, "SwapFree: %lld", &value) == 1)
            swap_free = value << 10;
        else if (sscanf(line, "HugePages_Total: %lld", &value) == 1)
            facts->hugepages = value;
        else if (sscanf(line, "HugePages_Free: %lld", &value) == 1)
            facts->hugepages_free = value;
        else if (sscanf(line, "Hugepagesize: %lld", &value) == 1)
            facts->hugepage_bytes = value << 10;
    }
    if (file)
        fclose(file);
    facts->swap_used_bytes = facts->swap_bytes - swap_free;
}

/* "always [madvise] never" -> "madvise" */
static void read_choice(const char *root, const char *path, char *word, size_t bytes)
{
    char text[128];
    word[0] = '\0';
    read_text(root, path, text, sizeof text);
    char *from = strchr(text, '['), *to = from ? strchr(from, ']') : NULL;
    if (to)
        snprintf(word, bytes, "%.*s", (int)(to - from - 1), from + 1);
}

/* ---- control groups ---- */

/* Path of this process in the hierarchy of `controller`; "" is version 2. False when there is none. */
static bool group_path(const char *root, const char *controller, char *path, size_t bytes)
{
    char text[4096], *rest = text;
    read_text(root, "/proc/self/cgroup", text, sizeof text);
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *names = strchr(line, ':'), *end = names ? strchr(names + 1, ':') : NULL;
        if (!end)
            continue;
        *end = '\0';
        names++;
        for (char *name; (name = strsep(&names, ","));)
            if (strcmp(name, controller) == 0) {
                snprintf(path, bytes, "%s", end + 1);
                return true;
            }
    }
    return false;
}

/* The smallest number in `file` of the group and of all above it: a limit holds for everything below. In a container the
 * path may be the host's, whose directories are not there: then the root's own. */
static int64_t group_limit(const char *root, const char *mount, const char *group, const char *file)
{
    char path[PATH_BYTES], at[256];
    int64_t least = C4INFO_UNKNOWN;
    snprintf(at, sizeof at, "%s", group);
    for (;;) {
        while (at[0] && at[strlen(at) - 1] == '/')
            at[strlen(at) - 1] = '\0';
        snprintf(path, sizeof path, "%s%s/%s", mount, at, file);
        int64_t value = read_number(root, path);
        /* "max" is no number; version 1 writes a number near 2^63. */
        if (value >= 0 && value < (int64_t)1 << 60 && (least == C4INFO_UNKNOWN || value < least))
            least = value;
        char *slash = strrchr(at, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static double quota_at(const char *root, const char *mount, const char *group)
{
    char path[PATH_BYTES], at[256];
    double least = C4INFO_UNKNOWN;
    snprintf(at, sizeof at, "%s", group);
    for (;;) {
        while (at[0] && at[strlen(at) - 1] == '/')
            at[strlen(at) - 1] = '\0';
        snprintf(path, sizeof path, "%s%s/cpu.max", mount, at);
        int64_t quota = read_number(root, path), period = read_number_at(root, path, 1);
        if (quota == C4INFO_UNKNOWN) {
            snprintf(path, sizeof path, "%s%s/cpu.cfs_quota_us", mount, at);
            quota = read_number(root, path);
            snprintf(path, sizeof path, "%s%s/cpu.cfs_period_us", mount, at);
            period = read_number(root, path);
        }
        double cores = quota > 0 && period > 0 ? (double)quota / (double)period : C4INFO_UNKNOWN;
        if (cores > 0 && (least < 0 || cores < least))
            least = cores;
        char *slash = strrchr(at, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static int64_t used_by_group(const char *root, const char *mount, const char *group, const char *file)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s%s/%s", mount, strcmp(group, "/") == 0 ? "" : group, file);
    if (!exists(root, path))
        snprintf(path, sizeof path, "%s/%s", mount, file);
    return read_number(root, path);
}

static void read_groups(const char *root, c4info_system_facts *facts)
{
    char path[256];
    bool memory = group_path(root, "memory", path, sizeof path);
    if (memory) {
        facts->memory_limit_bytes = group_limit(root, "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
        facts->memory_in_group_bytes = used_by_group(root, "/sys/fs/cgroup/memory", path, "memory.usage_in_bytes");
    }
    if (group_path(root, "cpu", path, sizeof path))
        facts->cpu_quota = quota_at(root, "/sys/fs/cgroup/cpu", path);
    if (group_path(root, "pids", path, sizeof path)) {
        facts->pids_limit = group_limit(root, "/sys/fs/cgroup/pids", path, "pids.max");
        facts->pids_in_group = used_by_group(root, "/sys/fs/cgroup/pids", path, "pids.current");
    }
    if (memory || !group_path(root, "", path, sizeof path))
        return;
    facts->memory_limit_bytes = group_limit(root, "/sys/fs/cgroup", path, "memory.max");
    facts->memory_in_group_bytes = used_by_group(root, "/sys/fs/cgroup", path, "memory.current");
    facts->cpu_quota = quota_at(root, "/sys/fs/cgroup", path);
    facts->pids_limit = group_limit(root, "/sys/fs/cgroup", path, "pids.max");
    facts->pids_in_group = used_by_group(root, "/sys/fs/cgroup", path, "pids.current");
}

/* ---- processor and clock ---- */

static void read_cpu(const char *root, c4info_system_facts *facts)
{
    static char line[8192];
    char name[PATH_BYTES];
    snprintf(name, sizeof name, "%s/proc/cpuinfo", root);
    FILE *file = fopen(name, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "flags", 5) != 0)
            continue;
        facts->x86 = strstr(line, " tsc ") != NULL;
        facts->tsc_invariant = strstr(line, " constant_tsc") && strstr(line, " nonstop_tsc");
        break;
    }
    if (file)
        fclose(file);
    read_text(root, "/sys/devices/system/clocksource/clocksource0/current_clocksource", facts->clocksource,
              sizeof facts->clocksource);
    read_text(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", facts->governor, sizeof facts->governor);
    read_text(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", facts->cpu_driver, sizeof facts->cpu_driver);
    facts->numa_balancing = read_number(root, "/proc/sys/kernel/numa_balancing");
}

static int64_t clock_unsynchronised(void)
{
    struct timex clock = {.modes = 0};
    return adjtimex(&clock) < 0 ? C4INFO_UNKNOWN : (clock.status & STA_UNSYNC) != 0;
}

/* ---- network ---- */

static void read_network(const char *root, c4info_system_facts *facts)
{
    facts->tcp_rmem_max = read_number_at(root, "/proc/sys/net/ipv4/tcp_rmem", 2);
    facts->tcp_wmem_max = read_number_at(root, "/proc/sys/net/ipv4/tcp_wmem", 2);
    facts->rmem_max = read_number(root, "/proc/sys/net/core/rmem_max");
    facts->wmem_max = read_number(root, "/proc/sys/net/core/wmem_max");
    facts->local_port_lo = read_number_at(root, "/proc/sys/net/ipv4/ip_local_port_range", 0);
    facts->local_port_hi = read_number_at(root, "/proc/sys/net/ipv4/ip_local_port_range", 1);
    facts->conntrack_count = read_number(root, "/proc/sys/net/netfilter/nf_conntrack_count");
    facts->conntrack_max = read_number(root, "/proc/sys/net/netfilter/nf_conntrack_max");
    facts->netfilter = exists(root, "/sys/module/nf_tables") || exists(root, "/sys/module/iptable_filter");
}

void c4info_facts_read_netif(const char *root, c4info_netif_facts *netif)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/sys/class/net/%s/mtu", netif->netif.name);
    netif->mtu = read_number(root, path);
    snprintf(path, sizeof path, "/sys/class/net/%s/speed", netif->netif.name);
    netif->speed_mbps = read_number(root, path);
    snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/rp_filter", netif->netif.name);
    int64_t own = read_number(root, path), all = read_number(root, "/proc/sys/net/ipv4/conf/all/rp_filter");
    /* The kernel takes the larger number, so that 2 (loose) somewhere undoes 1 (strict). */
    netif->rp_filter = own > all ? own : all;
}

/* ---- all ---- */

static const c4info_system_facts nothing_known = {
    .memory_limit_bytes = C4INFO_UNKNOWN,
    .memory_in_group_bytes = C4INFO_UNKNOWN,
    .cpu_quota = C4INFO_UNKNOWN,
    .pids_limit = C4INFO_UNKNOWN,
    .pids_in_group = C4INFO_UNKNOWN,
    .file_size_limit = C4INFO_UNKNOWN,
    .clock_unsynchronised = C4INFO_UNKNOWN,
    .firewall_rules = C4INFO_UNKNOWN,
};

void c4info_facts_read_system(const char *root, c4info_system_facts *facts)
{
    struct rlimit limit;
    *facts = nothing_known;
    c4_limits_read(&facts->limits);
    facts->limits.ptrace_scope = (int)read_number(root, "/proc/sys/kernel/yama/ptrace_scope");
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        facts->file_size_limit = (int64_t)limit.rlim_cur;
    facts->container = exists(root, "/.dockerenv") || exists(root, "/run/.containerenv") ||
                       exists(root, "/var/run/secrets/kubernetes.io");
    read_memory(root, facts);
    read_choice(root, "/sys/kernel/mm/transparent_hugepage/enabled", facts->thp, sizeof facts->thp);
    read_choice(root, "/sys/kernel/mm/transparent_hugepage/defrag", facts->thp_defrag, sizeof facts->thp_defrag);
    read_groups(root, facts);
    read_cpu(root, facts);
    read_network(root, facts);
    facts->clock_unsynchronised = clock_unsynchronised();
    if (!*root)
        c4info_firewall_read(facts);
}
