/* The commands' output as JSON: one object with schema_version. Sizes without a limit, and what the system does not
 * tell, are null. */
#include "tools/c4info/json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/algorithms.h"
#include "tools/c4info/clean.h"
#include "tools/c4info/doctor.h"

cJSON *c4info_json_document(const char *command)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "schema_version", C4INFO_SCHEMA_VERSION);
    cJSON_AddStringToObject(root, "command", command);
    cJSON_AddStringToObject(root, "version", c4_version());
    return root;
}

/* Prints and frees. A document that memory did not suffice for is NULL or prints as NULL. */
int c4info_json_finish(cJSON *root)
{
    char *text = root ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        return c4info_complain(C4_ERR_MEMORY, "JSON");
    puts(text);
    free(text);
    return 0;
}

static int give_up(cJSON *root, c4_status status, const char *what)
{
    cJSON_Delete(root);
    return c4info_complain(status, what);
}

cJSON *c4info_json_item(cJSON *array)
{
    cJSON *item = cJSON_CreateObject();
    cJSON_AddItemToArray(array, item);
    return item;
}

/* Doubles hold whole numbers up to 2^53; larger ones are limits that mean "none". */
static void add_size(cJSON *object, const char *name, uint64_t value)
{
    if (value >= (uint64_t)1 << 53)
        cJSON_AddNullToObject(object, name);
    else
        cJSON_AddNumberToObject(object, name, (double)value);
}

static void add_told(cJSON *object, const char *name, int64_t value)
{
    if (value < 0)
        cJSON_AddNullToObject(object, name);
    else
        cJSON_AddNumberToObject(object, name, (double)value);
}

int c4info_options_json(const c4info_request *request)
{
    (void)request;
    cJSON *root = c4info_json_document("options");
    cJSON *options = cJSON_AddArrayToObject(root, "options");
    c4_info_option option = {.struct_size = sizeof option};
    c4_status status = C4_OK;
    for (size_t i = 0; (status = c4_info_get_option(i, &option)) == C4_OK; i++) {
        cJSON *item = c4info_json_item(options);
        cJSON_AddStringToObject(item, "name", option.name);
        cJSON_AddStringToObject(item, "type", option.type);
        cJSON_AddStringToObject(item, "value", option.value);
        cJSON_AddStringToObject(item, "source", option.value_source);
        cJSON_AddStringToObject(item, "default", option.default_value);
        cJSON_AddStringToObject(item, "help", option.help);
    }
    return status == C4_ERR_COUNT ? c4info_json_finish(root) : give_up(root, status, "options");
}

static c4_status add_interfaces(cJSON *root)
{
    c4info_interfaces interfaces;
    c4_status status = c4info_interfaces_read(&interfaces);
    if (status < 0)
        return status;
    cJSON *array = cJSON_AddArrayToObject(root, "interfaces");
    for (size_t i = 0; i < interfaces.count; i++) {
        const c4_netif *netif = &interfaces.list[i];
        char ip[64];
        cJSON *item = c4info_json_item(array);
        cJSON_AddStringToObject(item, "name", netif->name);
        cJSON_AddStringToObject(item, "address", c4_netif_ip_text(netif->family, netif->ip, ip, sizeof ip));
        cJSON_AddBoolToObject(item, "used", netif == interfaces.chosen);
        cJSON_AddStringToObject(item, "reason", c4_netif_reason(netif, interfaces.chosen, &interfaces.wish));
    }
    return C4_OK;
}

static void add_devices(cJSON *transport, size_t index)
{
    cJSON *devices = cJSON_AddArrayToObject(transport, "devices");
    c4_info_device device = {.struct_size = sizeof device};
    for (size_t i = 0; c4_info_get_device(index, i, &device) == C4_OK; i++) {
        cJSON *item = c4info_json_item(devices);
        cJSON_AddStringToObject(item, "name", device.name);
        cJSON_AddBoolToObject(item, "used", device.used);
        cJSON_AddStringToObject(item, "reason", device.reason);
        cJSON_AddStringToObject(item, "address", device.address);
        cJSON_AddNumberToObject(item, "mtu", device.mtu);
        cJSON_AddNumberToObject(item, "rate_gbps", device.rate_gbps);
        cJSON_AddNumberToObject(item, "numa", device.node);
        cJSON_AddNumberToObject(item, "distance", device.distance);
    }
}

