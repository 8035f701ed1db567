#!/usr/bin/env python3
"""What the audit log's syncs cost: the same load with the data folder in memory and on disk.

The audit log cannot be switched off, so "off" does not exist to compare with: a data folder on
tmpfs, where a sync costs nothing, is the nearest there is. What remains in memory is the work of the log
itself (encoding, hashing, signing checkpoints, writing).

usage: benches/audit-cost.py [--rounds N] [--seconds N] [--connections N] [--memory DIR]
needs: nginx, wrk
"""

import argparse

import common
import peers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of load, per round and variant")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--memory", default="/dev/shm", help="a folder on tmpfs")
    options = parser.parse_args()
    if common.file_system(options.memory) != "tmpfs":
        common.stop(f"{options.memory} is not on tmpfs")
    about, rounds = common.machine(), common.Rounds()
    with common.scratch() as home, common.scratch(options.memory) as memory, peers.upstream(
        home
    ) as (port, others):
        disk = common.file_system(home)
        if disk == "tmpfs":
            common.stop(f"{home} is on tmpfs too; name a folder on disk by WEIRGATE_BENCH_DIR")
        with peers.gate(home / "disk", port) as on_disk, peers.gate(
            home / "memory", port, memory / "data"
        ) as in_memory:
            variants = {f"disk ({disk})": on_disk, "tmpfs": in_memory}
            for number in range(options.rounds + 1):
                for connections in (1, options.connections):
                    for variant, (base, keys, pids) in variants.items():
                        common.talk(f"round {number} of {options.rounds}: {variant}, {connections}")
                        if number == 0:
                            common.wrk(f"{base}/1k", keys["all"], 2, connections)
                            continue
                        rounds.load(
                            (variant, connections), f"{base}/1k", keys["all"], pids, others,
                            options.seconds, connections,
                        )
    rows = []
    for connections in (1, options.connections):
        for variant in variants:
            key, base = (variant, connections), ("tmpfs", connections)
            rows.append(
                [
                    variant, connections, rounds.shown(key, "rate", ".0f"),
                    rounds.shown(key, "cpu_us", ".1f"), rounds.shown(key, "p99", ".1f"),
                    f"{rounds.median(key, 'rate') / rounds.median(base, 'rate'):.2f}",
                    f"{rounds.median(key, 'cpu_us') / rounds.median(base, 'cpu_us'):.2f}",
                ]
            )
    common.table(
        [
            "data folder", "connections", "requests/s", "CPU µs per request", "99 % ms",
            "requests/s ÷ tmpfs", "CPU ÷ tmpfs",
        ],
        rows,
    )
    print(
        f"Median (range) of {options.rounds} alternating rounds of {options.seconds} s, 1 KB bodies, "
        f"all fields granted; {rounds.elsewhere:.0%} of the machine at most was busy with something "
        f"else; {about}."
    )


main()
