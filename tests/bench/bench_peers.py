"""Who is compared under which condition, how each is launched, and what a run consists of."""

import os
import shutil

COLLECTIVES = ["all_reduce", "reduce_scatter", "all_gather", "broadcast", "all_to_all", "barrier"]

# name: (ranks, wire, buffers of C4)
CONDITIONS = {
    "shm-2": (2, "shm", "ordinary"),
    "shm-2-mapped": (2, "shm", "mapped"),
    "tcp-2": (2, "tcp", "ordinary"),
    "shm-4": (4, "shm", "ordinary"),
    "shm-8": (8, "shm", "ordinary"),
    "tcp-4": (4, "tcp", "ordinary"),
    "tcp-8": (8, "tcp", "ordinary"),
}

KIB = 1024
MIB = 1024 * KIB

SIZES = {
    "quick": [8, 64, 512, 4 * KIB, 32 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB],
    "full": [8 << i for i in range(24)],
}
# More ranks than cores: one size in between fewer, and no 64 MiB (its 8 ranks x 128 MiB measure only the allocator).
SIZES_OVERSUBSCRIBED = {
    "quick": [8, 4 * KIB, 64 * KIB, MIB],
    "full": [8, 64, 512, 4 * KIB, 32 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB],
}
COLLECTIVES_OVERSUBSCRIBED = {"quick": ["all_reduce", "barrier"], "full": COLLECTIVES}
TRIALS = {"quick": 1, "full": 3}


# Family -> launcher, from the command line; these are the defaults.
LAUNCHERS = {"Open MPI": "mpirun.openmpi", "MPICH": "mpiexec.hydra", "C4": "c4run"}


class Peer:
    """One library in one configuration: `command` starts `nranks` processes of `binary`."""

    def __init__(self, name, family, binary, command, environment=None):
        self.name = name
        self.family = family
        self.binary = binary
        self.command = command
        self.environment = environment or {}


def openmpi_command(nranks, binary, options):
    bind = ["--bind-to", "core"] if nranks <= 2 else ["--oversubscribe", "--bind-to", "none"]
    idle = ["--mca", "mpi_yield_when_idle", "1"] if nranks > 2 else []
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return [LAUNCHERS["Open MPI"], *root, "-n", str(nranks), *bind, *idle, *options, binary]


def openmpi_peers(build, nranks, wire):
    binary = os.path.join(build, "bench-openmpi")
    btl = ["--mca", "btl", "self,vader"] if wire == "shm" else \
        ["--mca", "btl", "self,tcp", "--mca", "btl_tcp_if_include", "lo"]
    ucx = ["--mca", "pml", "ucx", "--mca", "pml_ucx_tls", "any", "--mca", "pml_ucx_devices", "any"]
    tls = "shm,self" if wire == "shm" else "tcp,self"
    return [
        Peer(f"ompi-{wire}", "Open MPI", binary,
             openmpi_command(nranks, binary, ["--mca", "pml", "ob1", *btl])),
        Peer(f"ompi-ucx-{wire}", "Open MPI", binary, openmpi_command(nranks, binary, ucx),
             {"UCX_TLS": tls, "UCX_NET_DEVICES": "all" if wire == "shm" else "lo"}),
    ]


def mpich_peers(build, nranks, wire):
    binary = os.path.join(build, "bench-mpich")
    command = [LAUNCHERS["MPICH"], "-n", str(nranks), "-bind-to", "none", binary]
    quiet = {"UCX_WARN_UNUSED_ENV_VARS": "n"}
    if wire == "tcp":
        return [Peer("mpich-tcp", "MPICH", binary, command,
                     {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "lo", **quiet})]
    gather = {f"MPIR_CVAR_{name}_POSIX_INTRA_ALGORITHM": "release_gather"
              for name in ("ALLREDUCE", "BCAST", "REDUCE", "BARRIER")}
    return [
        Peer("mpich-shm", "MPICH", binary, command),
        Peer("mpich-shm-rg", "MPICH", binary, command, gather),
        Peer("mpich-ucx-shm", "MPICH", binary, command,
             {"MPIR_CVAR_NOLOCAL": "1", "UCX_TLS": "shm,self", **quiet}),
    ]


def direct_command(binary):
    """For libraries without a launcher: the driver starts one process per rank itself."""
    return ["@ranks", binary]


def gloo_peers(build, nranks, wire):
    binary = os.path.join(build, "bench-gloo")
    if wire != "tcp":
        return []
    return [
        Peer("gloo-ring", "gloo", binary, direct_command(binary), {"BENCH_GLOO_ALGORITHM": "ring"}),
        Peer("gloo-hd", "gloo", binary, direct_command(binary), {"BENCH_GLOO_ALGORITHM": "halving_doubling"}),
    ]


