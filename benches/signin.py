#!/usr/bin/env python3
"""Whether the time of a sign-in that is refused tells if there is such a person.

Each round tries one password per kind of address, the kinds in an order of chance; what is told is the
median of the differences to an address that nobody has, within the round. So what the machine does
beside it meets all kinds alike. Each try comes from an address of its own (127.0.0.0/8), and failures
are forgotten in the store between rounds: nothing is slowed or locked but what is meant to be.

usage: benches/signin.py [--tries N] [--other-tries N] [--locked-tries N]
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import random
import re
import sqlite3
import statistics
import struct
import subprocess
import time
import urllib.parse

import common

PASSWORD = "seven herons wade upstream"
WRONG = "eight herons wade upstream"
NOBODY = "address that nobody has"
WARM_UP = 3
LIMIT_MS = 1.0


class Line:
    """A connection from an address of its own, with the cookie and the form of the sign-in page."""

    def __init__(self, console, number):
        self.console = console
        self.host = urllib.parse.urlsplit(console).netloc
        source = f"127.{1 + number // 62_500 % 250}.{1 + number // 250 % 250}.{1 + number % 250}"
        self.line = http.client.HTTPConnection(self.host, timeout=60, source_address=(source, 0))
        self.cookies = {}
        self.form = ""

    def ask(self, method, path, fields=None):
        """Status, text and seconds."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if method == "POST":
            body = urllib.parse.urlencode({"form": self.form, **(fields or {})})
            headers["Origin"] = self.console
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        started = time.perf_counter()
        self.line.request(method, path, body, headers)
        answer = self.line.getresponse()
        text = answer.read().decode()
        took = time.perf_counter() - started
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                name, value = value.split(";")[0].split("=", 1)
                self.cookies[name] = value
        form = re.search(r'name="form" value="([^"]+)"', text)
        self.form = form[1] if form else self.form
        return answer.status, text, took

    def close(self):
        self.line.close()


