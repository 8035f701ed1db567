//! HTTP/2 with a server that writes its frames by hand.

use crate::{
    http2::Reach,
    world::{SHORT, collect, config},
};
use http::{HeaderValue, Request};
use outbound::OutboundError;
use std::{io, sync::mpsc, time::Duration};
use testkit::{
    RawConnection, RawPeer,
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PADDED, PING,
        PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
    },
};
use types::Fault as _;

/// An answer's bytes for its stream.
type Made = fn(u32) -> Vec<u8>;

const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;
const REFUSED_STREAM: u32 = 7;
const FINE: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];

fn peer(script: impl Fn(&mut RawConnection) -> io::Result<()> + Send + Sync + 'static) -> RawPeer {
    RawPeer::start(Some(&[]), script).unwrap()
}

/// Answers each request by the bytes that are made for its stream, and goes on reading.
fn always(bytes: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> RawPeer {
    peer(move |raw| {
        loop {
            let stream = raw.request()?.stream;
            raw.write(&bytes(stream))?;
        }
    })
}

fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(fields))
}

fn whole(stream: u32) -> Vec<u8> {
    [head(stream, &FINE), frame(DATA, END_STREAM, stream, b"{}")].concat()
}

async fn refused(name: &str, bytes: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) {
    let peer = always(bytes);
    let answered = Reach::raw(&peer).get("/").await;
    let malformed = answered.as_ref().is_err_and(|error| error.code() == "provider_malformed");
    assert!(malformed, "{name}: {answered:?}");
}

#[tokio::test]
async fn an_honest_answer_by_hand_arrives() {
    let peer = always(whole);
    let reach = Reach::raw(&peer);
    for _ in 0..3 {
        assert_eq!(reach.get("/").await, Ok((200, b"{}".to_vec())));
    }
    assert_eq!(peer.connections(), 1);
    // In pieces, padded, with interim answers before and trailers behind.
    let pieces = always(|stream| {
        let fields = block(&FINE);
        let padded = [&[3][..], b"{\"a\":1}", &[0; 3]].concat();
        [
            head(stream, &[(":status", "103"), ("link", "<a>")]),
            frame(HEADERS, 0, stream, &fields[..5]),
            frame(CONTINUATION, END_HEADERS, stream, &fields[5..]),
            frame(DATA, PADDED, stream, &padded),
            frame(DATA, 0, stream, b""),
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-trailer", "1")])),
        ]
        .concat()
    });
    assert_eq!(Reach::raw(&pieces).get("/").await, Ok((200, b"{\"a\":1}".to_vec())));
}

