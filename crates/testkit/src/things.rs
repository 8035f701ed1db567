//! What the provider does where nothing was scripted: things in memory, and a named fault for each
//! way to break an answer.

use crate::{Answer, End, Framing, Received};
use serde_json::{Value, json};
use std::{sync::OnceLock, time::Duration};

/// OpenAPI 3.1 description (YAML) of the provider: object `Thing` {id, name, secret,
/// nested{a,b}, list[]{label,code}}. Its server is a placeholder; import it with
/// [`crate::FaultyProvider::url`].
pub const THING_DESCRIPTION: &str = include_str!("thing.yaml");

/// Stands in every thing and in every broken answer, in the members `secret`, `nested.b` and
/// `list[].code`, or in members that nobody declared. It must never be seen behind the gateway
/// unless one of these is granted.
pub const SECRET: &str = "canary-7d1f93ab-must-not-leave";

/// How long the slow faults wait; longer than any time-out a test should set.
pub const SLOW: Duration = Duration::from_secs(5);

/// Size of `/fault/gzip-bomb` after decoding, in bytes.
pub const BOMB_BYTES: usize = 256 << 20;

/// Names that [`fault`] knows: what stands behind `/fault/`.
pub const FAULTS: &[&str] = &[
    "none",
    "reset",
    "reset-in-body",
    "close",
    "silence",
    "head-cut",
    "not-http",
    "both-framings",
    "two-lengths",
    "truncated",
    "length-too-long",
    "length-too-short",
    "chunked",
    "chunked-cut",
    "gzip",
    "gzip-cut",
    "gzip-lie",
    "gzip-bomb",
    "html",
    "malformed",
    "malformed-late",
    "duplicate",
    "duplicate-escaped",
    "deep",
    "bad-utf8",
    "bom",
    "trailing",
    "empty",
    "scalar",
    "wrong-kind",
    "no-content",
    "body-with-204",
    "redirect",
    "not-modified",
    "unauthorized",
    "forbidden",
    "not-found",
    "too-many",
    "error",
    "error-html",
    "error-huge",
    "set-cookie",
    "slow-head",
    "slow-body",
];

/// The thing with this id.
pub fn thing(id: &str) -> Value {
    json!({
        "id": id,
        "name": format!("Thing {id}"),
        "secret": SECRET,
        "nested": { "a": "open", "b": SECRET },
        "list": [{ "label": "first", "code": SECRET }, { "label": "second", "code": SECRET }],
    })
}

