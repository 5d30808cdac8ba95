"""The speed that C4 sets itself, per cell: a ratio to the best peer and a share of the machine's own bound."""

from bench_peers import CONDITIONS, KIB, MIB


def target_ratio(condition, collective, size, state):
    """Least peer/C4 for this cell."""
    nranks, wire, buffers = CONDITIONS[condition]
    if wire == "tcp":
        return 1.0
    if nranks > 2:
        return 1.7
    if buffers == "mapped" and size >= 4 * KIB:
        return 2.5
    if collective != "all_reduce":
        return 1.0
    if size < 16 * KIB:
        return 1.2 if state == "far" and size <= 64 else 1.5
    return 1.7 if size == 4 * MIB and state == "near" else 2.0


def target_bound_percent(condition, size, state):
    """Least percentage of the bound, where the cell has one; None: no target."""
    nranks, wire, buffers = CONDITIONS[condition]
    if nranks != 2:
        return None
    if wire == "tcp":
        return 95.0
    if size < 16 * MIB:
        return None
    return 90.0 if buffers == "mapped" else 70.0 if state == "near" else 55.0


def reached(cell):
    """True or False; None when the cell lacks C4 or some peers in this state.

    On TCP above 4 MiB, equal within the run's spread is enough, and either the peer or the stream limit may be what
    binds: 95 % of the limit is as good as beating the peers."""
    if cell["ratio"] is None:
        return None
    wanted = cell["target_ratio"]
    if CONDITIONS[cell["condition"]][1] == "tcp":
        if cell["bound_percent"] is not None and cell["bound_percent"] >= cell["target_bound_percent"]:
            return True
        if cell["bytes"] > 4 * MIB:
            return cell["c4"]["low_us"] <= cell["libraries"][cell["best_peer"]]["high_us"]
        return cell["ratio"] > wanted
    bound_ok = cell["bound_percent"] is None or cell["target_bound_percent"] is None or \
        cell["bound_percent"] >= cell["target_bound_percent"]
    return bound_ok and (cell["ratio"] > wanted if wanted == 1.0 else cell["ratio"] >= wanted)
