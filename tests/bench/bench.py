#!/usr/bin/env python3
"""`make bench`: C4 against Open MPI, MPICH, gloo and, where built, UCC, alternating in one run.

Every library is launched once per condition and sleeps until its turn. For each cell (collective x size) C4 and each
peer take turns: C4, A, C4, B, ... A point counts only if the latency of a shared-memory flag between the two cores,
measured just before and just after it, says the same state of the machine: near (< 120 ns) or far (> 150 ns)."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

import bench_report
from bench_peers import (CONDITIONS, LAUNCHERS, TRIALS, c4_peer, collectives_for, iterations_for, peers_for, sizes_for)
from bench_sets import Limits, RankSet, SetFailed, classify, undisturbed

COMPLETION_ROUNDS = 3  # rounds that fill in peers which the current state lacks in a cell
MISSING_WINDOW = 1000  # more points than one cell has
POINT_TRIES = 3  # a point whose state was neither near nor far, or flipped, is measured again this often


def arguments_parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="tests/bench", help="folder with the bench-* binaries")
    for family, option in (("C4", "--c4run"), ("Open MPI", "--openmpi-run"), ("MPICH", "--mpich-run")):
        parser.add_argument(option, default=LAUNCHERS[family], dest=family, metavar="PATH",
                            help=f"launcher of {family} [%(default)s]")
    parser.add_argument("--mode", choices=list(TRIALS), default=os.environ.get("BENCH", "full"))
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="comma-separated; default: all")
    parser.add_argument("--collectives", default="", help="comma-separated; default: those of the mode")
    parser.add_argument("--sizes", default="", help="comma-separated bytes; default: those of the mode")
    parser.add_argument("--peers", default="", help="only peers whose name contains one of these; default: all")
    parser.add_argument("--trials", type=int, default=0, help="rounds per cell; default: that of the mode")
    parser.add_argument("--budget-ms", type=int, default=0,
                        help="longest block of iterations; default: 400 quick, 1500 full")
    parser.add_argument("--cores", default="0,1", help="the cores that ranks are pinned to in turn")
    parser.add_argument("--untouched", action="store_true", help="do not write inputs and read results (misleading)")
    parser.add_argument("--json", metavar="FILE", help="write cells and all points")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables for the README")
    options = parser.parse_args()
    unknown = [name for name in options.conditions.split(",") if name not in CONDITIONS]
    if unknown:
        parser.error(f"unknown condition {unknown[0]}; there are {', '.join(CONDITIONS)}")
    LAUNCHERS.update((family, getattr(options, family)) for family in LAUNCHERS)
    options.trials = options.trials or TRIALS[options.mode]
    options.budget_ms = options.budget_ms or {"quick": 400, "full": 1500}[options.mode]
    options.cores = [int(core) for core in options.cores.split(",")]
    return options


class Progress:
    """One line on stderr, only when it is a terminal."""

    def __init__(self):
        self.enabled = sys.stderr.isatty()

    def show(self, text):
        if self.enabled:
            width = shutil.get_terminal_size().columns
            sys.stderr.write("\r\x1b[K" + text[:width - 1])
            sys.stderr.flush()

    def note(self, text):
        sys.stderr.write(("\r\x1b[K" if self.enabled else "") + text + "\n")


class Bench:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.progress = Progress()
        self.limits_process = Limits(options.build, options.cores)
        self.points = []
        self.limits = {}
        self.dropped = 0
        self.disturbed = 0
        self.notes = []
        self.sets = {}
        self.families = set()

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
        self.progress.note(text)

    def set_open(self, peer, nranks):
        try:
            self.sets[peer.name] = RankSet(peer, nranks, self.directory, self.options.cores)
            self.families.add(peer.family)
        except (SetFailed, OSError) as error:
            self.note(f"{peer.name} is left out: {error}")

    def set_drop(self, name, error):
        self.note(f"{name} is left out from here on: {error}")
        self.sets.pop(name).close(force=True)

    def point(self, condition, collective, size, name):
        """Measures one block; again when the machine's state changed or is unknown."""
        nranks = CONDITIONS[condition][0]
        warmup, iterations = iterations_for(size, nranks)
        for _ in range(POINT_TRIES):
            before = self.limits_process.flag_ns()
            try:
                result = self.sets[name].run(collective, size, warmup, iterations, self.options.budget_ms,
                                             not self.options.untouched, 60.0)
            except (SetFailed, OSError) as error:
                self.set_drop(name, error)
                return
            after = self.limits_process.flag_ns()
            if result is None:
                return
            times, wrong = result
            times, calm = undisturbed(times, nranks, len(self.options.cores))
            self.disturbed += not calm
            point = bench_report.Point(condition, collective, size, name, (before, after), classify(before, after),
                                       times, wrong)
            self.points.append(point)
            self.progress.show(f"{condition} {collective} {bench_report.size_text(size)} {name} "
                               f"{bench_report.time_text(point.median_us)} us {point.state or 'dropped'}")
            if wrong:
                self.note(f"WRONG: {name} {condition} {collective} {size}: {wrong} elements")
            if point.state is not None:
                return
            self.dropped += 1

    def limit(self, command, size, answer_pick):
        """A limit of the machine, once per state and size; measured where the cell that needs it is."""
        before = self.limits_process.flag_ns()
        answer = self.limits_process.ask(f"{command} {size}")
        state = classify(before, self.limits_process.flag_ns())
        if state is not None and answer:
            found = answer_pick(answer) / 1e3
            known = self.limits.get((command, size, state))
            self.limits[(command, size, state)] = found if known is None else min(known, found)

    def limits_measure(self, condition, collective, size):
        nranks, wire, _ = CONDITIONS[condition]
        if nranks != 2:
            return
        if wire == "shm" and collective == "all_reduce" and size >= bench_report.STREAM_BOUND_FROM:
            self.limit("stream", size, min)
        if wire == "tcp" and size >= bench_report.TCP_BOUND_FROM:
            share, kind = bench_report.TCP_SHARE[collective]
            self.limit(kind, int(size * share), min)

    def alternate(self, condition, collective, size, names):
        """C4, A, C4, B, ..."""
        for name in names or [None]:
            if "c4" in self.sets:
                self.point(condition, collective, size, "c4")
            if name in self.sets:
                self.point(condition, collective, size, name)

    def missing(self, condition, collective, size):
        """Peers that have points in this cell, but none in the state the machine is in now."""
        flag = self.limits_process.flag_ns()
        state = classify(flag, flag)
        found = [point for point in self.points[-MISSING_WINDOW:]
                 if (point.condition, point.collective, point.size) == (condition, collective, size)]
        if state is None or not any(point.state == state for point in found):
            return []
        names = dict.fromkeys(point.name for point in found if point.name in self.sets and point.name != "c4")
        return [name for name in names if not any(p.name == name and p.state == state for p in found)]

    def cell(self, condition, collective, size):
        for _ in range(self.options.trials):
            self.limits_measure(condition, collective, size)
            self.alternate(condition, collective, size, [name for name in self.sets if name != "c4"])
        for _ in range(COMPLETION_ROUNDS):
            names = self.missing(condition, collective, size)
            if not names:
                break
            self.alternate(condition, collective, size, names)

    def condition(self, condition):
        options = self.options
        nranks = CONDITIONS[condition][0]
        wanted = [word for word in options.peers.split(",") if word]
        c4 = c4_peer(options.build, condition)
        peers = [peer for peer in peers_for(options.build, condition)
                 if not wanted or any(word in peer.name for word in wanted)]
        if c4 is None:
            self.note("C4 is not built: peers only")
        for peer in ([c4] if c4 else []) + peers:
            self.set_open(peer, nranks)
        collectives = options.collectives.split(",") if options.collectives else collectives_for(condition,
                                                                                                 options.mode)
        sizes = [int(size) for size in options.sizes.split(",") if size]
        try:
            for collective in collectives:
                for size in (sizes if sizes and collective != "barrier" else
                             sizes_for(condition, collective, options.mode)):
                    self.cell(condition, collective, size)
        finally:
            for rank_set in self.sets.values():
                rank_set.close()
            self.sets = {}