/// The answer of `/fault/{kind}`; `None` for a kind that is not in [`FAULTS`].
pub fn fault(kind: &str) -> Option<Answer> {
    let text = thing("1").to_string();
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let half = text.get(..text.len() / 2).unwrap_or_default().to_owned();
    let whole = Answer::json_text(200, text.clone());
    let inside = text.trim_start_matches('{').to_owned();
    Some(match kind {
        "none" => whole,
        // Before a single byte.
        "reset" => Answer::verbatim("").end(End::Reset),
        "close" => Answer::verbatim("").end(End::Close),
        "silence" => Answer::verbatim("").end(End::Silence),
        "head-cut" => Answer::verbatim("HTTP/1.1 200 OK\r\nContent-Ty").end(End::Drop),
        "not-http" => Answer::verbatim("SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        "both-framings" => whole.header("Transfer-Encoding", "chunked").end(End::Close),
        "two-lengths" => whole.header("Content-Length", "2"),
        // The body and its length.
        "reset-in-body" => {
            Answer::json_text(200, half).framing(Framing::Declared(length)).end(End::Reset)
        }
        "truncated" => {
            Answer::json_text(200, half).framing(Framing::Declared(length)).end(End::Drop)
        }
        "length-too-long" => whole.framing(Framing::Declared(length + 1_000)).end(End::Silence),
        "length-too-short" => whole.framing(Framing::Declared(length / 2)),
        "chunked" => whole.in_pieces_of(7).framing(Framing::Chunked),
        "chunked-cut" => whole.in_pieces_of(7).framing(Framing::Chunked).end(End::Drop),
        // Compression.
        "gzip" => Answer::gzip(200, text.as_bytes()),
        "gzip-cut" => {
            let whole = Answer::gzip(200, text.as_bytes());
            whole.cut_body_in_half()
        }
        "gzip-lie" => whole.header("Content-Encoding", "gzip"),
        "gzip-bomb" => {
            static BOMB: OnceLock<Answer> = OnceLock::new();
            BOMB.get_or_init(|| Answer::gzip_bomb(BOMB_BYTES)).clone()
        }
        // The text.
        "html" => Answer::html(200, &format!("<!doctype html><p>{SECRET}")),
        "malformed" => Answer::json_text(200, format!("{{nope,{inside}")),
        "malformed-late" => Answer::json_text(200, format!("{half}}}]")),
        "duplicate" => Answer::json_text(200, format!(r#"{{"name":"{SECRET}",{inside}"#)),
        "duplicate-escaped" => {
            Answer::json_text(200, format!(r#"{{"n\u0061me":"{SECRET}",{inside}"#))
        }
        "deep" => {
            let (open, close) = ("[".repeat(128), "]".repeat(128));
            Answer::json_text(200, format!(r#"{{"deep":{open}{close},{inside}"#))
        }
        "bad-utf8" => {
            let mut bytes = br#"{"x":""#.to_vec();
            bytes.extend_from_slice(b"\xC3\x28\",");
            bytes.extend_from_slice(inside.as_bytes());
            Answer::json_text(200, bytes)
        }
        "bom" => Answer::json_text(200, format!("\u{FEFF}{text}")),
        "trailing" => Answer::json_text(200, format!("{text} {text}")),
        "empty" => Answer::json_text(200, ""),
        "scalar" => Answer::json_text(200, format!("\"{SECRET}\"")),
        "wrong-kind" => Answer::json(
            200,
            &json!({ "id": { "leak": SECRET }, "name": [SECRET], "nested": SECRET, "list": { "label": SECRET } }),
        ),
        // The status.
        "no-content" => Answer::status(204),
        "body-with-204" => Answer::json_text(204, text),
        "redirect" => Answer::redirect(302, "http://169.254.169.254/latest/meta-data/"),
        "not-modified" => Answer::status(304).header("ETag", "\"1\""),
        "unauthorized" => error(401, "bad_credential"),
        "forbidden" => error(403, "no_access"),
        "not-found" => error(404, "no_such_thing"),
        "too-many" => error(429, "slow_down").header("Retry-After", "7"),
        "error" => error(500, "broken"),
        "error-html" => Answer::html(500, &format!("<h1>Stack trace</h1><pre>{SECRET}</pre>")),
        "error-huge" => {
            let filler = SECRET.repeat(256 * 1024 / SECRET.len());
            Answer::json(500, &json!({ "code": "broken", "message": "see debug", "debug": filler }))
        }
        "set-cookie" => {
            whole.header("Set-Cookie", &format!("session={SECRET}")).header("X-Debug", SECRET)
        }
        // The time.
        "slow-head" => whole.pause_before_head(SLOW),
        "slow-body" => whole.in_pieces_of(16).pause_before_parts(SLOW),
        _ => return None,
    })
}

/// An error as declared, with a member that nobody declared.
fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({ "code": code, "message": "it failed", "debug": SECRET }))
}

/// What is answered where nothing was scripted. Writes are echoed, not stored.
pub(crate) fn answer(received: &Received, url: &str) -> Answer {
    let segments: Vec<&str> = received.path.split('/').skip(1).collect();
    match (received.method.as_str(), segments.as_slice()) {
        ("GET", ["things"]) => Answer::json(
            200,
            &json!({
                "results": [thing("1"), thing("2")],
                "next": format!("{url}/things?cursor=2"),
                "total": 4,
            }),
        ),
        ("POST", ["things"]) => echo(201, received, "3"),
        ("GET", ["things", id]) => Answer::json(200, &thing(id)),
        ("PUT", ["things", id]) => echo(200, received, id),
        ("DELETE", ["things", _]) => Answer::status(204),
        ("GET", ["things", _, "photo"]) => {
            Answer::body(200, "image/png", b"\x89PNG\r\n\x1a\n".as_slice())
        }
        ("GET" | "POST", ["fault", kind]) => {
            fault(kind).unwrap_or_else(|| error(404, "no_such_fault"))
        }
        _ => error(404, "no_such_path"),
    }
}

/// The thing with what was written over it.
fn echo(status: u16, received: &Received, id: &str) -> Answer {
    let mut shown = thing(id);
    if let (Some(shown), Ok(Value::Object(given))) =
        (shown.as_object_mut(), serde_json::from_slice(&received.body))
    {
        shown.extend(given);
    }
    Answer::json(status, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_fault_has_an_answer_and_no_other() {
        for kind in FAULTS.iter().filter(|kind| **kind != "gzip-bomb") {
            assert!(fault(kind).is_some(), "{kind}");
        }
        assert!(fault("unheard-of").is_none());
        let mut names = FAULTS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAULTS.len());
    }

    #[test]
    fn the_description_declares_what_is_answered() {
        for name in ["id", "name", "secret", "nested", "list"] {
            assert!(THING_DESCRIPTION.contains(&format!("        {name}:")), "{name}");
            assert!(thing("1").get(name).is_some());
        }
        assert_eq!(thing("1").as_object().unwrap().len(), 5);
    }
}
