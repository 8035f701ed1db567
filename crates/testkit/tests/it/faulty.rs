use serde_json::json;
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};
use testkit::{
    Answer, End, FAULTS, FaultyProvider, Framing, Greeting, SECRET,
    client::{self, BodyEnd, Connection, Response},
    fault, thing, wait_until,
};

const PATIENCE: Duration = Duration::from_millis(300);

fn provider() -> FaultyProvider {
    FaultyProvider::start().unwrap()
}

fn get(provider: &FaultyProvider, path: &str) -> std::io::Result<Response> {
    let mut connection = Connection::open(provider.addr())?;
    connection.set_read_timeout(PATIENCE)?;
    connection.request("GET", path, &[], b"")
}

#[test]
fn things_are_served_and_every_request_is_remembered() {
    let provider = provider();
    let mut connection = Connection::open(provider.addr()).unwrap();
    let page = connection.request("GET", "/things?limit=2", &[("X-Tenant", "t1")], b"").unwrap();
    let page = page.json().unwrap();
    assert_eq!(page["results"][0], thing("1"));
    assert_eq!(page["next"], format!("{}/things?cursor=2", provider.url()));

    let body = json!({ "name": "New" }).to_string();
    let made = connection.request("POST", "/things", &[], body.as_bytes()).unwrap();
    assert_eq!((made.status, &made.json().unwrap()["name"]), (201, &"New".into()));
    let chunked = [("Transfer-Encoding", "chunked")];
    let put = connection.request("PUT", "/things/9", &chunked, b"2\r\n{}\r\n0\r\n\r\n").unwrap();
    assert_eq!(put.json().unwrap(), thing("9"));
    let deleted = connection.request("DELETE", "/things/9", &[], b"").unwrap();
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(connection.request("GET", "/none", &[], b"").unwrap().status, 404);

    let photo = client::get(provider.addr(), "/things/9/photo", &[]).unwrap();
    assert_eq!(photo.header("content-type"), Some("image/png"));

    let requests = provider.requests();
    let seen: Vec<(usize, &str, &str, &str)> = requests
        .iter()
        .map(|request| {
            let method = request.method.as_str();
            (request.connection, method, request.path.as_str(), request.query.as_str())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, "GET", "/things", "limit=2"),
            (0, "POST", "/things", ""),
            (0, "PUT", "/things/9", ""),
            (0, "DELETE", "/things/9", ""),
            (0, "GET", "/none", ""),
            (1, "GET", "/things/9/photo", ""),
        ]
    );
    assert_eq!(requests[0].header("x-tenant"), Some("t1"));
    assert_eq!(requests[1].json().unwrap(), json!({ "name": "New" }));
    assert_eq!(requests[2].body, b"{}");
    assert_eq!(provider.connections(), 2);
    provider.forget();
    assert!(provider.last_request().is_none());
    assert!(provider.description().contains(&format!("url: {}\n", provider.url())));
}

#[test]
fn a_script_decides_by_method_and_path_and_in_order() {
    let provider = provider();
    provider.on("/things", Answer::status(503));
    provider.on("GET /things", Answer::redirect(307, "/elsewhere"));
    provider.on_sequence("/turns", [Answer::status(500), Answer::json(200, &json!({}))]);
    provider.on_each("/echo", |request| {
        Answer::json_text(200, request.query.clone()).header("X-Method", &request.method)
    });
    let addr = provider.addr();
    let redirect = client::get(addr, "/things?x=1", &[]).unwrap();
    assert_eq!((redirect.status, redirect.header("location")), (307, Some("/elsewhere")));
    assert_eq!(client::post(addr, "/things", &[], &json!({})).unwrap().status, 503);
    let turns: Vec<u16> =
        (0..3).map(|_| client::get(addr, "/turns", &[]).unwrap().status).collect();
    assert_eq!(turns, [500, 200, 200]);
    let echo = client::post(addr, "/echo?a=b", &[], &json!({})).unwrap();
    assert_eq!((echo.text().as_str(), echo.header("x-method")), ("a=b", Some("POST")));
}

