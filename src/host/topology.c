#include "host/topology.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "host/topology_internal.h"

/* Room for one more item: arrays double at powers of two. */
static c4_status grow(void **items, size_t count, size_t item_bytes)
{
    if (count && (count & (count - 1)))
        return C4_OK;
    void *more = realloc(*items, (count ? 2 * count : 1) * item_bytes);
    if (!more)
        return c4_fail(C4_ERR_MEMORY, "topology");
    *items = more;
    return C4_OK;
}

c4_status c4_topology_add_core(c4_topology *topology, int package, int numa)
{
    C4_TRY(grow((void **)&topology->cores, topology->ncores, sizeof *topology->cores));
    topology->cores[topology->ncores++] =
        (c4_topology_core){.package = package, .numa = numa, .first_cpu = topology->ncpus};
    return c4_topology_count_numa(topology, numa);
}

c4_status c4_topology_add_cpu(c4_topology *topology, int cpu)
{
    C4_TRY(grow((void **)&topology->cpus, topology->ncpus, sizeof *topology->cpus));
    topology->cpus[topology->ncpus++] = cpu;
    topology->cores[topology->ncores - 1].ncpus++;
    return C4_OK;
}

c4_status c4_topology_count_numa(c4_topology *topology, int numa)
{
    size_t i = 0;
    if (numa < 0)
        return C4_OK;
    while (i < topology->nnuma && topology->numa[i].index != numa)
        i++;
    if (i == topology->nnuma) {
        C4_TRY(grow((void **)&topology->numa, topology->nnuma, sizeof *topology->numa));
        topology->numa[topology->nnuma++] = (c4_topology_numa){.index = numa};
    }
    topology->numa[i].ncores++;
    return C4_OK;
}

static c4_status read_allowed(bool *allowed)
{
    cpu_set_t *set = CPU_ALLOC(C4_TOPOLOGY_MAX_CPUS);
    size_t bytes = CPU_ALLOC_SIZE(C4_TOPOLOGY_MAX_CPUS);
    if (!set)
        return c4_fail(C4_ERR_MEMORY, "topology");
    CPU_ZERO_S(bytes, set);
    int error = sched_getaffinity(0, bytes, set) < 0 ? errno : 0;
    for (size_t cpu = 0; cpu < C4_TOPOLOGY_MAX_CPUS; cpu++)
        allowed[cpu] = CPU_ISSET_S(cpu, bytes, set);
    CPU_FREE(set);
    return error ? c4_fail_errno(C4_ERR_SYSTEM, error, "sched_getaffinity") : C4_OK;
}

c4_status c4_topology_init(c4_topology *topology)
{
    c4_status status;
    c4_topology made = {.source = "hwloc"};
    bool *allowed = calloc(C4_TOPOLOGY_MAX_CPUS, sizeof *allowed);
    if (!allowed)
        return c4_fail(C4_ERR_MEMORY, "topology");
    C4_TRY_GOTO(read_allowed(allowed), out);
    status = c4_topology_read_hwloc(&made, allowed);
    if (status == C4_ERR_UNSUPPORTED) {
        c4_topology_fini(&made);
        made.source = "sysfs";
        status = c4_topology_read_sysfs(&made, allowed);
    }
    if (status == C4_OK)
        *topology = made;
    else
        c4_topology_fini(&made);
out:
    free(allowed);
    return status;
}

void c4_topology_fini(c4_topology *topology)
{
    free(topology->cores);
    free(topology->cpus);
    free(topology->numa);
    *topology = (c4_topology){.source = topology->source};
}

size_t c4_topology_packages(const c4_topology *topology)
{
    size_t packages = 0;
    for (size_t i = 0; i < topology->ncores; i++) {
        size_t earlier = 0;
        while (earlier < i && topology->cores[earlier].package != topology->cores[i].package)
            earlier++;
        packages += earlier == i;
    }
    return packages;
}

char *c4_topology_format(const c4_topology *topology)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    if (!stream)
        return NULL;
    for (size_t i = 0; i < topology->ncores; i++) {
        const c4_topology_core *core = &topology->cores[i];
        for (size_t j = 0; j < core->ncpus; j++)
            fprintf(stream, "%s%d", j ? "," : i ? " " : "", topology->cpus[core->first_cpu + j]);
        fprintf(stream, "/%d/%d", core->package, core->numa);
    }
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* -1 .. 65535, at least one digit; moves *text past it. */
static bool read_number(const char **text, int *number)
{
    char *end;
    if (!isdigit((unsigned char)**text) && strncmp(*text, "-1", 2) != 0)
        return false;
    errno = 0;
    long value = strtol(*text, &end, 10);
    if (errno || value < -1 || value > UINT16_MAX)
        return false;
    *text = end;
    *number = (int)value;
    return true;
}

static c4_status parse_core(const char **text, c4_topology *topology)
{
    int package, numa, cpu;
    const char *slash = *text + strcspn(*text, "/ ");
    if (*slash++ != '/' || !read_number(&slash, &package) || *slash++ != '/' || !read_number(&slash, &numa) ||
        (*slash && *slash != ' '))
        return C4_ERR_OPTION;
    C4_TRY(c4_topology_add_core(topology, package, numa));
    do {
        if (!read_number(text, &cpu) || cpu < 0 || cpu >= C4_TOPOLOGY_MAX_CPUS)
            return C4_ERR_OPTION;
        C4_TRY(c4_topology_add_cpu(topology, cpu));
    } while (*(*text)++ == ',');
    if ((*text)[-1] != '/')
        return C4_ERR_OPTION;
    *text = *slash ? slash + 1 : slash;
    return C4_OK;
}

c4_status c4_topology_parse(const char *text, c4_topology *topology)
{
    c4_topology made = {.source = "C4_TOPOLOGY"};
    c4_status status = *text ? C4_OK : C4_ERR_OPTION;
    while (status == C4_OK && *text)
        status = parse_core(&text, &made);
    if (status == C4_OK)
        *topology = made;
    else
        c4_topology_fini(&made);
    return status;
}
