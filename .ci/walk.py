#!/usr/bin/env python3
"""Follows docs/operate.md word by word on bare machines that it boots.

usage: walk.py FOLDER-OF-BINARIES [FOLDER-FOR-MACHINES]

As root on Debian with debootstrap, systemd-container, iproute2 and a mirror of Debian in reach. Each
machine is a Debian 12 of the packages below, booted by systemd-nspawn with systemd as PID 1, in a
network of its own that the machines share. The first one installs Weirgate with a database of its
own, two others share a PostgreSQL on a fourth, a fifth gets a backup back. Every block of the
document is run as it stands, on the machine that it is for, and must end well and print what the
document says. The machines' folder (by default /var/tmp/weirgate-walk) keeps the bare system for the
next time.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = "systemd,systemd-sysv,dbus,sudo,curl,openssl,ca-certificates,iproute2,procps"
NETWORK = "weirgate-walk"
PATIENCE = 300
BLOCK = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
# What was shown before, by how the document writes it.
SHOWN = {
    "wg_live_...": re.compile(r"wg_live_[0-9A-Za-z]{36}"),
    "conn_...": re.compile(r"conn_[0-9a-z]{26}"),
    "key_...": re.compile(r"key_[0-9a-z]{26}"),
}


class Failed(Exception):
    pass


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failed(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


class Machine:
    """A booted machine; its commands run in /opt/release."""

    def __init__(self, name, address, bare, hosts):
        self.name = name
        self.root = bare.parent / name
        if self.root.exists():
            shutil.rmtree(self.root)
        run("cp", "-a", "--reflink=auto", bare, self.root)
        (self.root / "etc/hostname").write_text(f"{name}\n")
        lines = ["127.0.0.1 localhost", "::1 localhost", *hosts]
        (self.root / "etc/hosts").write_text("".join(f"{line}\n" for line in lines))
        self.log = open(bare.parent / f"{name}.log", "wb")
        self.process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network",
             f"--machine={name}", f"--directory={self.root}", "--boot"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        self.address = address
        self.pid = None
        # What was shown, newest last.
        self.shown = []

    def start(self):
        self.pid = self._first_process()
        self._connect(self.address)
        self._wait_until_booted()

    def _first_process(self):
        for _ in range(200):
            children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            for child in children.read_text().split() if children.exists() else []:
                if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
            time.sleep(0.1)
        raise Failed(f"{self.name} does not boot, see {self.log.name}")

    def _connect(self, address):
        link = f"ww-{self.name}"[:15]
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "host0", "netns", self.pid)
        run("ip", "link", "set", link, "master", NETWORK, "up")
        inside = ["nsenter", "-t", self.pid, "-n", "ip"]
        run(*inside, "address", "add", f"{address}/24", "dev", "host0")
        run(*inside, "link", "set", "host0", "up")

    def _wait_until_booted(self):
        for _ in range(200):
            done = subprocess.run(
                [*self.enter(), "systemctl", "is-system-running"], capture_output=True, text=True
            )
            if done.stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.1)
        raise Failed(f"{self.name} does not come up: {done.stdout}{done.stderr}")

    def enter(self, with_network=False):
        spaces = ["-m", "-p", "-u", "-i"] + ([] if with_network else ["-n"])
        return [
            "nsenter", "-t", self.pid, *spaces, "--root", "--wd", "--",
            "env", "--chdir=/opt/release", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/opt", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
        ]  # fmt: skip

    def sh(self, script, with_network=False):
        """Runs a script as the document's reader would, and yields what it printed."""
        done = subprocess.run(
            [*self.enter(with_network), "bash", "-euo", "pipefail", "-c", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=PATIENCE,
        )  # fmt: skip
        self.shown.append(done.stdout)
        if done.returncode != 0:
            raise Failed(f"on {self.name}, exit {done.returncode}:\n{script}\n---\n{done.stdout}")
        return done.stdout

    def file(self, name):
        return self.root / "opt/release" / name

    def end(self):
        if self.process.poll() is None:
            os.kill(int(self.pid or self.process.pid), signal.SIGKILL)
            self.process.wait(timeout=30)
        self.log.close()


def filled(script, shown):
    """With the built-in sandbox in place of the provider that the document makes up, and the values
    that were shown in place of their names: the first one in the newest list of them."""
    script = script.replace(
        "--server https://api.hr.example",
        "--server http://127.0.0.1:8410 --allow-private-network 127.0.0.1:8410",
    )
    for name, pattern in SHOWN.items():
        if name not in script:
            continue
        found = next((text for text in reversed(shown) if pattern.search(text)), None)
        if found is None:
            raise Failed(f"nothing was shown for {name}")
        script = script.replace(name, pattern.search(found).group())
    return script


def prints(wanted, printed):
    """Whether the lines stand in what was printed, in this order; `...` is anything."""
    lines = iter(printed.splitlines())
    for line in wanted.splitlines():
        if line == "...":
            continue
        pattern = ".*".join(re.escape(part) for part in line.rstrip().split("..."))
        if not any(re.fullmatch(pattern, found.rstrip()) for found in lines):
            return False
    return True


class Walk:
    def __init__(self, text):
        self.sections = {}
        title = None
        for part in re.split(r"^(?=## )", text, flags=re.M):
            title = part.partition("\n")[0].removeprefix("## ")
            blocks = [found.groups() for found in BLOCK.finditer(part)]
            self.sections[title] = blocks
        self.count = 0

    def follow(self, machine, title, place=None, upto=None, skip=()):
        """Runs the blocks of a section that are for this place."""
        blocks = self.sections[title]
        done, printed = 0, None
        for kind, where, body in blocks:
            if kind == "text" and printed is not None:
                if not prints(body, printed):
                    raise Failed(f"{title}, on {machine.name}:\n{body}--- is not in\n{printed}")
            elif kind == "sh" and where == place:
                done += 1
                printed = None
                if done in skip:
                    continue
                if upto is not None and done > upto:
                    return
                with_network = "apt-get install" in body
                printed = machine.sh(filled(body, machine.shown), with_network)
                self.count += 1
                print(f"  {machine.name:<6} {title}: {body.splitlines()[0][:90]}", flush=True)
            elif kind == "sh":
                printed = None
        if done == 0:
            raise Failed(f"{title} has no block for {place}")


def make_bare(folder):
    bare = folder / "bare"
    if not (bare / "usr/bin/sudo").exists():
        shutil.rmtree(bare, ignore_errors=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", bare)
        (bare / "etc/machine-id").write_text("")
    return bare


def certificate(folder, name, chain, key):
    """From the authority that the document made in this folder."""
    script = f"""
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout {key} -subj "/CN={name}" |
  openssl x509 -req -CA issuing.pem -CAkey issuing-key.pem -days 90 -out own.pem -extfile <(printf 'subjectAltName=DNS:{name}\\n')
cat own.pem issuing.pem >{chain}
"""
    run("bash", "-euo", "pipefail", "-c", script, cwd=folder)


def main():
    binaries = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "/var/tmp/weirgate-walk").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    walk = Walk((REPO / "docs/operate.md").read_text())
    bare = make_bare(folder)
    release = bare / "opt/release"
    shutil.rmtree(release, ignore_errors=True)
    shutil.copytree(REPO / "packaging", release / "packaging")
    shutil.copy(REPO / "crates/sandbox/hr.yaml", release)
    for name in ("weirgate", "weirgate-verify"):
        shutil.copy(binaries / name, release)
    sums = "sha256sum weirgate weirgate-verify packaging/* >SHA256SUMS"
    run("sh", "-c", sums, cwd=release)
    # Others on the machine find the way in, as they would.
    authority = folder / "authority"
    shutil.rmtree(authority, ignore_errors=True)
    authority.mkdir()
    hosts = ["10.77.0.1 first gate.example.com", "10.77.0.4 db db.example.com"]
    subprocess.run(["ip", "link", "delete", NETWORK], capture_output=True)
    run("ip", "link", "add", NETWORK, "type", "bridge")
    run("ip", "link", "set", NETWORK, "up")
    machines = []

    def boot(name, number):
        own = [f"10.77.0.{number} {name}"]
        machine = Machine(name, f"10.77.0.{number}", bare, own + hosts)
        machines.append(machine)
        machine.start()
        return machine

    try:
        follow(walk, boot, authority)
    finally:
        for machine in machines:
            machine.end()
        subprocess.run(["ip", "link", "delete", NETWORK], capture_output=True)
    print(f"walk: {walk.count} blocks on {len(machines)} machines, all as the document says")


def follow(walk, boot, authority):
    def bring(machine, *names, of=authority):
        for name in names:
            shutil.copy(of / name, machine.file(name))

    def authority_runs(title, place):
        for kind, where, body in walk.sections[title]:
            if kind == "sh" and where == place:
                run("bash", "-euo", "pipefail", "-c", body, cwd=authority)
                walk.count += 1

    authority_runs("TLS", "authority")

    # One machine with a database of its own.
    first = boot("first", 1)
    walk.follow(first, "Install")
    with_sandbox(first)
    walk.follow(first, "The first call")
    bring(first, "tls-chain.pem", "tls-key.pem", "tls-root.pem")
    walk.follow(first, "TLS")
    certificate(authority, "gate.example.com", "tls-chain.pem", "tls-key.pem")
    bring(first, "tls-chain.pem", "tls-key.pem")
    walk.follow(first, "TLS", "renewed")
    walk.follow(first, "Watch it", "metrics")
    walk.follow(first, "Watch it")
    scraped(first)
    walk.follow(first, "Rotate")
    walk.follow(first, "Back up")
    walk.follow(first, "Upgrade")

    # Its backup on a fresh machine.
    fresh = boot("fresh", 5)
    walk.follow(fresh, "Install", upto=1)
    bring(fresh, "root-key", of=first.root / "etc/weirgate")
    bring(fresh, "first", of=first.root / "var/backups/weirgate")
    walk.follow(fresh, "Restore", "fresh")
    walk.follow(first, "Restore")
    walk.follow(first, "Upgrade", "back")

    # Two nodes on PostgreSQL.
    cluster = "PostgreSQL, and several nodes"
    database = boot("db", 4)
    certificate(authority, "db.example.com", "db-chain.pem", "db-key.pem")
    bring(database, "db-chain.pem", "db-key.pem")
    walk.follow(database, cluster, "db")
    shutil.copy(authority / "tls-root.pem", authority / "database-ca.pem")

    def bring_password(node):
        password = database.root / "etc/weirgate-password"
        shutil.copy(password, node.file("database-password"))

    nodes = []
    for number, place in enumerate(["one", "two"], start=2):
        node = boot(place, number)
        walk.follow(node, "Install", upto=1)
        bring(node, "database-ca.pem")
        bring_password(node)
        if nodes:
            bring(node, "root-key", of=nodes[0].root / "etc/weirgate")
        walk.follow(node, cluster, place)
        walk.follow(node, "Install", skip=(1, 2))
        nodes.append(node)
    one, two = nodes
    with_sandbox(one)
    with_sandbox(two)
    walk.follow(one, "The first call")
    call = filled(CALL, one.shown)
    two.sh(call)
    # One dies, the other goes on; what the first had begun is told by it when it is back.
    one.sh("kill -KILL $(systemctl show --property=MainPID --value weirgate)")
    two.sh(call)
    one.sh("sleep 4; " + call)
    one.sh("sudo -u weirgate weirgate audit list --data-dir /var/lib/weirgate | grep -q started")
    for node in nodes:
        walk.follow(node, cluster, "nodes")
    walk.follow(database, "Rotate", "db-password")
    for node in nodes:
        bring_password(node)
        walk.follow(node, "Rotate", "nodes-password")
    two.sh(call)


CALL = (
    'curl -sS --fail-with-body -H "Authorization: Bearer wg_live_..." '
    "http://127.0.0.1:8400/proxy/conn_.../employees"
)


def with_sandbox(machine):
    """The built-in sandbox in place of the provider that the document makes up."""
    machine.sh(
        "systemd-run --quiet --unit=sandbox weirgate sandbox /opt/release/hr.yaml --no-auth"
        " --listen 127.0.0.1:8410"
    )


def scraped(machine):
    query = "curl -sS http://127.0.0.1:9090/api/v1/query?query="
    for _ in range(60):
        answer = machine.sh(query + "up%7Bjob%3D%22weirgate%22%7D")
        if '"1"]' in answer:
            break
        time.sleep(1)
    else:
        raise Failed(f"Prometheus does not reach it: {answer}")
    answer = machine.sh(query + "weirgate_calls_total")
    if "weirgate_calls_total" not in answer:
        raise Failed(f"Prometheus has no calls: {answer}")


try:
    main()
except (Failed, subprocess.TimeoutExpired) as failure:
    sys.exit(f"walk: {failure}")
