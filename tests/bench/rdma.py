#!/usr/bin/env python3
"""make bench-rdma: C4 on RDMA devices beside perftest, ucx_perftest and Open MPI over UCX.

All run in turn in one guest (or on this machine's devices), several rounds of all of them, so that what changes meanwhile
changes for all. Prints the medians as a table, or with --json as one object. An entry that does not run says why and
leaves the others alone. MB are 2^20 bytes.
"""

import argparse
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RIG = os.path.join(HERE, "..", "rigs", "rdma-guest")
DEVICES = "/sys/class/infiniband"


class Failed(Exception):
    """What an entry said instead of a figure."""


def last_words(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if re.search(r"[Ff]atal|error|[Ff]ail|cannot|refused", line)]
    return (fatal or lines or ["no output"])[-1][:200]


def run(command, environment, limit_s):
    try:
        done = subprocess.run(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit_s, errors="replace")
    except subprocess.TimeoutExpired as expired:
        said = expired.stdout.decode(errors="replace") if expired.stdout else ""
        raise Failed(f"no result in {limit_s} s: {last_words(said)}") from None
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    return done.returncode, done.stdout


def served(command, environment, limit_s):
    """A tool that is started twice: alone it serves, with an address it calls. Tries until the server listens."""
    with subprocess.Popen(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as server:
        try:
            end = time.monotonic() + limit_s
            while True:
                status, said = run([*command, "127.0.0.1"], environment, limit_s)
                listening = not re.search(r"[Cc]ouldn't connect|[Cc]onnection refused|connect\(\) failed", said)
                if listening or time.monotonic() > end:
                    break
                time.sleep(0.3)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
    if status != 0:
        raise Failed(f"status {status}: {last_words(said)}")
    return said


def launched(command, environment, limit_s):
    status, said = run(command, environment, limit_s)
    if status != 0:
        raise Failed(f"status {status}: {last_words(said)}")
    return said


def figure(pattern, text):
    found = re.findall(pattern, text, re.MULTILINE)
    if not found:
        raise Failed(f"no figure: {last_words(text)}")
    return float(found[-1])


# ---- entries: a name, what it measures, the bytes of a message, and a function that returns one figure ----

def perftest(tool, column, options, setting):
    command = [tool, "-F", "-d", setting.device, "-p", setting.port(), *options]
    return figure(r"^ *\d+ +\d+ +" + r"\S+ +" * (column - 3) + r"([\d.]+)", served(command, {}, setting.limit_s))


def ucx_perftest(test, column, bytes_, rounds, setting):
    command = ["ucx_perftest", "-p", setting.port(), "-t", test, "-s", str(bytes_), "-n", str(rounds), "-w", "20", "-f"]
    return figure(rf"^(?:Final:)? *{rounds} +" + r"\S+ +" * (column - 2) + r"([\d.]+)",
                  served(command, setting.ucx, setting.limit_s))


def openmpi(mode, bytes_, rounds, setting):
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    command = [setting.openmpi_run, *root, "-n", "2", "--mca", "pml", "ucx", "--mca", "pml_ucx_tls", "any", "--mca",
               "pml_ucx_devices", "any", "--mca", "btl", "^openib", f"{setting.build}/tests/bench/bench-pair-openmpi",
               mode, str(bytes_), str(rounds)]
    return figure(r"^pair \S+ \d+ ([\d.]+)", launched(command, setting.ucx, setting.limit_s))


def c4(transport, mode, bytes_, rounds, setting):
    command = [f"{setting.build}/tools/c4run/c4run", "-n", "2", f"{setting.build}/tests/bench/bench-pair-c4", mode,
               str(bytes_), str(rounds)]
    environment = {"C4_REQUIRE_TRANSPORT": transport, "C4_MODULE_PATH": f"{setting.build}/transports/{transport}/.libs",
                   **(setting.ucx if transport == "ucx" else {})}
    return figure(r"^pair \S+ \d+ ([\d.]+)", launched(command, environment, setting.limit_s))


C4_TRANSPORTS = ["verbs", "ucx", "tcp"]
STREAM_BYTES = [4096, 65536, 1 << 20]
LATENCY_BYTES = [8, 4096]


def entries():
    """(name, unit, bytes, function of a setting)"""
    listed = []
    for size in STREAM_BYTES:
        rounds = max(40, min(1000, (16 << 20) // size))
        windows = max(5, rounds // 16)
        listed += [
            ("ib_write_bw", "stream MB/s", size,
             lambda s, z=size, n=rounds: perftest("ib_write_bw", 4, ["-s", str(z), "-n", str(n)], s)),
            ("ib_write_bw -b", "both ways MB/s", size,
             lambda s, z=size, n=rounds: perftest("ib_write_bw", 4, ["-b", "-s", str(z), "-n", str(n)], s)),
            ("ucx_perftest tag_bw", "stream MB/s", size,
             lambda s, z=size, n=rounds: ucx_perftest("tag_bw", 6, z, n, s)),
            *both_libraries("stream", "stream MB/s", size, windows),
            *both_libraries("all_reduce", "all_reduce MB/s", size, max(10, rounds // 4)),
        ]
    for size in LATENCY_BYTES:
        listed += [
            ("ib_write_lat", "latency us", size,
             lambda s, z=size: perftest("ib_write_lat", 5, ["-s", str(z), "-n", "500"], s)),
            ("ucx_perftest tag_lat", "latency us", size, lambda s, z=size: ucx_perftest("tag_lat", 2, z, 500, s)),
            *both_libraries("latency", "latency us", size, 500),
        ]
    return listed


def both_libraries(mode, unit, size, rounds):
    return [("Open MPI over UCX", unit, size, lambda s: openmpi(mode, size, rounds, s)),
            *((f"C4 {name}", unit, size, lambda s, t=name: c4(t, mode, size, rounds, s)) for name in C4_TRANSPORTS)]


# ---- running ----

class Setting:
    def __init__(self, arguments):
        self.build = os.path.abspath(arguments.build)
        self.openmpi_run = arguments.openmpi_run
        self.limit_s = arguments.limit
        self.device = arguments.device or sorted(os.listdir(DEVICES))[0]
        self.ucx = {"UCX_NET_DEVICES": f"{self.device}:1", "UCX_TLS": arguments.ucx_tls, "UCX_WARN_UNUSED_ENV_VARS": "n"}
        self._port = 18700

    def port(self):
        """Another one each time: the last server's may still be waiting for its end."""
        self._port += 1
        return str(self._port)


def measure(arguments, setting):
    cells = [(*entry, [], []) for entry in entries() if re.search(arguments.only, f"{entry[0]} {entry[1]} {entry[2]}")]
    for turn in range(arguments.repeat):
        for name, unit, size, function, figures, faults in cells:
            if len(faults) > 1:
                continue
            try:
                outcome = function(setting)
                figures.append(outcome)
            except Failed as fault:
                outcome = str(fault)
                faults.append(outcome)
            print(f"round {turn + 1}: {name}, {unit}, {size} bytes: {outcome}", file=sys.stderr, flush=True)
    return [{"name": name, "unit": unit, "bytes": size, "median": statistics.median(figures) if figures else None,
             "figures": figures, "faults": faults} for name, unit, size, _, figures, faults in cells]


def table(rows):
    print(f"{'':24} {'':16} {'bytes':>9} {'median':>10}  of")
    for row in sorted(rows, key=lambda row: (row["unit"], row["bytes"])):
        value = "-" if row["median"] is None else f"{row['median']:.2f}"
        note = f"  {row['faults'][0]}" if row["faults"] else ""
        print(f"{row['name']:24} {row['unit']:16} {row['bytes']:9} {value:>10}  {len(row['figures'])}{note}")


def in_guest(arguments):
    """The same program in a guest, which leaves its JSON in a folder of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        inner = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--json", f"{folder}/out"]
        command = [RIG, "--memory", "3072", "--timeout", str(arguments.timeout), "--share", folder, shlex.join(inner)]
        status = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
        if status != 0:
            sys.exit(status)
        with open(f"{folder}/out", encoding="utf-8") as file:
            return json.load(file)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=".", help="build tree")
    parser.add_argument("--openmpi-run", default="mpirun.openmpi")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (3)")
    parser.add_argument("--only", default="", help="entries whose name, unit and bytes match this regular expression")
    parser.add_argument("--device", help="the first there is")
    parser.add_argument("--ucx-tls", default="rc", help="UCX_TLS of what runs over UCX (rc)")
    parser.add_argument("--limit", type=int, default=40, help="seconds for one figure (40)")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds for the guest (3600)")
    parser.add_argument("--json", help="write the figures there instead of a table; - is standard output")
    return parser.parse_args()


def main():
    arguments = options()
    if os.path.isdir(DEVICES) and os.listdir(DEVICES):
        result = {"schema_version": 1, "guest": "C4_TEST_GUEST" in os.environ,
                  "rows": measure(arguments, Setting(arguments))}
    else:
        result = in_guest(arguments)
    if arguments.json is None:
        table(result["rows"])
    elif arguments.json == "-":
        print(json.dumps(result, indent=1))
    else:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)


main()
