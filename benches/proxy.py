#!/usr/bin/env python3
"""Weirgate beside nginx as a plain reverse proxy: requests per second and CPU time per request.

nginx passes bytes on; Weirgate authenticates, authorizes, projects and keeps an audit log with two
entries per call on disk. Both add a credential, keep connections, and speak HTTP/1.1 without TLS.

usage: benches/proxy.py [--rounds N] [--seconds N] [--connections N]
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
    options = parser.parse_args()
    about, rounds = common.machine(), common.Rounds()
    with common.scratch() as home, peers.upstream(home) as (port, others):
        with peers.plain_proxy(home, port) as (plain, nginx_pids), peers.gate(
            home / "gate", port
        ) as (base, keys, gate_pids):
            sizes = {}
            for name in peers.DOCUMENTS:
                sizes[name] = peers.check(base, keys, name)
            variants = [("nginx", plain, "none", nginx_pids)]
            variants += [
                (f"weirgate, {client} of the fields", base, keys[client], gate_pids)
                for client in ("all", "half")
            ]
            for number in range(options.rounds + 1):
                for name in peers.DOCUMENTS:
                    for variant, url, key, pids in variants:
                        common.talk(f"round {number} of {options.rounds}: {name} {variant}")
                        if number == 0:
                            # Warms up what is kept: connections, compiled decisions, files.
                            common.wrk(f"{url}/{name}", key, 2, options.connections)
                            continue
                        rounds.load(
                            (name, variant), f"{url}/{name}", key, pids, others,
                            options.seconds, options.connections,
                        )
            disk = common.file_system(home)
    rows = []
    for name in peers.DOCUMENTS:
        whole, half = sizes[name]
        nginx = (name, "nginx")
        for variant, *_ in variants:
            key = (name, variant)
            cpu = rounds.median(key, "cpu_us") / rounds.median(nginx, "cpu_us")
            rate = rounds.median(key, "rate") / rounds.median(nginx, "rate")
            bytes_out = half if "half" in variant else whole
            rows.append(
                [
                    variant, name, bytes_out, rounds.shown(key, "rate", ".0f"),
                    rounds.shown(key, "cpu_us", ".1f"), rounds.shown(key, "p99", ".1f"),
                    f"{rate:.2f}", f"{cpu:.2f}",
                ]
            )
    common.table(
        [
            "variant", "body", "bytes to the caller", "requests/s", "CPU µs per request",
            "99 % ms", "requests/s ÷ nginx", "CPU ÷ nginx",
        ],
        rows,
    )
    print(
        f"Median (range) of {options.rounds} alternating rounds of {options.seconds} s, "
        f"{options.connections} connections; load, upstream and proxy share the machine, "
        f"of which {rounds.elsewhere:.0%} at most was busy with something else; "
        f"audit log on {disk}; {common.version(common.program('nginx', 'nginx-light'), '-v')}; {about}."
    )


main()
