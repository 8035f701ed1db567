//! HTTP/2 from callers: an ordinary client, and one that writes its frames by hand.

use crate::{tls::prepared, world::World};
use rustls::version::TLS13;
use serde_json::json;
use std::{
    io::{self, Read as _, Write as _},
    process::Command,
    time::{Duration, Instant},
};
use testkit::{
    Answer, client,
    listener::{Certificate, ClientStream, connect},
    thing,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn serving() -> (World, Certificate) {
    let (mut world, certificate) = prepared();
    world.weirgate.set("WEIRGATE_WRITE_TIMEOUT_MS", "1000");
    world.serve();
    (world, certificate)
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(mut value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![127];
    value -= 127;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A literal header that is not indexed (RFC 7541 §6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&length(text.len())[..], text.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, size @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&size[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Raw(ClientStream);

impl Raw {
    fn open(world: &World, certificate: &Certificate, settings: &[u8]) -> Self {
        let stream = connect(world.addr, &certificate.root_der, &[&TLS13], &["h2"]).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        let mut raw = Self(stream);
        let begun = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(SETTINGS, 0, 0, settings)];
        raw.write(&begun.concat());
        raw
    }

    /// A peer that has had enough may close while this is written.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }

    /// Past what could not be written any more, which the stream itself would try again first.
    fn read_exact(&mut self, mut rest: &mut [u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.0.conn.reader().read(rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => rest = &mut rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.0.conn.read_tls(&mut self.0.sock)? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.0.conn.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.read_exact(&mut head)?;
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; size as usize];
        self.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first frame that fits; `None` if the connection ends before.
    fn find(&mut self, fits: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            match self.read() {
                Ok(frame) if fits(&frame) => return Some(frame),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// What the server makes of a stream: the first byte of its answer's head, or how it was reset.
    fn outcome(&mut self, stream: u32) -> Option<Frame> {
        self.find(|frame| {
            (frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM))
                || frame.kind == GOAWAY
        })
    }
}

/// The pseudo-headers of a call, and its key.
fn call<'a>(method: &'a str, path: &'a str, bearer: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("authorization", bearer),
    ]
}

fn bearer(world: &World) -> String {
    format!("Bearer {}", world.key)
}

/// The field `:status: 200` of the static table (RFC 7541 Appendix A), which comes first.
const STATUS_200: u8 = 0x80 | 8;
const STATUS_400: u8 = 0x80 | 12;

fn cpu(world: &World) -> Duration {
    let id = world.server.as_ref().unwrap().id();
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn an_ordinary_client_calls_over_http2() {
    let features = Command::new("curl").arg("--version").output();
    if !features.is_ok_and(|shown| String::from_utf8_lossy(&shown.stdout).contains("HTTP2")) {
        eprintln!("skipped: there is no curl that speaks HTTP/2");
        return;
    }
    let (mut world, certificate) = serving();
    let root = world.weirgate.file("tls/root.pem", &certificate.root_pem).unwrap();
    let url = |path: &str| format!("https://localhost:{}{}", world.addr.port(), world.path(path));
    let key = format!("Authorization: {}", bearer(&world));
    let curl = |args: &[&str]| {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--http2", "--cacert", &root, "--header", &key])
            .args(["--write-out", "\n%{http_version} %{http_code}\n"])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let one = curl(&[&url("/things/1")]);
    assert!(one.ends_with("\n2 200\n") && one.contains("\"name\""), "{one}");
    world
        .provider
        .on("HEAD /things/1", Answer::status(200).header("Content-Type", "application/json"));
    let head = curl(&["--head", &url("/things/1")]);
    assert!(head.contains("weirgate-request-id") && head.ends_with("2 200\n"), "{head}");
    // A problem has a body, but not for HEAD.
    let unknown = curl(&["--head", &url("/unknown")]);
    assert!(unknown.ends_with("2 404\n") && unknown.contains("content-length: "), "{unknown}");
    let json = "Content-Type: application/json";
    let made = curl(&["--header", json, "--data", r#"{"name":"New"}"#, &url("/things")]);
    assert!(made.ends_with("\n2 201\n"), "{made}");
    let refused = curl(&["--header", json, "--data", r#"{"secret":1}"#, &url("/things")]);
    assert!(refused.ends_with("\n2 403\n"), "{refused}");
    // Many on one connection at once.
    let many: Vec<String> = (1..=60).map(|number| url(&format!("/things/{number}"))).collect();
    let mut args = vec!["--parallel", "--parallel-max", "60"];
    args.extend(many.iter().map(String::as_str));
    assert_eq!(curl(&args).matches("\n2 200\n").count(), 60);
    // An answer that is cut far on is reset, so that it never looks whole.
    let long = vec![thing("1"); 4_000];
    let list = Answer::json(200, &json!({"results": long})).cut_body_in_half();
    world.provider.on("/things", list);
    let cut = Command::new("curl")
        .args(["--silent", "--http2", "--cacert", &root, "--header", &key, &url("/things")])
        .output()
        .unwrap();
    assert!(!cut.status.success() && cut.stdout.len() > 64 * 1_024, "{}", cut.stdout.len());
    assert!(serde_json::from_slice::<serde_json::Value>(&cut.stdout).is_err());
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn a_doubtful_request_over_http2_reaches_no_provider() {
    let (mut world, certificate) = serving();
    let (bearer, path) = (bearer(&world), world.path("/things/1"));
    let mut raw = Raw::open(&world, &certificate, &[]);
    let plain = call("GET", &path, &bearer);
    let with = |extra: &[(&'static str, &'static str)]| {
        let mut all = plain.clone();
        all.extend_from_slice(extra);
        all
    };
    let mut stream = 1;
    for extra in [
        &[("connection", "keep-alive")][..],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "h2c")],
        &[("keep-alive", "1")],
        &[("te", "gzip")],
        &[("host", "other.example")],
        &[("host", "localhost"), ("host", "localhost")],
        &[("content-length", "0"), ("content-length", "0")],
        &[("content-length", "+0")],
        &[("expect", "more")],
        &[("X-Upper", "1")],
        &[("x-line", "a\r\nhost: b")],
        &[("x nul", "1")],
        &[(":path", "/other")],
        &[(":authority", "other.example")],
    ] {
        raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&with(extra))));
        let outcome = raw.outcome(stream).unwrap();
        let is_refused = match outcome.kind {
            HEADERS => outcome.payload[0] == STATUS_400,
            RST_STREAM => true,
            _ => {
                raw = Raw::open(&world, &certificate, &[]);
                stream = 1;
                continue;
            }
        };
        assert!(is_refused, "{extra:?}: {outcome:?}");
        stream += 2;
    }
    // A tunnel, the stand-in's target, and bodies of another length than declared.
    for headers in [
        &[(":method", "CONNECT"), (":authority", "localhost:1")][..],
        &[(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a"), (":path", "*")],
        &[(":method", "GET"), (":scheme", "https"), (":path", "/healthz")],
    ] {
        raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(headers)));
        let outcome = raw.outcome(stream).unwrap();
        assert!(outcome.kind == RST_STREAM || outcome.payload[0] == STATUS_400, "{outcome:?}");
        stream += 2;
    }
    let path = world.path("/things");
    for body in [&br#"{"name":"a"}"#[..], br#"{"name":"abc"}"#] {
        let mut head = call("POST", &path, &bearer);
        head.extend([("content-type", "application/json"), ("content-length", "13")]);
        raw.write(&frame(HEADERS, END_HEADERS, stream, &block(&head)));
        raw.write(&frame(DATA, END_STREAM, stream, body));
        let outcome = raw.outcome(stream).unwrap();
        assert!(outcome.kind == RST_STREAM || outcome.payload[0] == STATUS_400, "{outcome:?}");
        stream += 2;
    }
    assert_eq!(world.provider.requests(), []);
    // The connection was not to blame: an honest call is served, and its trailers are dropped.
    let mut head = call("POST", &path, &bearer);
    head.extend([("content-type", "application/json"), ("host", "localhost")]);
    raw.write(&frame(HEADERS, END_HEADERS, stream, &block(&head)));
    raw.write(&frame(DATA, 0, stream, br#"{"name":"a"}"#));
    let trailers = block(&[("x-trailer", "canary"), ("authorization", "Basic canary")]);
    raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers));
    assert_eq!(raw.outcome(stream).unwrap().kind, HEADERS);
    let received = world.provider.requests();
    assert_eq!(received.len(), 1);
    let all = String::from_utf8_lossy(&received[0].everything()).into_owned();
    assert!(!all.contains("x-trailer") && !all.contains("Basic"), "{all}");
    drop(raw);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn floods_of_frames_end_by_goaway_and_cost_little() {
    let (mut world, certificate) = serving();
    let (bearer, path) = (bearer(&world), world.path("/things/1"));
    let get = block(&call("GET", &path, &bearer));
    let post = block(&call("POST", &path, &bearer));
    let streams = (0..).map(|number| number * 2 + 1);
    let rapid_reset: Vec<u8> = streams
        .take(1_000)
        .flat_map(|stream| {
            let begun = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
            [begun, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        })
        .collect();
    let head = frame(HEADERS, END_STREAM, 1, &get);
    let continued = frame(CONTINUATION, 0, 1, &literal("x-more", "more")).repeat(4_000);
    let opened = frame(HEADERS, END_HEADERS, 1, &post);
    // Little enough that all of it is read: closing on unread bytes would reset the connection, and
    // take the GOAWAY with it.
    let floods = [
        ("rapid reset", rapid_reset),
        ("CONTINUATION", [head.clone(), continued].concat()),
        ("empty CONTINUATION", [head, frame(CONTINUATION, 0, 1, &[]).repeat(4_000)].concat()),
        ("PING", frame(PING, 0, 0, &[7; 8]).repeat(6_000)),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(6_000)),
        ("empty DATA", [opened, frame(DATA, 0, 1, &[]).repeat(4_000)].concat()),
        ("WINDOW_UPDATE", frame(8, 0, 0, &[0, 0, 0, 1]).repeat(6_000)),
        ("PRIORITY", frame(2, 0, 3, &[0, 0, 0, 1, 1]).repeat(6_000)),
    ];
    for (name, flood) in floods {
        let (before, begun) = (cpu(&world), Instant::now());
        let mut raw = Raw::open(&world, &certificate, &[]);
        raw.write(&flood);
        let ended = raw.find(|frame| frame.kind == GOAWAY);
        assert!(ended.is_some(), "{name}: no GOAWAY");
        assert!(raw.find(|_| false).is_none(), "{name}");
        let spent = cpu(&world).saturating_sub(before);
        assert!(spent < Duration::from_secs(1), "{name}: {spent:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}");
    }
    // Everybody else is served as before.
    let mut raw = Raw::open(&world, &certificate, &[]);
    raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get));
    assert_eq!(raw.outcome(1).unwrap().payload[0], STATUS_200);
    drop(raw);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

/// A header that is sent once and repeated by a byte each (RFC 7541 §7.3).
#[test]
fn an_hpack_bomb_is_never_unpacked() {
    let (world, certificate) = serving();
    let (bearer, path) = (bearer(&world), world.path("/things/1"));
    let mut raw = Raw::open(&world, &certificate, &[]);
    let before = world.memory("VmHWM");
    let get = block(&call("GET", &path, &bearer));
    let value = "x".repeat(3_900);
    let indexed = [&[0x40, 1, b'y'][..], &length(value.len()), value.as_bytes()].concat();
    for stream in (1..40).step_by(2) {
        // Index 62 is the first of the dynamic table.
        let bomb = [&get[..], &indexed, &[0x80 | 62; 8_000]].concat();
        raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb));
        let outcome = raw.outcome(stream);
        assert!(
            outcome.is_none_or(|frame| frame.kind != HEADERS || frame.payload[0] != STATUS_200)
        );
    }
    let grown = world.memory("VmHWM") - before;
    assert!(grown < 8 << 20, "{grown} bytes");
    assert_eq!(world.provider.requests(), []);
}

/// A caller that opens no window for its answer holds a call, not for ever.
#[test]
fn a_caller_that_opens_no_window_is_given_up_and_recorded() {
    let (mut world, certificate) = serving();
    let (bearer, path) = (bearer(&world), world.path("/things/1"));
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    let mut raw = Raw::open(&world, &certificate, &[0, 4, 0, 0, 0, 0]);
    let get = block(&call("GET", &path, &bearer));
    raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get));
    assert_eq!(raw.outcome(1).unwrap().payload[0], STATUS_200);
    let begun = Instant::now();
    assert_eq!(raw.find(|frame| frame.kind == DATA), None);
    assert!(begun.elapsed() < client::TIMEOUT / 2, "{:?}", begun.elapsed());
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

/// One connection may carry many calls, each with a provider's connection: not more than there are
/// files for.
#[test]
fn calls_on_one_connection_never_take_the_files_of_the_log() {
    let (mut world, certificate) = prepared();
    world.weirgate.limit_files(256);
    world.weirgate.set("WEIRGATE_CORES", "1");
    world.serve();
    let slow = Answer::json(200, &thing("1")).pause_before_parts(Duration::from_secs(2));
    world.provider.on("/things/1", slow);
    let (bearer, path) = (bearer(&world), world.path("/things/1"));
    let get = block(&call("GET", &path, &bearer));
    let mut raw = Raw::open(&world, &certificate, &[]);
    for number in 0..100 {
        raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &get));
    }
    let heads: Vec<Frame> =
        (0..100).map(|_| raw.find(|frame| frame.kind == HEADERS).unwrap()).collect();
    let served = heads.iter().filter(|head| head.payload[0] == STATUS_200).count();
    assert!((10..90).contains(&served), "{served} of 100 at once");
    assert_eq!(world.provider.connections(), served);
    drop(raw);
    let output = world.stop();
    assert!(output.err().contains("overloaded"), "{}", output.err());
    assert_eq!(world.verify()["open_intents"], 0);
}