int c4info_transports_json(const c4info_request *request)
{
    (void)request;
    cJSON *root = c4info_json_document("transports");
    cJSON *transports = cJSON_AddArrayToObject(root, "transports");
    c4_info_transport transport = {.struct_size = sizeof transport};
    c4_status status = C4_OK;
    for (size_t i = 0; (status = c4_info_get_transport(i, &transport)) == C4_OK; i++) {
        cJSON *item = c4info_json_item(transports);
        cJSON_AddStringToObject(item, "name", transport.name);
        cJSON_AddBoolToObject(item, "available", transport.available);
        cJSON_AddStringToObject(item, "reason", transport.reason);
        cJSON_AddNumberToObject(item, "latency_us", transport.latency_us);
        cJSON_AddNumberToObject(item, "bandwidth_gbs", transport.bandwidth_gbs);
        cJSON_AddStringToObject(item, "capabilities", transport.capabilities);
        add_devices(item, i);
    }
    if (status == C4_ERR_COUNT)
        status = add_interfaces(root);
    return status == C4_OK ? c4info_json_finish(root) : give_up(root, status, "transports");
}

static void add_launchers(cJSON *root)
{
    cJSON *launchers = cJSON_AddArrayToObject(root, "launchers");
    c4_info_launcher launcher = {.struct_size = sizeof launcher};
    for (size_t i = 0; c4_info_get_launcher(i, &launcher) == C4_OK; i++) {
        cJSON *item = c4info_json_item(launchers);
        cJSON_AddStringToObject(item, "name", launcher.name);
        cJSON_AddBoolToObject(item, "used", launcher.used);
        cJSON_AddStringToObject(item, "reason", launcher.reason);
    }
}

/* "ranks on this host" is the member ranks_on_this_host: {"value": ..., "source": ...}. */
int c4info_launcher_json(const c4info_request *request)
{
    (void)request;
    cJSON *root = c4info_json_document("launcher");
    c4_info_launch fact = {.struct_size = sizeof fact};
    c4_status status;
    bool problem = false;
    add_launchers(root);
    cJSON *launch = cJSON_AddObjectToObject(root, "launch");
    for (size_t i = 0; (status = c4_info_get_launch(i, &fact)) == C4_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s", fact.what);
        for (char *c = name; *c; c++)
            *c = *c == ' ' ? '_' : *c;
        cJSON *item = cJSON_AddObjectToObject(launch, name);
        cJSON_AddStringToObject(item, "value", fact.value);
        cJSON_AddStringToObject(item, "source", fact.source);
        problem |= strcmp(name, "problem") == 0;
    }
    if (status != C4_ERR_COUNT)
        return give_up(root, status, "launcher");
    return c4info_json_finish(root) || problem;
}

/* All that C4_ALGO accepts. */
static void add_catalogue(cJSON *root)
{
    cJSON *algorithms = cJSON_AddArrayToObject(root, "algorithms");
    for (int i = 0; i < c4_nalgorithms; i++) {
        cJSON *item = c4info_json_item(algorithms);
        cJSON_AddStringToObject(item, "name", c4_algorithms[i].name);
        cJSON_AddStringToObject(item, "help", c4_algorithms[i].help);
        cJSON *collectives = cJSON_AddArrayToObject(item, "collectives");
        for (int kind = 0; kind < C4_NKINDS; kind++)
            if (c4_algorithms[i].kinds >> kind & 1)
                cJSON_AddItemToArray(collectives, cJSON_CreateString(c4_kind_name((c4_kind)kind)));
    }
}

