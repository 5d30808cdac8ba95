"""Launched sets of ranks, asleep until measured, and the probe of the machine's state."""

import os
import select
import signal
import socket
import subprocess
import time

NEAR_NS = 120.0
FAR_NS = 150.0
SYNC_BYTES = 4096


class SetFailed(Exception):
    """A set of ranks did not start, died, or did not answer in time."""


def classify(before_ns, after_ns):
    """State of the machine during a point: near, far, or None when it is neither or flipped."""
    if before_ns < NEAR_NS and after_ns < NEAR_NS:
        return "near"
    if before_ns > FAR_NS and after_ns > FAR_NS:
        return "far"
    return None


def undisturbed(times_ns, nranks, ncores):
    """The times without the iterations in which other load took a rank's core, and whether enough were left.

    With more ranks than cores ranks preempt each other, which is what is measured. A library with threads of its own
    may always preempt itself: when less than a quarter is left, all count."""
    left = [time_ns for time_ns in times_ns if time_ns >= 0]
    if nranks > ncores or 4 * len(left) < len(times_ns):
        return [abs(time_ns) for time_ns in times_ns], nranks > ncores
    return left, True


class Limits:
    """bench-limits, asleep between commands."""

    def __init__(self, build, cores):
        environment = dict(os.environ, BENCH_CORES=",".join(map(str, cores)))
        self.process = subprocess.Popen([os.path.join(build, "bench-limits")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        try:
            return [float(word) for word in answer.split()]
        except ValueError:
            return []

    def flag_ns(self):
        answer = self.ask("flag")
        if not answer:
            raise SetFailed("bench-limits does not answer")
        return answer[0]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class RankLink:
    """The driver's end of one rank's socket: one line each way per command, so nothing is ever left buffered."""

    def __init__(self, connection):
        self.connection = connection
        self.reader = connection.makefile("r")

    def ask(self, line):
        self.connection.sendall((line + "\n").encode())

    def answer(self, timeout_s):
        """The words of the next line; None after `timeout_s`."""
        ready, _, _ = select.select([self.connection], [], [], max(0.0, timeout_s))
        return self.reader.readline().split() if ready else None

    def close(self):
        self.reader.close()
        self.connection.close()


class RankSet:
    """All ranks of one library in one configuration."""

    def __init__(self, peer, nranks, directory, cores, start_timeout_s=60.0):
        self.peer = peer
        self.nranks = nranks
        self.processes = []
        self.ranks = {}
        self.label = f"{peer.name}-{nranks}-{time.monotonic_ns()}"
        self.files = [os.path.join(directory, f"{self.label}{suffix}") for suffix in (".sock", ".sync", ".store",
                                                                                      ".log")]
        self.log_path = self.files[3]
        try:
            self.start(cores, start_timeout_s)
        except BaseException:
            self.close(force=True)
            raise

    def start(self, cores, start_timeout_s):
        with open(self.files[1], "wb") as sync:
            sync.truncate(SYNC_BYTES)
        os.mkdir(self.files[2])
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(self.files[0])
            listener.listen(self.nranks)
            self.launch(dict(os.environ, BENCH_SET=self.label, BENCH_SOCKET=self.files[0], BENCH_SYNC=self.files[1],
                             BENCH_STORE=self.files[2], BENCH_NRANKS=str(self.nranks),
                             BENCH_CORES=",".join(map(str, cores)), **self.peer.environment))
            self.accept(listener, time.monotonic() + start_timeout_s)
        finally:
            listener.close()

    def launch(self, environment):
        commands = [(self.peer.command, {})]
        if self.peer.command[0] == "@ranks":
            commands = [(self.peer.command[1:], {"BENCH_RANK": str(rank)}) for rank in range(self.nranks)]
        with open(self.log_path, "wb") as log:
            for command, extra in commands:
                self.processes.append(subprocess.Popen(command, env=dict(environment, **extra), stdout=log, stderr=log,
                                                       stdin=subprocess.DEVNULL, start_new_session=True))

    def accept(self, listener, deadline):
        while len(self.ranks) < self.nranks:
            listener.settimeout(0.2)
            try:
                connection, _ = listener.accept()
            except socket.timeout:
                if time.monotonic() > deadline or any(p.poll() not in (None, 0) for p in self.processes):
                    raise SetFailed(f"{self.peer.name} did not start: {self.log_tail()}") from None
                continue
            connection.settimeout(None)
            link = RankLink(connection)
            words = link.answer(deadline - time.monotonic()) or []
            if len(words) != 4 or words[0] != "hello" or words[1] != self.label or int(words[3]) != self.nranks:
                raise SetFailed(f"{self.peer.name} said {words}: {self.log_tail()}")
            self.ranks[int(words[2])] = link

    def log_tail(self):
        try:
            with open(self.log_path, errors="replace") as log:
                return log.read()[-800:].strip() or "(nothing logged)"
        except OSError:
            return "(no log)"

    def run(self, collective, size, warmup, iterations, budget_ms, touch, timeout_s):
        """Times of the iterations in ns (max over ranks; negative: a rank was preempted) and the number of wrong
        elements. None: unsupported."""
        for link in self.ranks.values():
            link.ask(f"run {collective} {size} {warmup} {iterations} {budget_ms} {int(touch)}")
        deadline = time.monotonic() + timeout_s
        answers = []
        for link in self.ranks.values():
            words = link.answer(deadline - time.monotonic())
            if words is None:
                raise SetFailed(f"{self.peer.name} {collective} {size}: no answer in {timeout_s:.0f} s")
            answers.append(words)
        if all(answer[:1] == ["unsupported"] for answer in answers):
            return None
        if any(answer[:1] != ["done"] for answer in answers):
            raise SetFailed(f"{self.peer.name} {collective} {size}: {answers[0][:8]} {self.log_tail()}")
        times = [[float(word) for word in answer[3:]] for answer in answers]
        slowest = [max(map(abs, column)) * (-1 if min(column) < 0 else 1) for column in zip(*times)]
        return slowest, sum(int(answer[1]) for answer in answers)

    def close(self, force=False):
        """Lets the ranks end by themselves; what has not ended after 10 s is killed by its own process group."""
        for link in self.ranks.values():
            try:
                if not force:
                    link.ask("quit")
                link.close()
            except OSError:
                pass
        for process in self.processes:
            try:
                process.wait(timeout=0.1 if force else 10.0)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes = []
