//! Requests whose length two readers could tell differently, over raw sockets, in front of a provider
//! that records what it gets: nothing in doubt reaches it, and nothing behind it does.

use crate::world::{World, code};
use std::time::Duration;
use testkit::{
    client::{self, Connection},
    wait_until,
};

const BODY: &str = r#"{"name":"n"}"#;

/// `{key}` and `{path}` are filled in, and behind each comes a whole request that must not be served.
fn doubtful() -> Vec<String> {
    let chunked = "c\r\n{\"name\":\"n\"}\r\n0\r\n\r\n";
    let framed = |headers: &str, body: &str| {
        format!(
            "POST {{path}} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {{key}}\r\n\
             Content-Type: application/json\r\n{headers}\r\n\r\n{body}"
        )
    };
    let mut all = Vec::new();
    for headers in [
        // Two framings.
        "Content-Length: 12\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 12",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "content-length: 0\r\ntransfer-encoding: CHUNKED",
        "Content-Length: 12\r\nTransfer-Encoding: identity",
        "Content-Length: 12\r\nTransfer-Encoding:",
        "Content-Length: 12\r\nTransfer-Encoding: chunke",
        // Transfer codings.
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r",
        "Transfer-Encoding\0: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
    ] {
        all.push(framed(headers, chunked));
    }
    for headers in [
        // Lengths.
        "Content-Length: 12\r\nContent-Length: 12",
        "Content-Length: 12\r\nContent-Length: 2",
        "Content-Length: 12, 12",
        "Content-Length: +12",
        "Content-Length: -12",
        "Content-Length: 0x0c",
        "Content-Length: 12 12",
        "Content-Length: 1_2",
        "Content-Length: 12.0",
        "Content-Length: 18446744073709551628",
        "Content-Length:",
        "Content-Length : 12",
        "Content-Length: 12\r\n\u{20}2",
        "X: y\nContent-Length: 12",
        // Hosts and expectations.
        "Content-Length: 12\r\nHost: b",
        "Content-Length: 12\r\nhost: a",
        "Content-Length: 12\r\nExpect: foo",
        "Content-Length: 12\r\nExpect: 100-continue\r\nExpect: 100-continue",
    ] {
        all.push(framed(headers, BODY));
    }
    let good = framed("Content-Length: 12", BODY);
    for (from, to) in [
        ("Host: a\r\n", ""),
        ("Host: a", "Host: a b"),
        ("Host: a", "Host:"),
        ("POST {path}", "POST http://other.example{path}"),
        ("POST {path}", "POST  {path}"),
        ("POST {path}", "POST {path}#x"),
        ("POST {path}", "\r\nPOST {path}"),
        ("POST {path}", "POST *"),
        ("HTTP/1.1", "HTTP/1.1\u{20}"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("HTTP/1.1\r\n", "HTTP/1.1\n"),
        ("\r\n\r\n{", "\n\n{"),
        ("\r\n\r\n{", "\r\n\n{"),
    ] {
        assert!(good.contains(from));
        all.push(good.replace(from, to));
    }
    all.push(framed("Transfer-Encoding: chunked", chunked).replace("HTTP/1.1", "HTTP/1.0"));
    for body in [
        // Chunks.
        "c;x=y\r\n{\"name\":\"n\"}\r\n0\r\n\r\n",
        "c \r\n{\"name\":\"n\"}\r\n0\r\n\r\n",
        "0xc\r\n{\"name\":\"n\"}\r\n0\r\n\r\n",
        "c\n{\"name\":\"n\"}\r\n0\r\n\r\n",
        "c\r\n{\"name\":\"n\"}0\r\n\r\n",
        "b\r\n{\"name\":\"n\"}\r\n0\r\n\r\n",
        "c\r\n{\"name\":\"n\"}\r\n0\r\nX: y\r\n\r\n",
        "c\r\n{\"name\":\"n\"}\r\n0\r\n\n",
        "c\r\n{\"name\":\"n\"}\r\n0\n\r\n",
        "10000000000000000c\r\n{\"name\":\"n\"}\r\n0\r\n\r\n",
    ] {
        all.push(framed("Transfer-Encoding: chunked", body));
    }
    all
}

#[test]
fn requests_in_doubt_reach_no_provider() {
    let world = World::serving();
    let all = doubtful();
    assert!(all.len() >= 60, "{}", all.len());
    let behind = format!(
        "GET {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        world.path("/things/9"),
        world.key
    );
    for doubtful in all {
        let request =
            doubtful.replace("{path}", &world.path("/things")).replace("{key}", &world.key);
        let bytes = format!("{request}{behind}");
        // At once, and in two pieces at every place that matters.
        let head = request.find("\r\n\r\n").map_or(10, |at| at + 2);
        for cut in [bytes.len(), 1, head, request.len()] {
            let mut connection = Connection::open(world.addr).unwrap();
            connection.write(&bytes.as_bytes()[..cut]).unwrap();
            if cut < bytes.len() {
                std::thread::sleep(Duration::from_millis(3));
                // It may have been refused already.
                let _ = connection.write(&bytes.as_bytes()[cut..]);
            }
            let answer = connection.read_response(false).unwrap_or_else(|error| {
                panic!("{error} after {cut} bytes of {request:?}");
            });
            assert_eq!(answer.status, 400, "{request:?}");
            assert_eq!(code(&answer), "request_malformed", "{request:?}");
            assert!(
                connection.is_closed_within(Duration::from_secs(5)),
                "still open after {request:?}"
            );
        }
    }
    let reached = world.provider.requests();
    assert!(reached.is_empty(), "{reached:?}");
}

/// What is told beyond doubt is served, once and in a framing of our own, however it was framed.
#[test]
fn one_canonical_request_reaches_the_provider() {
    let world = World::serving();
    let head = format!(
        "POST {{target}} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n",
        world.key
    );
    let path = world.path("/things");
    let by_length = format!("{head}Content-Length: 12\r\n\r\n{BODY}").replace("{target}", &path);
    let by_chunks = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n7\r\n{}\r\n0\r\n\r\n",
        &BODY[..5],
        &BODY[5..]
    )
    .replace("{target}", &path);
    let whole_url = by_length.replace(&path, &format!("http://a{path}"));
    let with_expect = by_length.replace("Host: a", "Host: a\r\nExpect: 100-continue");
    let odd_names =
        by_length.replace("Host: a", "Host: a\r\nTransfer_Encoding: chunked\r\nContent_Length: 3");
    for request in [by_length, by_chunks, whole_url, with_expect, odd_names] {
        for piece in [request.len(), 7, 1] {
            world.provider.forget();
            let mut connection = Connection::open(world.addr).unwrap();
            for part in request.as_bytes().chunks(piece) {
                connection.write(part).unwrap();
            }
            let answer = connection.read_response(false).unwrap();
            assert_eq!(answer.status, 201, "{request:?}: {}", answer.text());
            // And the connection goes on.
            for part in request.as_bytes().chunks(piece) {
                connection.write(part).unwrap();
            }
            assert_eq!(connection.read_response(false).unwrap().status, 201);
            let received = world.provider.requests();
            assert_eq!(received.len(), 2);
            for received in received {
                assert_eq!(
                    (received.method.as_str(), received.target.as_str()),
                    ("POST", "/things")
                );
                assert_eq!(received.header("content-length"), Some("12"));
                assert_eq!(received.header("host"), Some(world.provider.host_port()));
                for name in ["transfer-encoding", "expect", "transfer_encoding", "content_length"] {
                    assert_eq!(received.header(name), None, "{name}");
                }
                assert_eq!(received.body, BODY.as_bytes());
            }
        }
    }
}

