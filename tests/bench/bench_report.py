"""From points to cells, and the three ways to print them."""

import json
import statistics

from bench_peers import CONDITIONS, MIB, ucc_reference_us
from bench_targets import reached, target_bound_percent, target_ratio

SCHEMA_VERSION = 1
STREAM_BOUND_FROM = 16 * MIB  # below, results stay in cache and the bound of memory traffic does not apply
TCP_BOUND_FROM = 256 * 1024
# Bytes that cross each direction of the wire, per byte of size, with 2 ranks; and whether both directions are used.
TCP_SHARE = {"all_reduce": (1.0, "tcp2"), "reduce_scatter": (0.5, "tcp2"), "all_gather": (0.5, "tcp2"),
             "all_to_all": (0.5, "tcp2"), "broadcast": (1.0, "tcp1")}


class Point:
    """One block of iterations of one library in one cell."""

    def __init__(self, condition, collective, size, name, flags_ns, state, times_ns, wrong):
        self.condition = condition
        self.collective = collective
        self.size = size
        self.name = name
        self.flags_ns = flags_ns
        self.state = state
        self.median_us = statistics.median(times_ns) / 1e3
        self.p99_us = sorted(times_ns)[min(len(times_ns) - 1, int(len(times_ns) * 0.99))] / 1e3
        self.iterations = len(times_ns)
        self.wrong = wrong


def size_text(size):
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def time_text(us):
    if us is None:
        return "-"
    return f"{us:.2f}" if us < 10 else f"{us:.1f}" if us < 100 else f"{us:.0f}"


def summary(points):
    """{median_us, low_us, high_us, trials, wrong} of the blocks of one library in one cell and state."""
    medians = sorted(point.median_us for point in points)
    return {"median_us": statistics.median(medians), "low_us": medians[0], "high_us": medians[-1],
            "trials": len(points), "wrong": sum(point.wrong for point in points)}


def bound_us(cell, limits):
    """The machine's own limit for this cell, measured in the same run and state, or None where none applies."""
    nranks, wire, _ = CONDITIONS[cell["condition"]]
    size, state, collective = cell["bytes"], cell["state"], cell["collective"]
    if nranks != 2:
        return None
    if wire == "shm":
        if collective != "all_reduce" or size < STREAM_BOUND_FROM:
            return None
        return limits.get(("stream", size, state))
    share, kind = TCP_SHARE.get(collective, (0.0, ""))
    if size < TCP_BOUND_FROM or share == 0.0:
        return None
    return limits.get((kind, int(size * share), state))


def cell_make(key, libraries, expected, limits, with_ucc):
    """`expected`: the peers that have this collective; a ratio needs all of them in this state."""
    condition, collective, size, state = key
    peers = {name: values for name, values in libraries.items() if name != "c4"}
    best = min(peers, key=lambda name: peers[name]["median_us"]) if peers else None
    c4 = libraries.get("c4")
    complete = best is not None and len(peers) == len(expected)
    cell = {"condition": condition, "collective": collective, "bytes": size, "state": state, "c4": c4,
            "best_peer": best, "best_peer_us": peers[best]["median_us"] if best else None,
            "peers_measured": len(peers), "peers_expected": len(expected),
            "ratio": peers[best]["median_us"] / c4["median_us"] if complete and c4 else None,
            "target_ratio": target_ratio(condition, collective, size, state),
            "target_bound_percent": target_bound_percent(condition, size, state),
            "ucc_reference_us": None if with_ucc else ucc_reference_us(condition, collective, state, size),
            "libraries": libraries}
    limit = bound_us(cell, limits)
    cell["bound_us"] = limit
    cell["bound_percent"] = 100.0 * limit / c4["median_us"] if limit and c4 else None
    cell["reached"] = reached(cell)
    return cell


def cells_make(points, limits, with_ucc):
    """One row per condition, collective, size and state that was seen."""
    groups = {}
    expected = {}
    for point in points:
        cell = (point.condition, point.collective, point.size)
        if point.name != "c4":
            expected.setdefault(cell, set()).add(point.name)
        if point.state is not None:
            groups.setdefault((*cell, point.state), {}).setdefault(point.name, []).append(point)
    return [cell_make(key, {name: summary(found) for name, found in names.items()}, expected.get(key[:3], set()),
                      limits, with_ucc)
            for key, names in groups.items()]


