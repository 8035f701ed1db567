#!/usr/bin/env python3
"""How long the console's pages take, and how large they are, over a log of many entries.

The pages are asked one after the other, as a person would, by the first administrator with a second factor.

usage: benches/console.py [--entries N] [--rounds N]
needs: wrk
"""

import argparse
import base64
import gzip
import hashlib
import hmac
import http.client
import json
import os
import re
import statistics
import struct
import subprocess
import time
import urllib.parse

import common

PAGES = [
    "/", "/providers", "/connections", "/clients", "/grants", "/audit", "/audit?text=employees",
    "/audit?text=nowhere-to-be-found", "/audit?kind=call&object=Employee&outcome=2xx",
    "/audit?outcome=nowhere_to_be_found", "/audit/activity", "/calls", "/calls?end=failed",
    "/settings", "/users", "/advice", "/reviews", "/rules", "/account",
]
PASSWORD = "seven herons wade upstream"


class Browser:
    """Keeps cookies and sends the forms of pages that it has seen."""

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc
        self.origin, self.cookies, self.form = url, {}, ""
        self.line = http.client.HTTPConnection(self.host, timeout=60)

    def ask(self, method, path, fields=None):
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if method == "POST":
            body = urllib.parse.urlencode({"form": self.form, **(fields or {})})
            headers["Origin"], headers["Content-Type"] = self.origin, "application/x-www-form-urlencoded"
        try:
            self.line.request(method, path, body, headers)
            answer = self.line.getresponse()
        except http.client.RemoteDisconnected:
            # It was idle for too long.
            self.line.close()
            self.line.request(method, path, body, headers)
            answer = self.line.getresponse()
        text = answer.read().decode()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                name, value = value.split(";")[0].split("=", 1)
                self.cookies[name] = value
        form = re.search(r'name="form" value="([^"]+)"', text)
        self.form = form[1] if form else self.form
        if answer.status == 303:
            return self.ask("GET", answer.getheader("location"))
        if answer.status != 200:
            common.stop(f"{method} {path} is {answer.status}: {text}")
        return text


def code(spelled):
    """RFC 6238."""
    key = base64.b32decode(spelled.replace(" ", "") + "=" * (-len(spelled.replace(" ", "")) % 8))
    mac = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    number = struct.unpack(">I", mac[mac[19] & 15 : (mac[19] & 15) + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def sign_in(ready):
    """The first administrator."""
    browser = Browser(ready["console"])
    setup = urllib.parse.urlsplit(ready["setup_url"]).path
    browser.ask("GET", setup)
    browser.ask("POST", setup, {"address": "ada@example.com", "name": "Ada", "password": PASSWORD})
    key = re.search(r'Key: <span class="code">([^<]+)<', browser.ask("POST", "/enrol/begin"))[1]
    browser.ask("POST", "/enrol/confirm", {"code": code(key), "name": "phone"})
    return browser


def packed(browser, page):
    """Bytes of what the page brings, compressed: itself, style, script."""
    sizes = [len(gzip.compress(page.encode(), 9)), 0, 0]
    for path in set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', page)):
        kind = 2 if path.endswith(".js") else 1
        sizes[kind] += len(gzip.compress(browser.ask("GET", path).encode(), 9))
    return sizes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    about = common.machine()
    with common.scratch() as home:
        environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": os.environ.get("PATH", os.defpath)}
        command = [common.weirgate_binary(), "demo", "--json"]
        command += ["--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0"]
        with (home / "log").open("w") as log, common.running(
            command, cwd=home, env=environment, stderr=log, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True,
        ) as process:
            ready = json.loads(process.stdout.readline())
            common.wait_for(f"{ready['gateway']}/readyz", process)
            browser, entries = sign_in(ready), 0
            url = f"{ready['gateway']}/proxy/{ready['connection']}/employees"
            while entries < options.entries:
                # Each call is two entries: what is meant, and what became of it.
                entries += 2 * common.wrk(url, ready["api_key"], 2, 32)[0]
                common.talk(f"{entries} entries")
            rows = []
            for page in PAGES:
                text, took = browser.ask("GET", page), []
                for _ in range(options.rounds):
                    started = time.perf_counter()
                    browser.ask("GET", page)
                    took.append((time.perf_counter() - started) * 1e3)
                took.sort()
                own, style, script = packed(browser, text)
                rows.append(
                    [
                        f"`{page}`", f"{statistics.median(took):.1f}", f"{took[int(len(took) * 0.95)]:.1f}",
                        f"{own / 1e3:.1f}", f"{style / 1e3:.1f}", f"{script / 1e3:.1f}",
                    ]
                )
    common.table(["page", "median ms", "p95 ms", "page kB", "style kB", "script kB"], rows)
    print(f"{options.rounds} requests each over {entries} entries of the log; sizes by gzip; {about}.")


main()
