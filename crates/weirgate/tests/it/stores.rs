//! Secrets that lie in a vault elsewhere, end to end. The vault is a recorder that follows the documented
//! API of HashiCorp Vault's KV engine and AppRole: no such server can be installed where these tests run.

use crate::world::{World, code, fails, ok, ok_with, text};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use testkit::{Answer, FaultyProvider, find_canary, wait_until};

const LONG: Duration = Duration::from_secs(20);
/// In each secret here.
const CANARY: &str = "canary-stores-2b7e19";

/// What the recorder knows.
struct State {
    /// Tokens in force.
    tokens: Vec<String>,
    logins: usize,
    secret_id: String,
    /// The newest version of the only secret; `None`: deleted.
    secret: Option<Value>,
    version: u64,
    is_denied: bool,
    /// Answers every request with this status instead.
    unwell: Option<u16>,
}

struct Recorder {
    server: FaultyProvider,
    state: Arc<Mutex<State>>,
}

impl Recorder {
    fn start(lease: u64) -> Self {
        let server = FaultyProvider::start().unwrap();
        let state = Arc::new(Mutex::new(State {
            tokens: Vec::new(),
            logins: 0,
            secret_id: format!("{CANARY}-secret-id"),
            secret: Some(
                json!({"token": format!("{CANARY}-one"), "nested": {"token": format!("{CANARY}-nested")}}),
            ),
            version: 1,
            is_denied: false,
            unwell: None,
        }));
        let errors = |status, text: &str| Answer::json(status, &json!({"errors": [text]}));
        let auth = |token: &str, lease: u64| {
            Answer::json(
                200,
                &json!({"request_id": "r", "auth": {"client_token": token,
                "accessor": "a", "policies": ["default"], "lease_duration": lease, "renewable": true}}),
            )
        };
        let known = Arc::clone(&state);
        server.on_each("POST /v1/auth/approle/login", move |asked| {
            let mut state = known.lock().unwrap();
            if let Some(status) = state.unwell {
                return errors(status, "Vault is sealed");
            }
            let given = asked.json().unwrap();
            if given["role_id"] != "role" || given["secret_id"] != state.secret_id.as_str() {
                return errors(400, "invalid role or secret ID");
            }
            state.logins += 1;
            let token = format!("{CANARY}-token-{}", state.logins);
            state.tokens.push(token.clone());
            auth(&token, lease)
        });
        let known = Arc::clone(&state);
        server.on_each("POST /v1/auth/token/renew-self", move |asked| {
            let state = known.lock().unwrap();
            let token = asked.header("x-vault-token").unwrap_or_default();
            if state.unwell.is_some() || !state.tokens.iter().any(|one| one == token) {
                return errors(403, "permission denied");
            }
            auth(token, lease)
        });
        let known = Arc::clone(&state);
        server.on_each("GET /v1/secret/data/team/hr", move |asked| {
            let state = known.lock().unwrap();
            if let Some(status) = state.unwell {
                return errors(status, "Vault is sealed");
            }
            let token = asked.header("x-vault-token").unwrap_or_default();
            let is_known = state.tokens.iter().any(|one| one == token);
            if !is_known || state.is_denied || asked.header("x-vault-namespace") != Some("eng") {
                return errors(403, "permission denied");
            }
            let metadata = |gone: bool| {
                json!({"version": state.version, "destroyed": false,
                "deletion_time": if gone { "2026-01-01T00:00:00Z" } else { "" }})
            };
            match &state.secret {
                Some(secret) => Answer::json(
                    200,
                    &json!({"data": {"data": secret, "metadata": metadata(false)}}),
                ),
                None => {
                    Answer::json(404, &json!({"data": {"data": null, "metadata": metadata(true)}}))
                }
            }
        });
        Self { server, state }
    }

