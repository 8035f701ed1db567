//! Tokens that Weirgate obtains and renews: before they end, by one for all, kept before they are used.

use crate::{
    nodes::{another, postgres},
    world::{CREDENTIAL, GRANTS, World, addr, binary, fails, ok, ok_with, on_server, text},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use testkit::{
    Answer, Server, THING_DESCRIPTION, TokenServer, client, find_canary, thing,
    tokens::{APP_ID, APP_SECRET, FIRST_REFRESH_TOKEN},
    wait_until,
};

const PATIENCE: Duration = Duration::from_secs(20);
const SERVE: [&str; 6] =
    ["serve", "--gateway-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--json"];

/// A scheme of the things' provider by which tokens are obtained at the same server.
fn overlay(url: &str, flow: &str) -> String {
    json!({
        "overlay": "1.1.0",
        "info": {"title": "tokens", "version": "1"},
        "actions": [{
            "target": "$.components.securitySchemes",
            "update": {"oauth": {
                "type": "oauth2",
                "flows": {},
                "x-weirgate-auth": {"oauth2": {
                    "flow": flow,
                    "authorization_url": format!("{url}/authorize"),
                    "token_url": format!("{url}/token"),
                }},
            }},
        }, {
            "target": "$",
            "update": {"security": [{"oauth": ["things.read"]}]},
        }],
    })
    .to_string()
}

/// A world whose connection renews its tokens.
struct Renewing {
    world: World,
    tokens: TokenServer,
    connection: String,
}

impl Renewing {
    fn prepared(lasts: Duration, flow: &str) -> Self {
        Self::of(World::prepared(), lasts, flow)
    }

    fn of(world: World, lasts: Duration, flow: &str) -> Self {
        let tokens = TokenServer::at(&world.provider, lasts);
        for place in ["GET /things/1", "POST /things"] {
            let status = if place.starts_with("GET") { 200 } else { 201 };
            tokens.guard(&world.provider, place, Answer::json(status, &thing("1")));
        }
        let weirgate = &world.weirgate;
        let overlay = weirgate.file("tokens.json", overlay(world.provider.url(), flow)).unwrap();
        let description = world.weirgate.home().join("things.yaml").display().to_string();
        let (url, place) = (world.provider.url(), world.provider.host_port());
        ok(
            weirgate,
            &[
                "provider",
                "import",
                &description,
                "--name",
                "things",
                "--server",
                url,
                "--allow-private-network",
                place,
                "--overlay",
                &overlay,
                "--json",
            ],
        );
        let mut secret = json!({"client_id": APP_ID, "client_secret": APP_SECRET});
        if flow == "authorization_code" {
            secret["refresh_token"] = json!(FIRST_REFRESH_TOKEN);
        }
        let connection = create(&world, &secret);
        world.apply(GRANTS);
        Self { world, tokens, connection }
    }

    fn call(&self, method: &str, body: &Value) -> client::Response {
        call(self.world.addr, &self.connection, &self.world.key, method, body)
    }

    fn read(&self) -> client::Response {
        self.call("GET", &Value::Null)
    }

    fn show(&self) -> Value {
        ok(&self.world.weirgate, &["connection", "show", &self.connection, "--json"])
    }
}

fn create(world: &World, secret: &Value) -> String {
    let args = [
        "connection",
        "create",
        "--provider",
        "things",
        "--customer",
        "Renewing GmbH",
        "--scheme",
        "oauth",
        "--secret-file",
        "-",
        "--json",
    ];
    text(&ok_with(&world.weirgate, &args, secret.to_string().as_bytes()), "id")
}

fn call(
    at: SocketAddr,
    connection: &str,
    key: &str,
    method: &str,
    body: &Value,
) -> client::Response {
    let path = if method == "GET" { "things/1" } else { "things" };
    let path = format!("/proxy/{connection}/{path}");
    let mut headers = vec![("X-Weirgate-Key", key)];
    let mut bytes = Vec::new();
    if !body.is_null() {
        headers.push(("Content-Type", "application/json"));
        bytes = body.to_string().into_bytes();
    }
    client::send(at, method, &path, &headers, &bytes).unwrap()
}

#[test]
fn a_token_is_obtained_once_and_used_until_it_ends() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "client_credentials");
    assert_eq!(renewing.show()["state"], "waiting");
    renewing.world.serve();
    for _ in 0..5 {
        let answer = renewing.read();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(renewing.tokens.asked(), 1);
    let shown = renewing.show();
    assert_eq!(shown["state"], "active", "{shown}");
    assert_eq!(shown["token_version"], 1, "{shown}");
    assert_eq!(shown["scopes_needed"], json!(["things.read"]), "{shown}");
    let form = renewing.world.provider.requests();
    let asked = form.iter().find(|one| one.path == "/token").unwrap();
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    assert_eq!(form, "grant_type=client_credentials&scope=things.read");
    let output = renewing.world.stop();
    renewing.world.verify();
    let listed = ok(&renewing.world.weirgate, &["audit", "list", "--json", "--limit", "50"]);
    assert!(listed.to_string().contains("connection.renew"), "{listed}");
    let texts: [(&str, &[u8]); 2] = [("out", &output.stdout), ("err", &output.stderr)];
    let secrets = [APP_SECRET, "canary-access-1-2f7c", CREDENTIAL];
    let found = find_canary(renewing.world.weirgate.home(), &texts, &secrets).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_thousand_callers_cause_one_renewal() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "authorization_code");
    renewing.tokens.set_delay(Duration::from_millis(300));
    renewing.world.serve();
    let (at, connection, key) =
        (renewing.world.addr, renewing.connection.clone(), renewing.world.key.clone());
    let failed = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let answer = call(at, &connection, &key, "GET", &Value::Null);
                    if answer.status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert_eq!(renewing.tokens.asked(), 1);
}

