#include "host/nic.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

static int64_t read_number(const char *interface, const char *name)
{
    char path[128];
    long long value = -1;
    snprintf(path, sizeof path, "/sys/class/net/%s/%s", interface, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%lld", &value) != 1 || value < 0)
        value = -1;
    fclose(file);
    return value;
}

static void read_driver(c4_nic *nic)
{
    char path[128], target[256];
    snprintf(path, sizeof path, "/sys/class/net/%s/device/driver", nic->name);
    ssize_t bytes = readlink(path, target, sizeof target - 1);
    if (bytes <= 0)
        return;
    target[bytes] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(nic->driver, sizeof nic->driver, "%.31s", slash ? slash + 1 : target);
}

static void read_rdma(c4_nic *nic)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/class/net/%s/device/infiniband", nic->name);
    DIR *folder = opendir(path);
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry && !nic->rdma[0]; entry = readdir(folder))
        if (entry->d_name[0] != '.')
            snprintf(nic->rdma, sizeof nic->rdma, "%.31s", entry->d_name);
    if (folder)
        closedir(folder);
}

static void describe(c4_nic *nic, unsigned flags)
{
    nic->up = (flags & IFF_UP) && (flags & IFF_RUNNING);
    nic->loopback = (flags & IFF_LOOPBACK) != 0;
    nic->speed_mbps = read_number(nic->name, "speed");
    nic->mtu = (int)read_number(nic->name, "mtu");
    nic->numa = (int)read_number(nic->name, "device/numa_node");
    read_driver(nic);
    read_rdma(nic);
}

static int prefix_length(const unsigned char *mask, size_t bytes)
{
    int length = 0;
    for (size_t i = 0; i < bytes; i++)
        length += __builtin_popcount(mask[i]);
    return length;
}

static void add_address(c4_nic *nic, const struct ifaddrs *entry)
{
    char text[INET6_ADDRSTRLEN];
    static const unsigned char no_mask[16];
    const unsigned char *mask = no_mask;
    int family = entry->ifa_addr->sa_family;
    if ((family != AF_INET && family != AF_INET6) || nic->naddresses == C4_NIC_MAX_ADDRESSES)
        return;
    const void *address = family == AF_INET ? (const void *)&((struct sockaddr_in *)entry->ifa_addr)->sin_addr
                                            : (const void *)&((struct sockaddr_in6 *)entry->ifa_addr)->sin6_addr;
    if (entry->ifa_netmask)
        mask = family == AF_INET ? (const unsigned char *)&((struct sockaddr_in *)entry->ifa_netmask)->sin_addr
                                 : (const unsigned char *)&((struct sockaddr_in6 *)entry->ifa_netmask)->sin6_addr;
    inet_ntop(family, address, text, sizeof text);
    snprintf(nic->addresses[nic->naddresses++], C4_NIC_ADDRESS_BYTES, "%s/%d", text,
             prefix_length(mask, family == AF_INET ? 4 : 16));
}

/* An alias "eth0:1" belongs to eth0. */
static c4_nic *find_or_add(c4_nic *nics, size_t *count, const struct ifaddrs *entry)
{
    char name[IF_NAMESIZE];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(entry->ifa_name, ":"), entry->ifa_name);
    for (size_t i = 0; i < *count; i++)
        if (strcmp(nics[i].name, name) == 0)
            return &nics[i];
    c4_nic *nic = &nics[(*count)++];
    memcpy(nic->name, name, sizeof name);
    describe(nic, entry->ifa_flags);
    return nic;
}

c4_status c4_nic_list(c4_nic **nics, size_t *count)
{
    struct ifaddrs *entries;
    size_t most = 0, found = 0;
    if (getifaddrs(&entries) < 0)
        return c4_fail_errno(C4_ERR_SYSTEM, errno, "cannot list network interfaces");
    for (struct ifaddrs *entry = entries; entry; entry = entry->ifa_next)
        most++;
    c4_nic *made = calloc(most ? most : 1, sizeof *made);
    for (struct ifaddrs *entry = entries; made && entry; entry = entry->ifa_next) {
        c4_nic *nic = find_or_add(made, &found, entry);
        if (entry->ifa_addr)
            add_address(nic, entry);
    }
    freeifaddrs(entries);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "list of network interfaces");
    *nics = made;
    *count = found;
    return C4_OK;
}