def totp(spelled):
    """RFC 6238."""
    spelled = spelled.replace(" ", "")
    key = base64.b32decode(spelled + "=" * (-len(spelled) % 8))
    mac = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    number = struct.unpack(">I", mac[mac[19] & 15 : (mac[19] & 15) + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def accept(console, path):
    """Uses an invitation, up to a second factor."""
    line = Line(console, 0)
    line.ask("GET", path)
    status, text, _ = line.ask("POST", path, {"name": "Somebody", "password": PASSWORD})
    if status != 303:
        common.stop(f"an invitation was not accepted: {status} {text}")
    line.ask("GET", "/enrol")
    _, text, _ = line.ask("POST", "/enrol/begin")
    seed = re.search(r'Key: <span class="code">([^<]+)<', text)[1]
    status, text, _ = line.ask("POST", "/enrol/confirm", {"code": totp(seed), "name": "phone"})
    if status != 200:
        common.stop(f"a factor was not enrolled: {status} {text}")
    line.close()


def cpu_ns(pid):
    """CPU time of all threads, to the nanosecond (proc(5), schedstat)."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            # It ended; the rounds are many.
            continue
    return total


class Store:
    """What is counted of failures: forgotten, or as of somebody who failed a hundred times."""

    def __init__(self, data_dir):
        self.db = sqlite3.connect(data_dir / "weirgate.db", timeout=30, isolation_level=None)

    def forget(self):
        self.db.execute("DELETE FROM sign_in_failure")

    def lock(self):
        now = int(time.time() * 1e6)
        self.db.execute("UPDATE sign_in_failure SET failures = 100, last_at = ?", (now,))


def measured(process, console, store, kinds, rounds, is_locked):
    """Wall and CPU milliseconds of each try, by kind; `rounds` says how many of each."""
    took = {name: ([], []) for name in kinds}
    number = random.randrange(1_000_000)
    for done in range(max(rounds.values()) + WARM_UP):
        names = [name for name in kinds if done < rounds[name] + WARM_UP]
        random.shuffle(names)
        store.forget()
        lines = {}
        for name in names:
            number += 1
            lines[name] = Line(console, number)
            lines[name].ask("GET", "/sign-in")
        if is_locked:
            # One failure each, which is made a hundred; then each place is as new.
            for name in names:
                lines[name].ask("POST", "/sign-in", {"address": kinds[name], "password": WRONG})
            store.lock()
            for name in names:
                lines[name].close()
                number += 1
                lines[name] = Line(console, number)
                lines[name].ask("GET", "/sign-in")
        for name in names:
            before = cpu_ns(process.pid)
            status, text, wall = lines[name].ask(
                "POST", "/sign-in", {"address": kinds[name], "password": WRONG}
            )
            cpu = cpu_ns(process.pid) - before
            if status != (429 if is_locked else 403):
                common.stop(f"{name}: {status} {text}")
            if done >= WARM_UP:
                took[name][0].append(wall * 1e3)
                took[name][1].append(cpu / 1e6)
            lines[name].close()
        if done % 100 == 99:
            common.talk(f"{done + 1} rounds")
    return took


def rows(took, kinds):
    found = []
    for name in kinds:
        row = [name, len(took[name][0])]
        for which in (0, 1):
            values = took[name][which]
            # Of the same rounds.
            nobody = took[NOBODY][which][: len(values)]
            apart = statistics.median(values) - statistics.median(nobody)
            paired = statistics.median(a - b for a, b in zip(values, nobody))
            row += [f"{statistics.median(values):.2f}", f"{apart:+.3f}", f"{paired:+.3f}"]
        found.append(row)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=2_000, help="of nobody and of a wrong password")
    parser.add_argument("--other-tries", type=int, default=2_000, help="of each other kind")
    parser.add_argument("--locked-tries", type=int, default=200, help="of each that is locked")
    options = parser.parse_args()
    about = common.machine()
    busy, began = common.busy_seconds(), time.monotonic()
    with common.scratch() as home:
        weirgate = common.Weirgate(home)
        weirgate.verb("init")
        command = [weirgate.binary, "serve", "--gateway-addr", "127.0.0.1:0"]
        command += ["--console-addr", "127.0.0.1:0", "--json"]
        log = (home / "serve.log").open("w")
        place = {"cwd": weirgate.home, "env": weirgate.environment, "stderr": log}
        with common.running(command, stdout=subprocess.PIPE, text=True, **place) as process:
            console = json.loads(process.stdout.readline())["console"]
            known, disabled, empty = (f"{one}@example.com" for one in ("kim", "dora", "eve"))
            for address in (known, disabled, empty):
                invited = weirgate.verb("user", "invite", address, "--role", "auditor")
                if address != empty:
                    accept(console, invited["path"])
            weirgate.verb("user", "disable", disabled)
            store = Store(weirgate.data_dir)
            kinds = {
                NOBODY: "nobody@example.com",
                "another that nobody has": "norman@example.com",
                "wrong password": known,
                "disabled": disabled,
                "no password yet": empty,
            }
            rounds = {name: options.other_tries for name in kinds}
            rounds |= {NOBODY: options.tries, "wrong password": options.tries}
            took = measured(process, console, store, kinds, rounds, False)
            locked = {NOBODY: kinds[NOBODY], "wrong password": known, "disabled": disabled}
            rounds = {name: options.locked_tries for name in locked}
            took_locked = measured(process, console, store, locked, rounds, True)
            spent = cpu_ns(process.pid) / 1e9
    share = (common.busy_seconds() - busy - spent) / (time.monotonic() - began) / (os.cpu_count() or 1)
    head = ["address", "tries", "wall ms", "Δ median", "median of Δ", "CPU ms", "Δ median", "median of Δ"]
    all_rows = rows(took, kinds)
    all_rows += [[f"locked: {row[0]}", *row[1:]] for row in rows(took_locked, locked)]
    common.table(head, all_rows)
    print(f"{share:.0%} of the machine was busy with something else, the load included; {about}.")
    over = [row[0] for row in all_rows if abs(float(row[3])) >= LIMIT_MS or abs(float(row[6])) >= LIMIT_MS]
    if over:
        common.stop(f"apart by a millisecond or more: {', '.join(over)}")


main()