int c4info_algorithms_json(const c4info_request *request)
{
    cJSON *root = c4info_json_document("algorithms");
    cJSON_AddNumberToObject(root, "nranks", request->nranks);
    cJSON_AddNumberToObject(root, "ranks_per_host", request->ranks_per_host);
    add_catalogue(root);
    cJSON *rows = cJSON_AddArrayToObject(root, "rows");
    c4_info_choice choice = {.struct_size = sizeof choice};
    c4_status status = C4_OK;
    for (size_t i = 0; (status = c4_info_get_choice(request->nranks, request->ranks_per_host, i, &choice)) == C4_OK;
         i++) {
        cJSON *item = c4info_json_item(rows);
        cJSON_AddStringToObject(item, "collective", choice.collective);
        add_size(item, "min_bytes", choice.min_bytes);
        add_size(item, "max_bytes", choice.max_bytes);
        cJSON_AddStringToObject(item, "algorithm", choice.algorithm);
        add_size(item, "chunk_bytes", choice.chunk_bytes);
        cJSON_AddNumberToObject(item, "lanes", choice.lanes);
        cJSON_AddNumberToObject(item, "predicted_us", choice.predicted_us);
        cJSON_AddStringToObject(item, "reason", choice.reason);
    }
    return status == C4_ERR_COUNT ? c4info_json_finish(root) : give_up(root, status, "algorithms");
}

static void add_limit(cJSON *object, const char *name, c4_limit limit)
{
    cJSON *item = cJSON_AddObjectToObject(object, name);
    add_size(item, "soft", limit.soft);
    add_size(item, "hard", limit.hard);
}

static void add_limits(cJSON *root, const c4_limits *limits)
{
    add_size(root, "memory_bytes", limits->memory_bytes);
    add_size(root, "memory_available_bytes", limits->memory_available_bytes);
    add_size(root, "shm_bytes", limits->has_shm ? limits->shm_bytes : UINT64_MAX);
    add_size(root, "shm_free_bytes", limits->has_shm ? limits->shm_free_bytes : UINT64_MAX);
    add_limit(root, "memlock_bytes", limits->memlock);
    add_limit(root, "nofile", limits->nofile);
    add_limit(root, "nproc", limits->nproc);
    add_told(root, "ptrace_scope", limits->ptrace_scope);
}

static void add_topology(cJSON *root, const c4_topology *topology)
{
    cJSON_AddStringToObject(root, "topology_source", topology->source);
    cJSON_AddNumberToObject(root, "packages", (double)c4_topology_packages(topology));
    cJSON *cores = cJSON_AddArrayToObject(root, "cores");
    for (size_t i = 0; i < topology->ncores; i++) {
        const c4_topology_core *core = &topology->cores[i];
        cJSON *item = c4info_json_item(cores);
        add_told(item, "package", core->package);
        add_told(item, "numa", core->numa);
        cJSON_AddItemToObject(item, "cpus", cJSON_CreateIntArray(topology->cpus + core->first_cpu, (int)core->ncpus));
    }
    cJSON *nodes = cJSON_AddArrayToObject(root, "numa_nodes");
    for (size_t i = 0; i < topology->nnuma; i++) {
        cJSON *item = c4info_json_item(nodes);
        cJSON_AddNumberToObject(item, "index", topology->numa[i].index);
        cJSON_AddNumberToObject(item, "cores", (double)topology->numa[i].ncores);
        add_size(item, "bytes", topology->numa[i].bytes);
    }
}