def machine_text():
    model = "unknown processor"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} cores, Linux {os.uname().release}"


def report(bench, options, elapsed_s):
    with_ucc = "UCC" in bench.families
    machine = machine_text()
    cells = bench_report.cells_make(bench.points, bench.limits, with_ucc)
    if not with_ucc:
        bench.notes.append("UCC was not measured (configure with --with-ucc=DIR). [UCC t] marks the cells that UCC "
                           "held on the reference machine, with its time there in us.")
    states = {state: sum(point.state == state for point in bench.points) for state in ("near", "far")}
    bench.notes.append(f"{states['near']} points near, {states['far']} far, {bench.dropped} dropped (state unknown or "
                       f"changed), {elapsed_s:.0f} s. Trials are blocks of C4 / of the best peer.")
    if bench.disturbed:
        bench.notes.append(f"{bench.disturbed} of {len(bench.points)} points were mostly preempted: by other load on the "
                           "cores, or by the library's own threads.")
    print(f"machine: {machine}")
    print("\n".join(bench.notes))
    print(bench_report.text_table(cells))
    print(f"\n{bench_report.score_text(cells)}")
    if options.json:
        bench_report.json_write(options.json, cells, bench.points, bench.limits, machine, bench.notes)
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(bench_report.markdown_table(cells, machine, bench.notes))
    return 1 if any(point.wrong for point in bench.points) else 0


def main():
    options = arguments_parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.monotonic()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="c4bench-", dir=base) as directory:
        bench = Bench(options, directory)
        try:
            for condition in options.conditions.split(","):
                bench.condition(condition)
        except KeyboardInterrupt:
            bench.note("interrupted: the table holds what was measured until then")
        finally:
            bench.limits_process.close()
        return report(bench, options, time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(main())
