//! HTTP/2 to providers, through the whole gateway.

use crate::world::{CREDENTIAL, World, code, ok};
use serde_json::json;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};
use testkit::{
    Answer, Http2Provider, RawPeer, SECRET, THING_DESCRIPTION, TlsOptions,
    client::{self, BodyEnd},
    frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, block, frame},
    listener::Certificate,
};

/// An installation whose connection leads to this server.
fn leading_to(url: &str, root: &str, overlay: Option<&str>) -> World {
    let mut world = World::prepared();
    let description = world.weirgate.file("things.yaml", THING_DESCRIPTION).unwrap();
    let host_port = url.strip_prefix("https://").unwrap();
    let mut args = vec!["provider", "import", &description, "--name", "things", "--server", url];
    args.extend(["--allow-private-network", host_port, "--accept-servers", "--json"]);
    let overlay = overlay.map(|overlay| world.weirgate.file("overlay.yaml", overlay).unwrap());
    if let Some(overlay) = &overlay {
        args.extend(["--overlay", overlay]);
    }
    ok(&world.weirgate, &args);
    let roots = world.weirgate.file("roots.pem", root).unwrap();
    world.weirgate.set("WEIRGATE_EXTRA_ROOTS_FILE", &roots);
    world.serve();
    world
}

fn started(overlay: Option<&str>) -> (Http2Provider, World) {
    let provider = Http2Provider::start().unwrap();
    let world = leading_to(provider.url(), provider.root_pem(), overlay);
    (provider, world)
}

fn granted() -> serde_json::Value {
    json!({
        "id": "1",
        "name": "Thing 1",
        "nested": {"a": "open"},
        "list": [{"label": "first"}, {"label": "second"}],
    })
}

/// By protocol.
fn answers(world: &World, protocol: &str) -> u64 {
    let text = client::get(world.console, "/metrics", &[]).unwrap().text();
    let name = format!("weirgate_provider_answers_total{{protocol=\"{protocol}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0");
    line.parse().unwrap()
}

