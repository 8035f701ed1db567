//! Providers that break off, lie or answer with anything: never an undeclared byte, always a typed
//! error or a cut connection.

use crate::world::{CREDENTIAL, World, code};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::{
    SECRET,
    client::{self, BodyEnd},
};

/// What a caller gets for each broken answer.
const WANTED: &[(&str, u16, &str)] = &[
    ("reset", 502, "provider_reset"),
    ("close", 502, "provider_reset"),
    ("head-cut", 502, "provider_reset"),
    ("not-http", 502, "provider_malformed"),
    ("both-framings", 502, "provider_malformed"),
    ("two-lengths", 502, "provider_malformed"),
    ("reset-in-body", 502, "provider_reset"),
    ("truncated", 502, "provider_reset"),
    ("chunked-cut", 502, "provider_reset"),
    ("length-too-short", 502, "answer_refused"),
    ("gzip-cut", 502, "provider_malformed"),
    ("gzip-lie", 502, "provider_malformed"),
    ("html", 502, "answer_media"),
    ("malformed", 502, "answer_refused"),
    ("malformed-late", 502, "answer_refused"),
    ("duplicate", 502, "answer_refused"),
    ("duplicate-escaped", 502, "answer_refused"),
    ("deep", 502, "answer_refused"),
    ("bad-utf8", 502, "answer_refused"),
    ("bom", 502, "answer_refused"),
    ("trailing", 502, "answer_refused"),
    ("empty", 502, "answer_refused"),
    ("scalar", 502, "answer_refused"),
    ("unauthorized", 502, "provider_credential_refused"),
    ("error", 502, "provider_error"),
    ("error-html", 502, "provider_error"),
    ("error-huge", 502, "provider_error"),
];

#[test]
fn hostile_answers_are_refused() {
    let mut world = World::serving();
    for (kind, status, wanted) in WANTED {
        let answer = world.get(&format!("/fault/{kind}"));
        assert_eq!(answer.status, *status, "{kind}: {}", answer.text());
        assert_eq!(code(&answer), *wanted, "{kind}: {}", answer.text());
        assert!(!answer.text().contains(SECRET), "{kind}");
    }
    world.stop();
    let verified = world.verify();
    assert_eq!(verified["open_intents"], 0);
}

/// Its beginning is an honest thing: it may leave before the rest is known for what it is.
#[test]
fn gzip_bomb_is_refused() {
    let mut world = World::serving();
    let answer = world.get("/fault/gzip-bomb");
    assert!(answer.body.len() < 4 << 20, "{}", answer.body.len());
    assert!(answer.status == 502 || answer.end == BodyEnd::Aborted, "{}", answer.status);
    assert!(answer.status == 502 || answer.json().is_err());
    world.stop();
    assert!(world.entries().iter().any(|entry| entry["code"] == "provider_bomb"));
}

#[test]
fn good_answers_pass_in_every_framing() {
    let world = World::serving();
    let wanted = json!({
        "id": "1",
        "name": "Thing 1",
        "nested": {"a": "open"},
        "list": [{"label": "first"}, {"label": "second"}],
    });
    for kind in ["none", "chunked", "gzip", "set-cookie"] {
        let answer = world.get(&format!("/fault/{kind}"));
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
        assert_eq!(answer.json().unwrap(), wanted, "{kind}");
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("x-debug"), None);
    }
}

#[test]
fn values_of_the_wrong_kind_are_dropped() {
    let world = World::serving();
    let answer = world.get("/fault/wrong-kind");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json().unwrap(), json!({}));
}

#[test]
fn statuses_without_content_pass_alone() {
    let world = World::serving();
    for (kind, status) in
        [("no-content", 204), ("body-with-204", 204), ("redirect", 302), ("not-modified", 304)]
    {
        let answer = world.get(&format!("/fault/{kind}"));
        assert_eq!(answer.status, status, "{kind}");
        assert!(answer.body.is_empty(), "{kind}");
        assert_eq!(answer.header("location"), None, "{kind}");
    }
}

#[test]
fn provider_failure_leaks_nothing() {
    let world = World::serving();
    for kind in ["forbidden", "not-found", "error", "error-html", "error-huge"] {
        let answer = world.get(&format!("/fault/{kind}"));
        assert_eq!(code(&answer), "provider_error", "{kind}");
        let all = String::from_utf8_lossy(&answer.everything()).into_owned();
        assert!(!all.contains(SECRET) && !all.contains(CREDENTIAL), "{kind}: {all}");
    }
    // Last: nothing is asked of this provider for the time that it tells.
    let answer = world.get("/fault/too-many");
    assert_eq!((answer.status, code(&answer).as_str()), (429, "provider_error"));
    let all = String::from_utf8_lossy(&answer.everything()).into_owned();
    assert!(!all.contains(SECRET) && !all.contains(CREDENTIAL), "{all}");
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert!(answer.text().contains("slow_down"), "{}", answer.text());
}

#[test]
fn slow_provider_is_given_up() {
    let mut world = World::prepared();
    world.weirgate.set("WEIRGATE_FIRST_BYTE_TIMEOUT_MS", "300");
    world.weirgate.set("WEIRGATE_BETWEEN_BYTES_TIMEOUT_MS", "300");
    world.serve();
    for (kind, wanted) in [
        ("slow-head", "provider_timeout"),
        ("silence", "provider_timeout"),
        ("slow-body", "provider_body_timeout"),
        ("length-too-long", "provider_body_timeout"),
    ] {
        let begun = Instant::now();
        let answer = world.get(&format!("/fault/{kind}"));
        assert_eq!((answer.status, code(&answer).as_str()), (502, wanted), "{kind}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{kind}: {:?}", begun.elapsed());
    }
}

#[test]
fn provider_that_is_down_is_unreachable() {
    let mut world = World::serving();
    world.provider.stop();
    let answer = world.get("/things/1");
    assert_eq!((answer.status, code(&answer).as_str()), (502, "provider_unreachable"));
}

#[test]
fn truncated_answers_never_end_as_json() {
    let world = World::serving();
    // Longer than what is held back, so that bytes have left before the provider breaks off.
    let element = r#"{"label":"first","code":"x"}"#;
    let long = format!(r#"{{"id":"1","list":[{}"#, [element].repeat(20_000).join(","));
    let length = long.len() as u64 + 1_000;
    let broken = testkit::Answer::json_text(200, long.clone())
        .framing(testkit::Framing::Declared(length))
        .end(testkit::End::Drop);
    let malformed = testkit::Answer::json_text(200, format!("{long}],\"id\":}}"));
    for answer in [broken, malformed] {
        world.provider.on("GET /things/1", answer);
        let answer = world.get("/things/1");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.end, BodyEnd::Aborted);
        assert!(answer.body.len() > 64 * 1_024);
        assert!(answer.json().is_err());
        assert!(!answer.text().contains("code"));
    }
}

#[test]
fn a_caller_that_goes_away_leaves_an_outcome() {
    let mut world = World::serving();
    let message = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        world.path("/fault/slow-head"),
        world.key
    );
    let mut connection = client::Connection::open(world.addr).unwrap();
    connection.write(message.as_bytes()).unwrap();
    testkit::wait_until(Duration::from_secs(5), || !world.provider.requests().is_empty());
    drop(connection);
    testkit::wait_until(Duration::from_secs(10), || {
        world.entries().iter().any(|entry| entry["code"] == "caller_gone")
    });
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}
