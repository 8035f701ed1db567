//! The documents that are followed word by word: their blocks run as they stand, against the built
//! binary, with stand-ins for root, its folders, systemd and the provider. `.ci/walk.py` follows the
//! same page on machines with all of these.

use crate::world::{binary, text};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use testkit::{POSTGRES_PASSWORD, Postgres, Server, Weirgate};

const REPO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A block of code, with what stands behind its language: the machine that it is for.
struct Block {
    section: String,
    language: String,
    place: String,
    body: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let page = fs::read_to_string(Path::new(REPO).join(document)).unwrap();
    let mut found = Vec::new();
    let mut section = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let Some(kind) = line.strip_prefix("```") else { continue };
        let (language, place) = kind.split_once(' ').unwrap_or((kind, ""));
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(Block {
            section: section.clone(),
            language: language.to_owned(),
            place: place.to_owned(),
            body: body.join("\n") + "\n",
        });
    }
    found
}

/// Whether these lines stand in what was printed, in this order; `...` is anything.
fn prints(wanted: &str, printed: &str) -> bool {
    let mut lines = printed.lines().map(str::trim_end);
    wanted.lines().filter(|line| *line != "...").all(|line| lines.any(|found| fits(line, found)))
}

fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("...");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
        last = Some(part);
    }
    // Behind the last part nothing stands, unless that is where anything may.
    rest.is_empty() || last.is_some_and(|part| part.is_empty() || line.ends_with(part))
}

/// The first value of this kind, like `key_` and 26 letters.
fn value_in(text: &str, prefix: &str, length: usize) -> Option<String> {
    text.match_indices(prefix).find_map(|(at, _)| {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        (end == length).then(|| format!("{prefix}{}", &rest[..end]))
    })
}

/// A machine, as far as its folders are concerned, and somebody who follows the page on it.
struct Machine {
    root: TempDir,
    /// Of the gateway and the console.
    ports: [u16; 2],
    /// What the page says, and what it is here.
    instead: Vec<(String, String)>,
    shown: RefCell<Vec<String>>,
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All at once, so that they differ.
    let held = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// The built-in sandbox, and its URL.
fn sandbox(weirgate: &Weirgate) -> (Server, String) {
    let hr = Path::new(REPO).join("crates/sandbox/hr.yaml").display().to_string();
    let args = ["sandbox", &hr, "--no-auth", "--listen", "127.0.0.1:0", "--json"];
    let (server, line) = weirgate.spawn_until_json(&args).unwrap();
    (server, text(&line, "url"))
}

/// Programs that need root or systemd; `@ROOT@` is the machine's folder.
const STAND_INS: &[(&str, &str)] = &[
    (
        "sudo",
        r#"while [ $# -gt 0 ]; do case $1 in -u) shift 2 ;; *) break ;; esac; done; exec "$@""#,
    ),
    ("useradd", ":"),
    ("chown", ":"),
    ("apt-get", ":"),
    (
        "install",
        r#"n=$#; while [ $n -gt 0 ]; do n=$((n - 1)); one=$1; shift; case $one in
            -o | -g) n=$((n - 1)); shift ;; *) set -- "$@" "$one" ;; esac; done
        exec /usr/bin/install "$@""#,
    ),
    ("journalctl", "cat @ROOT@/journal"),
    (
        "systemctl",
        r#"unit() { # its lines, with those of a drop-in behind them
            cat "@ROOT@/etc/systemd/system/$1" "@ROOT@/etc/systemd/system/$1.d"/*.conf 2>>@ROOT@/journal |
                sed -e ':a' -e '/\\$/{N;s/\\\n *//;ba' -e '}' -e 's/%%/%/g' -e 's/\$\$/$/g' \
                    -e '\|@ROOT@|b' -e 's|%S/|/var/lib/|g' \
                    -e 's|/var/lib/weirgate|@ROOT@&|g; s|/var/backups/weirgate|@ROOT@&|g' \
                    -e 's|/etc/weirgate|@ROOT@&|g; s|/usr/local/bin|@ROOT@&|g'
        }
        exec_of() { unit "$1" | sed -n 's/^ExecStart=//p' | tail -n 1; }
        stop() { if [ -e @ROOT@/pid ]; then kill "$(cat @ROOT@/pid)"
            while kill -0 "$(cat @ROOT@/pid)" 2>>@ROOT@/journal; do sleep 0.05; done; rm @ROOT@/pid; fi; }
        start() { unit weirgate.service | sed -n 's/^Environment=/export /p' >@ROOT@/environment
            . @ROOT@/environment; : >@ROOT@/out
            setsid sh -c 'echo $$ >@ROOT@/pid; exec '"$(exec_of weirgate.service)" \
                >@ROOT@/out 2>>@ROOT@/journal </dev/null &
            while ! grep -q '^console' @ROOT@/out; do
                sleep 0.05; [ ! -e @ROOT@/pid ] || kill -0 "$(cat @ROOT@/pid)" || exit 1; done; }
        verb=$1; shift; [ "${1:-}" != --now ] || shift
        case $verb,${1:-} in
            daemon-reload, | enable,weirgate-backup.timer | restart,prometheus) ;;
            enable,weirgate | start,weirgate) start ;;
            restart,weirgate) stop; start ;;
            stop,weirgate) stop ;;
            start,weirgate-backup.service) eval "$(exec_of weirgate-backup.service)" ;;
            *) echo "systemctl $verb $* is not known here" >&2; exit 1 ;;
        esac"#,
    ),
];

