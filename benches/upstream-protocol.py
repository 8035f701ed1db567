#!/usr/bin/env python3
"""HTTP/1.1 and HTTP/2 to the same provider over TLS: requests per second and CPU time per request.

Two installations of Weirgate in front of one nginx that speaks both; one is kept to HTTP/1.1 by its
overlay.

usage: benches/upstream-protocol.py [--rounds N] [--seconds N] [--connections N]
needs: nginx with http_v2_module, wrk, openssl 3
"""

import argparse
import json

import common
import peers

HTTP1_ONLY = json.dumps(
    {
        "overlay": "1.1.0",
        "info": {"title": "HTTP/1.1 only", "version": "1"},
        "actions": [{"target": "$", "update": {"x-weirgate-http1-only": True}}],
    }
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of load, per round and variant")
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    about, rounds = common.machine(), common.Rounds()
    with common.scratch() as home:
        roots, tls = peers.certificate(home / "tls")
        with peers.upstream(home, tls) as (port, others), peers.gate(
            home / "http1", port + 1, None, roots, HTTP1_ONLY
        ) as http1, peers.gate(home / "http2", port + 1, None, roots) as http2:
            variants = {"HTTP/1.1": http1, "HTTP/2": http2}
            for name in peers.DOCUMENTS:
                for base, keys, _ in variants.values():
                    peers.check(base, keys, name)
            for number in range(options.rounds + 1):
                for name in peers.DOCUMENTS:
                    for variant, (base, keys, pids) in variants.items():
                        common.talk(f"round {number} of {options.rounds}: {name} {variant}")
                        if number == 0:
                            common.wrk(f"{base}/{name}", keys["all"], 2, options.connections)
                            continue
                        rounds.load(
                            (name, variant), f"{base}/{name}", keys["all"], pids, others,
                            options.seconds, options.connections,
                        )
    rows = []
    for name in peers.DOCUMENTS:
        for variant in variants:
            key, base = (name, variant), (name, "HTTP/1.1")
            rows.append(
                [
                    variant, name, rounds.shown(key, "rate", ".0f"),
                    rounds.shown(key, "cpu_us", ".1f"), rounds.shown(key, "p99", ".1f"),
                    f"{rounds.median(key, 'rate') / rounds.median(base, 'rate'):.2f}",
                    f"{rounds.median(key, 'cpu_us') / rounds.median(base, 'cpu_us'):.2f}",
                ]
            )
    common.table(
        [
            "to the provider", "body", "requests/s", "CPU µs per request", "99 % ms",
            "requests/s ÷ HTTP/1.1", "CPU ÷ HTTP/1.1",
        ],
        rows,
    )
    print(
        f"Median (range) of {options.rounds} alternating rounds of {options.seconds} s, "
        f"{options.connections} connections, TLS 1.3 to the provider; load, upstream and proxy share "
        f"the machine, of which {rounds.elsewhere:.0%} at most was busy with something else; "
        f"{common.version(common.program('nginx', 'nginx-light'), '-v')}; {about}."
    )


main()
