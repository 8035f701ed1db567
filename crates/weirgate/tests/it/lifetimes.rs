//! How long keys and credentials live, end to end.

use crate::world::{World, code, fails, ok, ok_with, text};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};
use testkit::{browser::Browser, find_canary, wait_until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};

const LONG: Duration = Duration::from_secs(20);

/// Another key of the client that has the grant: its id; the world calls with it from now on.
fn key_of(world: &mut World) -> String {
    let args = ["client", "key", "create", "reader", "--expires", "60d", "--json"];
    let made = ok(&world.weirgate, &args);
    world.key = text(&made, "key");
    text(&made, "id")
}

fn put(world: &World, rules: &str) -> Value {
    let file = world.weirgate.file("lifetimes.toml", rules).unwrap();
    ok(&world.weirgate, &["vault", "lifetime", "apply", &file, "--json"])
}

/// Waits until calls are refused by this code.
fn refused(world: &World, wanted: &[&str]) -> String {
    wait_until(LONG, || {
        let answer = world.get("/things/1");
        let code = (answer.status != 200).then(|| code(&answer))?;
        wanted.contains(&code.as_str()).then_some(code)
    })
}

fn works(world: &World) {
    wait_until(LONG, || (world.get("/things/1").status == 200).then_some(()));
}

fn life(world: &World, id: &str) -> Value {
    let listed = ok(&world.weirgate, &["vault", "lifetime", "list", "--json"]);
    let lives = listed["lives"].as_array().unwrap();
    lives.iter().find(|one| one["id"] == id).cloned().unwrap_or(Value::Null)
}

/// The verbs of the log that are about this, oldest first.
fn verbs(world: &World, id: &str) -> Vec<String> {
    let all = world.entries().into_iter();
    let of_it = all.filter(|entry| entry["what"].as_str().is_some_and(|what| what.ends_with(id)));
    of_it
        .filter_map(|entry| {
            entry["verb"].as_str()?.strip_prefix("lifetime.").map(ToOwned::to_owned)
        })
        .collect()
}

