/* The commands' output as tables. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "schedule/algorithms.h"
#include "tools/c4info/c4info.h"
#include "tools/c4info/table.h"

#define RIGHT(column) (1u << (column))

/* ---- options ---- */

static const char *or_dash(const char *text)
{
    return *text ? text : "-";
}

int c4info_options_text(const c4info_request *request)
{
    (void)request;
    c4info_table table;
    c4_info_option option = {.struct_size = sizeof option};
    size_t index = 0;
    static const char *const headers[] = {"NAME", "VALUE", "SOURCE", "DEFAULT", "HELP"};
    c4info_table_init(&table, 5, 0, headers);
    c4_status status;
    while ((status = c4_info_get_option(index, &option)) == C4_OK) {
        c4info_table_add(&table, "%s", option.name);
        c4info_table_add(&table, "%s", or_dash(option.value));
        c4info_table_add(&table, "%s", option.value_source);
        c4info_table_add(&table, "%s", or_dash(option.default_value));
        c4info_table_add(&table, "(%s) %s", option.type, option.help);
        index++;
    }
    if (status != C4_ERR_COUNT)
        return c4info_complain(status, "options");
    c4info_table_print(&table);
    return 0;
}

/* ---- transports ---- */

/* Which interface C4 would listen on for ranks of other hosts, and why not on the others. */
static int print_interfaces(void)
{
    c4info_interfaces interfaces;
    c4_status status = c4info_interfaces_read(&interfaces);
    if (status < 0)
        return c4info_complain(status, "interfaces");
    static const char *const headers[] = {"INTERFACE", "ADDRESS", "USED", "WHY"};
    c4info_table table;
    c4info_table_init(&table, 4, 0, headers);
    for (size_t i = 0; i < interfaces.count; i++) {
        const c4_netif *netif = &interfaces.list[i];
        char ip[64];
        c4info_table_add(&table, "%s", netif->name);
        c4info_table_add(&table, "%s", c4_netif_ip_text(netif->family, netif->ip, ip, sizeof ip));
        c4info_table_add(&table, "%s", netif == interfaces.chosen ? "yes" : "no");
        c4info_table_add(&table, "%s", c4_netif_reason(netif, interfaces.chosen, &interfaces.wish));
    }
    printf("\n");
    c4info_table_print(&table);
    if (!interfaces.chosen)
        printf("\nC4_SOCKET_IFNAME and C4_SOCKET_FAMILY fit none of them: TCP cannot be used.\n");
    return 0;
}

static void add_device(c4info_table *table, const char *transport, const c4_info_device *device)
{
    c4info_table_add(table, "%s", transport);
    c4info_table_add(table, "%s", device->name);
    c4info_table_add(table, "%s", device->used ? "yes" : "no");
    c4info_table_add(table, "%s", or_dash(device->address));
    c4info_table_add(table, "%u", device->mtu);
    if (device->rate_gbps > 0)
        c4info_table_add(table, "%.0f Gbit/s", device->rate_gbps);
    else
        c4info_table_add(table, "-");
    if (device->node >= 0)
        c4info_table_add(table, "%d", device->node);
    else
        c4info_table_add(table, "-");
    c4info_table_add(table, "%d", device->distance);
    c4info_table_add(table, "%s", device->reason);
}

/* Of the transports that have some. */
static void print_devices(void)
{
    static const char *const headers[] = {"TRANSPORT", "DEVICE", "USED",     "ADDRESS", "MTU",
                                          "RATE",      "NODE",   "DISTANCE", "WHY"};
    c4info_table table;
    c4_info_transport transport = {.struct_size = sizeof transport};
    c4_info_device device = {.struct_size = sizeof device};
    size_t count = 0;
    for (size_t i = 0; c4_info_get_transport(i, &transport) == C4_OK; i++)
        for (size_t j = 0; c4_info_get_device(i, j, &device) == C4_OK; j++) {
            if (count++ == 0)
                c4info_table_init(&table, 9, RIGHT(4) | RIGHT(5) | RIGHT(6) | RIGHT(7), headers);
            add_device(&table, transport.name, &device);
        }
    if (count == 0)
        return;
    printf("\n");
    c4info_table_print(&table);
}

