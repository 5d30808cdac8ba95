"""make bench-start: how long jobs of 2 to 512 ranks take from launch to their first result, and what a rank costs in memory.

C4, Open MPI and MPICH take turns, each with its own launcher and shared memory, on this host; more ranks than cores is the
point. Prints a table, writes JSON and the picture."""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import start_plot
from bench import machine_text

SCHEMA_VERSION = 1


def arguments_parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="tests/bench", help="folder with the bench-start-* binaries")
    parser.add_argument("--c4run", default="c4run")
    parser.add_argument("--openmpi-run", default="mpirun.openmpi")
    parser.add_argument("--mpich-run", default="mpiexec.hydra")
    parser.add_argument("--ranks", default="2,4,8,16,32,64,128,256,512", help="comma-separated")
    parser.add_argument("--trials", type=int, default=3, help="rounds over everything, as far as the budget goes")
    parser.add_argument("--budget-s", type=float, default=360, help="no run starts later than this")
    parser.add_argument("--limit-s", type=float, default=60, help="a job that takes longer is ended")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    return parser.parse_args()


class Library:
    def __init__(self, name, binary, command, environment):
        self.name = name
        self.binary = binary
        self.command = command  # without the number of ranks and the program
        self.environment = environment
        self.failed = None  # the number of ranks from which on it is left out

    def argv(self, nranks):
        return [part.replace("@n", str(nranks)) for part in self.command] + [self.binary]


def libraries(options):
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    every = [
        Library("C4", "bench-start-c4", [options.c4run, "-n", "@n", "--"], {"C4_TRANSPORTS": "shm"}),
        Library("Open MPI", "bench-start-openmpi",
                [options.openmpi_run, *root, "-n", "@n", "--oversubscribe", "--bind-to", "none", "--mca", "pml", "ob1",
                 "--mca", "btl", "self,vader", "--mca", "mpi_yield_when_idle", "1"], {}),
        Library("MPICH", "bench-start-mpich", [options.mpich_run, "-n", "@n", "-bind-to", "none"],
                {"UCX_TLS": "shm,self", "UCX_WARN_UNUSED_ENV_VARS": "n"}),
    ]
    found = []
    for library in every:
        library.binary = os.path.abspath(os.path.join(options.build, library.binary))
        if os.access(library.binary, os.X_OK):
            found.append(library)
        else:
            print(f"{library.name} is left out: {library.binary} was not built", file=sys.stderr)
    return found


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def job_end(process):
    """The launcher first, which ends its ranks; then whatever is left of its process group."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run(library, nranks, limit_s):
    """One job: its numbers, or {"failed": why}."""
    before = cpu_s()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.monotonic()
        process = subprocess.Popen(library.argv(nranks), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env={**os.environ, **library.environment}, start_new_session=True)
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            job_end(process)
            return {"failed": f"not done after {limit_s:.0f} s"}
        except BaseException:
            job_end(process)
            raise
        wall_s = time.monotonic() - start
        out.seek(0)
        err.seek(0)
        lines = [line.split() for line in out if line.startswith("start ")]
        errors = [line.strip() for line in err if line.strip()]
    if code != 0 or len(lines) != nranks or any(line[2] != "1" for line in lines):
        return {"failed": f"exit status {code}, {len(lines)} of {nranks} ranks: {errors[0] if errors else 'no message'}"}
    own = [int(line[6]) for line in lines]
    return {"first_result_s": max(int(line[3]) for line in lines) / 1e6 - start,
            "init_ms": max(float(line[4]) for line in lines), "first_call_ms": max(float(line[5]) for line in lines),
            "own_kib_median": statistics.median(own), "own_kib_most": max(own),
            "shared_kib_median": statistics.median(int(line[7]) for line in lines),
            "wall_s": wall_s, "cpu_s": cpu_s() - before}


def measure(options, found):
    """Small jobs first, so that each library has its numbers as far as it gets; trials outermost, so that a disturbance
    hits all of them."""
    runs = []
    end = time.monotonic() + options.budget_s
    for trial in range(options.trials):
        for nranks in map(int, options.ranks.split(",")):
            turn = [library for library in found if library.failed is None or nranks < library.failed]
            for library in turn[trial % 3:] + turn[:trial % 3]:
                if time.monotonic() >= end:
                    print(f"the budget of {options.budget_s:.0f} s is used up in round {trial + 1}", file=sys.stderr)
                    return runs
                limit_s = min(options.limit_s, end - time.monotonic() + 1)
                result = run(library, nranks, limit_s)
                if "failed" in result and limit_s < options.limit_s:
                    return runs  # the budget's end and not the library's fault
                if "failed" in result:
                    library.failed = nranks
                    print(f"{library.name}, {nranks} ranks: {result['failed']}", file=sys.stderr)
                runs.append({"library": library.name, "nranks": nranks, "trial": trial, **result})
    return runs


def cells_make(runs):
    """Medians over the trials, with the spread of the time; failures by name."""
    cells = []
    for key in sorted({(run["library"], run["nranks"]) for run in runs}):
        of_key = [run for run in runs if (run["library"], run["nranks"]) == key]
        good = [run for run in of_key if "failed" not in run]
        cell = {"library": key[0], "nranks": key[1], "trials": len(good),
                "failed": [run["failed"] for run in of_key if "failed" in run]}
        if good:
            times = [run["first_result_s"] for run in good]
            cell.update({name: statistics.median(run[name] for run in good)
                         for name in good[0] if name not in ("library", "nranks", "trial")})
            cell.update(first_result_low_s=min(times), first_result_high_s=max(times))
        cells.append(cell)
    return cells


def table_print(cells):
    print(f"{'library':<10}{'ranks':>6}{'first result s':>16}{'(low - high)':>18}{'CPU s':>8}{'own KiB/rank':>14}"
          f"{'shared':>8}{'trials':>8}")
    for cell in sorted(cells, key=lambda cell: (cell["nranks"], cell["library"])):
        head = f"{cell['library']:<10}{cell['nranks']:>6}"
        if not cell["trials"]:
            print(f"{head}  {cell['failed'][0]}")
            continue
        spread = f"{cell['first_result_low_s']:.2f} - {cell['first_result_high_s']:.2f}"
        print(f"{head}{cell['first_result_s']:>16.2f}{spread:>18}{cell['cpu_s']:>8.2f}{cell['own_kib_median']:>14.0f}"
              f"{cell['shared_kib_median']:>8.0f}{cell['trials']:>8}")


def main():
    options = arguments_parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    found = libraries(options)
    load = os.getloadavg()[0]
    runs = measure(options, found)
    cells = cells_make(runs)
    machine = machine_text()
    print(f"machine: {machine}; load before: {load:.1f}")
    table_print(cells)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"schema_version": SCHEMA_VERSION, "machine": machine, "load_before": load, "cells": cells,
                       "runs": runs}, file, indent=1)
    if options.svg:
        with open(options.svg, "w") as file:
            file.write(start_plot.picture(cells, machine, load))
    return 1 if any(run["library"] == "C4" and "failed" in run for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
