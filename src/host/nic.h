/* Network interfaces of this machine (of this network namespace), with what sysfs tells about the hardware behind them. */
#ifndef C4_HOST_NIC_H
#define C4_HOST_NIC_H

#include <c4/c4.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define C4_NIC_MAX_ADDRESSES  8
#define C4_NIC_ADDRESS_BYTES  64 /* "2001:db8::1/64" */
#define C4_NIC_HARDWARE_BYTES 32

typedef struct c4_nic {
    char name[IF_NAMESIZE];
    bool up, loopback;                  /* up: configured up and with carrier */
    int64_t speed_mbps;                 /* -1: not told, as by most virtual ones */
    int mtu;                            /* bytes; -1: not told */
    int numa;                           /* nearest memory node; -1: not told */
    char driver[C4_NIC_HARDWARE_BYTES]; /* ""; not told */
    char rdma[C4_NIC_HARDWARE_BYTES];   /* RDMA device of the same hardware, "mlx5_0"; "": none */
    size_t naddresses;                  /* more than fit are left out */
    char addresses[C4_NIC_MAX_ADDRESSES][C4_NIC_ADDRESS_BYTES]; /* with prefix length; IPv4 and IPv6 */
} c4_nic;

/* All interfaces in the kernel's order. The caller frees *nics. C4_ERR_SYSTEM or C4_ERR_MEMORY. */
c4_status c4_nic_list(c4_nic **nics, size_t *count);

#endif
