/* What the commands share: the machine, gathered once for both forms of output, and the one way to complain. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "tools/c4info/c4info.h"

c4_status c4info_machine_init(c4info_machine *machine)
{
    *machine = (c4info_machine){.nnics = 0};
    gethostname(machine->name, sizeof machine->name - 1);
    c4_cpu_detect(&machine->cpu);
    c4_limits_read(&machine->limits);
    c4_status status = c4_topology_init(&machine->topology);
    if (status == C4_OK)
        status = c4_nic_list(&machine->nics, &machine->nnics);
    if (status < 0)
        c4info_machine_fini(machine);
    return status;
}

void c4info_machine_fini(c4info_machine *machine)
{
    c4_topology_fini(&machine->topology);
    free(machine->nics);
    machine->nics = NULL;
}

int c4info_complain(c4_status status, const char *what)
{
    /* The library's own errors, then those of the layers that are linked into this program. */
    const char *detail = *c4_last_error(NULL) ? c4_last_error(NULL) : c4_fail_text();
    fprintf(stderr, "c4info: %s: %s: %s\n", what, c4_status_name(status), *detail ? detail : c4_status_text(status));
    return 1;
}

c4_status c4info_interfaces_read(c4info_interfaces *interfaces)
{
    c4_info_option option = {.struct_size = sizeof option};
    c4_status status;
    *interfaces = (c4info_interfaces){.count = C4INFO_MAX_NETIFS};
    interfaces->wish.spec = interfaces->ifname;
    for (size_t i = 0; (status = c4_info_get_option(i, &option)) == C4_OK; i++) {
        if (strcmp(option.name, "C4_SOCKET_IFNAME") == 0)
            snprintf(interfaces->ifname, sizeof interfaces->ifname, "%s", option.value);
        else if (strcmp(option.name, "C4_SOCKET_FAMILY") == 0)
            interfaces->wish.family = strcmp(option.value, "ipv4") == 0 ? 4 : strcmp(option.value, "ipv6") == 0 ? 6 : 0;
    }
    if (status != C4_ERR_COUNT)
        return status;
    C4_TRY(c4_netif_list(interfaces->list, &interfaces->count));
    c4_netif_candidates(interfaces->list, interfaces->count, &interfaces->wish, &interfaces->chosen, 1);
    return C4_OK;
}
