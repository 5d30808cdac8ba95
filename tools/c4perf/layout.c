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

static bool transport_available(const char *name)
{
    c4_info_transport transport = {.struct_size = sizeof transport};
    for (size_t i = 0; c4_info_get_transport(i, &transport) == C4_OK; i++) {
        if (strcmp(transport.name, name) == 0) {
            return transport.available != 0;
        }
    }
    return false;
}

/* C4_TRANSPORTS as it applies to this process: names in order of preference. */
static void transports_wanted(char *names, size_t room)
{
    c4_info_option option = {.struct_size = sizeof option};
    names[0] = '\0';
    for (size_t i = 0; c4_info_get_option(i, &option) == C4_OK; i++) {
        if (strcmp(option.name, "C4_TRANSPORTS") == 0) {
            snprintf(names, room, "%s", option.value);
        }
    }
}

/* The first transport of C4_TRANSPORTS that is available and reaches the given kind of peer. */
static void transport_for(bool same_host, char *name, size_t room)
{
    char names[256];
    char *rest = NULL;
    transports_wanted(names, sizeof names);
    snprintf(name, room, "unknown");
    for (char *word = strtok_r(names, ", ", &rest); word != NULL; word = strtok_r(NULL, ", ", &rest)) {
        if ((same_host || strcmp(word, "shm") != 0) && transport_available(word)) {
            snprintf(name, room, "%s", word);
            return;
        }
    }
}

static void transport_name(int nranks, c4perf_layout *layout)
{
    char local[32];
    char remote[32];
    transport_for(true, local, sizeof local);
    transport_for(false, remote, sizeof remote);
    bool uses_local = layout->nhosts < nranks;
    bool uses_remote = layout->nhosts > 1;
    snprintf(layout->transport, sizeof layout->transport, "%s%s%s", uses_local ? local : "",
             uses_local && uses_remote && strcmp(local, remote) != 0 ? "+" : "",
             uses_remote && !(uses_local && strcmp(local, remote) == 0) ? remote : "");
    if (nranks == 1) {
        snprintf(layout->transport, sizeof layout->transport, "loop");
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