#[test]
fn a_token_that_the_provider_refuses_is_renewed() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "authorization_code");
    renewing.world.serve();
    assert_eq!(renewing.read().status, 200);
    // One that was obtained this moment is not the cause.
    renewing.tokens.forget_access_tokens();
    let answer = renewing.read();
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.json().unwrap()["code"], "credential_renewal_failed", "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

#[test]
fn a_read_is_sent_again_with_another_token_and_a_write_is_not() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "authorization_code");
    renewing.world.serve();
    assert_eq!(renewing.read().status, 200);
    thread::sleep(Duration::from_secs(6));
    renewing.tokens.forget_access_tokens();
    let answer = renewing.call("POST", &json!({"name": "n"}));
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.json().unwrap()["code"], "provider_credential_refused");
    wait_until(PATIENCE, || renewing.tokens.asked() == 2);
    wait_until(PATIENCE, || renewing.call("POST", &json!({"name": "n"})).status == 201);
    thread::sleep(Duration::from_secs(6));
    renewing.tokens.forget_access_tokens();
    let answer = renewing.read();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(renewing.tokens.asked(), 3);
    assert_eq!(renewing.tokens.reused(), 0);
}

#[test]
fn what_was_withdrawn_is_told_and_not_asked_for_again() {
    let mut renewing = Renewing::prepared(Duration::from_secs(2), "authorization_code");
    renewing.world.serve();
    assert_eq!(renewing.read().status, 200);
    renewing.tokens.withdraw();
    wait_until(PATIENCE, || renewing.show()["state"] == "consent_ended");
    let asked = renewing.tokens.asked();
    let answer = renewing.read();
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.json().unwrap()["code"], "consent_ended", "{answer:?}");
    assert_eq!(renewing.tokens.asked(), asked);
    let list = ["audit", "list", "--json", "--limit", "50"];
    let listed = || ok(&renewing.world.weirgate, &list).to_string();
    wait_until(PATIENCE, || listed().contains("connection.ended"));
    assert!(listed().contains("invalid_grant"));
}

