//! A connection's secret replaced by another, end to end.

use crate::{
    echo,
    world::{World, fails, ok, ok_with, text},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use testkit::{Answer, THING_DESCRIPTION, find_canary, wait_until};

/// In each secret here.
const CANARY: &str = "canary-replace-71ce0d";

/// A key as it is, and a token that a password yields.
const OVERLAY: &str = r#"overlay: 1.0.0
info: { title: replace, version: '1' }
actions:
  - target: $
    update:
CHECK
      components:
        securitySchemes:
          key: { type: apiKey, in: header, name: X-Key }
          session:
            type: apiKey
            in: header
            name: X-Session
            x-weirgate-auth:
              inputs: { password: {} }
              steps:
                - { method: POST, url: "URL/login", json: { password: "${password}" }, take: { access_token: /token } }
              expires: { after: 3600 }
"#;
const CHECK: &str = "      x-weirgate-check: get_me\n      paths: { /me: { get: { operationId: get_me, responses: {} } } }\n";

/// An installation, and the secrets that its provider takes.
fn prepared(check: &str) -> (World, Arc<Mutex<Vec<String>>>) {
    let world = World::prepared();
    let url = world.provider.url().to_owned();
    let description = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let overlay = OVERLAY.replace("URL", &url).replace("CHECK\n", check);
    let overlay = world.weirgate.file("overlay.yaml", &overlay).unwrap();
    let host_port = url.split_once("://").unwrap().1;
    let args = ["provider", "import", &description, "--name", "things", "--server", &url];
    let rest = ["--allow-private-network", host_port, "--accept-servers", "--overlay", &overlay];
    ok(&world.weirgate, &[&args[..], &rest, &["--json"]].concat());
    let taken = Arc::new(Mutex::new(vec![secret("a")]));
    for place in ["GET /me", "GET /things/1"] {
        let taken = Arc::clone(&taken);
        world.provider.on_each(place, move |asked| {
            let key = asked.header("x-key").or_else(|| asked.header("x-session"));
            let is_taken =
                key.is_some_and(|key| taken.lock().unwrap().iter().any(|one| one == key));
            if is_taken {
                Answer::json(200, &json!({"id": "1", "name": "n"}))
            } else {
                Answer::status(401)
            }
        });
    }
    let known = Arc::clone(&taken);
    world.provider.on_each("POST /login", move |asked| {
        let password = text(&asked.json().unwrap(), "password");
        if known.lock().unwrap().contains(&password) {
            Answer::json(200, &json!({"token": password}))
        } else {
            Answer::status(401)
        }
    });
    (world, taken)
}

fn secret(name: &str) -> String {
    format!("{CANARY}-{name}")
}

/// The verb with a secret of this member.
fn replaces(world: &World, member: &str, name: &str, more: &[&str]) -> Value {
    let secret = json!({member: secret(name)}).to_string();
    let args = ["connection", "replace", &world.connection, "--secret-file", "-", "--json"];
    ok_with(&world.weirgate, &[&args[..], more].concat(), secret.as_bytes())
}

fn fails_to(world: &World, exit: i32, name: &str, more: &[&str]) -> String {
    let secret = json!({"api_key": secret(name)}).to_string();
    let args = ["connection", "replace", &world.connection, "--secret-file", "-"];
    fails(&world.weirgate, exit, &[&args[..], more].concat(), secret.as_bytes())
}

fn again(world: &World, exit: i32, args: &[&str]) -> String {
    let verb = ["connection", "replace", &world.connection];
    fails(&world.weirgate, exit, &[&verb[..], args].concat(), b"")
}

fn slots(world: &World) -> (bool, bool) {
    let shown = ok(&world.weirgate, &["connection", "show", &world.connection, "--json"]);
    let has = |name: &str| shown[name].as_bool().unwrap();
    (has("has_next_secret"), has("has_former_secret"))
}

/// Waits until calls are made with this secret.
fn uses(world: &World, header: &str, name: &str) {
    wait_until(Duration::from_secs(5), || {
        assert_eq!(world.get("/things/1").status, 200);
        let asked = world.provider.last_request()?;
        (asked.header(header) == Some(&secret(name))).then_some(())
    });
}

#[test]
fn a_secret_is_tried_before_it_is_used_and_the_old_one_ends() {
    let (mut world, taken) = prepared(CHECK);
    world.connection = echo::connect(&world, "key", &json!({"api_key": secret("a")}).to_string());
    world.serve();
    uses(&world, "x-key", "a");

    // One that the provider does not take is not held, and nothing changes.
    let said = fails_to(&world, 5, "wrong", &[]);
    assert!(said.contains("does not take the secret (401)"), "{said}");
    assert_eq!(slots(&world), (false, false));
    // Of one that it says nothing about, nothing is lost.
    let works = Arc::new(AtomicBool::new(false));
    let (known, is_up) = (Arc::clone(&taken), Arc::clone(&works));
    world.provider.on_each("GET /me", move |asked| {
        let key = asked.header("x-key").unwrap_or_default().to_owned();
        match (is_up.load(Ordering::Relaxed), known.lock().unwrap().contains(&key)) {
            (false, _) => Answer::status(503),
            (true, true) => Answer::status(200),
            (true, false) => Answer::status(401),
        }
    });
    taken.lock().unwrap().push(secret("b"));
    let said = fails_to(&world, 5, "b", &[]);
    assert!(said.contains("503") && said.contains("--again"), "{said}");
    assert_eq!(slots(&world), (true, false));
    uses(&world, "x-key", "a");
    works.store(true, Ordering::Relaxed);

    // Calls go on meanwhile: none of them fails.
    let (stop, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let is_well = world.get("/things/1").status == 200;
                failed.fetch_add(u64::from(!is_well), Ordering::Relaxed);
            }
        });
        let args = ["connection", "replace", &world.connection, "--again", "--json"];
        let done = ok(&world.weirgate, &args);
        assert_eq!(
            (done["status"].as_u64(), text(&done, "former")),
            (Some(200), "destroyed".into())
        );
        uses(&world, "x-key", "b");
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert_eq!(slots(&world), (false, false));
    for args in [["--again"], ["--cancel"], ["--back"], ["--retire"]] {
        again(&world, 3, &args);
    }

    // Kept, taken back, and ended.
    taken.lock().unwrap().push(secret("c"));
    replaces(&world, "api_key", "c", &["--keep-former"]);
    uses(&world, "x-key", "c");
    assert_eq!(slots(&world), (false, true));
    taken.lock().unwrap().retain(|one| *one != secret("b"));
    again(&world, 5, &["--back"]);
    uses(&world, "x-key", "c");
    taken.lock().unwrap().push(secret("b"));
    ok(&world.weirgate, &["connection", "replace", &world.connection, "--back", "--json"]);
    uses(&world, "x-key", "b");
    assert_eq!(slots(&world), (false, false));
    replaces(&world, "api_key", "c", &["--keep-former"]);
    ok(&world.weirgate, &["connection", "replace", &world.connection, "--retire", "--json"]);
    again(&world, 3, &["--back"]);
    uses(&world, "x-key", "c");

    // Secrets of another shape are told before anything is held.
    let other = json!({"username": "u", "password": secret("x")}).to_string();
    let args = ["connection", "replace", &world.connection, "--secret-file", "-"];
    fails(&world.weirgate, 2, &args, other.as_bytes());
    assert_eq!(slots(&world), (false, false));

    // Revoked: nothing of its secrets is left.
    let sealed = || {
        let status = ok(&world.weirgate, &["vault", "status", "--json"]);
        status["generations"][0]["sealed_values"].as_u64().unwrap()
    };
    let before = sealed();
    ok(&world.weirgate, &["connection", "revoke", &world.connection, "--json"]);
    assert_eq!(sealed() + 1, before);
    let shown = ok(&world.weirgate, &["connection", "show", &world.connection, "--json"]);
    assert_eq!(text(&shown, "state"), "revoked");
    fails_to(&world, 3, "d", &[]);

    let output = world.stop();
    world.verify();
    let verbs: Vec<String> = world
        .entries()
        .iter()
        .filter_map(|entry| entry["verb"].as_str()?.strip_prefix("connection.replacement."))
        .map(ToOwned::to_owned)
        .collect();
    let wanted = "hold refuse hold switch hold switch back hold switch retire";
    assert_eq!(verbs.join(" "), wanted);
    let texts = [("out", output.stdout.as_slice()), ("err", output.stderr.as_slice())];
    let found = find_canary(&world.weirgate.data_dir(), &texts, &[CANARY]).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