#[test]
fn calls_share_connections_to_a_provider_that_speaks_http2() {
    let (provider, mut world) = started(None);
    let answer = world.get("/things/1");
    assert_eq!((answer.status, answer.json().unwrap()), (200, granted()), "{}", answer.text());
    let seen = provider.requests().pop().unwrap();
    assert_eq!(seen.header(":authority"), Some(provider.host_port()));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {CREDENTIAL}").as_str()));
    let written = world.post("/things", &json!({"name": "new"}));
    assert_eq!(written.status, 201, "{}", written.text());
    assert_eq!(provider.requests().pop().unwrap().json().unwrap(), json!({"name": "new"}));
    provider.on(
        "/things/1",
        Answer::json(200, &testkit::thing("1")).pause_before_head(Duration::from_millis(50)),
    );
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| assert_eq!(world.get("/things/1").status, 200));
            }
        });
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    // The first burst on a core that does not know the provider yet may make one for each call.
    let used: BTreeSet<usize> =
        provider.requests().iter().rev().take(40).map(|seen| seen.connection).collect();
    assert!(used.len() <= cores, "{used:?}");
    assert_eq!(provider.http1_connections(), 0);
    assert_eq!((answers(&world, "2"), answers(&world, "1.1")), (122, 0));
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn a_provider_can_be_kept_to_http1() {
    let overlay = "overlay: 1.1.0\ninfo: {title: t, version: '1'}\nactions:\n\
                   - {target: $, update: {x-weirgate-http1-only: true}}\n";
    let (provider, mut world) = started(Some(overlay));
    for _ in 0..3 {
        assert_eq!(world.get("/things/1").json().unwrap(), granted());
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!((1..=cores).contains(&provider.connections()));
    assert_eq!(provider.http1_connections(), provider.connections());
    assert_eq!((answers(&world, "2"), answers(&world, "1.1")), (0, 3));
    world.stop();
}

/// The codes are those of HTTP/1.1.
#[test]
fn hostile_answers_over_http2_are_refused() {
    let (provider, mut world) = started(None);
    for (kind, wanted) in [
        ("reset", "provider_reset"),
        ("not-http", "provider_reset"),
        ("reset-in-body", "provider_reset"),
        ("truncated", "provider_reset"),
        ("two-lengths", "provider_malformed"),
        ("length-too-short", "provider_malformed"),
        ("gzip-cut", "provider_malformed"),
        ("gzip-lie", "provider_malformed"),
        ("html", "answer_media"),
        ("malformed", "answer_refused"),
        ("duplicate", "answer_refused"),
        ("bom", "answer_refused"),
        ("trailing", "answer_refused"),
        ("empty", "answer_refused"),
        ("unauthorized", "provider_credential_refused"),
        ("error", "provider_error"),
        ("error-huge", "provider_error"),
    ] {
        let answer = world.get(&format!("/fault/{kind}"));
        assert_eq!((answer.status, code(&answer).as_str()), (502, wanted), "{kind}");
        assert!(!answer.text().contains(SECRET), "{kind}");
    }
    for kind in ["none", "chunked", "gzip", "set-cookie"] {
        assert_eq!(world.get(&format!("/fault/{kind}")).json().unwrap(), granted(), "{kind}");
    }
    // All but those that broke the protocol itself were on a few connections.
    assert!(provider.connections() <= 6, "{}", provider.connections());
    provider.refuse(1);
    assert_eq!(world.post("/things", &json!({"name": "new"})).status, 201);
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

/// A large field, put into the table, and then named by a byte each time (RFC 7541 §6.1, §6.2.1).
fn bomb() -> Vec<u8> {
    let large = [&[0x88, 0x40, 1, b'x', 127, 0xBD, 0x1D][..], &[b'y'; 3_900]].concat();
    [large, vec![0xBE; 12_000]].concat()
}

/// A flood ends the connection, and nothing of it is kept.
#[test]
fn hostile_http2_providers_need_no_memory() {
    let head = |stream| {
        let fields = block(&[(":status", "200"), ("content-type", "application/json")]);
        frame(HEADERS, END_HEADERS, stream, &fields)
    };
    let peer = RawPeer::start(Some(&[]), move |raw| {
        let stream = raw.request()?.stream;
        let flood = match raw.number % 7 {
            0 => frame(PING, 0, 0, &[0; 8]),
            1 => frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0].repeat(2_000)),
            2 => frame(
                HEADERS,
                END_HEADERS,
                stream,
                &block(&[(":status", "103"), ("x", &"y".repeat(15_000))]),
            ),
            3 => frame(HEADERS, END_HEADERS, stream, &bomb()),
            4 => frame(CONTINUATION, 0, stream, &[0x82; 16_000]),
            5 => frame(DATA, 0, stream, b"["),
            _ => frame(DATA, 0, stream, &[b' '; 16_000]),
        };
        match raw.number % 7 {
            4 => raw.write(&frame(HEADERS, 0, stream, &block(&[(":status", "200")])))?,
            5 | 6 => raw.write(&head(stream))?,
            _ => {}
        }
        let many = flood.repeat(1 + 1_000_000 / flood.len());
        for _ in 0..40 {
            raw.write(&many)?;
        }
        Ok(())
    });
    let peer = peer.unwrap();
    let mut world = leading_to(&peer.url(), peer.root_pem(), None);
    let before = world.memory("VmHWM");
    for _ in 0..14 {
        let answer = world.get("/things/1");
        let refused = ["provider_malformed", "provider_reset", "answer_refused"];
        let is_refused = || answer.status == 502 && refused.contains(&code(&answer).as_str());
        assert!(answer.end == BodyEnd::Aborted || is_refused(), "{}", answer.text());
    }
    let more = world.memory("VmHWM").saturating_sub(before);
    assert!(more < 32 << 20, "{more} bytes more");
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}

