"""The upstream, nginx as a plain reverse proxy, and Weirgate in front of the same upstream."""

import contextlib
import json
import os
import urllib.request

import common
import staff

# Path of each document, and the document.
DOCUMENTS = {"1k": staff.one_kilobyte, "16k": staff.sixteen_kilobytes}
# The credential that both proxies add.
TOKEN = "bench-token-of-the-upstream"

_NGINX = """
{user}
daemon off;
worker_processes auto;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    default_type application/json;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {http}
}}
"""


@contextlib.contextmanager
def nginx(home, port, http):
    home.mkdir(parents=True)
    # Started by root its workers would drop to a user that cannot read the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    config = home / "nginx.conf"
    config.write_text(_NGINX.format(user=user, home=home, http=http))
    command = [common.program("nginx", "nginx-light"), "-p", home, "-e", home / "error.log", "-c", config]
    with common.running(command) as process:
        common.wait_for(f"http://127.0.0.1:{port}/1k", process)
        yield common.family(process.pid)


@contextlib.contextmanager
def upstream(home, tls=None):
    """Serves the documents from files; yields port and process ids. With `tls` (certificate and key)
    they are served on the next port too, over TLS by HTTP/2 or HTTP/1.1, as the client likes."""
    files = home / "files"
    files.mkdir(parents=True)
    for name, make in DOCUMENTS.items():
        (files / name).write_text(make(), encoding="utf-8")
    port = common.free_port()
    server = f"sendfile on; server {{ listen 127.0.0.1:{port}; root {files}; }}"
    if tls:
        certificate, key = tls
        server += f"""
    server {{
        listen 127.0.0.1:{port + 1} ssl http2;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        http2_max_concurrent_streams 128;
        root {files};
    }}"""
    with nginx(home / "upstream", port, server) as pids:
        yield port, pids


def certificate(home):
    """An authority's file, and the files of a certificate for localhost by it and of its key."""
    home.mkdir(parents=True, exist_ok=True)

    def request(name, *extensions):
        pair = home / f"{name}.pem", home / f"{name}.key"
        command = [common.program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes"]
        command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", f"/CN={name}"]
        for extension in ("subjectAltName=DNS:localhost", *extensions):
            command += ["-addext", extension]
        return pair, [*command, "-out", pair[0], "-keyout", pair[1]]

    authority, command = request("authority", "basicConstraints=critical,CA:TRUE")
    common.run(*command)
    pair, command = request("localhost", "basicConstraints=critical,CA:FALSE")
    common.run(*command, "-CA", authority[0], "-CAkey", authority[1])
    return authority[0], pair


@contextlib.contextmanager
def plain_proxy(home, upstream_port):
    """nginx as a reverse proxy that keeps connections and adds the credential."""
    port = common.free_port()
    http = f"""
    upstream provider {{
        server 127.0.0.1:{upstream_port};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {TOKEN}";
        }}
    }}
    """
    with nginx(home / "proxy", port, http) as pids:
        yield f"http://127.0.0.1:{port}", pids


GRANTS = """
[[grant]]
client = "{client}"
provider = "staff"
purpose = "measure"
expires = "2999-12-31"
allow = [ {{ object = "Employee", actions = ["read"], fields = {fields} }} ]
"""


@contextlib.contextmanager
def gate(home, upstream_port, data_dir=None, roots=None, overlay=None):
    """Weirgate; yields base URL, keys by client (`all` and `half` of the fields), process ids. With
    `roots`, a file of authorities, the upstream is reached over TLS."""
    weirgate = common.Weirgate(home, data_dir)
    scheme, host = ("https", "localhost") if roots else ("http", "127.0.0.1")
    address = f"{host}:{upstream_port}"
    if roots:
        weirgate.environment["WEIRGATE_EXTRA_ROOTS_FILE"] = str(roots)
    weirgate.verb("init")
    description = weirgate.file("staff.json", staff.description())
    overlaid = ["--overlay", weirgate.file("overlay.json", overlay)] if overlay else []
    weirgate.verb(
        "provider", "import", description, "--name", "staff", "--server", f"{scheme}://{address}",
        "--allow-private-network", address, *overlaid,
    )
    connection = weirgate.verb(
        "connection", "create", "--provider", "staff", "--customer", "self", "--scheme", "bearer",
        "--secret-file", "-", stdin=json.dumps({"token": TOKEN}),
    )["id"]
    keys, grants = {}, ""
    for client, fields in {"all": staff.ALL_FIELDS, "half": staff.HALF_OF_FIELDS}.items():
        weirgate.verb("client", "create", client)
        keys[client] = weirgate.verb("client", "key", "create", client, "--expires", "1d")["key"]
        grants += GRANTS.format(client=client, fields=json.dumps(fields))
    weirgate.verb("apply", weirgate.file("grants/staff.toml", grants).parent)
    with weirgate.serving() as (process, url):
        base = f"{url}/proxy/{connection}"
        yield base, keys, common.family(process.pid)
    verified = weirgate.verb("audit", "verify")
    common.talk(f"audit log verified: {verified['entries']} entries")


def fetch(url, key):
    """A body, to see that each variant does what it says before it is measured."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return answer.read()


def check(base, keys, name):
    """Bytes that come through with all and with half of the fields."""
    original = json.loads(DOCUMENTS[name]())
    whole, half = (fetch(f"{base}/{name}", keys[client]) for client in ("all", "half"))
    if json.loads(whole) != original:
        common.stop(f"{name}: not every field came through")
    wanted = select(original["results"] if name == "16k" else original)
    if name == "16k":
        wanted = {"results": wanted, "next": original["next"]}
    if json.loads(half) != wanted:
        common.stop(f"{name}: something else than half of the fields came through")
    return len(whole), len(half)


def select(value, fields=tuple(staff.HALF_OF_FIELDS)):
    """What a list of fields lets through, by other code than Weirgate's."""
    if isinstance(value, list):
        return [select(one, fields) for one in value]
    kept = {}
    for name, member in value.items():
        below = [field.partition(".")[2] for field in fields if field.startswith((f"{name}.", f"{name}[]."))]
        if name in fields:
            kept[name] = member
        elif below:
            kept[name] = select(member, tuple(below))
    return kept
