#!/usr/bin/env python3
"""`weirgate project` beside jq and Python's json: GB/s of input, by wall clock and by CPU time.

One generated document of many records in an envelope is read from a file and its projection thrown
away. Before that, all three must give the same values.

usage: benches/projection.py [--rounds N] [--megabytes N]
needs: jq
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time

import common
import staff

FEW = ["id", "workEmail", "address.city"]

_PYTHON = """
import json, sys
def select(value, tree):
    if isinstance(value, list):
        return [select(one, tree) for one in value]
    return {name: member if tree[name] is None else select(member, tree[name])
            for name, member in value.items() if name in tree}
with open(sys.argv[1], encoding="utf-8") as file:
    document = json.load(file)
json.dump(select(document, json.loads(sys.argv[2])), sys.stdout, ensure_ascii=False,
          separators=(",", ":"))
"""


def tree(fields):
    """Paths as nested members, arrays left out; None for what passes whole."""
    root = {}
    for field in fields:
        *above, last = field.replace("[]", "").split(".")
        place = root
        for name in above:
            place = place.setdefault(name, {})
        place[last] = None
    return {"results": root, "next": None}


def jq_filter(fields):
    def members(below, value):
        parts = []
        for name, inside in below.items():
            if inside is None:
                parts.append(f"{name}: {value}.{name}")
            elif name == "jobs":
                parts.append(f"{name}: [{value}.{name}[] | {members(inside, '')}]")
            else:
                parts.append(f"{name}: {members(inside, f'{value}.{name}')}")
        return "{" + ", ".join(parts) + "}"

    return f"{{results: [.results[] | {members(tree(fields)['results'], '')}], next: .next}}"


def commands(path, fields):
    allow = ",".join([f"results[].{field}" for field in fields] + ["next"])
    return {
        "weirgate project": [common.weirgate_binary(), "project", "--allow", allow, path],
        "jq": [common.program("jq"), "-c", jq_filter(fields), path],
        "Python json": [sys.executable, "-c", _PYTHON, path, json.dumps(tree(fields))],
    }


def measure(command, out):
    """Wall seconds, CPU seconds, peak memory in MB."""
    started = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=out)
    peaks, ended = [0], threading.Event()
    watcher = threading.Thread(target=watch_memory, args=(process.pid, peaks, ended))
    watcher.start()
    _, status, used = os.wait4(process.pid, 0)
    took = time.monotonic() - started
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        common.stop(f"{command[0]} exits {process.returncode}")
    return took, used.ru_utime + used.ru_stime, max(peaks) * 1024 / 1e6


def watch_memory(pid, peaks, ended):
    """Peak resident memory as long as it can be seen; `ru_maxrss` would count this process too."""
    while not ended.wait(0.02):
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
                peaks += [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
        except OSError:
            return


def agree(home, path, fields):
    """All tools give the same values; yields the bytes that are left."""
    values = {}
    for tool, command in commands(path, fields).items():
        output = home / "output.json"
        with output.open("wb") as out:
            measure(command, out)
        with output.open(encoding="utf-8") as file:
            values[tool] = json.load(file)
        if tool == "weirgate project":
            left = output.stat().st_size
    first, *others = values.values()
    if any(other != first for other in others):
        common.stop("the tools do not agree on the projection")
    return left


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=120)
    options = parser.parse_args()
    about, rounds, left = common.machine(), common.Rounds(), {}
    selections = {"3 fields": FEW, "half of the fields": staff.HALF_OF_FIELDS}
    with common.scratch() as home, open(os.devnull, "wb") as nowhere:
        path, small = home / "large.json", home / "small.json"
        records = staff.write_large(path, options.megabytes * 1_000_000)
        staff.write_large(small, 2_000_000)
        size = path.stat().st_size
        for selection, fields in selections.items():
            left[selection] = agree(home, small, fields) / small.stat().st_size
        for number in range(options.rounds):
            for selection, fields in selections.items():
                for tool, command in commands(path, fields).items():
                    wall, cpu, memory = measure(command, nowhere)
                    rounds.add((selection, tool), wall=size / 1e9 / wall, cpu=size / 1e9 / cpu, mb=memory)
                    common.talk(f"round {number + 1} of {options.rounds}: {selection}, {tool}: {wall:.2f} s")
    rows = []
    for selection in selections:
        for tool in commands(path, FEW):
            key, own = (selection, tool), (selection, "weirgate project")
            rows.append(
                [
                    tool, selection, f"{left[selection]:.0%}", rounds.shown(key, "wall", ".3f"),
                    rounds.shown(key, "cpu", ".3f"), rounds.shown(key, "mb", ".0f"),
                    f"{rounds.median(own, 'cpu') / rounds.median(key, 'cpu'):.1f}",
                ]
            )
    common.table(
        ["tool", "kept", "bytes left", "GB/s wall", "GB/s CPU", "peak MB", "weirgate ÷ this, CPU"], rows
    )
    print(
        f"Median (range) of {options.rounds} alternating rounds; {size / 1e6:.0f} MB, {records} records; "
        f"{common.version('jq', '--version')}, Python {sys.version.split()[0]}; {about}."
    )


main()