impl Machine {
    /// A bare one with the folder `release`.
    fn bare() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().display().to_string();
        for dir in
            ["bin", "home", "release", "usr/local/bin", "etc/systemd/system", "etc/prometheus"]
        {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let ports = free_ports();
        let mut instead: Vec<(String, String)> = ["/etc/weirgate", "/etc/systemd"]
            .into_iter()
            .chain(["/etc/prometheus", "/var/lib/weirgate", "/var/backups/weirgate", "/usr/local/"])
            .map(|path| (path.to_owned(), format!("{at}{path}")))
            .collect();
        for (known, port) in [(8400, ports[0]), (8401, ports[1])] {
            instead.push((format!(":{known}"), format!(":{port}")));
        }
        let machine = Self { root, ports, instead, shown: RefCell::default() };
        for (name, script) in STAND_INS {
            machine.stand_in(name, script);
        }
        let release = machine.release();
        for name in ["weirgate", "weirgate-verify"] {
            let built = Path::new(env!("CARGO_BIN_EXE_weirgate")).with_file_name(name);
            if built.exists() {
                fs::copy(&built, release.join(name)).unwrap();
            } else {
                eprintln!("skipped: {name} is not built; `cargo build -p {name}` does it");
                fs::write(release.join(name), "#!/bin/sh\necho 'True: entries 0 to 0'\n").unwrap();
            }
        }
        fs::copy(Path::new(REPO).join("crates/sandbox/hr.yaml"), release.join("hr.yaml")).unwrap();
        fs::create_dir(release.join("packaging")).unwrap();
        for file in fs::read_dir(Path::new(REPO).join("packaging")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), release.join("packaging").join(file.file_name())).unwrap();
        }
        machine.sh("sha256sum weirgate weirgate-verify packaging/* >SHA256SUMS");
        machine
    }

    /// With this one in place of the provider that the page makes up.
    fn with_provider(mut self, url: &str) -> Self {
        let place = url.trim_start_matches("http://").split('/').next().unwrap();
        self.instead.push((
            "--server https://api.hr.example".to_owned(),
            format!("--server {url} --allow-private-network {place}"),
        ));
        self
    }

    /// With a database's server in place of the page's.
    fn with_database(mut self, postgres: &Postgres) -> Self {
        let addr = postgres.addr();
        let psql = format!(
            "PGPASSWORD={POSTGRES_PASSWORD} exec {} -h {} -p {} -U weirgate -d postgres \"$@\"",
            postgres.program("psql").display(),
            addr.ip(),
            addr.port()
        );
        self.stand_in("psql", &psql);
        for (theirs, ours) in [
            // The test's server has a superuser of this name.
            ("ROLE weirgate", "ROLE operator"),
            ("OWNER weirgate", "OWNER operator"),
            ("postgres://weirgate@db.example.com:5432", &format!("postgres://operator@{addr}")),
        ] {
            self.instead.push((theirs.to_owned(), ours.to_owned()));
        }
        self
    }

    fn stand_in(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        let at = self.root.path().display().to_string();
        fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("@ROOT@", &at))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn release(&self) -> PathBuf {
        self.path("release")
    }

    /// As it stands on the page, for this machine.
    fn here(&self, text: &str) -> String {
        self.instead.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    /// With the values that were shown in place of their names: the first in the newest list.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (prefix, length) in [("wg_live_", 36), ("conn_", 26), ("key_", 26)] {
            let name = format!("{prefix}...");
            if text.contains(&name) {
                let shown = self.shown.borrow();
                let value = shown.iter().rev().find_map(|one| value_in(one, prefix, length));
                text =
                    text.replace(&name, &value.unwrap_or_else(|| panic!("{name} was not shown")));
            }
        }
        text
    }

    /// Runs a script to its end, and yields what it printed.
    fn sh(&self, script: &str) -> String {
        let path =
            [self.path("bin"), self.path("usr/local/bin")].map(|dir| dir.display().to_string());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.release())
            .env_clear()
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path.join(":")))
            .env("HOME", self.path("home"))
            .env("WEIRGATE_GATEWAY_ADDR", format!("127.0.0.1:{}", self.ports[0]))
            .env("WEIRGATE_CONSOLE_ADDR", format!("127.0.0.1:{}", self.ports[1]))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let journal = fs::read_to_string(self.path("journal")).unwrap_or_default();
        assert!(output.status.success(), "{script}\n--- {}\n{printed}\n{journal}", output.status);
        self.shown.borrow_mut().push(printed.clone());
        printed
    }

    fn bring(&self, from: &Path, names: &[&str]) {
        for name in names {
            self.bring_as(&from.join(name), name);
        }
    }

    fn bring_as(&self, file: &Path, name: &str) {
        let to = self.release().join(name);
        if to.exists() {
            fs::remove_file(&to).unwrap();
        }
        fs::copy(file, to).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its server is nobody's child.
        if self.path("pid").exists() {
            let _ = Command::new(self.path("bin/systemctl")).args(["stop", "weirgate"]).status();
        }
    }
}

