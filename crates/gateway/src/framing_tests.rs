use super::*;
use proptest::{collection::vec, prelude::*};

/// Shows the framing everything in the given pieces; what passed, and the doubt at the end.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Doubt>, Framing) {
    let mut framing = Framing::default();
    let mut held = Vec::new();
    let mut passed = Vec::new();
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            match framing.passable(&held) {
                Ok(0) => break,
                Ok(count) => passed.extend(held.drain(..count)),
                Err(doubt) => return (passed, Some(doubt), framing),
            }
        }
    }
    (passed, None, framing)
}

fn refused(head: &str) -> &'static str {
    let bytes = head.as_bytes();
    let whole = run([bytes]);
    let single = run(bytes.chunks(1));
    assert_eq!((&whole.0, whole.1), (&single.0, single.1), "{head:?}");
    let (passed, doubt, _) = whole;
    let doubt = doubt.unwrap_or_else(|| panic!("passed: {head:?}"));
    assert_eq!((passed, doubt.is_in_body), (Vec::new(), false), "{head:?}");
    doubt.what
}

/// Passes whole, and the next thing is a head.
fn passes(request: &str) {
    for pieces in [vec![request.as_bytes()], request.as_bytes().chunks(1).collect()] {
        let (passed, doubt, framing) = run(pieces);
        assert_eq!(doubt, None, "{request:?}");
        assert_eq!(String::from_utf8_lossy(&passed), request);
        assert_eq!(framing.0, At::default(), "{request:?}");
    }
}

#[test]
fn plain_requests_pass() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhOST:\ta.example:80 \r\nX: \r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET http://A.example:8400/x?y HTTP/1.1\r\nHost: a.example:8400\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\n\r\nabc",
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 003\r\n\r\nabc",
        "POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\n\r\n\r",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked \r\n\r\n\
         1\r\na\r\n0000000A\r\n0123456789\r\n000\r\n\r\n",
        "OPTIONS /* HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a%20b?c=d|e HTTP/1.1\r\nHost: a\r\nX-Transfer-Encoding: gzip\r\n\r\n",
    ] {
        passes(request);
        passes(&request.repeat(3));
    }
}

#[test]
fn heads_in_doubt_are_refused() {
    for (request, what) in [
        // What begins no request.
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "it does not begin with a method"),
        ("\n", "it does not begin with a method"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "it does not begin with a method"),
        ("\u{16}\u{3}\u{1}", "it does not begin with a method"),
        ("PRI * HTTP/2.0\r\n\r\n", "it is neither HTTP/1.1 nor HTTP/1.0"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "it is neither HTTP/1.1 nor HTTP/1.0"),
        ("GET / HTTP/3\r\nHost: a\r\n\r\n", "it is neither HTTP/1.1 nor HTTP/1.0"),
        ("GET /\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "its head is no HTTP/1.1"),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "its head is no HTTP/1.1"),
        // Lines.
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "a line ends by LF alone"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "a line ends by LF alone"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", "a line ends by LF alone"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", "a line ends by CR alone"),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "a line ends by CR alone"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", "a line ends by CR alone"),
        ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", "it has a NUL"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "its head is no HTTP/1.1"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{b}b\r\n\r\n", "its head is no HTTP/1.1"),
        // Hosts and targets.
        ("GET / HTTP/1.1\r\n\r\n", "it has no Host header"),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "it has several Host headers"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "it has several Host headers"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "its Host header is no host"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "its Host header is no host"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "its Host header is no host"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "its Host header is no host"),
        (
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "its target names another host than its Host header",
        ),
        (
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "its target names another host than its Host header",
        ),
        ("GET http://a/ HTTP/1.0\r\n\r\n", "its target names another host than its Host header"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "its target is no path"),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "its target is no path"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "its target is no path"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "its target is no path"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "its target has a fragment"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "it asks for a tunnel"),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "it asks for a tunnel"),
        // Expectations.
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: foo\r\n\r\n", "it expects what is not served"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, foo\r\n\r\n",
            "it expects what is not served",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: foo\r\nExpect: 100-continue\r\n\r\n",
            "it has several Expect headers",
        ),
    ] {
        assert_eq!(refused(request), what, "{request:?}");
    }
    let many = "X: y\r\n".repeat(MAX_HEADERS);
    assert_eq!(
        refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        "it has too many headers"
    );
    let long = "y".repeat(MAX_HEAD_BYTES);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nX: {long}")), "its head is too long");
    let whole = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
    assert_eq!(refused(&whole), "its head is too long");
}