def ucc_peers(build, nranks, wire):
    binary = os.path.join(build, "bench-ucc")
    tls = "shm,self" if wire == "shm" else "tcp,self"
    devices = "all" if wire == "shm" else "lo"
    return [Peer(f"ucc-{wire}", "UCC", binary, direct_command(binary),
                 {"UCX_TLS": tls, "UCX_NET_DEVICES": devices, "UCX_WARN_UNUSED_ENV_VARS": "n"})]


def peers_for(build, condition):
    """The peers whose binaries were built, for one condition."""
    nranks, wire, _ = CONDITIONS[condition]
    found = []
    for family in (openmpi_peers, mpich_peers, gloo_peers, ucc_peers):
        found += [peer for peer in family(build, nranks, wire) if os.access(peer.binary, os.X_OK)]
    return found


def c4_peer(build, condition):
    nranks, wire, buffers = CONDITIONS[condition]
    binary = os.path.join(build, "bench-c4")
    launcher = shutil.which(LAUNCHERS["C4"])
    if launcher is None or not os.access(binary, os.X_OK):
        return None
    environment = {"C4_TRANSPORTS": wire,
                   "BENCH_MAPPED": "1" if buffers == "mapped" else "0"}
    if wire == "tcp":
        environment["C4_SOCKET_IFNAME"] = "lo"
    return Peer("c4", "C4", binary, [launcher, "-n", str(nranks), "--", binary], environment)


# Cells of 2 ranks that UCC (1.4.4 or its master of 2026-08) held on the reference machine, median us: a table that
# was measured without UCC names them, because its "best peer" there is not the best there is.
UCC_HELD = {
    ("all_reduce", "shm", "near"): {64: 0.34, 512: 0.45, 4096: 1.25, MIB: 116.8, 2 * MIB: 208.9, 16 * MIB: 4504,
                                    64 * MIB: 20960},
    ("all_reduce", "shm", "far"): {8: 0.72, 64: 0.86, 512: 1.06, 4096: 4.31, 32 * KIB: 25.29, 256 * KIB: 161.2,
                                   MIB: 573.4, 2 * MIB: 1164, 16 * MIB: 4932, 64 * MIB: 18640},
    ("all_reduce", "tcp", "near"): {32 * KIB: 24.18},
    ("all_gather", "shm", "near"): {16 * MIB: 2480},
    ("all_gather", "shm", "far"): {8: 0.78},
    ("reduce_scatter", "shm", "near"): {MIB: 63.99, 16 * MIB: 3206},
    ("reduce_scatter", "shm", "far"): {8: 0.79, 64 * KIB: 11.08, MIB: 66.77, 16 * MIB: 2696},
    ("reduce_scatter", "tcp", "near"): {8: 7.36},
    ("broadcast", "shm", "near"): {64 * KIB: 6.67, MIB: 81.48, 16 * MIB: 2578},
    ("broadcast", "shm", "far"): {8: 0.68},
    ("broadcast", "tcp", "near"): {16 * MIB: 4101},
    ("all_to_all", "shm", "near"): {64 * KIB: 5.59},
    ("barrier", "shm", "far"): {0: 0.72},
    ("barrier", "tcp", "near"): {0: 7.045},
}


def ucc_reference_us(condition, collective, state, size):
    """UCC's time on the reference machine where it held this cell, else None."""
    nranks, wire, _ = CONDITIONS[condition]
    if nranks != 2:
        return None
    return UCC_HELD.get((collective, wire, state), {}).get(size)


def sizes_for(condition, collective, mode):
    nranks, _, _ = CONDITIONS[condition]
    if collective == "barrier":
        return [0]
    return SIZES[mode] if nranks <= 2 else SIZES_OVERSUBSCRIBED[mode]


def collectives_for(condition, mode):
    nranks, _, _ = CONDITIONS[condition]
    return COLLECTIVES if nranks <= 2 else COLLECTIVES_OVERSUBSCRIBED[mode]


def iterations_for(size, nranks):
    """(warm-up, iterations): enough for a median, short enough that the machine's state seldom flips inside."""
    if nranks > 2:
        return (5, 60) if size <= 4 * KIB else (3, 20) if size <= MIB else (1, 5)
    if size <= 4 * KIB:
        return 100, 1000
    if size <= 64 * KIB:
        return 20, 200
    if size <= MIB:
        return 8, 50
    return (2, 9) if size <= 16 * MIB else (1, 5)