/// What a client that trusts nobody sees of a fault: how the head or the body ended.
fn seen(provider: &FaultyProvider, kind: &str) -> String {
    match get(provider, &format!("/fault/{kind}")) {
        Ok(answer) => format!("{} {:?}", answer.status, answer.end),
        Err(error) => format!("{:?}", error.kind()),
    }
}

#[test]
fn each_fault_breaks_what_its_name_says() {
    let provider = provider();
    for (kind, expected) in [
        ("none", "200 Complete"),
        ("reset", "ConnectionReset"),
        ("close", "UnexpectedEof"),
        ("silence", "WouldBlock"),
        ("head-cut", "UnexpectedEof"),
        ("not-http", "InvalidData"),
        ("both-framings", "200 Aborted"),
        ("two-lengths", "200 Complete"),
        ("reset-in-body", "200 Aborted"),
        ("truncated", "200 Aborted"),
        ("length-too-long", "200 TimedOut"),
        ("length-too-short", "200 Complete"),
        ("chunked", "200 Complete"),
        ("chunked-cut", "200 Aborted"),
        ("html", "200 Complete"),
        ("empty", "200 Complete"),
        ("no-content", "204 Complete"),
        ("redirect", "302 Complete"),
        ("not-modified", "304 Complete"),
        ("unauthorized", "401 Complete"),
        ("forbidden", "403 Complete"),
        ("not-found", "404 Complete"),
        ("too-many", "429 Complete"),
        ("error", "500 Complete"),
        ("error-html", "500 Complete"),
        ("error-huge", "500 Complete"),
        ("slow-head", "WouldBlock"),
        ("slow-body", "200 TimedOut"),
        ("unheard-of", "404 Complete"),
    ] {
        assert_eq!(seen(&provider, kind), expected, "{kind}");
    }
    let whole = thing("1");
    let text = |kind: &str| get(&provider, &format!("/fault/{kind}")).unwrap();
    assert_eq!(text("none").json().unwrap(), whole);
    assert_eq!(text("chunked").json().unwrap(), whole);
    assert!(text("length-too-short").json().unwrap_err().is_eof());
    for kind in ["malformed", "malformed-late", "bad-utf8", "bom", "trailing", "empty", "gzip-lie"]
    {
        let answer = text(kind);
        let is_json = answer.header("content-encoding").is_none() && answer.json().is_ok();
        assert!(!is_json, "{kind}");
    }
    for kind in ["duplicate", "duplicate-escaped", "wrong-kind", "scalar", "set-cookie"] {
        assert!(text(kind).json().is_ok(), "{kind}");
    }
    // serde_json refuses at 128, as the projection does one level deeper.
    assert!(text("deep").json().unwrap_err().to_string().contains("recursion"));
    assert!(std::str::from_utf8(&text("bad-utf8").body).is_err());
    // The body that must not be there stands where the next answer should.
    let mut reused = Connection::open(provider.addr()).unwrap();
    reused.set_read_timeout(PATIENCE).unwrap();
    assert_eq!(reused.request("GET", "/fault/body-with-204", &[], b"").unwrap().status, 204);
    let confused = reused.request("GET", "/things", &[], b"").unwrap_err();
    assert_eq!(confused.kind(), ErrorKind::InvalidData);
}

#[test]
fn every_fault_that_has_a_body_plants_the_secret_or_is_compressed() {
    let provider = provider();
    let without = [
        "reset",
        "close",
        "silence",
        "head-cut",
        "not-http",
        "empty",
        "no-content",
        "redirect",
        "not-modified",
        "slow-head",
        "slow-body",
        "gzip",
        "gzip-cut",
        "gzip-bomb",
        // The client took the end of the first part for the whole.
        "body-with-204",
        "both-framings",
        "two-lengths",
    ];
    for kind in FAULTS.iter().filter(|kind| !without.contains(kind)) {
        let answer = get(&provider, &format!("/fault/{kind}")).unwrap();
        let text = String::from_utf8_lossy(&answer.everything()).into_owned();
        assert!(text.contains(SECRET), "{kind}: {text}");
    }
}