/// What two readers could take for different lengths.
#[test]
fn framings_in_doubt_are_refused() {
    for (headers, what) in [
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Content-Length and Transfer-Encoding are both given",
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 0",
            "Content-Length and Transfer-Encoding are both given",
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 3",
            "Content-Length and Transfer-Encoding are both given",
        ),
        ("Content-Length: 3\r\nContent-Length: 3", "it has several Content-Length headers"),
        ("Content-Length: 3\r\nContent-Length: 4", "it has several Content-Length headers"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "it has several Transfer-Encoding headers",
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "it has several Transfer-Encoding headers",
        ),
    ] {
        assert_eq!(refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n")), what);
    }
    for value in [
        "gzip, chunked",
        "chunked, identity",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "identity",
        "xchunked",
        "chunked;a=b",
        "\"chunked\"",
        "chunked chunked",
        "chun ked",
        "x",
        "",
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n0\r\n\r\n");
        assert_eq!(refused(&request), "its Transfer-Encoding is not chunked alone", "{value}");
    }
    for value in [
        "+3",
        "-3",
        "3,3",
        "3, 3",
        "3 3",
        "0x3",
        "3.0",
        "3e0",
        "3;",
        "\"3\"",
        "",
        "a",
        "٣",
        "18446744073709551616",
        "18446744073709551615",
        "99999999999999999999999999",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\nabc");
        assert_eq!(refused(&request), "its Content-Length is no plain number", "{value}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(old), "HTTP/1.0 has no Transfer-Encoding");
}

#[test]
fn chunks_in_doubt_are_refused_within_the_body() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, pass, what) in [
        ("\r\n", 0, "a chunk's size is no plain number"),
        ("x", 0, "a chunk's size is no plain number"),
        ("-1\r\n", 0, "a chunk's size is no plain number"),
        ("+1\r\n", 0, "a chunk's size is no plain number"),
        (" 1\r\n", 0, "a chunk's size is no plain number"),
        ("0x1\r\n", 1, "a chunk's size is no plain number"),
        ("1 \r\n", 1, "a chunk's size is no plain number"),
        ("1;a=b\r\n", 1, "a chunk's size is no plain number"),
        ("1\n", 1, "a chunk's size is no plain number"),
        ("000000001\r\n", 8, "a chunk's size is no plain number"),
        ("fffffffff\r\n", 8, "a chunk's size is no plain number"),
        ("1\ra", 2, "a line ends by CR alone"),
        ("1\r\nab", 4, "a chunk is longer than its size"),
        ("1\r\na\n", 4, "a chunk is longer than its size"),
        ("1\r\na\rb", 5, "a chunk is longer than its size"),
        ("0\r\nX: y\r\n\r\n", 3, "it has trailers"),
        ("0\r\n\n", 3, "it has trailers"),
        ("0\r\n\rx", 4, "a line ends by CR alone"),
    ] {
        let request = format!("{head}{body}");
        for pieces in [vec![request.as_bytes()], request.as_bytes().chunks(1).collect()] {
            let (passed, doubt, _) = run(pieces);
            assert_eq!(doubt, Some(Doubt { what, is_in_body: true }), "{body:?}");
            assert_eq!(passed.len(), head.len() + pass, "{body:?}");
        }
    }
}

/// A request that is told beyond doubt, in any way that there is.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let chunks = vec(vec(any::<u8>(), 1..40), 0..4);
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        vec(any::<u8>(), 0..60)
            .prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        chunks.prop_map(|chunks| {
            let mut body = Vec::new();
            for chunk in chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(&chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            ("Transfer-Encoding: chunked\r\n".to_owned(), body)
        }),
    ];
    ("(GET|POST|X-Y)", "/[a-z]{0,9}", "([A-Z][a-z]{1,5}X: [ -~]{0,9}\r\n){0,3}", body).prop_map(
        |(method, path, more, (framing, body))| {
            let head = format!("{method} {path} HTTP/1.1\r\n{more}Host: a\r\n{framing}\r\n");
            [head.into_bytes(), body].concat()
        },
    )
}

