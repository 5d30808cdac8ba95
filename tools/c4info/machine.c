/* The machine, gathered once for both forms of output. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