int c4info_transports_text(const c4info_request *request)
{
    (void)request;
    c4info_table table;
    c4_info_transport transport = {.struct_size = sizeof transport};
    size_t index = 0;
    static const char *const headers[] = {"NAME", "USED", "LATENCY", "BANDWIDTH", "CAPABILITIES, OR WHY NOT"};
    c4info_table_init(&table, 5, RIGHT(2) | RIGHT(3), headers);
    c4_status status;
    while ((status = c4_info_get_transport(index, &transport)) == C4_OK) {
        c4info_table_add(&table, "%s", transport.name);
        c4info_table_add(&table, "%s", transport.available ? "yes" : "no");
        if (transport.latency_us > 0)
            c4info_table_add(&table, "%.2f us", transport.latency_us);
        else
            c4info_table_add(&table, "-");
        if (transport.bandwidth_gbs > 0)
            c4info_table_add(&table, "%.1f GB/s", transport.bandwidth_gbs);
        else
            c4info_table_add(&table, "-");
        c4info_table_add(&table, "%s", transport.available ? or_dash(transport.capabilities) : transport.reason);
        index++;
    }
    if (status != C4_ERR_COUNT)
        return c4info_complain(status, "transports");
    c4info_table_print(&table);
    printf("\nLatency and bandwidth are what the choice of algorithm assumes, not measurements of this machine.\n");
    print_devices();
    return print_interfaces();
}

/* ---- launcher ---- */

static c4_status print_launch(bool *problem)
{
    static const char *const headers[] = {"WHAT", "VALUE", "FROM"};
    c4info_table table;
    c4_info_launch fact = {.struct_size = sizeof fact};
    c4_status status;
    c4info_table_init(&table, 3, 0, headers);
    for (size_t i = 0; (status = c4_info_get_launch(i, &fact)) == C4_OK; i++) {
        *problem = strcmp(fact.what, "problem") == 0;
        c4info_table_add(&table, "%s", fact.what);
        c4info_table_add(&table, "%s", *problem ? "see below" : fact.value);
        c4info_table_add(&table, "%s", fact.source);
    }
    printf("\n");
    c4info_table_print(&table);
    if (*problem) /* the last fact */
        printf("\n%s\n", fact.value);
    return status == C4_ERR_COUNT ? C4_OK : status;
}

int c4info_launcher_text(const c4info_request *request)
{
    static const char *const headers[] = {"LAUNCHER", "USED", "WHY, OR WHY NOT"};
    c4info_table table;
    c4_info_launcher launcher = {.struct_size = sizeof launcher};
    bool problem = false;
    (void)request;
    c4info_table_init(&table, 3, 0, headers);
    for (size_t i = 0; c4_info_get_launcher(i, &launcher) == C4_OK; i++) {
        c4info_table_add(&table, "%s", launcher.name);
        c4info_table_add(&table, "%s", launcher.used ? "yes" : "no");
        c4info_table_add(&table, "%s", launcher.reason);
    }
    c4info_table_print(&table);
    c4_status status = print_launch(&problem);
    return status < 0 ? c4info_complain(status, "launcher") : problem;
}

/* ---- algorithms ---- */

static void add_size(c4info_table *table, size_t bytes)
{
    char text[32];
    if (bytes == SIZE_MAX)
        c4info_table_add(table, "no limit");
    else if (bytes >= 1024 && bytes & (bytes - 1)) /* borders are exact; a rounded one would be wrong */
        c4info_table_add(table, "%zu B", bytes);
    else
        c4info_table_add(table, "%s", c4info_format_bytes(bytes, text));
}