/// What the new secret was exchanged for is kept before it is used, and is what calls use.
#[test]
fn a_password_is_replaced_with_the_token_that_it_yields() {
    let (mut world, taken) = prepared(CHECK);
    let first = json!({"password": secret("a")}).to_string();
    world.connection = echo::connect(&world, "session", &first);
    world.serve();
    uses(&world, "x-session", "a");
    taken.lock().unwrap().push(secret("b"));
    let wrong = json!({"password": secret("wrong")}).to_string();
    let args = ["connection", "replace", &world.connection, "--secret-file", "-"];
    let said = fails(&world.weirgate, 7, &args, wrong.as_bytes());
    assert!(said.contains("no token was obtained"), "{said}");
    assert_eq!(slots(&world), (true, false));
    ok(&world.weirgate, &["connection", "replace", &world.connection, "--cancel", "--json"]);
    world.provider.forget();
    replaces(&world, "password", "b", &[]);
    uses(&world, "x-session", "b");
    let logins = world.provider.requests().iter().filter(|one| one.path == "/login").count();
    assert_eq!(logins, 1, "the token of the trial is the one that is used");
}

#[test]
fn without_a_declared_call_nothing_is_tried_in_secret() {
    let (mut world, taken) = prepared("");
    world.connection = echo::connect(&world, "key", &json!({"api_key": secret("a")}).to_string());
    world.serve();
    let said = fails_to(&world, 2, "b", &[]);
    assert!(said.contains("--unchecked"), "{said}");
    taken.lock().unwrap().push(secret("b"));
    let args = ["connection", "replace", &world.connection, "--again", "--unchecked", "--json"];
    let done = ok(&world.weirgate, &args);
    assert_eq!(done["status"], Value::Null);
    uses(&world, "x-key", "b");
}
