#!/usr/bin/env python3
"""`weirgate sandbox` beside Prism as mocks of one description: start, memory, requests per second.

Both serve one description: crates/sandbox/hr.yaml, or the one that is named with paths that take a
bearer token and no other parameters. Prism answers with its examples, which is its fastest way, logs
nothing, and takes any credential; Weirgate checks the credential and keeps state.

usage: benches/sandbox.py [--prism FILE] [--rounds N] [--seconds N] [--connections N]
                          [--description FILE --path PATH...]
needs: wrk, node, and Prism: npm install @stoplight/prism-cli
"""

import argparse
import contextlib
import json
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.request

import common

HR = common.REPO / "crates/sandbox/hr.yaml"
KEY = "bench-credential"


def memory_mb(pid, name):
    """Of a process and its children."""
    total = 0
    for one in common.family(pid):
        text = pathlib.Path(f"/proc/{one}/status").read_text()
        total += int(re.search(rf"{name}:\s+(\d+)", text)[1])
    return total / 1024


def fetch(url):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=common.PATIENCE_SECONDS) as answer:
        return json.loads(answer.read())


def wait_until_answered(url, process):
    """Any HTTP status counts: the server is there."""
    while process.poll() is None:
        try:
            return fetch(url)
        except urllib.error.HTTPError:
            return None
        except OSError:
            time.sleep(0.005)
    return common.stop("a mock ended before it answered")


@contextlib.contextmanager
def weirgate(home, description, path):
    (home / "credential").write_text(KEY)
    command = [common.weirgate_binary(), "sandbox", description, "--listen", "127.0.0.1:0"]
    command += ["--credential-file", home / "credential", "--json"]
    started = time.monotonic()
    with common.running(command, stdout=subprocess.PIPE, text=True) as process:
        url = json.loads(process.stdout.readline())["url"]
        wait_until_answered(f"{url}{path}", process)
        yield process, url, time.monotonic() - started


@contextlib.contextmanager
def prism(program, description, path):
    port = common.free_port()
    command = [program, "mock", "-h", "127.0.0.1", "-p", str(port), "-v", "silent", description]
    url = f"http://127.0.0.1:{port}"
    started = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with common.running(command, **quiet) as process:
        wait_until_answered(f"{url}{path}", process)
        yield process, url, time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prism", help="its program, if it is not on the path")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of load, per round and variant")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--description", type=pathlib.Path, default=HR)
    parser.add_argument("--path", action="append", default=[])
    options = parser.parse_args()
    paths = options.path or ["/employees?limit=10", "/departments"]
    first = paths[0]
    program = options.prism or common.program("prism", "npm install @stoplight/prism-cli")
    about, rounds = common.machine(), common.Rounds()
    starts = {}
    with common.scratch() as home, weirgate(
        home, options.description, first
    ) as ours, prism(program, options.description, first) as theirs:
        variants = []
        for name, (process, url, took) in (("prism", theirs), ("weirgate sandbox", ours)):
            pids = common.family(process.pid)
            for path in paths:
                fetch(f"{url}{path}")
            starts[name] = (took * 1000, process.pid)
            variants.append((name, url, pids))
        for number in range(options.rounds + 1):
            for path in paths:
                for name, url, pids in variants:
                    common.talk(f"round {number} of {options.rounds}: {name}, {path}")
                    target = f"{url}{path}"
                    if number == 0:
                        common.wrk(target, KEY, 2, options.connections)
                        continue
                    rounds.load(
                        (name, path), target, KEY, pids, [], options.seconds,
                        options.connections,
                    )
        peak = {name: memory_mb(pid, "VmHWM") for name, (_, pid) in starts.items()}
    rows = []
    for path in paths:
        base = rounds.median(("prism", path), "rate")
        for name, *_ in variants:
            key = (name, path)
            rows.append(
                [
                    name, path, rounds.shown(key, "rate", ".0f"),
                    rounds.shown(key, "cpu_us", ".0f"), rounds.shown(key, "p99", ".2f"),
                    f"{rounds.median(key, 'rate') / base:.1f}", f"{starts[name][0]:.0f}",
                    f"{peak[name]:.0f}",
                ]
            )
    common.table(
        ["mock", "path", "requests/s", "CPU µs per request", "99 % ms", "requests/s ÷ prism",
         "answers after ms", "peak MB"],
        rows,
    )
    print(
        f"Median (range) of {options.rounds} alternating rounds of {options.seconds} s, "
        f"{options.connections} connections; {rounds.elsewhere:.0%} of the machine at most was busy "
        f"with something else; Prism {common.version(program, '--version')}; {about}."
    )


if __name__ == "__main__":
    main()