#[test]
fn a_token_endpoint_that_fails_is_asked_again_later() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "client_credentials");
    renewing.tokens.say_instead(Answer::status(503));
    renewing.world.serve();
    let answer = renewing.read();
    assert_eq!(answer.status, 502, "{answer:?}");
    let problem = answer.json().unwrap();
    assert_eq!(problem["code"], "credential_renewal_failed", "{problem}");
    assert_eq!(problem["reason"], "token_endpoint_busy", "{problem}");
    // Whoever comes within the pause is told at once, and nobody is asked.
    assert_eq!(renewing.read().status, 502);
    assert_eq!(renewing.tokens.asked(), 1);
    assert_eq!(renewing.show()["renewals_failed"], 1);
    wait_until(PATIENCE, || renewing.read().status == 200);
    assert_eq!(renewing.tokens.asked(), 2);
    assert_eq!(renewing.show()["renewals_failed"], 0);
}

#[test]
fn a_secret_that_cannot_yield_a_token_is_refused_when_it_is_given() {
    let renewing = Renewing::prepared(Duration::from_mins(10), "authorization_code");
    let args = [
        "connection",
        "create",
        "--provider",
        "things",
        "--customer",
        "Other",
        "--scheme",
        "oauth",
        "--secret-file",
        "-",
    ];
    let said =
        |secret: Value| fails(&renewing.world.weirgate, 2, &args, secret.to_string().as_bytes());
    let consent = said(json!({"client_id": "a", "client_secret": "canary-b"}));
    assert!(consent.contains("needs somebody's consent"), "{consent}");
    let unknown = said(json!({"client_id": "a", "canary-name": "canary-b"}));
    assert!(!unknown.contains("canary"), "{unknown}");
    let empty = said(json!({"client_id": "", "refresh_token": "canary-b"}));
    assert!(empty.contains("empty") && !empty.contains("canary"), "{empty}");
}

#[test]
fn a_providers_app_is_shared_by_its_connections() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "client_credentials");
    let app = json!({"client_id": APP_ID, "client_secret": "canary-wrong-secret"}).to_string();
    let set = ["provider", "app", "set", "things", "--secret-file", "-", "--json"];
    ok_with(&renewing.world.weirgate, &set, app.as_bytes());
    let args = [
        "connection",
        "create",
        "--provider",
        "things",
        "--customer",
        "Other",
        "--scheme",
        "oauth",
        "--secret-file",
        "-",
        "--json",
    ];
    // The connection's own id, the app's secret.
    let own = json!({"client_id": APP_ID}).to_string();
    renewing.connection = text(&ok_with(&renewing.world.weirgate, &args, own.as_bytes()), "id");
    renewing.world.serve();
    let answer = renewing.read();
    assert_eq!(answer.json().unwrap()["reason"], "invalid_client", "{answer:?}");
    let app = json!({"client_id": APP_ID, "client_secret": APP_SECRET}).to_string();
    ok_with(&renewing.world.weirgate, &set, app.as_bytes());
    wait_until(PATIENCE, || renewing.read().status == 200);
    ok(&renewing.world.weirgate, &["provider", "app", "remove", "things", "--json"]);
    let said = fails(&renewing.world.weirgate, 3, &["provider", "app", "remove", "things"], b"");
    assert!(said.contains("there is no app of a provider"), "{said}");
}

/// Another node of this installation.
fn node(world: &World, url: &str) -> (testkit::Weirgate, Server, SocketAddr) {
    let weirgate = another(world, url);
    ok(&weirgate, &["init", "--json"]);
    let (server, line) = weirgate.spawn_until_json(&SERVE).unwrap();
    let at = addr(&line, "gateway");
    (weirgate, server, at)
}

