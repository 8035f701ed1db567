#!/usr/bin/env python3
"""What one stuck provider costs the others: their 99th percentile with 2,000 calls stuck, and without.

The stuck provider accepts every connection and says nothing. The calls of the others go on meanwhile,
by wrk with few connections, so that what is measured is waiting and not a full machine.

usage: benches/fairness.py [--rounds N] [--seconds N] [--connections N] [--stuck N]
needs: nginx, wrk
"""

import argparse
import contextlib
import json
import resource
import socket
import threading
import time
import urllib.parse

import common
import peers
import staff


@contextlib.contextmanager
def silent_provider():
    """Accepts, holds, and never answers; yields its port and the connections that it holds."""
    held, listener = [], socket.create_server(("127.0.0.1", 0), backlog=4096)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                held.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1], held
    listener.close()


def stick(base, key, count, held):
    """So many calls that wait for the silent provider; the callers' sockets."""
    url, before = urllib.parse.urlsplit(base), len(held)
    head = f"GET {url.path}/1k HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n"
    callers = []
    for _ in range(count):
        callers.append(socket.create_connection((url.hostname, url.port)))
        callers[-1].sendall(head.encode())
    deadline = time.monotonic() + common.PATIENCE_SECONDS
    while len(held) - before < count:
        if time.monotonic() > deadline:
            common.stop(f"only {len(held) - before} of {count} calls reached the silent provider")
        time.sleep(0.05)
    return callers


def release(callers, held):
    for one in callers + held:
        one.close()
    held.clear()
    # The gateway closes what they waited for.
    time.sleep(1)


@contextlib.contextmanager
def gate(home, upstream_port, silent_port):
    """One installation with both providers; base URLs of the two, a key, process ids."""
    weirgate = common.Weirgate(home)
    weirgate.verb("init")
    description = weirgate.file("staff.json", staff.description())
    connections, grants = {}, ""
    weirgate.verb("client", "create", "all")
    key = weirgate.verb("client", "key", "create", "all", "--expires", "1d")["key"]
    for name, port in {"staff": upstream_port, "silent": silent_port}.items():
        address = f"127.0.0.1:{port}"
        weirgate.verb(
            "provider", "import", description, "--name", name, "--server", f"http://{address}",
            "--allow-private-network", address,
        )
        connections[name] = weirgate.verb(
            "connection", "create", "--provider", name, "--customer", "self", "--scheme", "bearer",
            "--secret-file", "-", stdin=json.dumps({"token": peers.TOKEN}),
        )["id"]
        fields = json.dumps(staff.ALL_FIELDS)
        grants += peers.GRANTS.format(client="all", fields=fields).replace('"staff"', f'"{name}"')
    weirgate.verb("apply", weirgate.file("grants/all.toml", grants).parent)
    with weirgate.serving() as (process, url):
        bases = {name: f"{url}/proxy/{connection}" for name, connection in connections.items()}
        yield bases, key, common.family(process.pid)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of load, per round and variant")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--stuck", type=int, default=2000)
    options = parser.parse_args()
    # Both ends of all stuck calls lie in processes that this one starts, or in this one.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    about, rounds = common.machine(), common.Rounds()
    alone, beside = "alone", f"beside {options.stuck} stuck calls"
    with common.scratch() as home, peers.upstream(home) as (port, others):
        with silent_provider() as (silent, held), gate(home / "gate", port, silent) as gated:
            bases, key, pids = gated
            url = f"{bases['staff']}/1k"
            if json.loads(peers.fetch(url, key)) != json.loads(staff.one_kilobyte()):
                common.stop("not every field came through")
            common.wrk(url, key, 2, options.connections)
            for number in range(1, options.rounds + 1):
                for variant in (alone, beside):
                    common.talk(f"round {number} of {options.rounds}: {variant}")
                    count = options.stuck if variant == beside else 0
                    callers = stick(bases["silent"], key, count, held)
                    rounds.load(
                        variant, url, key, pids, others, options.seconds, options.connections
                    )
                    if len(held) < count:
                        common.stop("some of the stuck calls ended meanwhile: take fewer seconds")
                    release(callers, held)
    rows = [
        [
            variant, rounds.shown(variant, "rate", ".0f"), rounds.shown(variant, "cpu_us", ".1f"),
            rounds.shown(variant, "p99", ".2f"),
            f"{rounds.median(variant, 'p99') / rounds.median(alone, 'p99'):.2f}",
        ]
        for variant in (alone, beside)
    ]
    common.table(["the others", "requests/s", "CPU µs per request", "99 % ms", "99 % ÷ alone"], rows)
    print(
        f"Median (range) of {options.rounds} alternating rounds of {options.seconds} s, "
        f"{options.connections} connections, 1 KB bodies; {rounds.elsewhere:.0%} of the machine at most "
        f"was busy with something else; {about}."
    )


main()
