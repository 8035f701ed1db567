//! An installation with a provider that misbehaves on request, made by the verbs alone.

use serde_json::{Value, json};
use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt};
use testkit::{
    FaultyProvider, Output, POSTGRES_PASSWORD, Postgres, Server, THING_DESCRIPTION, Weirgate,
    browser::Browser, client,
};

/// Planted as the connection's credential: it may reach the provider and nothing else.
pub const CREDENTIAL: &str = "canary-credential-5b7e0c14d2";

/// The grant of most tests.
pub const GRANTS: &str = r#"
[[grant]]
client = "reader"
provider = "things"
purpose = "read things"
expires = "2999-12-31"
allow = [
  { object = "Thing", actions = ["read"], fields = ["id", "name", "nested.a", "list[].label"], params = ["name"] },
  { object = "Thing", actions = ["create", "update", "delete"], fields = ["name", "nested.a"] },
]
"#;

pub fn binary() -> Weirgate {
    Weirgate::binary(env!("CARGO_BIN_EXE_weirgate")).unwrap()
}

/// See the module.
pub struct World {
    pub weirgate: Weirgate,
    pub provider: FaultyProvider,
    pub connection: String,
    pub key: String,
    /// Of a client without a grant.
    pub stranger_key: String,
    pub server: Option<Server>,
    pub addr: SocketAddr,
    pub console: SocketAddr,
}

/// Gives an installation a new database on this server, by its configuration alone.
pub fn on_server(weirgate: &mut Weirgate, postgres: &Postgres) -> String {
    let url = postgres.database();
    let url = url.replace(&format!(":{POSTGRES_PASSWORD}"), "");
    name_database(weirgate, &url);
    url
}

/// Names a server's database to every verb from now on.
pub fn name_database(weirgate: &mut Weirgate, url: &str) {
    let password = weirgate.file("database-password", format!("{POSTGRES_PASSWORD}\n")).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    weirgate.set("WEIRGATE_DATABASE_URL", url);
    weirgate.set("WEIRGATE_DATABASE_PASSWORD_FILE", &password);
}

impl World {
    /// Everything set up, nothing serving yet. With `WEIRGATE_TEST_POSTGRES` the database is one of
    /// PostgreSQL: `.ci/run` has these tests on both.
    pub fn prepared() -> Self {
        let mut weirgate = binary();
        if std::env::var_os("WEIRGATE_TEST_POSTGRES").is_some() {
            let postgres = Postgres::shared().expect("PostgreSQL is installed");
            on_server(&mut weirgate, postgres);
        }
        Self::prepared_by(weirgate)
    }

    /// Everything set up in this home.
    pub fn prepared_by(weirgate: Weirgate) -> Self {
        let provider = FaultyProvider::start().unwrap();
        ok(&weirgate, &["init", "--json"]);
        let description = weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
        ok(
            &weirgate,
            &[
                "provider",
                "import",
                &description,
                "--name",
                "things",
                "--server",
                provider.url(),
                "--allow-private-network",
                provider.host_port(),
                "--json",
            ],
        );
        let secret = json!({"token": CREDENTIAL}).to_string();
        let args = [
            "connection",
            "create",
            "--provider",
            "things",
            "--customer",
            "Acme GmbH",
            "--scheme",
            "bearer",
            "--secret-file",
            "-",
            "--json",
        ];
        let connection = text(&ok_with(&weirgate, &args, secret.as_bytes()), "id");
        let mut keys = Vec::new();
        for name in ["reader", "stranger"] {
            ok(&weirgate, &["client", "create", name, "--json"]);
            let made =
                ok(&weirgate, &["client", "key", "create", name, "--expires", "1d", "--json"]);
            keys.push(text(&made, "key"));
        }
        let stranger_key = keys.pop().unwrap();
        let key = keys.pop().unwrap();
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        let world = Self {
            weirgate,
            provider,
            connection,
            key,
            stranger_key,
            server: None,
            addr: none,
            console: none,
        };
        world.apply(GRANTS);
        world
    }