    fn put(&self, secret: Option<Value>) {
        let mut state = self.state.lock().unwrap();
        state.secret = secret;
        state.version += 1;
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn add(&self, world: &World, ttl: &str) -> Value {
        let login = json!({"role_id": "role", "secret_id": format!("{CANARY}-secret-id")});
        let args =
            ["vault", "store", "add", "bao", "--address", self.server.url(), "--namespace", "eng"];
        let more = ["--ttl", ttl, "--login-file", "-", "--allow-private-network"];
        let all = [&args[..], &more, &[self.server.host_port(), "--json"]].concat();
        ok_with(&world.weirgate, &all, login.to_string().as_bytes())
    }
}

fn connect(world: &World, reference: &str) -> String {
    let args = ["connection", "create", "--provider", "things", "--customer", "Stored"];
    let more = ["--scheme", "bearer", "--secret-from", reference, "--json"];
    text(&ok(&world.weirgate, &[&args[..], &more].concat()), "id")
}

/// The token that the provider was called with.
fn used(world: &World) -> Option<String> {
    assert_eq!(world.get("/things/1").status, 200);
    let asked = world.provider.last_request()?;
    let held = asked.header("authorization")?.strip_prefix("Bearer ")?.to_owned();
    held.strip_prefix(&format!("{CANARY}-")).map(ToOwned::to_owned)
}

fn refused(world: &World) {
    wait_until(LONG, || {
        let answer = world.get("/things/1");
        (answer.status == 503 && code(&answer) == "credential_stale").then_some(())
    });
}

fn entries(world: &World, verb: &str) -> usize {
    world.entries().iter().filter(|entry| entry["verb"] == verb).count()
}

#[test]
fn a_secret_is_followed_as_long_as_its_store_gives_it() {
    let mut world = World::prepared();
    let recorder = Recorder::start(2);
    recorder.put(Some(json!({"token": format!("{CANARY}-one")})));
    recorder.add(&world, "4s");
    world.connection = connect(&world, "bao:team/hr");
    world.serve();
    wait_until(LONG, || (used(&world).as_deref() == Some("one")).then_some(()));
    // Another version is taken over within the time to live, and no call fails.
    recorder.put(Some(json!({"token": format!("{CANARY}-two")})));
    wait_until(LONG, || (used(&world).as_deref() == Some("two")).then_some(()));
    let id = world.connection.clone();
    recorder.put(Some(json!({"token": format!("{CANARY}-three")})));
    let said = ok(&world.weirgate, &["vault", "store", "refresh", &id, "--json"]);
    // Or the server was faster.
    assert!(said["replaced"].is_boolean());
    wait_until(LONG, || (used(&world).as_deref() == Some("three")).then_some(()));
    // Tokens are renewed, and one that was revoked is asked for anew.
    thread::sleep(Duration::from_secs(5));
    recorder.with(|state| state.tokens.clear());
    recorder.put(Some(json!({"token": format!("{CANARY}-four")})));
    wait_until(LONG, || (used(&world).as_deref() == Some("four")).then_some(()));

    // An outage is outlasted as long as the copy counts, and no longer; then it opens by itself.
    recorder.with(|state| state.unwell = Some(503));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(used(&world).as_deref(), Some("four"));
    refused(&world);
    recorder.with(|state| state.unwell = None);
    wait_until(LONG, || (world.get("/things/1").status == 200).then_some(()));

    // What the store takes back is closed at once, and not when its time is over.
    for take in
        [|state: &mut State| state.is_denied = true, |state: &mut State| state.secret = None]
    {
        recorder.with(take);
        refused(&world);
        let listed = ok(&world.weirgate, &["vault", "store", "list", "--json"]);
        let closed = &listed["stores"][0]["connections"][0]["closed"];
        assert!(["denied", "missing"].contains(&closed.as_str().unwrap()), "{listed}");
        recorder.with(|state| {
            state.is_denied = false;
            state.secret = Some(json!({"token": format!("{CANARY}-five")}));
        });
        wait_until(LONG, || (world.get("/things/1").status == 200).then_some(()));
    }
    // One that does not fit the scheme closes it, too.
    recorder.put(Some(json!({"username": "u", "password": "p"})));
    refused(&world);
    recorder.put(Some(json!({"token": format!("{CANARY}-six")})));
    wait_until(LONG, || (world.get("/things/1").status == 200).then_some(()));

    // Its secret is changed there and nowhere else; a store that is needed stays.
    let secret = json!({"token": "x"}).to_string();
    let args = ["connection", "replace", &id, "--secret-file", "-", "--unchecked"];
    fails(&world.weirgate, 5, &args, secret.as_bytes());
    fails(&world.weirgate, 5, &["vault", "store", "remove", "bao"], b"");
    ok(&world.weirgate, &["connection", "revoke", &id, "--json"]);
    ok(&world.weirgate, &["vault", "store", "remove", "bao", "--json"]);
    assert!(entries(&world, "connection.from_store") >= 6);
    let output = world.stop();
    world.verify();
    let texts = [("out", output.stdout.as_slice()), ("err", output.stderr.as_slice())];
    let found = find_canary(&world.weirgate.data_dir(), &texts, &[CANARY]).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

/// A server that starts while the store is away serves from its copy; after its time it does not.
#[test]
fn a_copy_outlasts_a_restart_and_not_its_time() {
    let mut world = World::prepared();
    let recorder = Recorder::start(3_600);
    recorder.add(&world, "6s");
    world.connection = connect(&world, "bao:team/hr#nested");
    recorder.with(|state| state.unwell = Some(503));
    world.serve();
    wait_until(LONG, || (used(&world).as_deref() == Some("nested")).then_some(()));
    world.server.take().unwrap().kill9().unwrap();
    thread::sleep(Duration::from_secs(6));
    world.serve();
    refused(&world);
    recorder.put(Some(json!({"nested": {"token": format!("{CANARY}-again")}})));
    recorder.with(|state| state.unwell = None);
    wait_until(LONG, || (world.get("/things/1").status == 200).then_some(()));
    assert_eq!(used(&world).as_deref(), Some("again"));
    world.stop();
}

#[test]
fn a_store_that_does_not_let_weirgate_in_is_not_added() {
    let world = World::prepared();
    let recorder = Recorder::start(60);
    let login = |secret: &str| json!({"role_id": "role", "secret_id": secret}).to_string();
    let args =
        ["vault", "store", "add", "bao", "--address", recorder.server.url(), "--login-file", "-"];
    let private = ["--allow-private-network", recorder.server.host_port()];
    let with = [&args[..], &private].concat();
    let said = fails(&world.weirgate, 5, &with, login("canary-wrong").as_bytes());
    assert!(!said.contains("canary"), "{said}");
    // Without leave a private address is none.
    let right = login(&format!("{CANARY}-secret-id"));
    fails(&world.weirgate, 2, &args, right.as_bytes());
    fails(&world.weirgate, 2, &with, b"{\"role_id\": \"role\"}");
    recorder.with(|state| state.unwell = Some(503));
    fails(&world.weirgate, 7, &with, right.as_bytes());
    recorder.with(|state| state.unwell = None);
    recorder.add(&world, "15m");
    let create = |reference: &str, exit: i32| {
        let args = ["connection", "create", "--provider", "things", "--customer", "c"];
        let more = ["--scheme", "bearer", "--secret-from", reference];
        fails(&world.weirgate, exit, &[&args[..], &more].concat(), b"")
    };
    create("bao:../x", 2);
    create("gone:team/hr", 3);
    create("bao:team/other", 3);
    create("bao:team/hr#gone", 3);
    recorder.with(|state| state.is_denied = true);
    create("bao:team/hr", 5);
    assert!(recorder.state.lock().unwrap().logins > 0);
}