/// The refusal of one comes after the answers to those before it, and nothing after it.
#[test]
fn pipelined_requests_before_a_doubt_are_answered() {
    let mut world = World::serving();
    let good = |id: u32| {
        format!(
            "GET {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
            world.path(&format!("/things/{id}")),
            world.key
        )
    };
    let bad = "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let mut connection = Connection::open(world.addr).unwrap();
    connection.write(format!("{}{}{bad}{}", good(1), good(2), good(3)).as_bytes()).unwrap();
    for id in ["1", "2"] {
        let answer = connection.read_response(false).unwrap();
        assert_eq!((answer.status, &answer.json().unwrap()["id"]), (200, &id.into()));
    }
    let refused = connection.read_response(false).unwrap();
    assert_eq!(code(&refused), "request_malformed");
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    assert_eq!(world.provider.requests().len(), 2);
    world.stop();
    let entries = world.entries();
    let counted = entries
        .iter()
        .any(|entry| entry["kind"] == "unauthenticated" && entry["code"] == "request_malformed");
    assert!(counted, "{entries:?}");
}

/// A caller that breaks off within a head or a body leaves nothing behind.
#[test]
fn what_breaks_off_is_no_request() {
    let world = World::serving();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{BODY}",
        world.path("/things"),
        world.key
    );
    for cut in (1..request.len()).step_by(9).chain([request.len() - 1]) {
        drop(client::raw(world.addr, &request.as_bytes()[..cut], Duration::from_millis(1)));
    }
    assert_eq!(world.get("/things/1").status, 200);
    wait_until(Duration::from_secs(5), || {
        let metrics = client::get(world.console, "/metrics", &[]).unwrap().text();
        metrics.contains("weirgate_connections 0") || metrics.contains("weirgate_connections 1")
    });
    assert_eq!(world.provider.requests().len(), 1);
}
