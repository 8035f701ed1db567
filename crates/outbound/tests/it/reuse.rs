//! Which connections are used again, and which requests are sent again.

use crate::world::{World, collect, config, plain, trusted, world_with};
use http::Method;
use outbound::{GuardPolicy, OutboundError, Target};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};
use testkit::{Answer, End, FaultyProvider};
use tokio::task::LocalSet;

/// An answer in which nothing comes.
fn nothing(end: End) -> Answer {
    Answer::verbatim("").end(end)
}

fn fine() -> Answer {
    Answer::json_text(200, "{}")
}

#[tokio::test]
async fn a_read_without_any_answer_on_an_idle_connection_is_sent_again() {
    for world in [plain(), trusted()] {
        for end in [End::Close, End::Drop, End::Reset] {
            world.get("/fault/none").await.unwrap();
            world.provider.on_sequence("/once", [nothing(end), fine()]);
            world.provider.forget();
            let before = world.figures.repeated();
            assert_eq!(world.get("/once").await, Ok((200, b"{}".to_vec())), "{end:?}");
            assert_eq!(world.provider.requests().len(), 2, "{end:?}");
            assert_eq!(world.figures.repeated(), before + 1, "{end:?}");
            assert_eq!(world.attempts(), 2, "{end:?}");
        }
    }
}

#[tokio::test]
async fn a_write_is_never_sent_twice() {
    let world = plain();
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for end in [End::Close, End::Reset] {
            world.get("/fault/none").await.unwrap();
            world.provider.on_sequence("/write", [nothing(end), fine()]);
            world.provider.forget();
            let failed = world.send(method.clone(), "/write").await.map(drop);
            assert_eq!(failed, Err(OutboundError::Reset), "{method} {end:?}");
            assert_eq!(world.provider.requests().len(), 1, "{method} {end:?}");
        }
    }
}

#[tokio::test]
async fn a_read_is_sent_once_on_a_new_connection() {
    let world = plain();
    world.provider.on_sequence("/once", [nothing(End::Close), fine()]);
    assert_eq!(world.code("/once").await, "provider_reset");
    assert_eq!(world.provider.requests().len(), 1);
}

/// A provider that began to answer has taken the request.
#[tokio::test]
async fn a_read_whose_answer_began_is_not_sent_again() {
    let world = plain();
    for begun in ["H", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        world.get("/fault/none").await.unwrap();
        world.provider.on_sequence("/part", [Answer::verbatim(begun).end(End::Close), fine()]);
        world.provider.forget();
        assert_eq!(world.code("/part").await, "provider_reset", "{begun}");
        assert_eq!(world.provider.requests().len(), 1, "{begun}");
    }
}

/// The second time is the last.
#[tokio::test]
async fn a_read_is_sent_again_once_only() {
    let world = plain();
    world.get("/fault/none").await.unwrap();
    world.provider.on("/never", nothing(End::Close));
    world.provider.forget();
    assert_eq!(world.code("/never").await, "provider_reset");
    assert_eq!(world.provider.requests().len(), 2);
}

#[tokio::test]
async fn slow_is_not_gone() {
    let world = plain();
    world.get("/fault/none").await.unwrap();
    world.provider.on("/silence", nothing(End::Silence));
    world.provider.forget();
    assert_eq!(world.code("/silence").await, "provider_timeout");
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn answers_without_content_leave_their_connection_free() {
    let world = plain();
    world.provider.on("/empty", Answer::status(200).header("Content-Encoding", "gzip"));
    world.provider.on("/none", Answer::status(204));
    world.provider.on("/same", Answer::status(304));
    for path in ["/empty", "/none", "/same", "/empty"] {
        drop(world.send(Method::GET, path).await.unwrap());
    }
    assert_eq!(world.provider.connections(), 1);
}

#[tokio::test]
async fn answers_that_were_not_read_to_the_end_end_their_connection() {
    let world = plain();
    drop(world.send(Method::GET, "/fault/none").await.unwrap());
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 2);
    world.provider.on("/closing", fine().end(End::Close));
    world.get("/closing").await.unwrap();
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 3);
    world.provider.on("/said", fine().header("Connection", "close"));
    world.get("/said").await.unwrap();
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 4);
}

