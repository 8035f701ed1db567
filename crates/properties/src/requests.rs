//! Where requests begin and end is the same for the judge of raw bytes however they are cut, for the
//! HTTP server behind it, and for a plain reader of what passed.

use crate::input::Dice;
use gateway::fuzzing::{guarded, passed};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{cell::RefCell, convert::Infallible, rc::Rc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Method, target and content.
type Told = (String, String, Vec<u8>);

pub(crate) fn hold(data: &[u8]) -> bool {
    let mut dice = Dice::of(data);
    let whole = passed([data]);
    for pieces in [data.chunks(1).collect(), dice.cut(data), dice.cut(data)] {
        assert_eq!(passed(pieces), whole, "cut otherwise");
    }
    assert!(data.starts_with(&whole.0), "what passed is no beginning");
    let told = read(&whole.0);
    let served = served(dice.cut(data));
    // The server reads no further after HTTP/1.0, and where the caller wants it to end.
    let text = String::from_utf8_lossy(data).to_ascii_lowercase();
    let may_end = text.contains("http/1.0") || text.contains("close");
    assert!(
        told.starts_with(&served) && (may_end || told == served),
        "told {told:?}\nserved {served:?}"
    );
    !served.is_empty()
}

/// The whole requests in bytes that passed. They are known to be strict in form, so that this reader
/// can be simple.
fn read(bytes: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut rest = bytes;
    while let Some((one, after)) = read_one(rest) {
        told.push(one);
        rest = after;
    }
    told
}

fn read_one(bytes: &[u8]) -> Option<(Told, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut rest = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), in_normal_form(words.next()?));
    let mut length = 0;
    let mut is_chunked = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        }
        is_chunked |= name.eq_ignore_ascii_case("transfer-encoding");
    }
    let mut content = Vec::new();
    if !is_chunked {
        let (part, after) = rest.split_at_checked(length)?;
        content.extend_from_slice(part);
        return Some(((method, target, content), after));
    }
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let digits = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        let (part, after) = rest[end + 2..].split_at_checked(size)?;
        content.extend_from_slice(part);
        rest = after.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(((method, target, content), rest));
        }
    }
}

/// A scheme is the same in either case (RFC 3986 §3.1).
fn in_normal_form(target: &str) -> String {
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            // An empty path is `/` (RFC 3986 §6.2.3).
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, place) = rest.split_at(end);
            let slash = if place.starts_with('/') { "" } else { "/" };
            format!("{}://{authority}{slash}{place}", scheme.to_ascii_lowercase())
        }
        _ => target.to_owned(),
    }
}

/// What the HTTP server makes of it.
fn served(pieces: Vec<&[u8]>) -> Vec<Told> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
        let told = Rc::clone(&told);
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.uri.to_string();
            // That one stands for a request in doubt; no caller's has this target.
            if target != "*"
                && let Ok(body) = body.collect().await
            {
                let all = (parts.method.to_string(), target, body.to_bytes().to_vec());
                told.borrow_mut().push(all);
            }
            Ok::<_, Infallible>(http::Response::new(Full::new(bytes::Bytes::new())))
        }
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .max_headers(64)
            .serve_connection(TokioIo::new(guarded(ours)), service);
        let caller = async {
            for piece in pieces {
                // It may have been refused already.
                let _ = theirs.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            // A body that never ends is given up by the pipeline; here by the caller.
            tokio::time::sleep(Duration::from_secs(10)).await;
            let _ = theirs.shutdown().await;
            let _ = theirs.read_to_end(&mut Vec::new()).await;
        };
        let _ = tokio::join!(connection, caller);
    });
    told.take()
}
