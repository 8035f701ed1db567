//! HTTP/2 from callers: the same calls as over HTTP/1.1, many at once, within bounds.

use crate::{
    frames::{Credit, Metered},
    framing::{MAX_HEAD_BYTES, MAX_HEADERS, is_authority, number},
    gateway::Core,
    server::{Answer, log_end, refuse_early, respond},
};
use http::{HeaderMap, Method, Request, header};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    rc::{Rc, Weak},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// Calls at once on one connection.
const MAX_STREAMS: u32 = 100;
/// What may lie unread of one request's body, and of all of a connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Streams that the caller has reset and nobody has looked at, and those that we have refused.
const MAX_RESET_STREAMS: usize = 20;
const MAX_REFUSED_STREAMS: usize = 100;
/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A connection without a call is told to end after so many looks, and ended after as many more.
const IDLE_LOOKS: u64 = 30;

/// The calls of one connection.
#[derive(Debug, Default)]
struct Calls {
    under_way: RefCell<Vec<Weak<Call>>>,
}

/// One call, until its answer has ended.
#[derive(Debug)]
pub(crate) struct Call {
    credit: Credit,
    /// The caller must take what it was given before more is asked of the answer.
    pub(crate) is_behind: Cell<bool>,
    /// Looks at which it was behind, since it last took something.
    looks: Cell<u64>,
}

impl Call {
    pub(crate) fn takes(&self) {
        self.is_behind.set(false);
        self.looks.set(0);
    }

    pub(crate) fn ended(&self) {
        self.credit.answered();
    }
}

impl Calls {
    fn begin(&self, credit: &Credit) -> Rc<Call> {
        let call = Rc::new(Call {
            credit: credit.clone(),
            is_behind: Cell::new(false),
            looks: Cell::new(0),
        });
        self.under_way.borrow_mut().push(Rc::downgrade(&call));
        call
    }

    /// The most looks at which one call's caller was behind; `None` if no call is under way.
    fn look(&self) -> Option<u64> {
        let mut most = None;
        self.under_way.borrow_mut().retain(|call| {
            let Some(call) = call.upgrade() else { return false };
            if call.is_behind.get() {
                call.looks.set(call.looks.get() + 1);
            }
            most = most.max(Some(call.looks.get()));
            true
        });
        most
    }
}

/// Runs the calls of a connection on its core.
#[derive(Debug, Clone, Copy)]
struct OnThisCore;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisCore {
    fn execute(&self, call: F) {
        drop(tokio::task::spawn_local(call));
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(core: &Rc<Core>, stream: S, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let credit = Credit::default();
    let calls = Rc::new(Calls::default());
    let stream = Metered::new(stream, credit.clone());
    let service = {
        let (core, calls) = (Rc::clone(core), Rc::clone(&calls));
        service_fn(move |request: Request<Incoming>| {
            let (core, call) = (Rc::clone(&core), calls.begin(&credit));
            async move {
                let is_head = request.method() == Method::HEAD;
                let mut answer = match doubt(&request) {
                    None => respond(&core, request).await,
                    Some(what) => Answer::from(refuse_early(&core, what)),
                };
                if is_head {
                    answer = answer.head_alone();
                }
                Ok::<_, Infallible>(answer.watched(call))
            }
        })
    };
    let connection = http2::Builder::new(OnThisCore)
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_REFUSED_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let patience = core.gateway.settings.write_patience.as_secs().max(1);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut idle = 0;
    let mut is_stopping = false;
    loop {
        // All are cancel-safe: the connection is polled again.
        tokio::select! {
            result = connection.as_mut() => return log_end(result),
            _ = stopped.changed(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => match calls.look() {
                Some(behind) if behind > patience => {
                    tracing::debug!("a caller does not take its answers");
                    return;
                }
                Some(_) => idle = 0,
                None => {
                    idle += 1;
                    if idle == IDLE_LOOKS && !is_stopping {
                        connection.as_mut().graceful_shutdown();
                    }
                    // What it has not taken by then of answers that ended, it never will.
                    if idle >= 2 * IDLE_LOOKS {
                        return;
                    }
                }
            },
        }
    }
}

/// What cannot be taken as a request without guessing: as for HTTP/1.1, so far as HTTP/2 leaves a
/// choice. Headers of one connection, doubled pseudo-headers, and a body of another length than
/// declared the library refuses (RFC 9113 §8.1.1, §8.2.2).
fn doubt(request: &Request<Incoming>) -> Option<&'static str> {
    if request.method() == Method::CONNECT {
        return Some("it asks for a tunnel");
    }
    let uri = request.uri();
    head_doubt(uri.authority().map(http::uri::Authority::as_str), uri.path(), request.headers())
}

fn head_doubt(authority: Option<&str>, path: &str, headers: &HeaderMap) -> Option<&'static str> {
    if headers.len() > MAX_HEADERS {
        return Some("it has too many headers");
    }
    if !path.starts_with('/') {
        return Some("its target is no path");
    }
    for (name, twice) in [
        (header::HOST, "it has several Host headers"),
        (header::CONTENT_LENGTH, "it has several Content-Length headers"),
        (header::EXPECT, "it has several Expect headers"),
    ] {
        if headers.get_all(name).iter().count() > 1 {
            return Some(twice);
        }
    }
    let host = headers.get(header::HOST).map(http::HeaderValue::as_bytes);
    match (authority.map(str::as_bytes), host) {
        (None, None) => return Some("it has no Host header"),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Some("its target names another host than its Host header");
        }
        (Some(one), _) | (None, Some(one)) if !is_authority(one) => {
            return Some("its Host header is no host");
        }
        _ => {}
    }
    if headers.get(header::CONTENT_LENGTH).is_some_and(|given| number(given.as_bytes()).is_none()) {
        return Some("its Content-Length is no plain number");
    }
    let expects = headers.get(header::EXPECT);
    if expects.is_some_and(|given| !given.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Some("it expects what is not served");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn one_host_one_length_and_a_path() {
        let of = |authority, path, given: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                let name = HeaderName::from_static(name);
                headers.append(name, HeaderValue::from_static(value));
            }
            head_doubt(authority, path, &headers)
        };
        let host = Some("gate.example:8400");
        for (authority, given) in [
            (host, &[][..]),
            (host, &[("host", "Gate.Example:8400")]),
            (None, &[("host", "gate.example")]),
            (host, &[("content-length", "5"), ("expect", "100-continue"), ("te", "trailers")]),
        ] {
            assert_eq!(of(authority, "/a", given), None, "{given:?}");
        }
        for (authority, path, given) in [
            (None, "/a", &[][..]),
            (host, "*", &[]),
            (host, "", &[]),
            (Some("user@gate.example"), "/a", &[]),
            (host, "/a", &[("host", "other.example")]),
            (host, "/a", &[("host", "gate.example:8400"), ("host", "gate.example:8400")]),
            (None, "/a", &[("host", "a, b")]),
            (host, "/a", &[("content-length", "5"), ("content-length", "5")]),
            (host, "/a", &[("content-length", "+5")]),
            (host, "/a", &[("content-length", "5, 5")]),
            (host, "/a", &[("expect", "200-maybe")]),
        ] {
            assert!(of(authority, path, given).is_some(), "{path} {given:?}");
        }
        let mut many = HeaderMap::new();
        for number in 0..=MAX_HEADERS {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            many.insert(name, HeaderValue::from_static("1"));
        }
        assert!(head_doubt(host, "/a", &many).is_some());
    }
}