    /// Everything set up, with an administrator: a server that starts then writes nothing to the
    /// database.
    pub fn administered() -> Self {
        let mut world = Self::prepared();
        let args =
            ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
        let (server, line) = world.weirgate.spawn_until_json(&args).unwrap();
        let console = addr(&line, "console");
        let setup = text(&line, "setup_url");
        let path = setup.strip_prefix(&format!("http://{console}")).unwrap();
        let mut browser = Browser::new(console);
        browser.get(path).unwrap();
        let fields = [("address", "ada@example.com"), ("password", "seven herons wade upstream")];
        let led = browser.post(path, &fields).unwrap();
        assert_eq!(led.to, "/enrol", "{}", led.page.text());
        world.server = Some(server);
        world.stop();
        // Whoever closes the database last puts what is in its write-ahead log into the file.
        ok(&world.weirgate, &["user", "list", "--json"]);
        world
    }

    /// Set up and serving.
    pub fn serving() -> Self {
        let mut world = Self::prepared();
        world.serve();
        world
    }

    pub fn serve(&mut self) {
        let args =
            ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];
        let (server, line) = self.weirgate.spawn_until_json(&args).unwrap();
        self.addr = addr(&line, "gateway");
        self.console = addr(&line, "console");
        self.server = Some(server);
    }

    pub fn apply(&self, grants: &str) {
        self.weirgate.file("grants/grants.toml", grants).unwrap();
        let dir = self.weirgate.home().join("grants").display().to_string();
        let mut args = vec!["apply", &dir, "--json"];
        if !grants.contains("[[grant]]") {
            args.push("--remove-all");
        }
        ok(&self.weirgate, &args);
    }

    pub fn path(&self, path: &str) -> String {
        format!("/proxy/{}{path}", self.connection)
    }

    pub fn get(&self, path: &str) -> client::Response {
        self.send("GET", path, &[], b"")
    }

    /// A call by the client with the grant.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> client::Response {
        let bearer = format!("Bearer {}", self.key);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        client::send(self.addr, method, &self.path(path), &all, body).unwrap()
    }

    pub fn post(&self, path: &str, body: &Value) -> client::Response {
        let headers = [("Content-Type", "application/json")];
        self.send("POST", path, &headers, body.to_string().as_bytes())
    }

    /// The log's entries, oldest first.
    pub fn entries(&self) -> Vec<Value> {
        let listed = ok(&self.weirgate, &["audit", "list", "--limit", "1000000", "--json"]);
        let mut entries = listed["entries"].as_array().unwrap().clone();
        entries.reverse();
        entries
    }

    pub fn verify(&self) -> Value {
        ok(&self.weirgate, &["audit", "verify", "--json"])
    }

    /// A figure of the kernel about the server's memory (`VmRSS`, `VmHWM`), in bytes.
    pub fn memory(&self, name: &str) -> u64 {
        let id = self.server.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib = line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").trim();
        kib.parse::<u64>().unwrap() << 10
    }

    /// Ends the server with SIGTERM; it must end well.
    pub fn stop(&mut self) -> Output {
        let output = self.server.take().unwrap().terminate().unwrap();
        assert_eq!(output.status, Some(0), "{}", output.err());
        output
    }
}

/// Runs a verb that must succeed, and reads its JSON.
pub fn ok(weirgate: &Weirgate, args: &[&str]) -> Value {
    ok_with(weirgate, args, b"")
}

pub fn ok_with(weirgate: &Weirgate, args: &[&str], stdin: &[u8]) -> Value {
    let output = weirgate.run(args, stdin).unwrap();
    assert_eq!(output.status, Some(0), "{args:?}: {}", output.err());
    output.json().unwrap_or_else(|error| panic!("{args:?}: {error}: {}", output.out()))
}

/// Runs a verb that must fail with this exit code; yields what it said.
pub fn fails(weirgate: &Weirgate, exit: i32, args: &[&str], stdin: &[u8]) -> String {
    let output = weirgate.run(args, stdin).unwrap();
    assert_eq!(output.status, Some(exit), "{args:?}: {}{}", output.out(), output.err());
    output.err()
}

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

pub fn addr(line: &Value, name: &str) -> SocketAddr {
    text(line, name).split_once("://").unwrap().1.parse().unwrap()
}

/// A problem document's code, with its form checked.
pub fn code(response: &client::Response) -> String {
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response:?}");
    let problem = response.json().unwrap();
    assert_eq!(problem["status"], response.status, "{problem}");
    let code = text(&problem, "code");
    assert_eq!(problem["type"], format!("/errors/{code}"));
    for member in ["title", "remedy", "request_id"] {
        assert!(problem[member].is_string(), "no {member} in {problem}");
    }
    assert_eq!(problem["request_id"], response.header("weirgate-request-id").unwrap());
    code
}
