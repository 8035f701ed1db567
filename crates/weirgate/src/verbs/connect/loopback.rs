//! Where a browser on this machine comes back to (RFC 8252 §7.3): one address of 127.0.0.1, for one
//! answer at a time.

use crate::output::{FAILED, Failure, USAGE};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use types::SecretText;

/// The longest head that is read: a code is short.
const MAX_HEAD_BYTES: usize = 16 * 1_024;
/// How long one browser may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once; browsers open some ahead of need.
const MAX_AT_ONCE: usize = 16;
const HEADERS: &str = "Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; \
    frame-ancestors 'none'\r\nConnection: close\r\n";
const PAGE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\"><title>Weirgate</title>\
    <h1>You came back</h1><p>Go on at the command line, which says what became of it. \
    This page can be closed.</p></html>";

/// See the module.
pub(super) struct Loopback {
    listener: TcpListener,
    /// What browsers are asked under.
    authority: String,
    under_way: JoinSet<Option<SecretText>>,
    /// The only path that an answer comes to.
    path: String,
}

impl Loopback {
    pub(super) async fn open(port: Option<u16>) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await;
        let listener = listener.map_err(|error| {
            let what = format!("cannot listen on the port that --port gives: {}", error.kind());
            Failure::new(USAGE, what, "Give another port, or none.")
        })?;
        let address = listener.local_addr().map_err(|error| {
            Failure::new(FAILED, format!("this machine has no address: {}", error.kind()), "")
        })?;
        let authority = address.to_string();
        Ok(Self { listener, authority, under_way: JoinSet::new(), path: String::new() })
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Says where answers come to.
    pub(super) fn expect_at(&mut self, redirect_uri: &str) {
        let path = redirect_uri.strip_prefix(&self.base()).unwrap_or_default();
        path.clone_into(&mut self.path);
    }

    /// The query of the next answer. Whoever else asks, for whatever else, is told that there is nothing.
    pub(super) async fn answer(&mut self) -> io::Result<SecretText> {
        loop {
            // Both are cancel-safe.
            tokio::select! {
                Some(done) = self.under_way.join_next() => {
                    if let Ok(Some(query)) = done {
                        return Ok(query);
                    }
                }
                accepted = self.listener.accept(), if self.under_way.len() < MAX_AT_ONCE => {
                    let (stream, _) = accepted?;
                    let (authority, path) = (self.authority.clone(), self.path.clone());
                    self.under_way.spawn(async move {
                        let served = serve(stream, &authority, &path);
                        tokio::time::timeout(PATIENCE, served).await.ok().flatten()
                    });
                }
            }
        }
    }

    /// Serves the page that a browser was sent on to, for a moment.
    pub(super) async fn linger(&mut self) {
        const MOMENT: Duration = Duration::from_millis(500);
        // What comes back now is late, and nobody's.
        let _ = tokio::time::timeout(MOMENT, self.answer()).await;
    }
}

async fn serve(mut stream: TcpStream, authority: &str, path: &str) -> Option<SecretText> {
    let mut head = zeroize::Zeroizing::new(Vec::with_capacity(MAX_HEAD_BYTES));
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES || stream.read_buf(&mut *head).await.ok()? == 0 {
            return None;
        }
    }
    let (answer, query) = answer_to(&head, authority, path);
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()?;
    query
}

/// What is answered, and the query if it is an answer to us.
fn answer_to(head: &[u8], authority: &str, path: &str) -> (String, Option<SecretText>) {
    let nothing =
        || (format!("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{HEADERS}\r\n"), None);
    let Ok(head) = std::str::from_utf8(head) else { return nothing() };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("GET"), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next())
    else {
        return nothing();
    };
    // By no other name: no site leads here by a name of its own (DNS rebinding).
    let hosts: Vec<&str> = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.trim())
        .collect();
    if hosts != [authority] {
        return nothing();
    }
    match target.split_once('?') {
        // The code stays in no address bar and no history.
        Some((given, query)) if given == path => {
            let answer = format!(
                "HTTP/1.1 303 See Other\r\nLocation: /done\r\nContent-Length: 0\r\n{HEADERS}\r\n"
            );
            (answer, Some(SecretText::new(query.to_owned())))
        }
        None if target == "/done" => {
            let length = PAGE.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
                 Content-Length: {length}\r\n{HEADERS}\r\n{PAGE}"
            );
            (answer, None)
        }
        _ => nothing(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> (String, Option<String>) {
        let (answer, query) = answer_to(head.as_bytes(), "127.0.0.1:9", "/connect/hr/callback");
        let status = answer.split("\r\n").next().unwrap_or_default().to_owned();
        assert!(answer.contains("Referrer-Policy: no-referrer"), "{answer}");
        (status, query.map(|query| query.expose().to_owned()))
    }

    #[test]
    fn one_address_takes_answers_and_no_other() {
        let host = "Host: 127.0.0.1:9\r\n\r\n";
        let get = |target: &str, host: &str| asked(&format!("GET {target} HTTP/1.1\r\n{host}"));
        let (status, query) = get("/connect/hr/callback?code=c&state=s", host);
        assert_eq!(
            (status.as_str(), query.as_deref()),
            ("HTTP/1.1 303 See Other", Some("code=c&state=s"))
        );
        assert_eq!(get("/done", host), ("HTTP/1.1 200 OK".to_owned(), None));
        for target in [
            "/connect/hr/callback",
            "/connect/hr/callback/?code=c",
            "/connect/HR/callback?code=c",
            "/connect/hr/callback%2f?code=c",
            "/connect/hr/./callback?code=c",
            "/connect/other/callback?code=c",
            "//connect/hr/callback?code=c",
            "http://127.0.0.1:9/connect/hr/callback?code=c",
            "/?code=c",
        ] {
            assert_eq!(get(target, host), ("HTTP/1.1 404 Not Found".to_owned(), None), "{target}");
        }
        for host in [
            "Host: evil.example:9\r\n\r\n",
            "Host: localhost:9\r\n\r\n",
            "Host: 127.0.0.1\r\n\r\n",
            "Host: 127.0.0.1:9\r\nHost: evil.example\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(get("/connect/hr/callback?code=c", host).1, None, "{host}");
        }
        let post = "POST /connect/hr/callback?code=c HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n";
        assert_eq!(asked(post).1, None);
    }
}