#[tokio::test]
async fn heads_that_break_the_rules_are_refused() {
    let long = "x".repeat(70_000);
    let many: Vec<(String, String)> =
        (0..200).map(|number| (format!("x-{number}"), "a".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    let cases: [(&str, Vec<(&str, &str)>); 24] = [
        ("no status", vec![("content-type", "application/json")]),
        ("two statuses", vec![(":status", "200"), (":status", "200")]),
        ("a status behind fields", vec![("x-a", "1"), (":status", "200")]),
        ("a short status", vec![(":status", "20")]),
        ("a long status", vec![(":status", "2000")]),
        ("a wordy status", vec![(":status", "abc")]),
        ("a status that is none", vec![(":status", "600")]),
        ("an unknown pseudo-header", vec![(":status", "200"), (":other", "1")]),
        ("capitals", vec![(":status", "200"), ("X-A", "1")]),
        ("an empty name", vec![(":status", "200"), ("", "1")]),
        ("a space in a name", vec![(":status", "200"), ("x a", "1")]),
        ("a line break", vec![(":status", "200"), ("x-a", "1\r\nx-b: 2")]),
        ("a zero byte", vec![(":status", "200"), ("x-a", "1\0")]),
        ("connection", vec![(":status", "200"), ("connection", "close")]),
        ("keep-alive", vec![(":status", "200"), ("keep-alive", "1")]),
        ("upgrade", vec![(":status", "200"), ("upgrade", "h2c")]),
        ("transfer-encoding", vec![(":status", "200"), ("transfer-encoding", "chunked")]),
        ("a length that is none", vec![(":status", "200"), ("content-length", "x")]),
        ("a signed length", vec![(":status", "200"), ("content-length", "+2")]),
        ("an empty length", vec![(":status", "200"), ("content-length", "")]),
        ("two lengths", vec![(":status", "200"), ("content-length", "2"), ("content-length", "3")]),
        (
            "one length twice",
            vec![(":status", "200"), ("content-length", "2"), ("content-length", "2")],
        ),
        ("a long head", vec![(":status", "200"), ("x-long", &long)]),
        ("many fields", [&[(":status", "200")][..], &many].concat()),
    ];
    for (name, fields) in cases {
        let block = block(&fields);
        refused(name, move |stream| {
            let mut bytes = Vec::new();
            let mut parts = block.chunks(16_000).peekable();
            let mut kind = HEADERS;
            while let Some(part) = parts.next() {
                let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
                bytes.extend(frame(kind, flags, stream, part));
                kind = CONTINUATION;
            }
            bytes.extend(frame(DATA, END_STREAM, stream, b"{}"));
            bytes
        })
        .await;
    }
}

#[tokio::test]
async fn frames_that_break_the_rules_are_refused() {
    let cases: [(&str, Made); 17] = [
        ("HTTP/1.1", |_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        ("data before a head", |stream| frame(DATA, END_STREAM, stream, b"{}")),
        ("a head on no stream", |_| head(0, &FINE)),
        ("a head on a stream that nobody began", |stream| head(stream + 2, &FINE)),
        ("a head on a stream of its own", |_| head(2, &FINE)),
        ("a push", |stream| {
            let request =
                [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")];
            let promise = [&2_u32.to_be_bytes()[..], &block(&request)].concat();
            frame(PUSH_PROMISE, END_HEADERS, stream, &promise)
        }),
        ("a large frame", |stream| {
            [head(stream, &FINE), frame(DATA, END_STREAM, stream, &vec![b' '; 16_385])].concat()
        }),
        ("settings on a stream", |stream| frame(SETTINGS, 0, stream, &[])),
        ("settings of another length", |_| frame(SETTINGS, 0, 0, &[0; 5])),
        ("a ping of another length", |_| frame(PING, 0, 0, &[0; 7])),
        ("a window that opens by nothing", |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window that overflows", |_| frame(WINDOW_UPDATE, 0, 0, &0x7FFF_FFFF_u32.to_be_bytes())),
        ("a head that is interrupted", |stream| {
            [frame(HEADERS, 0, stream, &block(&FINE)), frame(PING, 0, 0, &[0; 8])].concat()
        }),
        ("fields that cannot be read", |stream| {
            frame(HEADERS, END_HEADERS, stream, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])
        }),
        ("less than its length", |stream| {
            let fields = [(":status", "200"), ("content-length", "10")];
            [head(stream, &fields), frame(DATA, END_STREAM, stream, b"{}")].concat()
        }),
        ("more than its length", |stream| {
            let fields = [(":status", "200"), ("content-length", "1")];
            [head(stream, &fields), frame(DATA, END_STREAM, stream, b"{}")].concat()
        }),
        ("two heads", |stream| [head(stream, &FINE), whole(stream)].concat()),
    ];
    for (name, bytes) in cases {
        refused(name, bytes).await;
    }
    // Nothing is sent to who does not begin as HTTP/2 does.
    for first in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 1, 0, &[]),
    ] {
        let (asked, was_asked) = mpsc::channel();
        let peer = RawPeer::start(None, move |raw| {
            raw.write(&first)?;
            let _ = asked.send(raw.request().is_ok());
            Ok(())
        });
        let peer = peer.unwrap();
        assert_eq!(Reach::raw(&peer).code("/").await, "provider_malformed");
        assert!(!was_asked.recv_timeout(Duration::from_secs(5)).unwrap());
    }
}

/// More than a window was sent, of a stream or of all.
#[tokio::test]
async fn windows_hold() {
    let parts = |stream, count: usize| frame(DATA, 0, stream, &[b' '; 16_384]).repeat(count);
    let peer = always(move |stream| [head(stream, &FINE), parts(stream, 17)].concat());
    let reach = Reach::raw(&peer);
    // It is not read, so that no window opens again.
    let answer = reach.send(Request::get("/"), Vec::new()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(collect(answer).await.unwrap_err().code(), "provider_malformed");
    // As much as the window holds is no fault.
    let peer = always(move |stream| [head(stream, &FINE), parts(stream, 16)].concat());
    let reach = Reach::raw(&peer);
    let mut answer = reach.send(Request::get("/"), Vec::new()).await.unwrap().into_body();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut bytes = 0;
    while let Ok(Some(chunk)) = answer.next_chunk().await {
        bytes += chunk.len();
    }
    assert_eq!(bytes, 256 << 10);
}

/// What makes us work for nothing ends the connection, with a call under way and without.
#[tokio::test]
async fn floods_end_the_connection() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let floods: [(&str, Vec<u8>); 8] = [
        ("pings", ping.clone()),
        ("pongs", frame(PING, 1, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("large settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100].repeat(1_000))),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("priorities", frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("unknown frames", frame(200, 0, 0, &[0; 16_000])),
        ("resets", frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())),
    ];
    for (name, flood) in &floods {
        let many = flood.repeat(1_000);
        // On a connection that is idle.
        let flood = many.clone();
        let idle = peer(move |raw| {
            let stream = raw.request()?.stream;
            raw.write(&whole(stream))?;
            if raw.number == 0 {
                for _ in 0..100 {
                    raw.write(&flood)?;
                }
            }
            raw.find(|_| false).map(drop)
        });
        let reach = Reach::raw(&idle);
        reach.get("/").await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(reach.get("/").await, Ok((200, b"{}".to_vec())), "{name}");
        assert_eq!(idle.connections(), 2, "{name}");
    }
    let of_stream: [(&str, Made); 5] = [
        ("interim answers", |stream| head(stream, &[(":status", "103"), ("link", "<a>")])),
        ("empty data", |stream| frame(DATA, 0, stream, b"")),
        ("padding", |stream| frame(DATA, PADDED, stream, &[&[255][..], &[0; 255]].concat())),
        ("continuations", |stream| frame(CONTINUATION, 0, stream, b"")),
        ("pings", |_| frame(PING, 0, 0, &[0; 8])),
    ];
    for (name, made) in of_stream {
        let peer = always(move |stream| {
            let first = match name {
                "interim answers" | "pings" => Vec::new(),
                "continuations" => frame(HEADERS, 0, stream, &block(&FINE)),
                _ => head(stream, &FINE),
            };
            [first, made(stream).repeat(100_000)].concat()
        });
        let mut reach = Reach::raw(&peer);
        reach.deadlines.head = Duration::from_secs(20);
        reach.deadlines.idle = Duration::from_secs(20);
        assert_eq!(reach.code("/").await, "provider_malformed", "{name}");
    }
    // As many interim answers as over HTTP/1.1 are no flood.
    let hint = |stream| head(stream, &[(":status", "103"), ("link", "<a>")]);
    let peer = always(move |stream| [hint(stream).repeat(1_000), whole(stream)].concat());
    assert_eq!(Reach::raw(&peer).get("/").await, Ok((200, b"{}".to_vec())));
    // Nor is an answer in many small parts.
    let peer = always(|stream| {
        let parts = frame(DATA, 0, stream, b" ").repeat(50_000);
        [head(stream, &FINE), parts, frame(DATA, END_STREAM, stream, b"{}")].concat()
    });
    let mut reach = Reach::raw(&peer);
    reach.deadlines.idle = Duration::from_secs(20);
    assert_eq!(reach.get("/").await.unwrap().1.len(), 50_002);
}

fn no_windows() -> Vec<u8> {
    // SETTINGS_INITIAL_WINDOW_SIZE
    [&[0, 4][..], &0_u32.to_be_bytes()].concat()
}

/// A write whose window never opens ends by its time-out, and is taken back.
#[tokio::test]
async fn a_window_that_stays_shut_holds_nobody() {
    let (told, heard) = mpsc::channel();
    let peer = RawPeer::start(Some(&no_windows()), move |raw| {
        let stream = raw.request()?.stream;
        let next = raw.find(|frame| matches!(frame.kind, DATA | RST_STREAM))?;
        let _ = told.send((stream, next));
        raw.find(|_| false).map(drop)
    });
    let peer = peer.unwrap();
    let mut reach = Reach::raw(&peer);
    reach.deadlines.head = SHORT;
    let failed = reach.post("/", vec![b'x'; 1 << 20]).await.unwrap_err();
    assert_eq!(failed.code(), "provider_timeout");
    // Leaves the runtime to the connection.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (stream, next) = heard.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!((next.kind, next.stream, next.error()), (RST_STREAM, stream, Some(CANCEL)));
}

/// So does one that is answered before its content was taken.
#[tokio::test]
async fn what_was_not_taken_of_a_request_is_taken_back() {
    let (told, heard) = mpsc::channel();
    let peer = RawPeer::start(Some(&no_windows()), move |raw| {
        loop {
            let stream = raw.request()?.stream;
            raw.write(&whole(stream))?;
            let next = raw.find(|frame| matches!(frame.kind, DATA | RST_STREAM))?;
            let _ = told.send((stream, next));
        }
    });
    let peer = peer.unwrap();
    let reach = Reach::raw(&peer);
    for _ in 0..3 {
        let answered = reach.post("/", vec![b'x'; 1 << 20]).await;
        assert_eq!(answered, Ok((200, b"{}".to_vec())));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (stream, next) = heard.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!((next.kind, next.stream, next.error()), (RST_STREAM, stream, Some(CANCEL)));
    }
    assert_eq!(peer.connections(), 1);
}

/// An answer is whole by its own end or length, not by a polite reset.
#[tokio::test]
async fn a_polite_reset_is_no_end() {
    let reset = |stream| frame(RST_STREAM, 0, stream, &NO_ERROR.to_be_bytes());
    let long = [(":status", "200"), ("content-type", "application/json"), ("content-length", "2")];
    for (fields, body, is_whole) in
        [(&FINE[..], "{}", false), (&long[..], "{}", true), (&long[..], "{", false)]
    {
        let fields = fields.to_vec();
        let peer = always(move |stream| {
            let part = frame(DATA, 0, stream, body.as_bytes());
            [head(stream, &fields), part, reset(stream)].concat()
        });
        let reach = Reach::raw(&peer);
        // Its content comes after its head was taken, or at once.
        match reach.get("/").await {
            Ok(answered) => assert!(is_whole && answered == (200, b"{}".to_vec())),
            Err(error) => assert!(!is_whole && error == OutboundError::Reset, "{error:?}"),
        }
    }
}

/// The peer's own word is needed, for reads too.
#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again() {
    let goaway = |last: u32, error: u32| {
        frame(GOAWAY, 0, 0, &[last.to_be_bytes(), error.to_be_bytes()].concat())
    };
    type Ends = Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>;
    let reset = |error: u32| -> Ends {
        Box::new(move |stream| frame(RST_STREAM, 0, stream, &error.to_be_bytes()))
    };
    let cases: [(&str, Ends, bool, bool); 6] = [
        // Whether a write, and a read, of an old connection is sent again.
        ("refused", reset(REFUSED_STREAM), true, true),
        ("cancelled", reset(CANCEL), false, false),
        ("internal error", reset(2), false, false),
        ("gone before it", Box::new(move |stream| goaway(stream - 2, NO_ERROR)), true, true),
        ("gone with it", Box::new(move |stream| goaway(stream, NO_ERROR)), false, true),
        ("closed", Box::new(|_| Vec::new()), false, true),
    ];
    for (name, ends, again_write, again_read) in cases {
        let (told, heard) = mpsc::channel();
        let peer = peer(move |raw| {
            let stream = raw.request()?.stream;
            raw.write(&whole(stream))?;
            let stream = raw.request()?.stream;
            let _ = told.send(raw.number);
            raw.write(&ends(stream))?;
            Ok(())
        });
        for (is_read, again) in [(false, again_write), (true, again_read)] {
            let reach = Reach::raw(&peer);
            let before = peer.connections();
            reach.get("/").await.unwrap();
            let answered =
                if is_read { reach.get("/").await } else { reach.post("/", b"{}".to_vec()).await };
            assert_eq!(answered.is_ok(), again, "{name} {is_read} {answered:?}");
            assert_eq!(peer.connections() - before, 1 + usize::from(again), "{name} {is_read}");
            assert!(again || answered == Err(OutboundError::Reset), "{name} {answered:?}");
            heard.recv_timeout(Duration::from_secs(5)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_read_is_sent_once_on_a_new_connection() {
    let peer = peer(|raw| raw.request().map(drop));
    assert_eq!(Reach::raw(&peer).get("/").await, Err(OutboundError::Reset));
    assert_eq!(peer.connections(), 1);
}

/// Credentials are literals that are never indexed (RFC 7541 §6.2.3): neither side's table keeps
/// them, and whoever passes them on must not either.
#[tokio::test]
async fn credentials_are_never_indexed() {
    let (told, heard) = mpsc::channel();
    let peer = peer(move |raw| {
        loop {
            let Frame { stream, payload, .. } = raw.request()?;
            let _ = told.send(payload);
            raw.write(&whole(stream))?;
        }
    });
    let reach = Reach::raw(&peer);
    let mut sizes = Vec::new();
    for is_sensitive in [true, false] {
        for _ in 0..3 {
            // Not Huffman-coded: its spelling would be shorter only without these.
            let mut secret = HeaderValue::from_static("~{}|^~{}|^~{}|^~{}|^");
            secret.set_sensitive(is_sensitive);
            let request = Request::get("/").header("x-api-key", secret);
            collect(reach.send(request, Vec::new()).await.unwrap()).await.unwrap();
            sizes.push(heard.recv_timeout(Duration::from_secs(5)).unwrap());
        }
    }
    let [first, second, third, open, again, _] = sizes.try_into().unwrap();
    // The value is written out each time where it is secret, and once where it is not.
    assert!(second.len() >= 20 && third.len() == second.len(), "{} {}", first.len(), second.len());
    assert!(open.len() >= 20 && again.len() < 20, "{} {}", open.len(), again.len());
    // The representation of the last field: never indexed, with a name of the table or of its own.
    let at = third.len() - 20 - 2;
    let is_never = |byte: u8| byte >> 4 == 1;
    assert!(third[..=at].iter().any(|byte| is_never(*byte)), "{third:02x?}");
}

/// A provider that never tells its settings is not waited for for ever.
#[tokio::test]
async fn silence_after_the_handshake_ends() {
    let peer = RawPeer::start(None, |raw| {
        loop {
            raw.read()?;
        }
    });
    let peer = peer.unwrap();
    let mut config = config(Some(peer.root_pem()));
    config.max_idle = 1;
    let mut reach = Reach::with(&peer.url(), &peer.host_port(), config);
    reach.deadlines.tls = Duration::from_millis(300);
    assert_eq!(reach.code("/").await, "provider_connect_timeout");
}