static void add_choice(c4info_table *table, const c4_info_choice *choice, bool named)
{
    char text[32];
    c4info_table_add(table, "%s", named ? choice->collective : "");
    add_size(table, choice->min_bytes);
    /* The first size that it does not serve: 4095 is harder to read than 4 KiB. */
    add_size(table, choice->max_bytes == SIZE_MAX ? SIZE_MAX : choice->max_bytes + 1);
    c4info_table_add(table, "%s", choice->algorithm);
    c4info_table_add(table, "%s", choice->chunk_bytes ? c4info_format_bytes(choice->chunk_bytes, text) : "own");
    c4info_table_add(table, "%d", choice->lanes);
    c4info_table_add(table, "%.2f us", choice->predicted_us);
    c4info_table_add(table, "%s", choice->reason);
}

/* All that C4_ALGO accepts. */
static void print_catalogue(void)
{
    static const char *const headers[] = {"C4_ALGO", "WHAT IT DOES AND COSTS"};
    c4info_table table;
    c4info_table_init(&table, 2, 0, headers);
    for (int i = 0; i < c4_nalgorithms; i++) {
        c4info_table_add(&table, "%s", c4_algorithms[i].name);
        c4info_table_add(&table, "%s", c4_algorithms[i].help);
    }
    c4info_table_print(&table);
    printf("n ranks, S bytes; a: latency, b: time per byte, g: time to reduce a byte.\n");
}

int c4info_algorithms_text(const c4info_request *request)
{
    c4info_table table;
    c4_info_choice choice = {.struct_size = sizeof choice};
    const char *last = "";
    bool mapped = false;
    size_t index = 0;
    c4_status status;
    static const char *const headers[] = {"COLLECTIVE", "FROM",  "BELOW",     "ALGORITHM",
                                          "CHUNK",      "LANES", "PREDICTED", "WHY"};
    c4info_table_init(&table, 8, RIGHT(1) | RIGHT(2) | RIGHT(5) | RIGHT(6), headers);
    while ((status = c4_info_get_choice(request->nranks, request->ranks_per_host, index, &choice)) == C4_OK) {
        add_choice(&table, &choice, strcmp(choice.collective, last) != 0);
        mapped |= strcmp(choice.algorithm, "mapped") == 0;
        last = choice.collective;
        index++;
    }
    if (status != C4_ERR_COUNT) {
        c4info_complain(status, "algorithms");
        print_catalogue();
        return 1;
    }
    printf("%d rank%s, %d on each host. Sizes as c4perf counts them: of the larger buffer, float32. Predicted: at "
           "FROM.\n\n",
           request->nranks, request->nranks == 1 ? "" : "s", request->ranks_per_host);
    c4info_table_print(&table);
    if (mapped)
        printf("\n\"mapped\" is for memory from c4_mem_alloc; calls with other memory copy instead, as in\n"
               "`C4_MAP=0 c4info algorithms`.\n");
    printf("\n");
    print_catalogue();
    return 0;
}

/* ---- host ---- */

static void print_limit(const char *name, c4_limit limit, bool bytes)
{
    char soft[32] = "", hard[32] = "";
    uint64_t values[] = {limit.soft, limit.hard};
    char *texts[] = {soft, hard};
    for (int i = 0; i < 2; i++) {
        if (values[i] == C4_UNLIMITED)
            snprintf(texts[i], 32, "unlimited");
        else if (bytes)
            c4info_format_bytes(values[i], texts[i]);
        else
            snprintf(texts[i], 32, "%llu", (unsigned long long)values[i]);
    }
    printf("%-12s  %s (at most %s)\n", name, soft, hard);
}