static void add_nics(cJSON *root, const c4info_machine *machine)
{
    cJSON *nics = cJSON_AddArrayToObject(root, "nics");
    for (size_t i = 0; i < machine->nnics; i++) {
        const c4_nic *nic = &machine->nics[i];
        cJSON *item = c4info_json_item(nics);
        cJSON_AddStringToObject(item, "name", nic->name);
        cJSON_AddBoolToObject(item, "up", nic->up);
        cJSON_AddBoolToObject(item, "loopback", nic->loopback);
        add_told(item, "speed_mbps", nic->speed_mbps);
        add_told(item, "mtu", nic->mtu);
        add_told(item, "numa", nic->numa);
        cJSON_AddStringToObject(item, "driver", nic->driver);
        cJSON_AddStringToObject(item, "rdma", nic->rdma);
        cJSON *addresses = cJSON_AddArrayToObject(item, "addresses");
        for (size_t j = 0; j < nic->naddresses; j++)
            cJSON_AddItemToArray(addresses, cJSON_CreateString(nic->addresses[j]));
    }
}

int c4info_host_json(const c4info_request *request)
{
    (void)request;
    c4info_machine machine;
    c4_status status = c4info_machine_init(&machine);
    if (status < 0)
        return c4info_complain(status, "host");
    cJSON *root = c4info_json_document("host");
    cJSON_AddStringToObject(root, "host", machine.name);
    cJSON_AddStringToObject(root, "kernel", machine.limits.kernel);
    cJSON_AddStringToObject(root, "cpu_level", c4_cpu_level_name(machine.cpu.level));
    add_size(root, "l1d_bytes", machine.cpu.l1d_bytes);
    add_size(root, "l2_bytes", machine.cpu.l2_bytes);
    add_size(root, "l3_bytes", machine.cpu.l3_bytes);
    add_topology(root, &machine.topology);
    add_limits(root, &machine.limits);
    add_nics(root, &machine);
    c4info_machine_fini(&machine);
    return c4info_json_finish(root);
}

int c4info_doctor_json(const c4info_request *request)
{
    c4info_report report;
    c4info_facts *facts = calloc(1, sizeof *facts);
    if (!facts)
        return c4info_complain(C4_ERR_MEMORY, "doctor");
    int status = c4info_doctor_gather(request, facts, &report);
    if (status < 0) {
        cJSON *root = c4info_json_document("doctor");
        cJSON_AddNumberToObject(root, "nranks", facts->job.nranks);
        cJSON_AddNumberToObject(root, "ranks_per_host", facts->job.local_nranks);
        cJSON_AddStringToObject(root, "worst", c4info_severity_name(c4info_report_worst(&report)));
        cJSON *findings = cJSON_AddArrayToObject(root, "findings");
        for (size_t i = 0; i < report.count; i++) {
            const c4info_finding *finding = &report.findings[i];
            if (finding->severity == C4INFO_OK && !request->all)
                continue;
            cJSON *item = c4info_json_item(findings);
            cJSON_AddStringToObject(item, "check", finding->check);
            cJSON_AddStringToObject(item, "severity", c4info_severity_name(finding->severity));
            cJSON_AddStringToObject(item, "what", finding->what);
            cJSON_AddStringToObject(item, "fix", finding->fix);
        }
        status = c4info_json_finish(root) ? 1 : c4info_doctor_status(&report);
    }
    c4info_report_fini(&report);
    free(facts);
    return status;
}

int c4info_clean_json(const c4info_request *request)
{
    c4info_leftovers found;
    bool whole = true;
    c4_status status = c4info_clean_run(request, &found);
    if (status < 0)
        return c4info_complain(status, "C4_RECORD_DIR");
    cJSON *root = c4info_json_document("clean");
    cJSON_AddBoolToObject(root, "dry_run", request->dry_run);
    cJSON *files = cJSON_AddArrayToObject(root, "leftovers");
    for (size_t i = 0; i < found.count; i++) {
        cJSON *item = c4info_json_item(files);
        cJSON_AddStringToObject(item, "path", found.all[i].path);
        add_size(item, "bytes", found.all[i].bytes);
        add_told(item, "age_s", found.all[i].age_s);
        cJSON_AddBoolToObject(item, "removed", found.all[i].removed);
        whole &= request->dry_run || found.all[i].removed;
    }
    free(found.all);
    return c4info_json_finish(root) || !whole;
}
