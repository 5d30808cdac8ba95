#include "tools/c4perf/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define HOST_BYTES   64

/* Equal for processes of one running kernel with one name, so that two containers count as two hosts. */
static void host_identity(char identity[HOST_BYTES])
{
    size_t length = 0;
    memset(identity, 0, HOST_BYTES);
    FILE *file = fopen(BOOT_ID_PATH, "r");
    if (file != NULL) {
        length = fread(identity, 1, 36, file);
        fclose(file);
    }
    gethostname(identity + length, HOST_BYTES - length - 1);
}

static void count_hosts(const char *identities, int nranks, c4perf_layout *layout)
{
    layout->nhosts = 0;
    layout->ranks_per_host = 0;
    bool even = true;
    for (int rank = 0; rank < nranks; rank++) {
        const char *own = identities + (size_t)rank * HOST_BYTES;
        int first = -1;
        int ranks = 0;
        for (int other = 0; other < nranks; other++) {
            if (memcmp(own, identities + (size_t)other * HOST_BYTES, HOST_BYTES) == 0) {
                first = first < 0 ? other : first;
                ranks++;
            }
        }
        layout->nhosts += first == rank;
        even &= rank == 0 || ranks == layout->ranks_per_host;
        layout->ranks_per_host = rank == 0 ? ranks : layout->ranks_per_host;
    }
    if (!even) {
        layout->ranks_per_host = 0;
    }
}

/* The first transport of the library's order that is available and reaches the given kind of peer. */
static const char *transport_for(bool same_host)
{
    static char name[32];
    c4_info_transport transport = {.struct_size = sizeof transport};
    for (size_t i = 0; c4_info_get_transport(i, &transport) == C4_OK; i++) {
        bool local_only = strcmp(transport.name, "shm") == 0;
        if (transport.available && strcmp(transport.name, "loop") != 0 && (same_host || !local_only)) {
            snprintf(name, sizeof name, "%s", transport.name);
            return name;
        }
    }
    return "unknown";
}

static void transport_name(int nranks, c4perf_layout *layout)
{
    char *name = layout->transport;
    size_t room = sizeof layout->transport;
    if (nranks == 1) {
        snprintf(name, room, "loop");
    } else if (layout->nhosts == 1) {
        snprintf(name, room, "%s", transport_for(true));
    } else if (layout->nhosts == nranks) {
        snprintf(name, room, "%s", transport_for(false));
    } else {
        snprintf(name, room, "%s", transport_for(true));
        size_t length = strlen(name);
        snprintf(name + length, room - length, "+%s", transport_for(false));
    }
}

c4_status c4perf_layout_find(c4perf_bench *bench, c4perf_layout *layout)
{
    char own[HOST_BYTES];
    char *identities = calloc((size_t)bench->nranks, HOST_BYTES);
    if (identities == NULL) {
        return c4perf_complain(bench, C4_ERR_MEMORY, "allocating host names");
    }
    host_identity(own);
    c4_status status = c4_all_gather(own, identities, HOST_BYTES, C4_UINT8, bench->world, NULL);
    if (status == C4_OK) {
        count_hosts(identities, bench->nranks, layout);
        transport_name(bench->nranks, layout);
    }
    free(identities);
    return c4perf_complain(bench, status, "finding the hosts of the ranks");
}
