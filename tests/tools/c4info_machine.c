#include "tests/tools/c4info_machine.h"

#include <stdio.h>
#include <string.h>

c4info_netif_facts machine_netif(const char *name, unsigned char last, unsigned char third)
{
    c4info_netif_facts made = {.netif = {.family = 4, .ip = {10, 0, third, last}, .prefix_bits = 24, .running = true},
                               .mtu = 9000,
                               .speed_mbps = 10000,
                               .rp_filter = 2};
    snprintf(made.netif.name, sizeof made.netif.name, "%s", name);
    return made;
}

void machine_healthy(c4info_facts *facts)
{
    memset(facts, 0, sizeof *facts);
    facts->job = (c4info_job_facts){.nranks = 16,
                                    .local_nranks = 8,
                                    .wants_tcp = true,
                                    .wants_verbs = true,
                                    .shm_budget_bytes = 512 * MIB,
                                    .record = true,
                                    .record_bytes = MIB,
                                    .record_top = "/dev/shm/c4-7",
                                    .tcp_sockets = 2,
                                    .ports = "20000-20099",
                                    .port_lo = 20000,
                                    .port_hi = 20099,
                                    .has_key = true};
    facts->system = (c4info_system_facts){.limits = {.has_shm = true,
                                                     .shm_bytes = 8 * GIB,
                                                     .shm_free_bytes = 8 * GIB,
                                                     .memlock = {C4_UNLIMITED, C4_UNLIMITED},
                                                     .nofile = {65536, 65536},
                                                     .nproc = {C4_UNLIMITED, C4_UNLIMITED},
                                                     .memory_bytes = 64 * GIB,
                                                     .ptrace_scope = 0},
                                          .cores = 8,
                                          .cpus = 16,
                                          .memory_limit_bytes = C4INFO_UNKNOWN,
                                          .cpu_quota = C4INFO_UNKNOWN,
                                          .pids_limit = C4INFO_UNKNOWN,
                                          .file_size_limit = C4INFO_UNKNOWN,
                                          .swap_bytes = GIB,
                                          .hugepages = 16,
                                          .hugepage_bytes = 2 * MIB,
                                          .thp = "madvise",
                                          .numa_nodes = 2,
                                          .clocksource = "tsc",
                                          .governor = "performance",
                                          .x86 = true,
                                          .tsc_invariant = true,
                                          .tcp_rmem_max = 32 * MIB,
                                          .tcp_wmem_max = 32 * MIB,
                                          .rmem_max = 32 * MIB,
                                          .wmem_max = 32 * MIB,
                                          .local_port_lo = 32768,
                                          .local_port_hi = 60999,
                                          .conntrack_count = 100,
                                          .conntrack_max = 262144,
                                          .name = "node7",
                                          .name_address = "10.0.0.5",
                                          .segment_directory = "/dev/shm"};
    facts->nnetifs = 2;
    facts->netifs[0] = machine_netif("eth0", 5, 0);
    facts->netifs[0].chosen = true;
    facts->netifs[0].netif.has_default_route = true;
    facts->netifs[1] = machine_netif("eth1", 5, 1);
    facts->wish = (c4_netif_wish){.spec = facts->job.ifname};
}