#[test]
fn of_three_nodes_one_renews_each_time() {
    let Some(postgres) = postgres() else { return };
    let mut weirgate = binary();
    let url = on_server(&mut weirgate, postgres);
    let lasts = Duration::from_secs(2);
    let mut renewing = Renewing::of(World::prepared_by(weirgate), lasts, "authorization_code");
    renewing.tokens.set_delay(Duration::from_millis(100));
    renewing.world.serve();
    let others = [node(&renewing.world, &url), node(&renewing.world, &url)];
    let mut places = vec![renewing.world.addr];
    places.extend(others.iter().map(|(_, _, at)| *at));
    let stopped = AtomicBool::new(false);
    let (calls, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (connection, key) = (&renewing.connection, &renewing.world.key);
    thread::scope(|scope| {
        for at in places.iter().flat_map(|at| [*at; 4]) {
            let (stopped, calls, failed) = (&stopped, &calls, &failed);
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let answer = call(at, connection, key, "GET", &Value::Null);
                    calls.fetch_add(1, Ordering::Relaxed);
                    if answer.status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{} {}", answer.status, answer.text());
                    }
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) && renewing.tokens.asked() < 12 {
            thread::sleep(Duration::from_millis(100));
        }
        stopped.store(true, Ordering::Relaxed);
    });
    assert!(renewing.tokens.asked() >= 12, "{}", renewing.tokens.asked());
    assert_eq!(renewing.tokens.reused(), 0);
    assert!(renewing.tokens.is_alive());
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", calls.load(Ordering::Relaxed));
    let version = renewing.show()["token_version"].as_u64().unwrap();
    assert!(version.abs_diff(renewing.tokens.asked() as u64) <= 1, "{version}");
}

/// A certified server that rotates refresh tokens and revokes all where one is shown twice.
struct Rotating {
    child: Child,
    url: String,
    refresh_token: String,
}

impl Rotating {
    /// `None` where there is none on this machine.
    fn start() -> Option<Self> {
        if std::env::var_os("WEIRGATE_TEST_OIDC").is_none() {
            eprintln!("skipped: WEIRGATE_TEST_OIDC does not name the folder with oidc-provider");
            return None;
        }
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ways/rotation.mjs");
        let mut child = Command::new("node").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        let url = format!("http://127.0.0.1:{}", next());
        Some(Self { child, url, refresh_token: next() })
    }

    fn said(&self) -> Value {
        let at = self.url.strip_prefix("http://").unwrap().parse().unwrap();
        client::get(at, "/said", &[]).unwrap().json().unwrap()
    }
}

impl Drop for Rotating {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three gateways on one PostgreSQL, all of whose callers need a token every three seconds, at a server
/// that forgives nothing.
#[test]
fn three_nodes_renew_at_oidc_provider_and_reuse_nothing() {
    let Some(postgres) = postgres() else { return };
    let Some(rotating) = Rotating::start() else { return };
    let mut weirgate = binary();
    let database = on_server(&mut weirgate, postgres);
    let mut world = World::prepared_by(weirgate);
    let oauth2 = json!({"flow": "authorization_code",
        "authorization_url": format!("{}/auth", rotating.url),
        "token_url": format!("{}/token", rotating.url)});
    let overlay = json!({"overlay": "1.0.0", "info": {"title": "t", "version": "1"}, "actions": [
        {"target": "$", "update": {"components": {"securitySchemes": {"oauth": {
            "type": "oauth2", "flows": {}, "x-weirgate-auth": {"oauth2": oauth2}}}}}}]});
    let description = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let overlay = world.weirgate.file("overlay.json", overlay.to_string()).unwrap();
    let host_port = rotating.url.strip_prefix("http://").unwrap();
    let import =
        ["provider", "import", &description, "--name", "things", "--server", &rotating.url];
    let more = ["--allow-private-network", host_port, "--accept-servers", "--overlay", &overlay];
    ok(&world.weirgate, &[&import[..], &more, &["--json"]].concat());
    let secret = json!({"client_id": "weirgate", "client_secret": "canary-rotation-client",
        "refresh_token": rotating.refresh_token});
    let connection = create(&world, &secret);
    world.serve();
    let others = [node(&world, &database), node(&world, &database)];
    let mut places = vec![world.addr];
    places.extend(others.iter().map(|(_, _, at)| *at));
    // Each of them has its Snapshot.
    for at in &places {
        wait_until(PATIENCE, || {
            call(*at, &connection, &world.key, "GET", &Value::Null).status == 200
        });
    }
    let (calls, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begun = Instant::now();
    thread::scope(|scope| {
        for at in places.iter().flat_map(|at| [*at; 4]) {
            let (calls, failed, connection, key) = (&calls, &failed, &connection, &world.key);
            scope.spawn(move || {
                while begun.elapsed() < Duration::from_secs(30) {
                    let answer = call(at, connection, key, "GET", &Value::Null);
                    calls.fetch_add(1, Ordering::Relaxed);
                    if answer.status != 200 {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{} {}", answer.status, answer.text());
                    }
                }
            });
        }
    });
    let said = rotating.said();
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}: {said}", calls.load(Ordering::Relaxed));
    assert_eq!((said["revoked"].as_u64(), &said["failed"]), (Some(0), &json!([])), "{said}");
    // One renewal for each token, and no more: each lasts two to three seconds.
    let refreshed = said["refreshed"].as_u64().unwrap();
    assert!((8..=20).contains(&refreshed), "{said}");
}

#[test]
fn a_server_that_is_killed_loses_no_grant() {
    let lasts = Duration::from_secs(1);
    let mut renewing = Renewing::prepared(lasts, "authorization_code");
    // What was given and not heard is given again within a while (RFC 9700 §4.14.2): without that no
    // client can survive an end between the provider's answer and its own disk.
    renewing.tokens.set_grace(Duration::from_mins(10));
    for round in 0..12_u64 {
        renewing.world.serve();
        let (at, connection, key) =
            (renewing.world.addr, renewing.connection.clone(), renewing.world.key.clone());
        let stopped = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let path = format!("/proxy/{connection}/things/1");
                    let headers = [("X-Weirgate-Key", key.as_str())];
                    // It may end in the midst of an answer.
                    let _ = client::send(at, "GET", &path, &headers, b"");
                }
            });
            thread::sleep(Duration::from_millis(700 + 131 * (round % 7)));
            renewing.world.server.take().unwrap().kill9().unwrap();
            stopped.store(true, Ordering::Relaxed);
        });
    }
    assert!(renewing.tokens.is_alive());
    assert!(renewing.tokens.asked() > 4, "{}", renewing.tokens.asked());
    renewing.world.serve();
    // The lease of whoever died ends by itself.
    testkit::poll(Duration::from_secs(150), || renewing.read().status == 200).unwrap();
    assert_ne!(renewing.show()["state"], "consent_ended");
}

