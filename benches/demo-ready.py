#!/usr/bin/env python3
"""How long `weirgate demo --json` takes from its start to the line that says it is ready.

usage: benches/demo-ready.py [--runs N]
"""

import argparse
import json
import os
import subprocess
import time

import common


def one_run(home):
    """Seconds to the line, and resident memory then, in MB."""
    environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": os.environ.get("PATH", os.defpath)}
    command = [common.weirgate_binary(), "demo", "--json"]
    command += ["--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    with (home / "log").open("w") as log:
        started = time.monotonic()
        with common.running(command, cwd=home, env=environment, stderr=log, **options) as process:
            line = process.stdout.readline()
            took = time.monotonic() - started
            if not line:
                common.stop(f"the demo ended: {(home / 'log').read_text()}")
            ready = json.loads(line)
            with open(f"/proc/{process.pid}/statm", encoding="ascii") as statm:
                pages = int(statm.read().split()[1])
            common.wait_for(f"{ready['gateway']}/readyz", process)
    if process.returncode != 0:
        common.stop(f"the demo exits {process.returncode}: {(home / 'log').read_text()}")
    return took, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    about, rounds = common.machine(), common.Rounds()
    for _ in range(options.runs):
        with common.scratch() as home:
            took, memory = one_run(home)
            rounds.add("demo", ms=took * 1e3, memory=memory)
            common.talk(f"{took * 1e3:.0f} ms")
    rows = [["`demo --json`", rounds.shown("demo", "ms", ".0f"), rounds.shown("demo", "memory", ".0f")]]
    common.table(["", "ready after ms", "resident MB then"], rows)
    print(f"Median (range) of {options.runs} runs, each with a fresh data folder; {about}.")


main()
