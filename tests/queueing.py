"""What tests/bench measures of a long queue, and of many short runs beside pueue and Task Spooler."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import threading
import time

QUEUED = 10_000
CLIENTS = 8
SHORT = 1_000
# As many at once, for both.
AT_ONCE = 4


class Yard:
    """An agent with a state directory of its own, and a source whose runs do next to nothing."""

    def __init__(self, binary, scratch, name, at_once):
        self.binary, self.home = binary, scratch / f"home-{name}"
        self.source = scratch / f"source-{name}"
        self.source.mkdir()
        (self.source / "data.txt").write_text("x")
        self.env = {**os.environ, "TRAINYARD_HOME": str(self.home), "TRAINYARD_MAX_RUNS": str(at_once)}

    def call(self, *arguments):
        return subprocess.run([str(a) for a in (self.binary, *arguments)], check=True, env=self.env, cwd=self.source,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def command(self, line, *options):
        return json.loads(self.call("run", "-d", "--json", *options, "--command", line))["runId"]

    def agent(self):
        return json.loads(self.call("agent", "status", "--json"))

    def wait_until_idle(self):
        connection = Connection(self.home / "agent.sock")
        while any(connection.call("GET", "/v1/status")["runs"].values()):
            time.sleep(0.01)

    def request_of(self, run):
        """What was handed in to make `run`, to be handed in again."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home}/agent.db?mode=ro", uri=True)) as records:
            text, = records.execute("select request from runs where id = ?", [run]).fetchone()
        return json.loads(text)


class Connection(http.client.HTTPConnection):
    """A connection to the agent's API, kept from one question to the next."""

    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))

    def call(self, method, path, body=None):
        self.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)


def timed(action, count):
    """Milliseconds of each of `count` times."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        action()
        times.append((time.perf_counter() - begun) * 1000)
    return times


def percentile(times, percent):
    return statistics.quantiles(times, n=100)[percent - 1]


def queue(binary, scratch):
    """Yields (name, value, limit, unit) of an agent with 10,000 runs that wait for a busy machine."""
    yard = Yard(binary, scratch, "queue", 1)
    first = yard.command("sleep 10000")
    socket_path = yard.home / "agent.sock"
    request = {**yard.request_of(first), "command": "true"}
    local = threading.local()

    def submit(number):
        local.connection = getattr(local, "connection", None) or Connection(socket_path)
        request_of_one = {**request, "displayName": f"run-{number}"}
        return timed(lambda: local.connection.call("POST", "/v1/runs", request_of_one), 1)[0]

    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        times = list(clients.map(submit, range(QUEUED)))
    yield "submitted a second, by 8 clients", QUEUED / (time.perf_counter() - begun), None, "/s"
    yield "submit, median, 8 clients", statistics.median(times), None, "ms"
    yield "submit, 99 of 100, 8 clients", percentile(times, 99), 50, "ms"
    times = [submit(QUEUED + number) for number in range(500)]
    yield "submit behind 10,000, median", statistics.median(times), None, "ms"
    yield "submit behind 10,000, 99 of 100", percentile(times, 99), 50, "ms"
    connection = Connection(socket_path)
    times = timed(lambda: connection.call("GET", "/v1/runs?limit=20"), 200)
    yield "list 20 of 10,000, 99 of 100", percentile(times, 99), 100, "ms"
    times = timed(lambda: yard.call("list"), 100)
    yield "trainyard list, 99 of 100", percentile(times, 99), 100, "ms"
    times = timed(lambda: connection.call("GET", "/v1/runs"), 10)
    yield "list all 10,000, median", statistics.median(times), None, "ms"
    pid = yard.agent()["pid"]
    yield "agent with 10,000 queued, peak", high_water(pid), 200, "MiB"
    restarts = []
    for _ in range(5):
        pid = yard.agent()["pid"]
        os.kill(pid, signal.SIGKILL)
        begun = time.perf_counter()
        yard.call("list", "-n", "1")
        restarts.append(time.perf_counter() - begun)
    yield "killed to answering again, longest", max(restarts), 3, "s"
    yield "agent started with 10,000, peak", high_water(yard.agent()["pid"]), 200, "MiB"
    yard.call("cancel", "--now", first)
    yard.call("agent", "stop")


def high_water(pid):
    """Peak resident memory of a process in MiB, from /proc (proc(5), VmHWM)."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


class Spooler:
    """Task Spooler with a server of its own."""

    def __init__(self, scratch, name):
        directory = scratch / f"tsp-{name}"
        directory.mkdir()
        self.program = shutil.which("tsp") or shutil.which("ts")
        self.env = {**os.environ, "TS_SOCKET": str(directory / "socket"), "TMPDIR": str(directory),
                    "TS_MAXFINISHED": str(2 * SHORT)}
        self.call("-S", AT_ONCE)

    def call(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], check=True, env=self.env, stdout=subprocess.PIPE,
                              text=True).stdout

    def carry_out(self):
        begun = time.perf_counter()
        last = int([self.call("true") for _ in range(SHORT)][-1])
        for job in range(max(0, last - 2 * AT_ONCE), last + 1):
            self.call("-w", job)
        seconds = time.perf_counter() - begun
        self.call("-K")
        return seconds


class Pueue:
    """pueue with a daemon of its own."""

    def __init__(self, scratch, name):
        directory = scratch / f"pueue-{name}"
        directory.mkdir()
        names = ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"]
        self.env = {**os.environ, **dict.fromkeys(names, str(directory))}
        self.daemon = subprocess.Popen(["pueued"], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while subprocess.run(["pueue", "status"], env=self.env, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL).returncode:
            time.sleep(0.05)
        self.call("parallel", AT_ONCE)

    def call(self, *arguments):
        return subprocess.run(["pueue", *map(str, arguments)], check=True, env=self.env, stdout=subprocess.PIPE,
                              text=True).stdout

    def carry_out(self):
        begun = time.perf_counter()
        for _ in range(SHORT):
            self.call("add", "--", "true")
        self.call("wait", "--quiet")
        seconds = time.perf_counter() - begun
        self.call("shutdown")
        self.daemon.wait()
        return seconds


def short_runs(binary, scratch, rivals, rounds):
    """Returns the seconds that 1,000 runs of `true` take: by one job file, first as the rivals carry out theirs,
    without a sandbox, then in one, and with a network of their own; without one by one command each; and with each
    of `rivals`, by one command each."""
    ours, by_command, theirs = {"off": [], "none": [], "full": []}, [], [[] for _ in rivals]
    for index in range(rounds):
        yard = Yard(binary, scratch, f"short{index}", AT_ONCE)
        yard.command("true")
        yard.wait_until_idle()
        for kind, seconds in ours.items():
            says = 'sandbox = "off"' if kind == "off" else f'network = "{kind}"'
            jobs = scratch / f"short{index}-{kind}.toml"
            jobs.write_text(f'[[run]]\nsource = "{yard.source}"\ncommand = "true"\n{says}\n\n' * SHORT)
            seconds.append(seconds_of(yard, lambda: yard.call("submit", "--json", jobs)))
        for rival, seconds in zip(rivals, theirs):
            seconds.append(rival(scratch, index).carry_out())
        one = lambda: yard.command("true", "--sandbox", "off")
        by_command.append(seconds_of(yard, lambda: [one() for _ in range(SHORT)]))
        yard.call("agent", "stop")
    return ours, by_command, theirs


def seconds_of(yard, hand_in):
    begun = time.perf_counter()
    hand_in()
    yard.wait_until_idle()
    return time.perf_counter() - begun