/// Somebody who reads the page.
struct Reader {
    blocks: Vec<Block>,
    /// Which blocks were run.
    run: RefCell<BTreeSet<usize>>,
}

impl Reader {
    fn of(document: &str) -> Self {
        Self { blocks: blocks(document), run: RefCell::default() }
    }

    /// Runs the blocks of a section that are for this place, but for the first ones, and no more.
    fn follow(&self, machine: &Machine, section: &str, place: &str, range: std::ops::Range<usize>) {
        let mut number = 0;
        let mut printed: Option<String> = None;
        for (index, block) in
            self.blocks.iter().enumerate().filter(|(_, one)| one.section == section)
        {
            match (block.language.as_str(), printed.as_deref()) {
                ("text", Some(printed)) => {
                    let wanted = machine.here(&block.body);
                    assert!(
                        prints(&wanted, printed),
                        "{section}:\n{wanted}--- is not in\n{printed}"
                    );
                }
                ("sh", _) => {
                    printed = None;
                    if block.place != place {
                        continue;
                    }
                    if range.contains(&number) {
                        let script = machine.filled(&machine.here(&block.body));
                        printed = Some(machine.sh(&script));
                        self.run.borrow_mut().insert(index);
                    }
                    number += 1;
                }
                _ => {}
            }
        }
        assert!(number > 0, "{section} has no block for {place:?}");
    }

    fn all(&self, machine: &Machine, section: &str, place: &str) {
        self.follow(machine, section, place, 0..usize::MAX);
    }
}

/// What no test can run: it builds releases, or writes to the machine's own PostgreSQL.
fn is_for_a_machine(block: &Block) -> bool {
    block.place == "build" || block.body.contains("/etc/postgresql")
}

const KEYS: &str = "Keys: rotate, recover, erase";
const CLUSTER: &str = "PostgreSQL, and several nodes";

/// From a bare machine to an upgrade, and its backup on another.
fn one_machine(reader: &Reader) {
    let weirgate = binary();
    let (_provider, url) = sandbox(&weirgate);
    let first = Machine::bare().with_provider(&url);
    let authority = Machine::bare();
    reader.all(&authority, "TLS", "authority");
    reader.all(&first, "Install", "");
    reader.all(&first, "The first call", "");
    first.bring(&authority.release(), &["tls-chain.pem", "tls-key.pem", "tls-root.pem"]);
    reader.all(&first, "TLS", "");
    // The last two commands make one more.
    let again = reader.blocks.iter().find(|block| block.place == "authority").unwrap();
    let (_, renewal) = again.body.rsplit_once("openssl req").unwrap();
    authority.sh(&format!("openssl req{renewal}"));
    first.bring(&authority.release(), &["tls-chain.pem", "tls-key.pem"]);
    reader.all(&first, "TLS", "renewed");
    match Command::new("promtool").arg("--version").output() {
        Ok(_) => reader.all(&first, "Watch it", "metrics"),
        Err(error) => eprintln!("skipped: promtool of Prometheus is not there ({error})"),
    }
    for section in ["Watch it", "Rotate", KEYS, "Back up", "When the disk is full", "Upgrade"] {
        reader.all(&first, section, "");
    }
    let fresh = Machine::bare();
    reader.follow(&fresh, "Install", "", 0..1);
    fresh.bring(&first.path("etc/weirgate"), &["root-key"]);
    fresh.bring(&first.path("var/backups/weirgate"), &["first"]);
    reader.all(&fresh, "Restore", "fresh");
    reader.all(&first, "Restore", "");
    reader.all(&first, "Upgrade", "back");
}