#[tokio::test]
async fn refused_answers_end_their_connection() {
    let world = plain();
    let faults = ["gzip-lie", "both-framings", "two-lengths", "not-http"];
    for fault in faults {
        assert_eq!(world.code(&format!("/fault/{fault}")).await, "provider_malformed");
    }
    world.provider.on("/coded", fine().header("Content-Encoding", "compress"));
    assert_eq!(world.code("/coded").await, "provider_encoding");
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), faults.len() + 2);
}

#[tokio::test]
async fn targets_and_policies_do_not_share_connections() {
    let mut world = plain();
    world.get("/fault/none").await.unwrap();
    let first = world.policy.clone();
    world.policy = GuardPolicy::new(&[world.provider.host_port(), "example.internal:80"]).unwrap();
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 2);
    // The same content is the same policy.
    world.policy = GuardPolicy::new(&[world.provider.host_port()]).unwrap();
    assert_eq!(world.policy, first);
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 2);
    let base = format!("{}/base", world.provider.url());
    world.target = Target::parse(&base, &world.policy).unwrap();
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 3);
}

async fn two_at_once(world: &World) {
    let (left, right) = tokio::join!(world.send(Method::GET, "/a"), world.send(Method::GET, "/a"));
    collect(left.unwrap()).await.unwrap();
    collect(right.unwrap()).await.unwrap();
}

#[tokio::test]
async fn idle_connections_are_few_and_short_lived() {
    for (change, wanted) in
        [("", 2), ("max_idle", 3), ("max_idle_total", 3), ("idle_life", 4), ("max_age", 4)]
    {
        let mut config = config(None);
        match change {
            "max_idle" => config.max_idle = 1,
            "max_idle_total" => config.max_idle_total = 1,
            "idle_life" => config.idle_life = Duration::ZERO,
            "max_age" => config.max_age = Duration::ZERO,
            _ => {}
        }
        let world = world_with(FaultyProvider::start().unwrap(), config);
        world.provider.on("/a", fine());
        two_at_once(&world).await;
        two_at_once(&world).await;
        assert_eq!(world.provider.connections(), wanted, "{change}");
    }
}

const FIRST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
const FRESH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh";
const POISON: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/// Answers one request, then does something unasked when told, then serves one more connection.
fn peer(
    unasked: fn(TcpStream) -> Option<TcpStream>,
) -> (SocketAddr, impl FnOnce() -> JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (order, ordered) = mpsc::channel();
    let (done, is_done) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(FIRST).unwrap();
        ordered.recv().unwrap();
        let kept = unasked(stream);
        done.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(FRESH).unwrap();
        drop(kept);
    });
    let act = move || {
        order.send(()).unwrap();
        is_done.recv().unwrap();
        thread
    };
    (addr, act)
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

async fn surprised(method: Method, unasked: fn(TcpStream) -> Option<TcpStream>) {
    let (addr, act) = peer(unasked);
    let mut world = plain();
    world.policy = GuardPolicy::new(&[addr.to_string()]).unwrap();
    world.target = Target::parse(&format!("http://{addr}"), &world.policy).unwrap();
    assert_eq!(world.get("/").await, Ok((200, b"first".to_vec())));
    // Blocks the runtime: what the peer does is in the socket, and nobody has looked at it.
    let thread = act();
    let answer = world.send(method, "/").await.unwrap();
    assert_eq!(collect(answer).await, Ok(b"fresh".to_vec()));
    thread.join().unwrap();
}

/// Answers must not be counted off by one: what came unasked is no answer to the next request.
#[tokio::test]
async fn bytes_that_came_unasked_are_no_answer() {
    let poison = |mut stream: TcpStream| {
        stream.write_all(POISON).unwrap();
        Some(stream)
    };
    surprised(Method::GET, poison).await;
    surprised(Method::POST, poison).await;
    LocalSet::new().run_until(surprised(Method::GET, poison)).await;
    LocalSet::new().run_until(surprised(Method::POST, poison)).await;
    spawned(Method::GET, poison).await;
    spawned(Method::POST, poison).await;
}

#[tokio::test]
async fn a_write_finds_a_closed_connection_before_it_is_sent() {
    surprised(Method::POST, |_| None).await;
    LocalSet::new().run_until(surprised(Method::POST, |_| None)).await;
    spawned(Method::POST, |_| None).await;
}

/// As the gateway runs: a task of a `LocalSet`.
async fn spawned(method: Method, unasked: fn(TcpStream) -> Option<TcpStream>) {
    let local = LocalSet::new();
    let task = local.spawn_local(surprised(method, unasked));
    local.run_until(task).await.unwrap();
}
