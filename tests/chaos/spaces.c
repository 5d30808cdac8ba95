/* Hosts on one machine: name spaces for mounts, host names and networks. Needs root; where that is not to be had, the
 * calls say so and those faults are left out. */
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"

bool chaos_spaces_enter(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return false;
    return mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1g,mode=1777") == 0;
}

/* A host is known by the kernel's boot id and its name. */
bool chaos_spaces_become_host(int host)
{
    char name[32], path[] = "/tmp/c4-boot-id-XXXXXX";
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS) != 0)
        return false;
    int length = snprintf(name, sizeof name, "chaos-host%d", host);
    if (sethostname(name, (size_t)length) != 0)
        return false;
    int fd = mkstemp(path);
    if (fd < 0)
        return false;
    bool good = dprintf(fd, "c4c4c4c4-0000-4000-8000-%012d\n", host) > 0 &&
                mount(path, "/proc/sys/kernel/random/boot_id", NULL, MS_BIND, NULL) == 0;
    close(fd);
    unlink(path);
    return good;
}

/* ---- networks, by ip(8) and tc(8) ---- */

static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static bool run(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    snprintf(command + length, sizeof command - (size_t)length, " >/dev/null 2>&1");
    return system(command) == 0;
}

static struct {
    int nhosts;
    int pid; /* names are of the driver that made them */
} net;

static bool host_up(int h)
{
    return run("ip netns add c4c%d-h%d && ip link add e0 netns c4c%d-h%d type veth peer name p%d netns c4c%d-sw && "
               "ip -n c4c%d-h%d addr add 10.77.0.%d/24 dev e0 && ip -n c4c%d-h%d link set lo up && "
               "ip -n c4c%d-h%d link set e0 up && ip -n c4c%d-sw link set p%d master b%d up",
               net.pid, h, net.pid, h, h, net.pid, net.pid, h, h + 1, net.pid, h, net.pid, h, net.pid, h,
               h >= net.nhosts / 2);
}

bool chaos_net_up(int nhosts)
{
    net.nhosts = nhosts;
    net.pid = (int)getpid();
    if (!run(
            "ip netns add c4c%d-sw && ip -n c4c%d-sw link add b0 type bridge && ip -n c4c%d-sw link add b1 type bridge "
            "&& "
            "ip -n c4c%d-sw link add t0 type veth peer name t1 && ip -n c4c%d-sw link set t0 master b0 up && "
            "ip -n c4c%d-sw link set t1 master b1 up && ip -n c4c%d-sw link set b0 up && ip -n c4c%d-sw link set b1 up",
            net.pid, net.pid, net.pid, net.pid, net.pid, net.pid, net.pid, net.pid))
        return false;
    for (int h = 0; h < nhosts; h++)
        if (!host_up(h))
            return false;
    return true;
}

void chaos_net_down(void)
{
    for (int h = 0; h < net.nhosts; h++)
        run("ip netns del c4c%d-h%d", net.pid, h);
    run("ip netns del c4c%d-sw", net.pid);
}

bool chaos_net_enter(int host)
{
    char path[64];
    snprintf(path, sizeof path, "/run/netns/c4c%d-h%d", net.pid, host);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

bool chaos_net_link(int host, bool up)
{
    return run("ip -n c4c%d-sw link set p%d %s", net.pid, host, up ? "up" : "down");
}

/* A narrow link with a long queue: hundreds of milliseconds of delay, and losses when that queue is full. */
bool chaos_net_slow(int host, bool slow)
{
    if (!slow)
        return run("tc -n c4c%d-sw qdisc del dev p%d root", net.pid, host);
    return run("tc -n c4c%d-sw qdisc add dev p%d root tbf rate 20mbit burst 16k latency 100ms", net.pid, host);
}

/* The link between the switches leaves them: nobody is told anything. */
bool chaos_net_partition(bool parted)
{
    return parted ? run("ip -n c4c%d-sw link set t0 nomaster", net.pid)
                  : run("ip -n c4c%d-sw link set t0 master b0", net.pid);
}