/// Two nodes on one database. `false` where there is none.
fn two_nodes(reader: &Reader) -> bool {
    let Some(postgres) = Postgres::shared() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return false;
    };
    let weirgate = binary();
    let (_provider, url) = sandbox(&weirgate);
    let database = Machine::bare().with_database(postgres);
    reader.follow(&database, CLUSTER, "db", 1..usize::MAX);
    let mut nodes: Vec<Machine> = Vec::new();
    for place in ["one", "two"] {
        let node = Machine::bare().with_provider(&url).with_database(postgres);
        reader.follow(&node, "Install", "", 0..1);
        node.bring_as(&database.path("etc/weirgate-password"), "database-password");
        // This server has no TLS, and needs none on loopback.
        fs::write(node.release().join("database-ca.pem"), "").unwrap();
        if let Some(first) = nodes.first() {
            node.bring(&first.path("etc/weirgate"), &["root-key"]);
        }
        reader.all(&node, CLUSTER, place);
        reader.follow(&node, "Install", "", 2..usize::MAX);
        nodes.push(node);
    }
    reader.all(&nodes[0], "The first call", "");
    for node in &nodes {
        reader.all(node, CLUSTER, "nodes");
    }
    reader.all(&database, "Rotate", "db-password");
    for node in &nodes {
        node.bring_as(&database.path("etc/weirgate-password"), "database-password");
        reader.all(node, "Rotate", "nodes-password");
    }
    true
}

#[test]
fn the_page_for_operators_is_followed_word_by_word() {
    let reader = Reader::of("docs/operate.md");
    one_machine(&reader);
    let has_nodes = two_nodes(&reader);
    let has_promtool = Command::new("promtool").arg("--version").output().is_ok();
    let run = reader.run.borrow();
    for (index, block) in reader.blocks.iter().enumerate() {
        let needs_peer = (!has_nodes
            && (block.section == CLUSTER || block.place.contains("password")))
            || (!has_promtool && block.place == "metrics");
        if block.language == "sh" && !is_for_a_machine(block) && !needs_peer {
            let Block { section, place, body, .. } = block;
            assert!(run.contains(&index), "no test runs this of {section} {place:?}:\n{body}");
        }
    }
}

#[test]
fn the_readme_is_followed_word_by_word() {
    const SECTION: &str = "Set it up by hand";
    let weirgate = binary();
    let (_provider, url) = sandbox(&weirgate);
    let machine = Machine::bare().with_provider(&url);
    let clone = machine.release();
    std::os::unix::fs::symlink(Path::new(REPO).join("crates"), clone.join("crates")).unwrap();
    let bin = machine.path("usr/local/bin/weirgate");
    fs::copy(env!("CARGO_BIN_EXE_weirgate"), bin).unwrap();
    let mut ran = Vec::new();
    for block in blocks("README.md").into_iter().filter(|block| block.section == SECTION) {
        let body = machine.filled(&machine.here(&block.body));
        if block.language == "toml" {
            fs::create_dir(clone.join("grants")).unwrap();
            fs::write(clone.join("grants/payroll.toml"), body).unwrap();
        } else if body.contains("cargo build") {
            // Done already.
        } else if let Some(before) = body.strip_suffix("weirgate serve\n") {
            ran.push(machine.sh(before));
            let journal = machine.path("journal").display().to_string();
            let pid = machine.path("pid").display().to_string();
            ran.push(machine.sh(&format!(
                "setsid weirgate serve >served 2>{journal} </dev/null & echo $! >{pid}
                 until grep -q ^console served; do sleep 0.05; kill -0 $(cat {pid}); done"
            )));
        } else {
            ran.push(machine.sh(&body));
        }
    }
    let answer = ran.last().unwrap();
    for field in ["id", "firstName", "workEmail", "city"] {
        assert!(answer.contains(&format!("\"{field}\":")), "no {field} in {answer}");
    }
    for field in ["lastName", "salary", "iban", "street"] {
        assert!(!answer.contains(field), "{field} in {answer}");
    }
    machine.sh("weirgate audit list");
    machine.sh("weirgate audit verify");
}

#[test]
fn what_a_page_expects_is_looked_for() {
    assert!(prints("a ... c\n...\nlast\n", "before\na b c\nbetween\nlast\n"));
    assert!(prints("a...\n", "ab\n") && prints("...b\n", "ab\n") && prints("a\n", "a  \n"));
    assert!(!prints("a ... c\n", "a b\n") && !prints("b\na\n", "a\nb\n"));
    assert!(!prints("a\n", "ab\n") && !prints("...b\n", "abc\n") && !prints("last\n", ""));
    let id = "key_01m8b85fjqexvawsvk02q50jpp";
    assert_eq!(value_in(&format!("key_short x{id} expires"), "key_", 26).as_deref(), Some(id));
    assert_eq!(value_in("key_...", "key_", 26), None);
}