#[test]
fn compressed_answers_decode_to_the_thing_or_break() {
    use flate2::read::GzDecoder;
    use std::io::Read as _;
    let provider = provider();
    let decode = |kind: &str| {
        let answer = client::get(provider.addr(), &format!("/fault/{kind}"), &[]).unwrap();
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.end, BodyEnd::Complete);
        let mut text = String::new();
        GzDecoder::new(answer.body.as_slice()).read_to_string(&mut text).map(|_| text)
    };
    assert_eq!(decode("gzip").unwrap(), thing("1").to_string());
    assert!(decode("gzip-cut").is_err());
    assert!(decode("gzip-lie").is_err());
    assert!(fault("gzip-bomb").is_some());
}

#[test]
fn pauses_take_their_time_and_end_when_the_provider_stops() {
    let mut provider = provider();
    let pause = Duration::from_millis(60);
    provider.on("/slow", Answer::json_text(200, "[]").pause_before_head(pause * 2));
    let pieces = Answer::json_text(200, "[1]").in_pieces_of(1).pause_before_parts(pause);
    provider.on("/drip", pieces.framing(Framing::Chunked));
    provider.on("/never", Answer::status(200).pause_before_head(Duration::from_mins(10)));
    let timed = |path: &str| {
        let started = Instant::now();
        assert_eq!(client::get(provider.addr(), path, &[]).unwrap().end, BodyEnd::Complete);
        started.elapsed()
    };
    assert!(timed("/slow") >= pause * 2);
    assert!(timed("/drip") >= pause * 3);

    let mut waiting = Connection::open(provider.addr()).unwrap();
    waiting.write(b"GET /never HTTP/1.1\r\n\r\n").unwrap();
    wait_until(Duration::from_secs(5), || provider.requests().len() == 3);
    let started = Instant::now();
    let addr = provider.addr();
    provider.stop();
    assert!(waiting.is_closed_within(Duration::from_secs(5)));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(Connection::open(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn connections_are_greeted_as_told_and_counted() {
    let provider = provider();
    provider.greet(Greeting::Reset);
    let reset = get(&provider, "/things").unwrap_err();
    assert!(
        matches!(reset.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{reset:?}"
    );
    provider.greet(Greeting::Silence);
    assert_eq!(get(&provider, "/things").unwrap_err().kind(), ErrorKind::WouldBlock);
    provider.greet(Greeting::Serve);
    assert_eq!(get(&provider, "/things").unwrap().status, 200);
    assert_eq!((provider.connections(), provider.requests().len()), (3, 1));
}

#[test]
fn ends_differ_on_the_wire() {
    let provider = provider();
    let end = |end: End| {
        provider.on("/end", Answer::json_text(200, "{}").end(end));
        let mut connection = Connection::open(provider.addr()).unwrap();
        assert_eq!(connection.request("GET", "/end", &[], b"").unwrap().text(), "{}");
        connection.is_closed_within(PATIENCE)
    };
    assert!(end(End::Close));
    assert!(end(End::Drop));
    assert!(!end(End::KeepAlive));
    assert!(!end(End::Silence));
}

#[test]
fn a_cut_request_is_not_remembered() {
    let provider = provider();
    for bytes in ["GET /things\r\n\r\n", "POST /things HTTP/1.1\r\nContent-Length: 9\r\n\r\n{}"] {
        let mut connection = Connection::open(provider.addr()).unwrap();
        connection.write(bytes.as_bytes()).unwrap();
        drop(connection);
    }
    assert_eq!(get(&provider, "/things/1").unwrap().status, 200);
    wait_until(Duration::from_secs(5), || provider.connections() == 3);
    assert_eq!(provider.requests().len(), 1);
}