#[test]
fn what_is_due_at_once_is_asked_for_by_turns() {
    /// So many connections got their tokens within a second or two.
    const MANY: usize = 40;
    let lasts = Duration::from_secs(30);
    let mut renewing = Renewing::prepared(lasts, "client_credentials");
    renewing.tokens.set_delay(Duration::from_millis(100));
    let secret = json!({"client_id": APP_ID, "client_secret": APP_SECRET});
    let connections: Vec<String> = (0..MANY).map(|_| create(&renewing.world, &secret)).collect();
    renewing.world.serve();
    let (at, key) = (renewing.world.addr, renewing.world.key.clone());
    let failed = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for share in connections.chunks(MANY / 8) {
            let (key, failed) = (&key, &failed);
            scope.spawn(move || {
                while begun.elapsed() < Duration::from_secs(50) {
                    for connection in share {
                        let answer = call(at, connection, key, "GET", &Value::Null);
                        // Who was told to wait by the provider, and has no token left, is told so.
                        let is_told = || {
                            let problem = answer.json().unwrap();
                            problem["reason"] == "token_endpoint_busy"
                        };
                        if answer.status != 200 && !is_told() {
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        // In the midst of it the provider has no time for a while.
        thread::sleep(Duration::from_secs(15));
        for _ in 0..3 {
            let busy = Answer::json(429, &json!({"error": "slow_down"})).header("Retry-After", "2");
            renewing.tokens.say_instead(busy);
        }
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    // Each twice in fifty seconds, and those that were told to wait once more.
    let asked = renewing.tokens.asked();
    assert!((2 * MANY..=3 * MANY).contains(&asked), "{asked}");
    // Four at once that take a tenth of a second each; some room for a slow machine's clock.
    let busiest = renewing.tokens.busiest_second();
    assert!(busiest <= 60, "{busiest} in one second");
}

#[test]
fn a_customer_whose_tokens_are_renewed_can_be_erased() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "authorization_code");
    renewing.world.serve();
    assert_eq!(renewing.read().status, 200);
    let erased =
        ok(&renewing.world.weirgate, &["customer", "erase", "Renewing GmbH", "--yes", "--json"]);
    assert_eq!(erased["destroyed"]["connections"], 1, "{erased}");
    wait_until(PATIENCE, || renewing.read().status == 404);
    renewing.world.stop();
    renewing.world.verify();
}

#[test]
fn an_import_moves_neither_a_token_endpoint_nor_the_app() {
    let renewing = Renewing::prepared(Duration::from_mins(10), "client_credentials");
    let weirgate = &renewing.world.weirgate;
    let elsewhere = overlay("https://elsewhere.example.com", "client_credentials");
    let moved = weirgate.file("moved.json", elsewhere).unwrap();
    let description = weirgate.home().join("things.yaml").display().to_string();
    let import = ["provider", "import", &description, "--name", "things", "--overlay", &moved];
    let said = fails(weirgate, 5, &import, b"");
    assert!(
        said.contains("https://elsewhere.example.com") && said.contains("--accept-servers"),
        "{said}"
    );
    // Without any connection the app's secret would go there.
    ok(weirgate, &["connection", "revoke", &renewing.connection, "--json"]);
    ok(weirgate, &["connection", "revoke", &renewing.world.connection, "--json"]);
    let app = json!({"client_id": APP_ID, "client_secret": APP_SECRET}).to_string();
    let set = ["provider", "app", "set", "things", "--secret-file", "-", "--json"];
    ok_with(weirgate, &set, app.as_bytes());
    let said = fails(weirgate, 5, &import, b"");
    assert!(said.contains("https://elsewhere.example.com"), "{said}");
    ok(weirgate, &["provider", "app", "remove", "things", "--json"]);
    ok(weirgate, &[&import[..], &["--json"]].concat());
}

#[test]
fn a_new_generation_of_keys_loses_no_renewal_under_way() {
    let mut renewing = Renewing::prepared(Duration::from_secs(6), "authorization_code");
    renewing.tokens.set_delay(Duration::from_secs(2));
    renewing.world.serve();
    assert_eq!(renewing.read().status, 200);
    for _ in 0..2 {
        // While the provider is asked, everything is sealed anew.
        let asked = renewing.tokens.asked();
        wait_until(PATIENCE, || renewing.tokens.asked() > asked);
        ok(&renewing.world.weirgate, &["vault", "rotate", "--finish", "--json"]);
        wait_until(PATIENCE, || renewing.read().status == 200);
    }
    let asked = renewing.tokens.asked();
    wait_until(PATIENCE, || renewing.tokens.asked() > asked);
    wait_until(PATIENCE, || renewing.read().status == 200);
    assert_eq!(renewing.tokens.reused(), 0);
    assert!(renewing.tokens.is_alive());
    assert_eq!(renewing.show()["state"], "active");
}

#[test]
fn a_plan_that_cannot_be_read_closes_its_connections() {
    let mut renewing = Renewing::prepared(Duration::from_mins(10), "client_credentials");
    renewing.world.serve();
    assert_eq!(renewing.read().status, 200);
    let weirgate = &renewing.world.weirgate;
    let mut broken: Value =
        serde_json::from_str(&overlay(renewing.world.provider.url(), "client_credentials"))
            .unwrap();
    let scheme = &mut broken["actions"][0]["update"]["oauth"]["x-weirgate-auth"];
    scheme["headers"] = json!({"Authorization": "Bearer ${access_tokn}"});
    let file = weirgate.file("broken.json", broken.to_string()).unwrap();
    let description = weirgate.home().join("things.yaml").display().to_string();
    let import = ["provider", "import", &description, "--name", "things", "--overlay", &file];
    ok(weirgate, &[&import[..], &["--json"]].concat());
    wait_until(PATIENCE, || renewing.read().status == 404);
    let (_, sent) = (renewing.read(), renewing.world.provider.requests());
    let secret = APP_SECRET.as_bytes();
    let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    // The token endpoint got it encoded in Basic; as it is, nobody did.
    assert!(sent.iter().all(|request| !has(&request.everything())));
}