#[test]
fn an_old_key_is_suspended_given_back_once_and_ends_for_good() {
    let mut world = World::serving();
    let id = key_of(&mut world);
    works(&world);
    let rule = "[[lifetime]]\nname = \"age\"\napplies_to = \"client_key\"\nclient = \"reader\"\n\
                max_age = \"1s\"\ngrace = \"12s\"\n";
    let file = world.weirgate.file("lifetimes.toml", rule).unwrap();
    thread::sleep(Duration::from_millis(1_100));
    let dry = ok(&world.weirgate, &["vault", "lifetime", "apply", &file, "--dry-run", "--json"]);
    // The one that the world was made with ends, too.
    assert_eq!(dry["would_end"].as_array().unwrap().len(), 2, "{dry}");
    works(&world);
    let tried =
        ok(&world.weirgate, &["vault", "lifetime", "try", &file, "--since", "1d", "--json"]);
    assert_eq!(tried["would_have_ended"].as_array().unwrap().len(), 2, "{tried}");
    works(&world);

    put(&world, rule);
    let begun = Instant::now();
    refused(&world, &["key_suspended"]);
    let one = life(&world, &id);
    assert_eq!(
        (one["suspended"]["condition"].as_str(), one["kind"].as_str()),
        (Some("max_age"), Some("client_key"))
    );
    let listed = ok(&world.weirgate, &["client", "list", "--json"]);
    let keys = listed["clients"][0]["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key["state"] == "suspended"), "{listed}");
    ok(&world.weirgate, &["vault", "lifetime", "restore", &id, "--json"]);
    works(&world);
    fails(&world.weirgate, 3, &["vault", "lifetime", "restore", &id], b"");
    // It is given back until the grace is over, and then never again.
    refused(&world, &["key_revoked"]);
    assert!(begun.elapsed() >= Duration::from_secs(11), "{:?}", begun.elapsed());
    fails(&world.weirgate, 5, &["vault", "lifetime", "restore", &id], b"");
    assert_eq!(verbs(&world, &id), ["suspend", "restore", "suspend", "end"]);
    world.stop();
    world.verify();
}

#[test]
fn what_nobody_uses_is_suspended_and_what_is_used_is_not() {
    let mut world = World::serving();
    let id = key_of(&mut world);
    works(&world);
    put(
        &world,
        "[[lifetime]]\nname = \"idle\"\napplies_to = \"client_key\"\nclient = \"reader\"\nidle = \"8s\"\n",
    );
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(14) {
        assert_eq!(world.get("/things/1").status, 200, "it was used just now");
        thread::sleep(Duration::from_millis(500));
    }
    wait_until(LONG, || life(&world, &id)["suspended"].is_object().then_some(()));
    refused(&world, &["key_suspended"]);
    ok(&world.weirgate, &["vault", "lifetime", "restore", &id, "--json"]);
    works(&world);
    // Without the rule it lives on.
    put(&world, "");
    thread::sleep(Duration::from_secs(10));
    works(&world);
}

#[test]
fn a_key_ends_after_its_uses_and_when_it_comes_from_elsewhere() {
    let mut world = World::serving();
    let counted = key_of(&mut world);
    put(
        &world,
        "[[lifetime]]\nname = \"uses\"\napplies_to = \"client_key\"\nclient = \"reader\"\nmax_uses = 20\n",
    );
    works(&world);
    let mut used = 1;
    let begun = Instant::now();
    let last = loop {
        let answer = world.get("/things/1");
        if answer.status != 200 {
            break code(&answer);
        }
        used += 1;
        assert!(begun.elapsed() < LONG);
        thread::sleep(Duration::from_millis(100));
    };
    assert!((20..120).contains(&used), "{used}");
    assert_eq!(last, "key_suspended");
    assert_eq!(life(&world, &counted)["suspended"]["condition"], "max_uses");

    // Where it was used while it was learnt is known; another network is not.
    put(
        &world,
        "[[lifetime]]\nname = \"networks\"\napplies_to = \"client_key\"\nclient = \"reader\"\n\
         on = [\"new_network\"]\nlearn = \"6s\"\n",
    );
    let id = key_of(&mut world);
    works(&world);
    thread::sleep(Duration::from_secs(7));
    works(&world);
    thread::sleep(Duration::from_secs(5));
    works(&world);
    let path = world.path("/things/1");
    let status = call_from([127, 0, 77, 1], world.addr, &path, &world.key);
    assert_eq!(status, 200, "nobody knows before the log has it");
    refused(&world, &["key_suspended"]);
    assert_eq!(life(&world, &id)["suspended"]["condition"], "new_network");
    ok(&world.weirgate, &["vault", "lifetime", "restore", &id, "--json"]);
    works(&world);
    thread::sleep(Duration::from_secs(5));
    works(&world);
    let entries = world.entries();
    let networks: std::collections::BTreeSet<&str> =
        entries.iter().filter_map(|entry| entry["network"].as_str()).collect();
    assert_eq!(networks.len(), 2, "{networks:?}");
    assert!(!format!("{entries:?}").contains("127.0.77"), "no address stands in the log");
}

#[tokio::main(flavor = "current_thread")]
async fn call_from(source: [u8; 4], to: SocketAddr, path: &str, key: &str) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn keys_end_with_whoever_answers_for_them() {
    let mut world = World::administered();
    world.serve();
    let people = ok(&world.weirgate, &["user", "list", "--json"]);
    let ada = text(&people["users"][0], "id");
    // Somebody who is nobody's last administrator.
    let args = ["user", "invite", "grace@example.com", "--role", "auditor", "--json"];
    let invited = ok(&world.weirgate, &args);
    let path = text(&invited, "path");
    let mut browser = Browser::new(world.console);
    browser.get(&path).unwrap();
    browser.post(&path, &[("password", "nine otters cross downstream")]).unwrap();
    ok(&world.weirgate, &["client", "owner", "reader", "grace@example.com", "--json"]);
    let id = key_of(&mut world);
    put(
        &world,
        "[[lifetime]]\nname = \"owners\"\napplies_to = \"client_key\"\n\
         on = [\"owner_disabled\", \"owner_role_changed\"]\n",
    );
    works(&world);
    ok(&world.weirgate, &["user", "roles", "grace@example.com", "--role", "read-only", "--json"]);
    let changed = Instant::now();
    refused(&world, &["key_suspended"]);
    assert!(changed.elapsed() < Duration::from_secs(3), "{:?}", changed.elapsed());
    wait_until(LONG, || life(&world, &id)["suspended"].is_object().then_some(()));
    assert_eq!(life(&world, &id)["suspended"]["condition"], "owner_role_changed");
    // Whoever gives it back means the new roles.
    ok(&world.weirgate, &["vault", "lifetime", "restore", &id, "--json"]);
    works(&world);
    ok(&world.weirgate, &["user", "disable", "grace@example.com", "--json"]);
    refused(&world, &["key_suspended"]);
    wait_until(LONG, || {
        (life(&world, &id)["suspended"]["condition"] == "owner_disabled").then_some(())
    });
    let back = ok(&world.weirgate, &["vault", "lifetime", "list", "--json"]);
    assert_eq!(back["owners"][0]["client"], "reader");
    ok(&world.weirgate, &["client", "owner", "reader", &ada, "--json"]);
    ok(&world.weirgate, &["client", "owner", "reader", "--none", "--json"]);
    fails(&world.weirgate, 3, &["client", "owner", "reader", "nobody@example.com"], b"");
    fails(&world.weirgate, 3, &["client", "owner", "nobody-known", &ada], b"");
}

/// kill -9 between a suspension and its end: the next server ends it, and its secrets are destroyed.
#[test]
fn a_credential_ends_and_its_secrets_are_destroyed() {
    let mut world = World::serving();
    works(&world);
    let sealed = |world: &World| {
        let status = ok(&world.weirgate, &["vault", "status", "--json"]);
        status["generations"][0]["sealed_values"].as_u64().unwrap()
    };
    let before = sealed(&world);
    put(
        &world,
        "[[lifetime]]\nname = \"old\"\napplies_to = \"credential\"\nprovider = \"things\"\n\
         max_age = \"1s\"\ngrace = \"6s\"\n",
    );
    refused(&world, &["credential_suspended"]);
    let id = world.connection.clone();
    wait_until(LONG, || life(&world, &id)["suspended"].is_object().then_some(()));
    world.server.take().unwrap().kill9().unwrap();
    assert_eq!(sealed(&world), before);
    thread::sleep(Duration::from_secs(6));
    world.serve();
    refused(&world, &["connection_unknown", "not_granted"]);
    assert_eq!(sealed(&world) + 1, before);
    assert_eq!(verbs(&world, &id), ["suspend", "end"]);
    fails(&world.weirgate, 5, &["vault", "lifetime", "restore", &id], b"");
    world.stop();
    world.verify();
}

#[test]
fn a_credential_that_was_replaced_begins_anew() {
    let mut world = World::serving();
    works(&world);
    put(
        &world,
        "[[lifetime]]\nname = \"old\"\napplies_to = \"credential\"\nmax_age = \"5s\"\ngrace = \"1h\"\n",
    );
    refused(&world, &["credential_suspended"]);
    let id = world.connection.clone();
    wait_until(LONG, || life(&world, &id)["suspended"].is_object().then_some(()));
    let secret = json!({"token": "another-token-of-the-provider"}).to_string();
    let args = ["connection", "replace", &id, "--secret-file", "-", "--unchecked", "--json"];
    ok_with(&world.weirgate, &args, secret.as_bytes());
    works(&world);
    assert_eq!(life(&world, &id)["suspended"], Value::Null);
    refused(&world, &["credential_suspended"]);
    world.stop();
}

#[test]
fn what_leaked_ends_for_good_and_is_not_repeated() {
    let mut world = World::serving();
    let id = key_of(&mut world);
    works(&world);
    let key = world.key.clone();
    let named =
        ok_with(&world.weirgate, &["vault", "leak", "--key-file", "-", "--json"], key.as_bytes());
    assert_eq!(named, json!({"id": id}));
    refused(&world, &["key_revoked"]);
    let other = "wg_live_0000000000000000000000000000001fF5YF";
    let said = fails(&world.weirgate, 2, &["vault", "leak", "--key-file", "-"], other.as_bytes());
    assert!(!said.contains(other), "{said}");
    key_of(&mut world);
    works(&world);
    let connection = world.connection.clone();
    ok(&world.weirgate, &["vault", "leak", &connection, "--json"]);
    refused(&world, &["connection_unknown", "not_granted"]);
    let output = world.stop();
    assert_eq!(verbs(&world, &id), ["leak"]);
    let texts = [("out", output.stdout.as_slice()), ("err", output.stderr.as_slice())];
    let found = find_canary(&world.weirgate.data_dir(), &texts, &[&key]).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn rules_that_cannot_be_meant_are_told_with_their_lines() {
    let world = World::prepared();
    let file = |text: &str| world.weirgate.file("lifetimes.toml", text).unwrap();
    let wrong = file(
        "[[lifetime]]\nname = \"a\"\napplies_to = \"client_key\"\n\n[[lifetime]]\nname = \"b\"\napplies_to = \"credential\"\nclient = \"x\"\nidle = \"1 week\"\n",
    );
    for verb in [&["apply"][..], &["try"]] {
        let args = [&["vault", "lifetime"], verb, &[wrong.as_str()]].concat();
        let said = fails(&world.weirgate, 2, &args, b"");
        assert!(said.contains("file:1") && said.contains("file:5"), "{said}");
    }
    let gone = file(
        "[[lifetime]]\nname = \"a\"\napplies_to = \"client_key\"\nclient = \"gone\"\nidle = \"1d\"\n",
    );
    fails(&world.weirgate, 2, &["vault", "lifetime", "apply", &gone], b"");
    fails(&world.weirgate, 3, &["vault", "lifetime", "apply", "nowhere.toml"], b"");
    assert!(
        ok(&world.weirgate, &["vault", "lifetime", "list", "--json"])["rules"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
