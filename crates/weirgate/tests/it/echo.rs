//! A provider that repeats the credential it was sent, wherever an answer has room for it.

use crate::world::{CREDENTIAL, World, code, ok_with, text};
use serde_json::json;
use std::time::Duration;
use testkit::{Answer, Received, client::BodyEnd};

/// Scheme, what is stored, and spellings of it that a provider may repeat.
const KINDS: &[(&str, &str, &[&str])] = &[
    ("bearer", r#"{"token":"canary-bearer/7f+3=="}"#, &["canary-bearer/7f+3=="]),
    (
        "basic",
        r#"{"username":"canary-user","password":"canary-pass=/wörd"}"#,
        &["canary-pass=/wörd", "Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3M9L3fDtnJk"],
    ),
    (
        "header",
        r#"{"api_key":"Token canary header <k>&"}"#,
        &["Token canary header <k>&", "canary header <k>&"],
    ),
    (
        "query",
        r#"{"api_key":"canary query/&=?k"}"#,
        &["canary query/&=?k", "canary%20query%2F%26%3D%3Fk", "canary+query%2F%26%3D%3Fk"],
    ),
];

/// A connection of each kind, served.
fn connected() -> (World, Vec<String>) {
    let mut world = World::prepared();
    let ids = KINDS.iter().map(|(scheme, secret, _)| connect(&world, scheme, secret)).collect();
    world.serve();
    (world, ids)
}

pub fn connect(world: &World, scheme: &str, secret: &str) -> String {
    let args = ["connection", "create", "--provider", "things", "--customer", "c"];
    let rest = ["--scheme", scheme, "--secret-file", "-", "--json"];
    let all: Vec<&str> = args.into_iter().chain(rest).collect();
    text(&ok_with(&world.weirgate, &all, secret.as_bytes()), "id")
}

/// A thing with a granted text.
fn thing(name: &str) -> serde_json::Value {
    json!({"id": "1", "name": name, "secret": "", "nested": {"a": "a", "b": ""}, "list": []})
}

#[test]
fn an_answer_that_repeats_the_credential_is_refused() {
    let (mut world, ids) = connected();
    for ((scheme, _, spellings), id) in KINDS.iter().zip(&ids) {
        world.connection.clone_from(id);
        for spelling in *spellings {
            let plain = thing(&format!("you sent {spelling}, thanks")).to_string();
            let php = plain.replace('/', "\\/");
            let html = plain.replace('<', "\\u003c").replace('>', "\\u003e");
            let upper =
                plain.replace('+', "\\u002B").replace('ö', "\\u00F6").replace('=', "\\u003D");
            let full = plain.replace(spelling, &escaped(spelling));
            let nested = full.replace("\\u", "\\u005cu");
            let references: String =
                spelling.chars().map(|c| format!("&#{};", u32::from(c))).collect();
            let page = plain.replace(spelling, &references);
            for (how, body) in [
                ("plain", &plain),
                ("php", &php),
                ("html", &html.replace('&', "\\u0026")),
                ("upper", &upper),
                ("full", &full),
                ("nested", &nested),
                ("page", &page),
                ("page in JSON", &page.replace('&', "\\u0026")),
            ] {
                let answer = Answer::json_text(200, body.as_str()).in_pieces_of(5);
                world.provider.on("GET /things/1", answer);
                let answer = world.get("/things/1");
                assert_eq!(answer.status, 502, "{scheme} {how}: {}", answer.text());
                assert_eq!(code(&answer), "credential_echoed", "{scheme} {how}");
                assert!(!answer.text().contains("canary"), "{scheme} {how}");
            }
        }
    }
    world.provider.on("GET /things/1", Answer::json(200, &thing("no echo of canary-pass")));
    assert_eq!(world.get("/things/1").status, 200);
    world.stop();
    let codes = world.entries().iter().filter(|entry| entry["code"] == "credential_echoed").count();
    assert!(codes >= 3 * KINDS.len(), "{codes}");
}

/// What has left already cannot be called back, but not a byte of the credential is in it.
#[test]
fn an_echo_far_into_an_answer_cuts_it_before_the_first_byte_of_the_credential() {
    let world = World::serving();
    let mut things: Vec<serde_json::Value> = (0..4_000).map(|n| thing(&format!("n{n}"))).collect();
    things.push(thing(CREDENTIAL));
    things.push(thing("after"));
    let body = json!({"results": things, "next": null, "total": 1}).to_string();
    let at = body.find(CREDENTIAL).unwrap();
    for split in [at + 1, at + CREDENTIAL.len() / 2, at + CREDENTIAL.len() - 1] {
        let (before, after) = body.split_at(split);
        // The pause lets go what may leave.
        let answer = Answer::json_text(200, "")
            .parts([before, after])
            .pause_before_parts(Duration::from_millis(200));
        world.provider.on("GET /things", answer);
        let answer = world.get("/things");
        assert_eq!((answer.status, answer.end), (200, BodyEnd::Aborted));
        assert!(answer.text().contains("n3999"), "{split}");
        let begun = format!("\"name\":\"{}", &CREDENTIAL[..1]);
        assert!(!answer.text().contains(&begun), "{split}");
    }
}

#[test]
fn errors_and_references_do_not_repeat_the_credential() {
    let (mut world, ids) = connected();
    for ((scheme, _, spellings), id) in KINDS.iter().zip(&ids) {
        world.connection.clone_from(id);
        for spelling in *spellings {
            let what = format!("{scheme} {spelling}");
            let error = json!({"code": "bad_key", "message": format!("key {spelling} is bad")});
            world.provider.on("GET /things/1", Answer::json(400, &error));
            let answer = world.get("/things/1");
            assert_eq!((answer.status, code(&answer).as_str()), (400, "provider_error"), "{what}");
            assert!(!answer.text().contains("canary"), "{what}: {}", answer.text());
            assert!(!answer.text().contains("Y2FuYXJ5"), "{what}: {}", answer.text());

            let encoded: String = url_encoded(spelling);
            for path in [format!("things/{encoded}/2"), format!("things?x={encoded}")] {
                let url = format!("{}/{path}", world.provider.url());
                let body = json!({"results": [], "next": url, "total": 0});
                let answer = Answer::json(200, &body)
                    .header("Link", &format!("<{url}>; rel=\"next\""))
                    .header("Location", &url);
                world.provider.on("GET /things", answer);
                let answer = world.get("/things");
                let seen = String::from_utf8_lossy(&answer.everything()).into_owned();
                assert_eq!(answer.status, 200, "{what}: {seen}");
                assert!(!seen.contains("canary") && !seen.contains("Y2FuYXJ5"), "{what}: {seen}");
            }
        }
    }
}

#[test]
fn headers_do_not_repeat_the_credential() {
    const KEY: &str = "9081726354";
    let mut world = World::prepared();
    world.connection = connect(&world, "header", r#"{"api_key":"9081726354"}"#);
    world.serve();
    let base = world.provider.url().to_owned();
    let mut hidden = KEY.to_owned();
    for times in 0..6 {
        let url = format!("{base}/things?cursor={hidden}");
        let body = json!({"results": [], "next": url, "total": 0});
        let answer = Answer::json(200, &body)
            .header("X-RateLimit-Remaining", KEY)
            .header("X-RateLimit-Limit", "100")
            .header("Retry-After", KEY)
            .header("Location", &url)
            .header("Link", &format!("<{url}>; rel=\"next\""));
        world.provider.on("GET /things", answer);
        let answer = world.get("/things");
        assert_eq!(answer.status, 200, "{times}: {}", answer.text());
        assert_eq!(answer.header("x-ratelimit-limit"), Some("100"));
        for name in ["x-ratelimit-remaining", "retry-after", "location", "link"] {
            assert_eq!(answer.header(name), None, "{name} {times}");
        }
        assert_eq!(answer.json().unwrap(), json!({"results": [], "total": 0}), "{times}");
        hidden = hidden.bytes().map(|byte| format!("%{byte:02X}")).collect();
    }
}

/// Every character as an escape of JSON.
fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect()
}

/// Decoding must not bring back what the spelling hid.
#[test]
fn an_error_that_spells_the_credential_in_escapes_does_not_repeat_it() {
    let (mut world, ids) = connected();
    for ((scheme, _, spellings), id) in KINDS.iter().zip(&ids) {
        world.connection.clone_from(id);
        for spelling in *spellings {
            let hidden = escaped(spelling);
            let body = format!(r#"{{"code":"bad_key","message":"key {hidden} is bad"}}"#);
            world.provider.on("GET /things/1", Answer::json_text(400, body.as_str()));
            let answer = world.get("/things/1");
            let told = answer.text();
            assert_eq!((answer.status, code(&answer).as_str()), (400, "provider_error"), "{told}");
            assert!(!told.contains("canary") && !told.contains("Y2FuYXJ5"), "{scheme}: {told}");
        }
    }
}

/// Percent-encoded where it is not already.
fn url_encoded(text: &str) -> String {
    if text.contains('%') {
        return text.to_owned();
    }
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A provider that shows the whole request it got.
#[test]
fn a_page_that_shows_the_request_does_not_pass() {
    let (mut world, ids) = connected();
    let shown = |received: &Received| {
        Answer::json(200, &thing(&String::from_utf8_lossy(&received.everything())))
    };
    world.provider.on_each("GET /things/1", shown);
    for id in &ids {
        world.connection.clone_from(id);
        let answer = world.get("/things/1");
        assert_eq!((answer.status, code(&answer).as_str()), (502, "credential_echoed"));
    }
}