static void print_cores(const c4info_machine *machine)
{
    const c4_topology *topology = &machine->topology;
    size_t packages = c4_topology_packages(topology);
    char text[32], l1[32], l2[32], l3[32];
    printf("%-12s  %zu (%zu hardware threads, %zu package%s; by %s)\n", "cores", topology->ncores, topology->ncpus,
           packages, packages == 1 ? "" : "s", topology->source);
    printf("%-12s  %s; cache %s L1d, %s L2, %s L3\n", "cpu level", c4_cpu_level_name(machine->cpu.level),
           c4info_format_bytes(machine->cpu.l1d_bytes, l1), c4info_format_bytes(machine->cpu.l2_bytes, l2),
           c4info_format_bytes(machine->cpu.l3_bytes, l3));
    for (size_t i = 0; i < topology->nnuma; i++) {
        const c4_topology_numa *numa = &topology->numa[i];
        printf("%-12s  %d: %zu core%s, %s\n", i == 0 ? "numa nodes" : "", numa->index, numa->ncores,
               numa->ncores == 1 ? "" : "s", numa->bytes ? c4info_format_bytes(numa->bytes, text) : "size unknown");
    }
}

static void print_limits(const c4_limits *limits)
{
    char first[32], second[32];
    printf("%-12s  %s (%s available)\n", "memory", c4info_format_bytes(limits->memory_bytes, first),
           c4info_format_bytes(limits->memory_available_bytes, second));
    if (limits->has_shm)
        printf("%-12s  %s (%s free)\n", "/dev/shm", c4info_format_bytes(limits->shm_bytes, first),
               c4info_format_bytes(limits->shm_free_bytes, second));
    else
        printf("%-12s  missing\n", "/dev/shm");
    print_limit("memlock", limits->memlock, true);
    print_limit("nofile", limits->nofile, false);
    print_limit("nproc", limits->nproc, false);
    if (limits->ptrace_scope >= 0)
        printf("%-12s  %d\n", "ptrace_scope", limits->ptrace_scope);
}

static void print_nics(const c4info_machine *machine)
{
    c4info_table table;
    static const char *const headers[] = {"NIC", "STATE", "SPEED", "MTU", "NUMA", "HARDWARE", "ADDRESSES"};
    c4info_table_init(&table, 7, RIGHT(2) | RIGHT(3) | RIGHT(4), headers);
    for (size_t i = 0; i < machine->nnics; i++) {
        const c4_nic *nic = &machine->nics[i];
        char addresses[C4_NIC_MAX_ADDRESSES * (C4_NIC_ADDRESS_BYTES + 1)] = "";
        for (size_t j = 0; j < nic->naddresses; j++) {
            strcat(addresses, j ? " " : "");
            strcat(addresses, nic->addresses[j]);
        }
        c4info_table_add(&table, "%s", nic->name);
        c4info_table_add(&table, "%s", nic->up ? "up" : "down");
        if (nic->speed_mbps > 0)
            c4info_table_add(&table, "%lld Mb/s", (long long)nic->speed_mbps);
        else
            c4info_table_add(&table, "-");
        c4info_table_add(&table, "%d", nic->mtu);
        if (nic->numa >= 0)
            c4info_table_add(&table, "%d", nic->numa);
        else
            c4info_table_add(&table, "-");
        c4info_table_add(&table, "%s%s%s", nic->loopback ? "loopback" : or_dash(nic->driver), nic->rdma[0] ? " " : "",
                         nic->rdma);
        c4info_table_add(&table, "%s", or_dash(addresses));
    }
    c4info_table_print(&table);
}

int c4info_host_text(const c4info_request *request)
{
    (void)request;
    c4info_machine machine;
    c4_status status = c4info_machine_init(&machine);
    if (status < 0)
        return c4info_complain(status, "host");
    printf("%-12s  %s\n%-12s  Linux %s\n", "host", machine.name, "kernel", machine.limits.kernel);
    print_cores(&machine);
    print_limits(&machine.limits);
    printf("\n");
    print_nics(&machine);
    c4info_machine_fini(&machine);
    return 0;
}
