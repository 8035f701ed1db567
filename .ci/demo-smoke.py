#!/usr/bin/env python3
"""The first minute of a newcomer, checked: `weirgate demo` for programs and for people.

usage: demo-smoke.py PATH-OF-WEIRGATE

Starts `demo --json`, makes the calls it names and looks for withheld fields in the answers; then
starts `demo`, pastes the lines that it prints into a shell; and verifies both audit logs.
"""

import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

READY_SECONDS = 2.0  # the promise, for a release build
PATIENCE_SECONDS = 30.0


class Failed(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Failed(what)


class Demo:
    """A demo that runs in a temporary folder; its lines of output arrive in a queue."""

    def __init__(self, binary, home, *args):
        environment = {
            "HOME": home,
            "TMPDIR": home,
            "PATH": os.pathsep.join([str(binary.parent), os.environ.get("PATH", os.defpath)]),
        }
        self.environment = environment
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [str(binary), "demo", *args],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        self.talk = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _listen(self):
        self.talk.extend(self.process.stderr)

    def next_line(self):
        try:
            line = self.lines.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            raise Failed(f"the demo printed nothing for {PATIENCE_SECONDS:.0f} s")
        check(line is not None, "the demo ended early: " + "".join(self.talk))
        return line

    def run(self, *command, shell=False):
        done = subprocess.run(
            command[0] if shell else command,
            shell=shell,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        check(done.returncode == 0, f"{command} exits {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=PATIENCE_SECONDS)
        check(code in (0, 130), f"the demo exits {code} after Ctrl-C: " + "".join(self.talk))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def segments(path):
    """`jobs[].title` as `["jobs", [], "title"]`; names of the demo hold no escapes."""
    parts = []
    for name in path.split("."):
        name, brackets, _ = name.partition("[]")
        parts.append(name)
        if brackets:
            parts.append([])
    return parts


def holds(value, parts):
    """Whether a path leads to anything in a value."""
    if not parts:
        return True
    first, rest = parts[0], parts[1:]
    if first == []:
        return isinstance(value, list) and any(holds(one, rest) for one in value)
    if isinstance(value, list):
        return any(holds(one, parts) for one in value)
    return isinstance(value, dict) and first in value and holds(value[first], rest)


def objects(value, names):
    """The outermost objects in an answer that have one of these members."""
    if isinstance(value, dict):
        if names & value.keys():
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from objects(one, names)


def get(url, key):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    # Whatever proxy this machine uses is not meant for loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def verify(demo, binary, data_dir):
    report = json.loads(demo.run(str(binary), "audit", "verify", "--data-dir", data_dir, "--json"))
    check(report["entries"] > 0, f"the log is empty: {report}")
    return report


def for_programs(binary, home):
    with Demo(binary, home, "--json") as demo:
        line = json.loads(demo.next_line())
        ready = time.monotonic() - demo.started
        members = {"gateway", "console", "api_key", "connection", "data_dir", "setup_url", "try"}
        check(line.keys() == members, f"members of the line: {sorted(line)}")
        check(re.fullmatch(r"wg_test_[0-9A-Za-z]{36}", line["api_key"]), "the form of the key")
        check(line["try"], "nothing to try")
        for one in line["try"]:
            status, headers, body = get(one["url"], line["api_key"])
            check(status == 200, f"{one['url']} answers {status}: {body[:500]}")
            answer = json.loads(body)
            granted = {path.split(".")[0].removesuffix("[]") for path in one["granted"]}
            found = list(objects(answer, granted))
            check(found, f"no {one['object']} in the answer")
            check(one["granted"] and one["withheld"], "nothing is granted, or nothing withheld")
            for path in one["granted"]:
                check(any(holds(this, segments(path)) for this in found), f"{path} is missing")
            for path in one["withheld"]:
                leaks = any(holds(this, segments(path)) for this in found)
                check(not leaks, f"{path} is withheld and came through")
            named = headers["weirgate-fields-withheld"] or ""
            check(one["withheld"][0] in named, f"weirgate-fields-withheld is {named!r}")
            wrong = line["api_key"][:-1] + ("a" if line["api_key"][-1] != "a" else "b")
            status, _, body = get(one["url"], wrong)
            check(status == 401, f"a mistyped key gets {status}")
        # Beside the server, then alone.
        verify(demo, binary, line["data_dir"])
        demo.stop()
        report = verify(demo, binary, line["data_dir"])
        check(report["open_intents"] == 0, f"open intents: {report}")
        return ready, report["entries"]


def for_people(binary, home):
    with Demo(binary, home) as demo:
        shown = []
        while not shown or "Ctrl-C" not in shown[-1]:
            shown.append(demo.next_line())
        lines = [line.strip() for line in shown]
        commands = [line for line in lines if line.startswith(("curl ", "weirgate "))]
        check(any(line.startswith("curl ") for line in commands), "no curl line is printed")
        for command in commands:
            printed = demo.run(command, shell=True)
            if command.startswith("curl ") and " -i " in command:
                check(" 200 " in printed.partition("\n")[0], f"{command}: {printed}")
        demo.stop()
        return len(commands)


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as home:
        # A busy machine may be slow once; a slow program is slow each time.
        readies = []
        for _ in range(3):
            ready, entries = for_programs(binary, home)
            readies.append(ready)
            if ready <= READY_SECONDS:
                break
        check(min(readies) <= READY_SECONDS, f"ready in {min(readies):.2f} s at best")
        commands = for_people(binary, home)
    print(f"demo: ready in {min(readies):.2f} s, {entries} entries verified, {commands} lines pasted")


try:
    main()
except (Failed, subprocess.TimeoutExpired) as failure:
    sys.exit(f"demo-smoke: {failure}")