#[test]
fn answers_in_the_smallest_parts_need_no_memory() {
    let peer = RawPeer::start(Some(&[]), |raw| {
        let fields = block(&[(":status", "200"), ("content-type", "application/json")]);
        let parts = frame(DATA, 0, 0, b" ");
        loop {
            let stream = raw.request()?.stream;
            raw.write(&frame(HEADERS, END_HEADERS, stream, &fields))?;
            raw.write(&frame(DATA, 0, stream, b"{\"id\":\"1\",\"name\":\""))?;
            let mut part = parts.clone();
            part[5..9].copy_from_slice(&stream.to_be_bytes());
            for _ in 0..30 {
                raw.write(&part.repeat(1_000))?;
            }
            raw.write(&frame(DATA, END_STREAM, stream, b"\"}"))?;
        }
    });
    let peer = peer.unwrap();
    let mut world = leading_to(&peer.url(), peer.root_pem(), None);
    let before = world.memory("VmHWM");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| world.get("/things/1").status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let more = world.memory("VmHWM").saturating_sub(before);
    assert!(more < 32 << 20, "{more} bytes more");
    world.stop();
}

/// Ended with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const NODE_SERVER: &str = r"
const fs = require('fs');
const options = {
  key: fs.readFileSync(process.argv[1]), cert: fs.readFileSync(process.argv[2]),
  allowHTTP1: true, settings: { maxConcurrentStreams: 20 },
};
const thing = id => ({ id, name: 'Thing ' + id, secret: 'never', nested: { a: 'open', b: 'never' } });
const server = require('http2').createSecureServer(options, (request, response) => {
  const seen = [];
  request.on('data', part => seen.push(part));
  request.on('end', () => {
    const body = request.method === 'POST'
      ? { ...thing('9'), ...JSON.parse(Buffer.concat(seen)) }
      : thing(request.url.split('/').pop());
    response.writeHead(request.method === 'POST' ? 201 : 200, { 'content-type': 'application/json' });
    const text = JSON.stringify(body);
    setTimeout(() => { for (const c of text) response.write(c); response.end(); }, 20);
  });
});
server.on('session', () => console.log('session'));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

/// A peer that others wrote, in another language.
#[test]
fn a_server_of_node_is_called_over_http2() {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("skipped: there is no node");
        return;
    }
    let certificate = Certificate::make(&TlsOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (key, chain) = (folder.path().join("key.pem"), folder.path().join("chain.pem"));
    std::fs::write(&key, &certificate.key_pem).unwrap();
    std::fs::write(&chain, &certificate.chain_pem).unwrap();
    let mut node = Command::new("node")
        .args(["-e", NODE_SERVER])
        .args([&key, &chain])
        .stdout(Stdio::piped())
        .spawn()
        .map(Node)
        .unwrap();
    let mut lines = BufReader::new(node.0.stdout.take().unwrap()).lines();
    let port = lines.next().unwrap().unwrap();
    let url = format!("https://localhost:{port}");
    let mut world = leading_to(&url, &certificate.root_pem, None);
    let wanted =
        |id: &str| json!({"id": id, "name": format!("Thing {id}"), "nested": {"a": "open"}});
    for round in 0..5 {
        std::thread::scope(|scope| {
            for call in 0..30 {
                let (world, wanted) = (&world, &wanted);
                scope.spawn(move || {
                    let id = (round * 100 + call).to_string();
                    let answer = world.get(&format!("/things/{id}"));
                    assert_eq!((answer.status, answer.json().unwrap()), (200, wanted(&id)));
                });
            }
        });
        let written = world.post("/things", &json!({"name": format!("new {round}")}));
        assert_eq!(written.json().unwrap()["name"], format!("new {round}"));
    }
    assert_eq!((answers(&world, "2"), answers(&world, "1.1")), (155, 0));
    world.stop();
    assert_eq!(world.verify()["open_intents"], 0);
}
