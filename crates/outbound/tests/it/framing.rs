//! Answers whose length or head is in doubt.

use crate::world::{plain, trusted};
use std::time::Duration;
use testkit::{Answer, End, Framing};
use types::Fault as _;

async fn refused(heads: &[&str]) {
    let world = plain();
    for head in heads {
        for end in [End::KeepAlive, End::Close] {
            world.provider.on("/doubt", Answer::verbatim(*head).end(end));
            assert_eq!(world.code("/doubt").await, "provider_malformed", "{head:?} {end:?}");
        }
    }
}

#[tokio::test]
async fn two_ways_to_tell_the_length_are_refused() {
    refused(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n{}",
    ])
    .await;
}

#[tokio::test]
async fn lengths_that_are_no_numbers_are_refused() {
    refused(&[
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2.0\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n{}",
    ])
    .await;
}

#[tokio::test]
async fn transfer_codings_but_chunked_are_refused() {
    refused(&[
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;q=1\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn heads_that_cannot_be_read_are_refused() {
    refused(&[
        "garbage\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "{\"no\":\"head\"}\r\n\r\n",
        "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rY: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\u{0}b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nanything",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn chunks_that_cannot_be_read_are_refused() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}xx\r\n0\r\n\r\n",
        "11111111111111111\r\n{}",
        "2\r\n{}\r\n0\r\nx",
    ];
    let world = plain();
    for body in bodies {
        world.provider.on("/chunks", Answer::verbatim(format!("{head}{body}")).end(End::Close));
        let code = world.code("/chunks").await;
        assert!(["provider_malformed", "provider_reset"].contains(&code), "{body:?} {code}");
    }
}

#[tokio::test]
async fn endless_heads_end() {
    let world = plain();
    for (more, is_fine) in [(127, true), (128, false)] {
        let lines = "X-Again: a\r\n".repeat(more);
        let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\n{{}}");
        world.provider.on("/many", Answer::verbatim(head));
        assert_eq!(world.get("/many").await.is_ok(), is_fine, "{more}");
    }
    let lines = "X-Again: a\r\n".repeat(10_000);
    world.provider.on("/lines", Answer::verbatim(format!("HTTP/1.1 200 OK\r\n{lines}")));
    assert_eq!(world.code("/lines").await, "provider_malformed");
    let line = "a".repeat(200_000);
    world.provider.on("/line", Answer::verbatim(format!("HTTP/1.1 200 OK\r\nX: {line}")));
    assert_eq!(world.code("/line").await, "provider_malformed");
    world.provider.on("/status", Answer::verbatim(format!("HTTP/1.1 200 {line}")));
    assert_eq!(world.code("/status").await, "provider_malformed");
    let trickle = |text: &str| {
        let pieces = vec![text.to_owned(); 200];
        Answer::verbatim("").parts(pieces).pause_before_parts(Duration::from_millis(20))
    };
    world.provider.on("/hints", trickle("HTTP/1.1 103 Early Hints\r\n\r\n"));
    assert_eq!(world.code("/hints").await, "provider_timeout");
    world.provider.on("/slow", trickle("H"));
    assert!(["provider_timeout", "provider_malformed"].contains(&world.code("/slow").await));
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let world = plain();
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n\
                HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    world.provider.on("/interim", Answer::verbatim(text).end(End::Close));
    assert_eq!(world.get("/interim").await, Ok((200, b"{}".to_vec())));
}

/// Otherwise a provider that never comes to the point holds a core for as long as it likes.
#[tokio::test]
async fn a_flood_of_interim_answers_is_refused() {
    let mut world = plain();
    world.deadlines.head = Duration::from_secs(20);
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    for (hints, is_fine) in [(1_000, true), (50_000, false)] {
        let text = format!("{}{end}", hint.repeat(hints));
        world.provider.on("/flood", Answer::verbatim(text).end(End::Close));
        let got = world.get("/flood").await;
        assert_eq!(got.is_ok(), is_fine, "{got:?}");
        assert!(is_fine || got.is_err_and(|error| error.code() == "provider_malformed"));
    }
    // Each answer of a connection has a bound of its own, and its content none of this one.
    let large = Answer::json_text(200, vec![b' '; 3 << 20]);
    world.provider.on("/large", large);
    for _ in 0..3 {
        assert_eq!(world.get("/large").await.unwrap().1.len(), 3 << 20);
    }
    assert_eq!(world.provider.connections(), 3);
}

#[tokio::test]
async fn trailers_are_dropped() {
    let world = plain();
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n\
                2\r\n{}\r\n0\r\nX: a\r\n\r\n";
    world.provider.on("/trailers", Answer::verbatim(text).end(End::Close));
    assert_eq!(world.get("/trailers").await, Ok((200, b"{}".to_vec())));
}

/// Without a length an answer ends with its connection: over TLS the end must be said, or anybody on
/// the way could cut it.
#[tokio::test]
async fn an_end_that_was_not_said_is_none() {
    let open = |end| Answer::json_text(200, "{\"a\":1}").framing(Framing::None).end(end);
    for world in [plain(), trusted()] {
        world.provider.on("/said", open(End::Close));
        assert_eq!(world.get("/said").await, Ok((200, b"{\"a\":1}".to_vec())));
        world.provider.on("/cut", open(End::Reset));
        assert_eq!(world.code("/cut").await, "provider_reset");
    }
    let world = trusted();
    world.provider.on("/unsaid", open(End::Drop));
    assert_eq!(world.code("/unsaid").await, "provider_reset");
    let short = Answer::json_text(200, "{}").framing(Framing::Declared(10)).end(End::Close);
    world.provider.on("/short", short);
    assert_eq!(world.code("/short").await, "provider_reset");
}
