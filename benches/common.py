"""What the benchmarks share: the binary, peers, load, CPU time, tables. Python 3.9 or later, no packages.

Each benchmark makes everything it needs in a temporary folder (below $WEIRGATE_BENCH_DIR if that is
set), measures its variants in alternating rounds of one run, and prints a Markdown table.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

REPO = pathlib.Path(__file__).resolve().parent.parent
PATIENCE_SECONDS = 60.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def stop(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


def program(name, package=None):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return found or stop(f"{name} is missing: apt-get install {package or name}")


def weirgate_binary():
    """$WEIRGATE, or the release build of this clone."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target"))
    binary = pathlib.Path(os.environ.get("WEIRGATE", target / "release/weirgate")).resolve()
    if not binary.is_file():
        stop(f"there is no {binary}: cargo build --release, or name one by WEIRGATE")
    return binary


# Taken out: Weirgate refuses variables of its prefix that it does not know.
BENCH_DIR = os.environ.pop("WEIRGATE_BENCH_DIR", None)


@contextlib.contextmanager
def scratch(parent=None):
    """A temporary folder that is gone afterwards."""
    parent = parent or BENCH_DIR
    with tempfile.TemporaryDirectory(prefix="weirgate-bench-", dir=parent) as folder:
        yield pathlib.Path(folder)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def file_system(path):
    command = ["df", "--output=fstype", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1].strip()


# Processes


@contextlib.contextmanager
def running(command, **options):
    """A process that is ended politely afterwards."""
    process = subprocess.Popen([str(part) for part in command], **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(*command):
    """A command that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        stop(f"{command[0]} exits {done.returncode}: {done.stderr}")


def wait_for(url, process):
    # Whatever proxy this machine uses is not meant for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with opener.open(url, timeout=5) as answer:
                return answer.read()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                stop(f"{url} does not answer: {error}")
            time.sleep(0.02)


def family(pid):
    """A process and its children, by id."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [one for child in children for one in family(int(child))]


def cpu_seconds(pids):
    """User and system time of processes with all their threads (proc(5), fields 14 and 15)."""
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def busy_seconds():
    """CPU time that the whole machine has spent on something, stolen time included."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


# Weirgate


class Weirgate:
    """An installation in a folder of its own."""

    def __init__(self, home, data_dir=None):
        self.binary = weirgate_binary()
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.data_dir = pathlib.Path(data_dir or self.home / "data")
        self.environment = {
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "PATH": os.environ.get("PATH", os.defpath),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "WEIRGATE_DATA_DIR": str(self.data_dir),
            # A line per call would measure the terminal.
            "WEIRGATE_LOG_LEVEL": "warn",
        }

    def verb(self, *args, stdin=""):
        """Runs a verb that must succeed; its JSON."""
        done = subprocess.run(
            [str(self.binary), *map(str, args), "--json"],
            cwd=self.home,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            stop(f"weirgate {' '.join(map(str, args))} exits {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def file(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @contextlib.contextmanager
    def serving(self):
        """A server; yields its process and the gateway's URL."""
        command = [self.binary, "serve", "--gateway-addr", "127.0.0.1:0"]
        command += ["--console-addr", "127.0.0.1:0", "--json"]
        log = (self.home / "serve.log").open("w")
        options = {"cwd": self.home, "env": self.environment, "stderr": log}
        with running(command, stdout=subprocess.PIPE, text=True, **options) as process:
            line = process.stdout.readline()
            if not line:
                stop(f"weirgate serve ended: {(self.home / 'serve.log').read_text()}")
            yield process, json.loads(line)["gateway"]


# Load


def wrk(url, key, seconds, connections):
    """Runs wrk; requests, requests per second, 99th percentile in ms. Any failed call ends the run."""
    command = [program("wrk"), "--latency", f"-t{min(2, connections)}"]
    command += [f"-c{connections}", f"-d{seconds}s"]
    command += ["-H", f"Authorization: Bearer {key}", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        stop(f"calls failed:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    return requests, rate, float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


class Rounds:
    """Figures per variant, and how much of the machine was taken by others meanwhile."""

    def __init__(self):
        self.figures = {}
        self.elsewhere = 0.0

    def add(self, variant, **figures):
        for name, value in figures.items():
            self.figures.setdefault(variant, {}).setdefault(name, []).append(value)

    def median(self, variant, name):
        return statistics.median(self.figures[variant][name])

    def shown(self, variant, name, form):
        """The median with the range over all rounds."""
        values = self.figures[variant][name]
        low, middle, high = min(values), statistics.median(values), max(values)
        return f"{middle:{form}} ({low:{form}}-{high:{form}})"

    def load(self, variant, url, key, pids, others, seconds, connections):
        """One round of load on one variant: its rate, and the CPU time of its processes.

        What the machine did beside them, the `others` (the upstream) and the load itself is noted.
        """
        load, beside = os.times(), cpu_seconds(others)
        before, busy, started = cpu_seconds(pids), busy_seconds(), time.monotonic()
        requests, rate, p99 = wrk(url, key, seconds, connections)
        used, busy = cpu_seconds(pids) - before, busy_seconds() - busy
        took, beside = time.monotonic() - started, cpu_seconds(others) - beside
        now = os.times()
        spent = now.children_user + now.children_system - load.children_user - load.children_system
        self.add(variant, rate=rate, p99=p99, cpu_us=used / requests * 1e6)
        share = (busy - used - beside - spent) / took / (os.cpu_count() or 1)
        self.elsewhere = max(self.elsewhere, share)


# Output


def machine():
    """What the figures were measured on, as a line below the table."""
    cpu = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return f"{cpu}, {os.cpu_count()} cores, Linux {os.uname().release}, load before {load:.2f}"


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    text = (done.stdout + done.stderr).strip()
    return text.splitlines()[0] if text else command[0]


def table(head, rows):
    print()
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" if not index else "---:" for index in range(len(head))) + " |")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def talk(*words):
    print(*words, file=sys.stderr, flush=True)