def best_text(cell):
    text = cell["best_peer"] or "-"
    if cell["peers_measured"] < cell["peers_expected"]:
        text += f" ({cell['peers_measured']} of {cell['peers_expected']} peers)"
    if cell["ucc_reference_us"]:
        text += f" [UCC {time_text(cell['ucc_reference_us'])}]"
    return text


def cell_columns(cell):
    c4, best = cell["c4"], cell["best_peer"]
    spread = f"{time_text(c4['low_us'])}-{time_text(c4['high_us'])}" if c4 else "-"
    peer_trials = cell["libraries"][best]["trials"] if best else 0
    bound = ""
    if cell["bound_percent"]:
        bound = f"{cell['bound_percent']:.0f} %"
        if cell["target_bound_percent"]:
            bound += f" ({cell['target_bound_percent']:.0f})"
    return [size_text(cell["bytes"]), cell["state"], time_text(c4["median_us"] if c4 else None), spread,
            time_text(cell["best_peer_us"]), best_text(cell),
            f"{cell['ratio']:.2f}" if cell["ratio"] else "-", f"{cell['target_ratio']:.1f}", bound,
            {True: "yes", False: "NO", None: ""}[cell["reached"]],
            f"{c4['trials'] if c4 else 0}/{peer_trials}",
            str(sum(values["wrong"] for values in cell["libraries"].values()))]


HEADINGS = ["size", "state", "C4 us", "C4 spread", "best us", "best peer", "peer/C4", "target", "of bound", "reached",
            "trials", "wrong"]


def sections(cells):
    """Cells by (condition, collective), in the order in which they were measured, sizes ascending."""
    found = {}
    for cell in cells:
        found.setdefault((cell["condition"], cell["collective"]), []).append(cell)
    for rows in found.values():
        rows.sort(key=lambda cell: (cell["state"] != "near", cell["bytes"]))
    return found


def text_table(cells):
    lines = []
    for (condition, collective), rows in sections(cells).items():
        table = [HEADINGS] + [cell_columns(cell) for cell in rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(HEADINGS))]
        lines.append(f"\n{condition}  {collective}")
        lines += ["  " + "  ".join(text.rjust(width) for text, width in zip(row, widths)) for row in table]
    return "\n".join(lines)


def markdown_half(cell):
    """The columns of one state."""
    if cell is None:
        return ["", "", "", ""]
    ratio = f"{cell['ratio']:.2f}" if cell["ratio"] else "-"
    bound = f"{cell['bound_percent']:.0f} %" if cell["bound_percent"] else ""
    return [time_text(cell["c4"]["median_us"] if cell["c4"] else None),
            f"{time_text(cell['best_peer_us'])} {best_text(cell)}",
            f"**{ratio}**" if cell["reached"] is False else ratio, bound]


def markdown_table(cells, machine, notes):
    """Near and far side by side; ratios below their target in bold."""
    lines = [f"Machine: {machine}. Times are medians in us, ratio = best peer / C4 (bold: below the target).", ""]
    lines += [f"- {note}" for note in notes]
    for condition in dict.fromkeys(cell["condition"] for cell in cells):
        nranks, wire, buffers = CONDITIONS[condition]
        lines += ["", f"**{nranks} ranks, {wire}, {buffers} buffers**", "",
                  "| collective | size | near: C4 | best peer | ratio | of bound | far: C4 | best peer | ratio | of bound |",
                  "|---|---|---|---|---|---|---|---|---|---|"]
        rows = {}
        for cell in cells:
            if cell["condition"] == condition:
                rows.setdefault((cell["collective"], cell["bytes"]), {})[cell["state"]] = cell
        for (collective, size), states in rows.items():
            columns = [collective, size_text(size)] + markdown_half(states.get("near")) + \
                markdown_half(states.get("far"))
            lines.append("| " + " | ".join(columns) + " |")
    return "\n".join(lines) + "\n"


def score_text(cells):
    judged = [cell for cell in cells if cell["reached"] is not None]
    return f"{sum(cell['reached'] for cell in judged)} of {len(judged)} cells reach their target."


def json_write(path, cells, points, limits, machine, notes):
    with open(path, "w") as file:
        json.dump({"schema_version": SCHEMA_VERSION, "machine": machine, "notes": notes, "cells": cells,
                   "limits": [{"kind": kind, "bytes": size, "state": state, "time_us": us}
                              for (kind, size, state), us in limits.items()],
                   "points": [vars(point) for point in points]}, file, indent=1)
        file.write("\n")