/// Where the bytes are cut.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn requests_pass_whole_however_they_are_cut(
        requests in vec(request(), 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes = requests.concat();
        let (passed, doubt, framing) = run(pieces(&bytes, &cuts));
        prop_assert_eq!(doubt, None);
        prop_assert_eq!(passed, bytes);
        prop_assert_eq!(framing.0, At::default());
    }

    #[test]
    fn nothing_passes_from_a_head_in_doubt_on(
        before in vec(request(), 0..4),
        after in vec(request(), 0..3),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let doubtful = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\
                         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let good = before.concat();
        let bytes = [good.clone(), doubtful.to_vec(), after.concat()].concat();
        let (passed, doubt, _) = run(pieces(&bytes, &cuts));
        prop_assert_eq!(passed, good);
        prop_assert!(doubt.is_some());
    }

    /// Any bytes: the outcome is the same however they are cut, and what passes is a beginning.
    #[test]
    fn cuts_never_change_the_judgement(
        requests in vec(request(), 1..4),
        bends in vec((any::<prop::sample::Index>(), prop::sample::select(&b"\r\n\0 :,;0a"[..])), 0..4),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = requests.concat();
        for (at, byte) in bends {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = run([bytes.as_slice()]);
        let cut = run(pieces(&bytes, &cuts));
        prop_assert_eq!((&whole.0, whole.1), (&cut.0, cut.1));
        prop_assert!(bytes.starts_with(&whole.0));
    }
}

/// Method, target and content.
type Told = (String, String, Vec<u8>);

/// The whole requests in these bytes as the framing tells them, and whether there is a doubt.
fn told_by_framing(bytes: &[u8]) -> (Vec<Told>, bool) {
    let mut framing = Framing::default();
    let mut told = Vec::new();
    let mut current = (String::new(), String::new(), Vec::new());
    let mut at = 0;
    loop {
        let before = framing.0;
        let count = match framing.step(&bytes[at..]) {
            Ok(0) => return (told, false),
            Ok(count) => count,
            Err(_) => return (told, true),
        };
        let part = &bytes[at..at + count];
        at += count;
        match before {
            At::Head { .. } => {
                let line = String::from_utf8_lossy(part).into_owned();
                let mut words = line.split(' ').map(str::to_owned);
                current = (words.next().unwrap(), words.next().unwrap(), Vec::new());
            }
            At::Body { .. } | At::Chunk { .. } => current.2.extend_from_slice(part),
            _ => {}
        }
        if matches!(framing.0, At::Head { .. }) {
            told.push(std::mem::take(&mut current));
        }
    }
}

/// The same as the HTTP server tells them behind an [`Ingress`], and whether it was given a stand-in.
fn told_by_server(pieces: Vec<&[u8]>) -> (Vec<Told>, bool) {
    use crate::ingress::{Ingress, STAND_IN_TARGET};
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::{TokioIo, TokioTimer};
    use std::{cell::RefCell, convert::Infallible, rc::Rc, time::Duration};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let told = Rc::new(RefCell::new((Vec::new(), false)));
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| {
        let told = Rc::clone(&told);
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.uri.to_string();
            if target == STAND_IN_TARGET {
                told.borrow_mut().1 = true;
            } else if let Ok(body) = body.collect().await {
                let all = (parts.method.to_string(), target, body.to_bytes().to_vec());
                told.borrow_mut().0.push(all);
            }
            Ok::<_, Infallible>(http::Response::new(Full::new(bytes::Bytes::new())))
        }
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let (stream, _) = Ingress::new(ours);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
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
    let told = told.borrow();
    (told.0.clone(), told.1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Where requests begin and end, and what is in them, is the same for both. That is what the
    /// framing is for: if they differed, it could be smuggled past.
    #[test]
    fn the_server_reads_what_the_framing_judged(
        requests in vec(request(), 1..4),
        bends in vec(
            (any::<prop::sample::Index>(), prop::sample::select(&b"\r\n\0 :,;0a#*2"[..])),
            0..3,
        ),
        cuts in vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut bytes = requests.concat();
        for (at, byte) in bends {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (framed, _) = told_by_framing(&bytes);
        let (served, _) = told_by_server(pieces(&bytes, &cuts));
        // After HTTP/1.0 the server reads no further.
        let is_1_0 = bytes.windows(8).any(|word| word == b"HTTP/1.0");
        prop_assert!(framed.starts_with(&served) && (is_1_0 || served == framed),
            "framed {framed:?}\nserved {served:?}\nof {}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_doubt_becomes_a_stand_in_after_what_came_before() {
    let good = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let bytes = format!("{good}{good}GET /b HTTP/1.1\r\n\r\n{good}");
    let one = ("POST".to_owned(), "/a".to_owned(), b"abc".to_vec());
    for cut in 0..bytes.len() {
        let (left, right) = bytes.as_bytes().split_at(cut);
        assert_eq!(told_by_server(vec![left, right]), (vec![one.clone(), one.clone()], true));
    }
}
